//! What `eval` reports, on a log so small that every number is found by hand: a batch job reads 100 orders, one a second, ten minutes
//! later a caller 60 of others', one a second, and half a day after the first call somebody reads one.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::{json, root, succeed, tollwatch};

const N_JOB: usize = 100;
const N_WALK: usize = 60;
const N_EVENTS: f64 = 161.0;

/// The log and its labels, in a folder.
fn written(folder: &Path) -> [PathBuf; 2] {
    let mut labels = "line\tlabel\tscenario\tidentity\trole\tforeign\tobject\n".to_owned();
    let mut log = String::new();
    let mut call = |ip: usize, user: &str, time: &str, order: usize, label: &str| {
        writeln!(
            log,
            "198.51.100.{ip} - {user} [02/Mar/2026:{time} +0000] \"GET /api/orders/{order} HTTP/1.1\" 200 512 \"-\" \"shop/4.1\""
        )
        .expect("a text");
        writeln!(labels, "0\t{label}").expect("a text");
    };
    for n in 0..N_JOB {
        let time = format!("00:{:02}:{:02}", n / 60, n % 60);
        call(1, "erp", &time, 1000 + n, "legit\t-\terp\tbatch\t0\t");
    }
    for n in 0..N_WALK {
        let label = format!("attack\twalk.b1.001\tmallory\tuser\t1\t{}", 2000 + n);
        call(2, "mallory", &format!("00:10:{n:02}"), 2000 + n, &label);
    }
    call(3, "alice", "12:00:00", 7, "legit\t-\talice\tuser\t0\t");
    let paths = ["access.log", "labels.tsv"].map(|name| folder.join(name));
    for (path, text) in paths.iter().zip([log, labels]) {
        std::fs::write(path, text).expect("it can be written");
    }
    paths
}

/// A folder of one rival's rules, by identity and by address.
fn akto(folder: &Path) -> PathBuf {
    let rivals = folder.join("rivals");
    std::fs::create_dir(&rivals).expect("a folder");
    for name in [
        "akto_parameter_enumeration.sql",
        "akto_parameter_enumeration_by_address.sql",
    ] {
        let from = root().join("benches/rivals").join(name);
        std::fs::copy(from, rivals.join(name)).expect("it can be copied");
    }
    rivals
}

fn near(value: &Value, expected: f64) -> bool {
    let value = value.as_f64().expect("a number");
    (value - expected).abs() <= expected * 1e-3
}

#[test]
fn what_is_reported_is_what_is_counted_by_hand() {
    let folder = tempfile::tempdir().expect("a folder");
    let [log, labels] = written(folder.path());
    let rules = akto(folder.path());
    let by_address = rules.join("akto_parameter_enumeration_by_address.sql");
    std::fs::remove_file(by_address).expect("it is there");
    let mut eval = tollwatch();
    eval.arg("eval").arg(&log).arg("--labels").arg(&labels);
    eval.arg("--rules").arg(&rules);
    let table = succeed(&mut eval);
    let table = String::from_utf8(table.stdout).expect("a text");
    let result = json(eval.arg("--json"));

    // More than 50 within five minutes: both at their 51st object.
    let episode = &result["episodes"]["walk.b1.001"];
    assert_eq!(episode["exposed_before"], 51);
    assert_eq!(
        episode["detect_ms"], 50_000,
        "the 51st call is 50 s after the first"
    );
    for of in [
        &result["by_kind"]["walk"],
        &result["by_band"]["b1"],
        &result,
    ] {
        assert_eq!(of["detect_ms_median"], 50_000);
        assert_eq!(of["exposed_decile"], 51);
        // Wilson of one in one: 1 / (1 + 1.96^2).
        assert!(near(&of["recall_interval"][0], 0.2065), "{of}");
    }
    assert!(near(&result["days"], 0.5));
    assert!(near(&result["false_per_day"], 2.0));
    let batch = json!({ "events": 100, "false_alerts": 1, "false_per_day": 2.0, "false_per_million": 10_000.0 });
    assert_eq!(result["benign"]["batch"], batch);
    let user =
        json!({ "events": 1, "false_alerts": 0, "false_per_day": 0.0, "false_per_million": 0.0 });
    assert_eq!(
        result["benign"]["user"], user,
        "calls of the attack are none"
    );
    // The knob promises one per million.
    let promise = &result["promise"];
    assert!(near(&promise["promised"], N_EVENTS / 1e6));
    assert!(near(&promise["ratio"], 1e6 / N_EVENTS));
    assert!(near(&promise["ratio_interval"][1], 5.5716 * 1e6 / N_EVENTS));
    assert!(
        table.contains("median 50.0 s") && table.contains("0 misses"),
        "{table}"
    );
    assert!(table.contains("2.00 a day of 0.5: 1 batch"), "{table}");
}

