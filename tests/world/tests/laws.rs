//! What holds of every world: it is its seed's, its labels are true of its log, and nothing in the log tells them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use world::attacks::KINDS;
use world::play;
use world::posture::Sown;
use world::world::{Options, World};

struct Written {
    access: String,
    labels: String,
    scenarios: String,
    truth: String,
    documents: std::collections::BTreeMap<String, String>,
    sown: Option<Sown>,
}

fn write(options: &Options) -> Written {
    let (mut access, mut labels, mut scenarios) = (Vec::new(), Vec::new(), Vec::new());
    let world = World::draw(options);
    let files = play::Files {
        access: &mut access,
        labels: &mut labels,
        scenarios: &mut scenarios,
    };
    let (_, truth, sown) = play::write(&world, files).expect("memory takes everything");
    let (documents, truth) = truth.finish(&world, sown.as_ref());
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("all is text");
    Written {
        access: text(access),
        labels: text(labels),
        scenarios: text(scenarios),
        truth,
        documents,
        sown,
    }
}

fn small(seed: u64) -> Options {
    Options {
        seed,
        days: 4,
        callers: 150,
        episodes: Some(20),
        ..Options::default()
    }
}

/// The value of a field of a line; all fields are known not to hold escaped quotes but the last and the claims.
fn field<'a>(line: &'a str, name: &str) -> &'a str {
    let start = line
        .find(&format!("\"{name}\":"))
        .expect("the field is there")
        + name.len()
        + 3;
    let rest = line[start..].trim_start_matches('"');
    &rest[..rest.find(['"', ',']).unwrap_or(rest.len())]
}

#[test]
fn a_seed_is_a_world() {
    let (once, again, other) = (write(&small(1)), write(&small(1)), write(&small(2)));
    assert!(
        once.access == again.access
            && once.labels == again.labels
            && once.scenarios == again.scenarios
    );
    assert_ne!(once.access, other.access);
    let hosts = |written: &Written| -> BTreeSet<String> {
        written
            .access
            .lines()
            .map(|line| field(line, "host").to_owned())
            .collect()
    };
    assert_ne!(hosts(&once), hosts(&other), "another seed is other APIs");
}

#[test]
fn labels_are_true_of_their_lines() {
    for seed in [3, 4] {
        let written = write(&small(seed));
        let lines: Vec<&str> = written.access.lines().collect();
        let labels: Vec<Vec<&str>> = written
            .labels
            .lines()
            .skip(1)
            .map(|row| row.split('\t').collect())
            .collect();
        assert_eq!(lines.len(), labels.len());
        let mut last = String::new();
        // Where the log has nothing but hashes, a hash is one actor's.
        let mut owners = BTreeMap::<&str, &str>::new();
        for (nth, (line, label)) in lines.iter().zip(&labels).enumerate() {
            assert_eq!(label.len(), 7, "{label:?}");
            assert_eq!(label[0], nth.to_string());
            let ended = field(line, "msec").to_owned();
            assert!(last <= ended, "lines are in the order of their time");
            last = ended;
            let (token, identity) = (field(line, "auth_sha256_16"), label[3]);
            if token.is_empty() {
                assert!(identity.starts_with("anonymous"), "{label:?}");
                continue;
            }
            let has_name =
                !field(line, "jwt_sub").is_empty() || !field(line, "jwt_claims").is_empty();
            if has_name {
                assert!(line.contains(identity), "{identity} is not in {line}");
            }
            assert_eq!(
                *owners.entry(token).or_insert(identity),
                identity,
                "{token} has two owners"
            );
        }
        let n_of_attacks = labels.iter().filter(|label| label[1] == "attack").count();
        assert!(
            n_of_attacks * 5 < labels.len(),
            "{n_of_attacks} of {} lines are attacks",
            labels.len()
        );
        let named: BTreeSet<&str> = labels
            .iter()
            .map(|label| label[2])
            .filter(|name| *name != "-")
            .collect();
        for name in &named {
            assert!(
                written.scenarios.contains(&format!("\"id\": \"{name}\"")),
                "{name}"
            );
        }
        assert_eq!(written.scenarios.matches("\"id\":").count(), named.len());
    }
}

#[test]
fn nothing_in_the_log_tells_the_labels() {
    for seed in [5, 6] {
        let written = write(&small(seed));
        let log = written.access.to_lowercase();
        let mut words = vec![
            "attack",
            "legit",
            "episode",
            "scenario",
            "foreign",
            "victim",
            "rogue",
            "tollwatch",
        ];
        let names: BTreeSet<&str> = written
            .labels
            .lines()
            .skip(1)
            .filter_map(|row| row.split('\t').nth(2))
            .filter(|name| *name != "-")
            .collect();
        words.extend(names);
        words.extend(
            KINDS
                .iter()
                .map(|kind| kind.name)
                .filter(|name| name.contains('_')),
        );
        for word in words {
            assert!(!log.contains(word), "seed {seed}: the log says {word}");
        }
    }
}

