//! Fuzz: what reads others' bytes (decoders, the log's reader, the configuration, Sigma's rules) is given kept inputs and mutations of them.
//!
//! `tests/corpus/<target>/` holds the inputs: samples, odd ones, and each that ever failed; all of them are tried first. Then come
//! mutations, 256 a target, the same ones in every run. The long form tries others in each run:
//!
//! ```sh
//! TOLLWATCH_FUZZ_CASES=1000000 cargo test --release --locked --workspace fuzz::
//! ```
//!
//! An input that fails is made small, written to the corpus under a name of its own, and named in the failure: mend the fault, and
//! commit the input with it.

mod mutation;
mod targets;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use xxhash_rust::xxh3::xxh3_64;

use crate::support::root;

/// Mutated inputs tried of a target.
const CASES: u32 = 256;

/// Mutations of one input.
const MUTATIONS_MAX: usize = 6;

/// What a target says of an input that it does not treat as it should.
type Verdict = Result<(), String>;

fn corpus(target: &str) -> PathBuf {
    root().join("tests/corpus").join(target)
}

/// The kept inputs of a target, by name.
fn kept(target: &str) -> Vec<(String, Vec<u8>)> {
    let listed = std::fs::read_dir(corpus(target)).expect("a target has a corpus");
    let mut kept: Vec<_> = listed
        .map(|entry| {
            let path = entry.expect("a file").path();
            let name = path.file_name().expect("a name").to_string_lossy();
            (name.into_owned(), std::fs::read(&path).expect("reads"))
        })
        .collect();
    kept.sort();
    assert!(!kept.is_empty(), "{target} has no corpus");
    kept
}

/// Writes an input that failed to the corpus, under a name made of its bytes.
fn keep(target: &str, bytes: &[u8]) -> PathBuf {
    let path = corpus(target).join(format!("failed-{:016x}", xxh3_64(bytes)));
    std::fs::write(&path, bytes).expect("the corpus can be written");
    path
}

/// Runs a check; a panic is a fault like any other.
fn judge(check: &impl Fn(&[u8]) -> Verdict, bytes: &[u8]) -> Verdict {
    let judged = catch_unwind(AssertUnwindSafe(|| check(bytes)));
    judged.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(format!("panicked: {}", text.unwrap_or_default()))
    })
}

/// Tries the corpus of a target, then mutations of it and of more inputs.
fn fuzz(target: &str, more: &[Vec<u8>], check: impl Fn(&[u8]) -> Verdict) {
    let kept = kept(target);
    for (name, bytes) in &kept {
        if let Err(fault) = judge(&check, bytes) {
            panic!("tests/corpus/{target}/{name}: {fault}");
        }
    }
    let mut seeds: Vec<&[u8]> = kept.iter().map(|(_, bytes)| bytes.as_slice()).collect();
    seeds.extend(more.iter().map(Vec::as_slice));
    let asked = std::env::var("TOLLWATCH_FUZZ_CASES").ok();
    let asked = asked.map(|n| n.parse().expect("TOLLWATCH_FUZZ_CASES is a number"));
    let config = Config {
        cases: asked.unwrap_or(CASES),
        failure_persistence: None,
        ..Config::default()
    };
    let mut runner = match asked {
        Some(_) => TestRunner::new(config),
        // A commit either passes or does not.
        None => TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha)),
    };
    let mutations = proptest::collection::vec(mutation::any(), 1..=MUTATIONS_MAX);
    let outcome = runner.run(&(0..seeds.len(), mutations), |(seed, mutations)| {
        judge(&check, &mutation::apply(seeds[seed], &mutations)).map_err(TestCaseError::fail)
    });
    match outcome {
        Err(TestError::Fail(fault, (seed, mutations))) => {
            let path = keep(target, &mutation::apply(seeds[seed], &mutations));
            panic!(
                "{target}: {fault}; {mutations:?}; kept as {}",
                path.display()
            );
        }
        other => other.expect("no input is left out"),
    }
}