#[test]
fn rivals_are_swept_beside_and_zeroes_are_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let [log, labels] = written(folder.path());
    let (rivals, plot) = (akto(folder.path()), folder.path().join("curves.svg"));
    let mut eval = tollwatch();
    eval.arg("eval").arg(&log).arg("--labels").arg(&labels);
    eval.args(["--sweep=1,10", "--rivals"]).arg(&rivals);
    let table = succeed(&mut eval);
    let table = String::from_utf8(table.stdout).expect("a text");
    let result = json(eval.arg("--json").arg("--plot").arg(&plot));

    let ours = result["tollwatch"]["points"].as_array().expect("points");
    assert_eq!(ours.len(), 2);
    assert_eq!(
        (&ours[0]["default"], &ours[1]["default"]),
        (&json!(true), &json!(false))
    );
    let curves = result["rivals"].as_array().expect("curves");
    let curve = |name: &str| {
        let mut curves = curves.iter().filter(|curve| curve["name"] == name);
        curves.next().unwrap_or_else(|| panic!("{name} is there"))
    };
    let points = |name: &str| -> Vec<(f64, u64, u64, u64)> {
        let points = curve(name)["points"].as_array().expect("points");
        let number = |point: &Value, key: &str| point[key].as_u64().expect("a count");
        points
            .iter()
            .map(|p| {
                let threshold = p["threshold"].as_f64().expect("a number");
                let exposed = number(p, "exposed_median");
                (
                    threshold,
                    number(p, "found"),
                    number(p, "false_alerts"),
                    exposed,
                )
            })
            .collect()
    };
    for name in [
        "akto_parameter_enumeration",
        "akto_parameter_enumeration_by_address",
    ] {
        let points = points(name);
        // An eighth, a quarter, half of 50: the object after so many is told, of the walk and of the job. Neither has more than 100.
        let expected = [
            (6.0, 1, 1, 7),
            (13.0, 1, 1, 14),
            (25.0, 1, 1, 26),
            (50.0, 1, 1, 51),
            (100.0, 0, 0, 60),
            (200.0, 0, 0, 60),
        ];
        assert_eq!(points[..6], expected, "{name}");
        // One false alert of 161 calls is 6211 per million.
        let at_ten = &curve(name)["at_false_per_million"]["10"];
        assert_eq!(at_ten["found"], 0, "{name}");
    }
    for name in ["mean_and_sigmas", "profile_10000", "profile_100"] {
        for name in [name.to_owned(), format!("{name}_by_address")] {
            let nothing = points(&name).iter().all(|p| (p.1, p.2) == (0, 0));
            assert!(nothing && table.contains(&name), "{name}: {table}");
        }
    }
    assert_eq!(result["rivals_bounded"], 0);
    assert_eq!(result["compared"][0]["ratio"], Value::Null);
    assert!(table.contains("no rival finds any"), "{table}");
    let drawn = std::fs::read_to_string(plot).expect("it is written");
    assert!(
        drawn.starts_with("<svg")
            && drawn.contains("akto_parameter_enumeration at 50: 1 of 1 found")
    );
}