#[test]
fn every_kind_and_every_class_occurs() {
    let (mut kinds, mut bands, mut classes) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let mut missing = Vec::new();
    for seed in 10..16 {
        let options = Options {
            episodes: Some(46),
            callers: 240,
            ..small(seed)
        };
        let world = World::draw(&options);
        let episodes = play::play(&world, |_, call| {
            classes.insert(call.by.class);
            Ok(())
        });
        for episode in episodes.expect("nothing is written") {
            kinds.insert(episode.kind.name);
            bands.insert(episode.band);
        }
        missing = KINDS
            .iter()
            .map(|kind| kind.name)
            .filter(|name| !kinds.contains(name))
            .collect();
    }
    assert!(missing.is_empty(), "never planned: {missing:?}");
    assert_eq!(bands, BTreeSet::from([1, 2, 3, 4, 5]));
    let hard = [
        "support",
        "auditor",
        "walker",
        "crawler",
        "prefetch",
        "retry",
        "crowd",
        "newcomer",
        "migration",
        "loadtest",
        "monitor",
        "agent",
        "manager",
        "heavy",
        "shared",
        "sync",
        "user",
    ];
    for class in hard {
        assert!(classes.contains(class), "no {class}");
    }
}

#[test]
fn the_crate_depends_on_nothing() {
    let manifest = include_str!("../Cargo.toml");
    for line in manifest.lines() {
        let is_table = line.starts_with('[') && line != "[package]" && line != "[lints]";
        assert!(!is_table, "{line}");
        assert!(
            !line.contains("path =") && !line.starts_with("models"),
            "{line}"
        );
    }
    let lock = include_str!("../../../Cargo.lock");
    let package = lock
        .split("[[package]]")
        .find(|entry| entry.contains("name = \"world\""))
        .expect("the lock knows the crate");
    assert!(!package.contains("dependencies"), "{package}");
}

#[test]
fn a_small_world_is_quick() {
    let started = Instant::now();
    let written = write(&small(9));
    let seconds = started.elapsed().as_secs_f64();
    assert!(written.access.lines().count() > 10_000);
    // Some hundred milliseconds alone; the bound is for a loaded machine and an unoptimised build.
    assert!(seconds < 30.0, "{seconds} s");
}

#[test]
fn what_is_asked_for_is_what_comes() {
    let options = Options {
        band: Some(2),
        kinds: vec!["sequential".into(), "harvest".into()],
        ..small(8)
    };
    let episodes = play::play(&World::draw(&options), |_, _| Ok(())).expect("nothing is written");
    assert!(episodes.len() >= 4, "{episodes:?}");
    for episode in episodes {
        assert_eq!(episode.band, 2);
        assert!(["sequential", "harvest"].contains(&episode.kind.name));
    }
}

#[test]
fn no_world_is_too_small_or_too_short() {
    for seed in 20..40 {
        for (days, callers, n_episodes) in [(1, 1, 8), (2, 60, 60), (10, 30, 30)] {
            let options = Options {
                seed,
                days,
                callers,
                episodes: Some(n_episodes),
                ..Options::default()
            };
            let mut n_calls = 0;
            let played = play::play(&World::draw(&options), |_, _| {
                n_calls += 1;
                Ok(())
            });
            played.expect("nothing is written");
            assert!(n_calls > 100, "seed {seed}: {n_calls} calls in {days} days");
        }
    }
}

fn with_posture(seed: u64) -> Options {
    Options {
        posture: true,
        ..small(seed)
    }
}

#[test]
fn a_sown_world_is_its_seeds_and_has_every_kind() {
    let (once, again) = (write(&with_posture(31)), write(&with_posture(31)));
    assert!(once.access == again.access && once.truth == again.truth);
    assert!(once.documents == again.documents);
    let plain = write(&small(31));
    assert!(plain.sown.is_none() && !plain.truth.contains("\"faults\""));
    assert!(plain.access.lines().count() < once.access.lines().count());
    let mut last = String::new();
    for (line, label) in once.access.lines().zip(once.labels.lines().skip(1)) {
        let ended = field(line, "msec").to_owned();
        assert!(last <= ended, "lines are in the order of their time");
        last = ended;
        assert_eq!(label.split('\t').count(), 7, "{label}");
    }
    // The 34 checks that this log's fields decide, each as a fault and as its twin.
    let (mut faulty, mut healthy) = (BTreeSet::new(), BTreeSet::new());
    for seed in 31..43 {
        let truth = write(&with_posture(seed)).truth;
        let (faults, twins) = truth
            .split_once("\"faults\"")
            .and_then(|(_, rest)| rest.split_once("\"healthy\""))
            .expect("both lists");
        for (list, checks) in [(faults, &mut faulty), (twins, &mut healthy)] {
            let names = list.split("\"check\": \"").skip(1);
            checks.extend(names.map(|rest| rest.split('"').next().unwrap_or_default().to_owned()));
        }
    }
    assert_eq!(faulty.len(), 34, "{faulty:?}");
    // E-mail addresses in URLs are the world's own, and have no twin.
    assert_eq!(healthy.len(), 33, "{healthy:?}");
}

#[test]
fn every_answered_endpoint_of_a_world_is_in_its_truth() {
    for options in [small(44), with_posture(44)] {
        let written = write(&options);
        let is_answered = |line: &&str| {
            let status: u16 = field(line, "status").parse().expect("a status");
            matches!(status, 200..=299 | 304)
        };
        let mut heads = BTreeSet::new();
        for line in written.access.lines().filter(is_answered) {
            let path = field(line, "request_uri").split('?').next().unwrap_or("/");
            if !path.contains('%')
                && !path.contains(';')
                && !path.contains("//")
                && !path.contains("/.")
            {
                heads.insert(format!(
                    "{} {} ",
                    field(line, "method"),
                    field(line, "host")
                ));
            }
        }
        for head in heads {
            assert!(written.truth.contains(&head), "{head} is not in the truth");
        }
        for (host, document) in &written.documents {
            assert!(document.contains(&format!("https://{host}")), "{document}");
        }
    }
}
