//! What an attacker may choose, in any number, takes no more memory than was allowed, and hides nobody.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use crate::support::{read_alerts, succeed, tollwatch};

const HOUR_S: usize = 3600;
/// Memory of the whole process.
const BUDGET_BYTES: u64 = 512 << 20;
/// Of which each of the four lanes may take this for its state.
const LANE_BYTES: u64 = 120 << 20;
const N_FRESH: usize = 1_000_000;

/// One call in the combined format; seconds since midnight of a day.
fn call(text: &mut String, at_s: usize, user: &str, path: &str) {
    let (hour, minute, second) = (at_s / HOUR_S, at_s / 60 % 60, at_s % 60);
    let at = format!("05/Jan/2026:{hour:02}:{minute:02}:{second:02} +0000");
    writeln!(
        text,
        "192.0.2.7 - {user} [{at}] \"GET {path} HTTP/1.1\" 200 512 \"-\" \"client/1.0\""
    )
    .expect("memory takes it");
}

/// Peak of a process' resident memory, in bytes, as long as it is there.
fn peak_bytes(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib << 10)
}

#[test]
fn a_million_fresh_callers_a_minute_stay_within_memory_and_hide_nobody() {
    let mut log = String::with_capacity(140 << 20);
    // Half a day in which forty callers use what is theirs, and the one to watch does too.
    for at_s in (0..13 * HOUR_S).step_by(20) {
        let caller = at_s / 20 % 40;
        let object = 1000 + caller * 100 + at_s / 800 % 30;
        call(
            &mut log,
            at_s,
            &format!("user{caller}"),
            &format!("/orders/{object}"),
        );
        if at_s % 400 == 0 {
            call(
                &mut log,
                at_s,
                "mallory",
                &format!("/orders/{}", 90_000 + at_s / 400 % 20),
            );
        }
    }
    // One minute: a million callers nobody has seen, each with a path of its own. Among them one walks through others' orders.
    for i in 0..N_FRESH {
        let at_s = 13 * HOUR_S + i * 60 / N_FRESH;
        call(
            &mut log,
            at_s,
            &format!("fresh-{:x}", i.wrapping_mul(0x9e37_79b9)),
            &format!("/p{}/{}/x{i}", i % 5003, i * 7),
        );
        if i % (N_FRESH / 60) == 0 {
            let nth = i / (N_FRESH / 60);
            let object = 1000 + nth % 40 * 100 + nth / 40;
            call(&mut log, at_s, "mallory", &format!("/orders/{object}"));
        }
    }
    let dir = tempfile::tempdir().expect("a folder");
    let (file, alerts) = (dir.path().join("bomb.log"), dir.path().join("alerts"));
    std::fs::write(&file, log).expect("the file can be written");
    let mut replay = tollwatch()
        .args(["replay", "--lanes", "1", "--json", "--state-bytes-max"])
        .arg(LANE_BYTES.to_string())
        .arg("--alerts")
        .arg(&alerts)
        .arg(&file)
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut peak = 0;
    while replay.try_wait().expect("a child").is_none() {
        peak = peak.max(peak_bytes(replay.id()).unwrap_or(0));
        std::thread::sleep(Duration::from_millis(20));
    }
    let output = replay.wait_with_output().expect("a child");
    assert!(output.status.success());
    let summary: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(
        summary["events"].as_u64() > Some(N_FRESH as u64),
        "{summary}"
    );
    eprintln!(
        "bounds: peak {} MiB of {} MiB",
        peak >> 20,
        BUDGET_BYTES >> 20
    );
    assert!(peak > 50 << 20, "the reading works");
    assert!(peak < BUDGET_BYTES, "{} MiB", peak >> 20);
    let alerts = read_alerts(&alerts);
    let found = alerts.iter().filter(|alert| {
        let rule = alert["finding_info"]["analytic"]["uid"]
            .as_str()
            .unwrap_or("");
        alert["actor"]["user"]["uid"] == "mallory" && rule.starts_with("bola_")
    });
    assert!(
        found.count() > 0,
        "{} alerts, none of the one who walks",
        alerts.len()
    );
    // A flood of callers is no flood of alerts.
    assert!(alerts.len() < 1000, "{}", alerts.len());
}

/// Writes a log, replays it in the least memory, and says whether somebody was found to probe.
fn is_found_to_probe(dir: &Path, log: &str, user: &str) -> bool {
    let (file, alerts) = (dir.join("probes.log"), dir.join("alerts"));
    std::fs::write(&file, log).expect("the file can be written");
    // Alerts are added to a file that is there.
    std::fs::write(&alerts, "").expect("the file can be written");
    let mut replay = tollwatch();
    replay.args([
        "replay",
        "--lanes",
        "1",
        "--json",
        "--state-bytes-max",
        "16777216",
    ]);
    succeed(replay.arg("--alerts").arg(&alerts).arg(&file));
    read_alerts(&alerts).iter().any(|alert| {
        alert["actor"]["user"]["uid"] == user
            && alert["finding_info"]["analytic"]["uid"] == "misconfig_probe"
    })
}

#[test]
fn who_probed_before_a_flood_of_callers_is_still_suspected_after_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let probe = |log: &mut String, at_s: usize, nth: usize| {
        call(log, at_s, "mallory", &format!("/{nth}/.git/config"));
    };
    let flood = |log: &mut String| {
        for i in 0..20_000 {
            call(log, 100 + i / 100, &format!("fresh-{i}"), "/orders/1");
        }
    };
    // How many probes it takes.
    let enough = (1..100).find(|n| {
        let mut log = String::new();
        (0..*n).for_each(|nth| probe(&mut log, nth, nth));
        is_found_to_probe(dir.path(), &log, "mallory")
    });
    let enough = enough.expect("who probes again and again is found");
    assert!(enough > 3, "one or two are forgotten: {enough}");

    // One less, then more callers than there is room for, several times over, and then that one.
    let mut log = String::new();
    (1..enough).for_each(|nth| probe(&mut log, nth, nth));
    flood(&mut log);
    assert!(!is_found_to_probe(dir.path(), &log, "mallory"), "not yet");
    probe(&mut log, 400, enough);
    assert!(is_found_to_probe(dir.path(), &log, "mallory"));
}
