//! Sigma rules become rules of ours: those of `tests/sigma/` as `tests/sigma/expected/` says, and SigmaHQ's for the web.
//!
//! After a change that is meant, `tollwatch rules import-sigma tests/sigma --out tests/sigma/expected --overwrite --json` writes what
//! is expected anew; `not_converted.txt` is kept by hand.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use engine::rule::{RuleSet, run_tests};
use engine::stage::catalog;
use serde_json::Value;

use crate::support::{root, shared, tollwatch};

/// Converts a path into a folder; the exit code, what was told, and the time it took.
fn import(path: &Path, out: &Path) -> (Option<i32>, Value, Duration) {
    let started = Instant::now();
    let output = tollwatch()
        .args(["rules", "import-sigma", "--json", "--out"])
        .args([out, path])
        .current_dir(root())
        .output()
        .expect("the command starts");
    let took = started.elapsed();
    let told = serde_json::from_slice(&output.stdout);
    let told = told.unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    (output.status.code(), told, took)
}

fn list<'a>(told: &'a Value, key: &str) -> &'a [Value] {
    told[key].as_array().expect("a list")
}

/// Rule files of a folder, by name.
fn rules(folder: &Path) -> BTreeMap<PathBuf, String> {
    let entries = std::fs::read_dir(folder).expect("a folder of rules");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let rules = paths.filter(|path| path.extension().is_some_and(|end| end == "sql"));
    rules
        .map(|path| {
            let text = std::fs::read_to_string(&path).expect("a rule");
            (PathBuf::from(path.file_name().expect("a name")), text)
        })
        .collect()
}

#[test]
fn rules_become_what_is_expected_and_their_tests_pass() {
    let out = tempfile::tempdir().expect("a folder");
    let given = root().join("tests/sigma");
    let (code, told, _) = import(Path::new("tests/sigma"), out.path());
    assert_eq!(code, Some(1), "some are meant not to convert");
    let (made, expected) = (rules(out.path()), rules(&given.join("expected")));
    assert!(made.keys().eq(expected.keys()), "{:#?}", made.keys());
    for (name, text) in &made {
        assert_eq!(text, &expected[name], "{}", name.display());
    }
    let refused = list(&told, "not_converted").iter();
    let refused = refused.map(|one| {
        let text = |key: &str| one[key].as_str().expect("a text");
        format!("{}: {}\n", text("title"), text("reason"))
    });
    let wanted = std::fs::read_to_string(given.join("expected/not_converted.txt"));
    assert_eq!(refused.collect::<String>(), wanted.expect("a file"));

    let set = RuleSet::load(out.path()).expect("rules without faults");
    for rule in &set.rules {
        let (name, tests) = (&rule.header.name, &rule.header.tests);
        for (what, fires) in [("fires", true), ("does not fire", false)] {
            let told = tests.iter().any(|test| (0 < test.expect.alerts) == fires);
            assert!(told, "no test says when {name} {what}");
        }
        for outcome in run_tests(rule, &catalog()) {
            assert_eq!(outcome.failure, None, "{name}: {}", outcome.test);
        }
    }
}

#[test]
fn one_rule_goes_to_standard_output_and_nothing_is_written_over() {
    let out = tempfile::tempdir().expect("a folder");
    let file = out.path().join("one.yml");
    let rule = "title: One\nlogsource: {category: proxy}\ndetection: {s: {c-useragent: x}, condition: s}\n";
    std::fs::write(&file, rule).expect("a file");
    let run = |arguments: &[&str]| {
        let output = tollwatch()
            .args(["rules", "import-sigma"])
            .arg(&file)
            .args(arguments)
            .output()
            .expect("the command starts");
        let text = String::from_utf8(output.stdout).expect("text");
        (output.status.code(), text)
    };
    let (code, text) = run(&["--status", "stable"]);
    assert_eq!(code, Some(0));
    assert!(
        text.starts_with("/*---\n") && text.contains("\nstatus: stable\n"),
        "{text}"
    );
    let folder = out.path().join("rules");
    let into = ["--out", folder.to_str().expect("text")];
    assert_eq!(run(&into).0, Some(0));
    std::fs::write(folder.join("sigma_one.sql"), "mine").expect("a file");
    let (code, told) = run(&into);
    assert_eq!(code, Some(1));
    assert!(told.contains("--overwrite"), "{told}");
    assert_eq!(rules(&folder)[Path::new("sigma_one.sql")], "mine");
    assert_eq!(run(&[into[0], into[1], "--overwrite"]).0, Some(0));
    assert_eq!(run(&["--status", "unsupported"]).0, Some(2));
    assert_eq!(run(&["--overwrite"]).0, Some(2));
}

/// SigmaHQ's rules for web servers and proxies: all but one, whose form Sigma itself has given up.
#[test]
fn the_rules_of_sigmahq_convert() {
    let Some(given) = shared("standards/sigma-web") else {
        return;
    };
    let out = tempfile::tempdir().expect("a folder");
    let (_, told, took) = import(&given, out.path());
    let converted = list(&told, "converted");
    assert!(converted.len() >= 145, "{:#}", told["not_converted"]);
    assert!(
        converted.len() + list(&told, "not_converted").len() == 146,
        "{told:#}"
    );
    assert!(took < Duration::from_secs(5), "{took:?}");
    let set = RuleSet::load(out.path()).expect("rules without faults");
    assert_eq!(set.rules.len(), converted.len());
    for rule in &set.rules {
        let title = rule.title(&[]);
        assert!(
            title.contains(&rule.header.author),
            "the licence asks for the author: {title}"
        );
    }
}
