//! Return on investment: what is measured is what its query gives, and what is assumed is the user's.

use std::process::Command;

use serde_json::Value;

use crate::support::{bundled, json, succeed, tollwatch};

/// Whether a program is there.
fn has(program: &str) -> bool {
    Command::new(program)
        .arg("--version")
        .output()
        .is_ok_and(|output| output.status.success())
}

fn value<'a>(report: &'a Value, list: &str, id: &str) -> &'a Value {
    let list = report[list].as_array().expect("a list");
    list.iter()
        .find(|one| one["id"] == id)
        .unwrap_or_else(|| panic!("{id} in {report:#}"))
}

#[test]
fn every_measured_number_is_what_its_query_gives() {
    let folder = tempfile::tempdir().expect("a folder");
    let (log, alerts) = (
        bundled("vampi.ndjson.xz"),
        folder.path().join("alerts.ndjson"),
    );
    let mut replay = tollwatch();
    succeed(
        replay
            .args(["replay", "--lanes", "1", "--alerts"])
            .arg(&alerts)
            .arg(&log),
    );
    let source = format!("--from {} --lanes 1", log.display());
    let mut roi = tollwatch();
    let report = json(
        roi.args(["roi", "--json", "--alerts"])
            .arg(&alerts)
            .args(source.split(' ')),
    );
    // Counted from the logs, the alerts are the same.
    let mut roi = tollwatch();
    let of_logs = json(roi.args(["roi", "--json"]).args(source.split(' ')));
    assert_eq!(of_logs["measured"], report["measured"]);
    assert!(value(&report, "measured", "alerts")["value"].as_f64() > Some(0.0));
    assert!(value(&report, "measured", "exposed_before")["value"].as_f64() > Some(0.0));
    if !has("jq") {
        eprintln!("jq is not installed: the queries are not run");
        return;
    }
    let program = tollwatch().get_program().to_owned();
    for measure in report["measured"].as_array().expect("a list") {
        let query = measure["query"].as_str().expect("a query");
        // Two numbers, which are both measured.
        if query.contains("divided by") {
            continue;
        }
        let Some(want) = measure["value"].as_f64() else {
            continue;
        };
        let query = query
            .replace("SOURCE", &source)
            .replace("tollwatch ", &format!("{} ", program.to_string_lossy()))
            .replace("alerts.ndjson", &alerts.to_string_lossy());
        let output = Command::new("sh").args(["-c", &query]).output();
        let output = output.expect("a shell");
        let told = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let got: f64 = told.parse().unwrap_or_else(|_| {
            panic!(
                "{query}: {told} {}",
                String::from_utf8_lossy(&output.stderr)
            )
        });
        assert!(
            (got - want).abs() <= 1e-9 * want.abs().max(1.0),
            "{query} gives {got}, told is {want}"
        );
    }
}

#[test]
fn nothing_is_estimated_but_by_what_the_user_assumes() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("roi.toml");
    let template = tollwatch().args(["roi", "--template"]).output();
    let template = String::from_utf8(template.expect("starts").stdout).expect("text");
    std::fs::write(&file, &template).expect("written");
    let run = |more: &[&str]| -> String {
        let output = tollwatch()
            .args(["roi", "--lanes", "1", "--from"])
            .arg(bundled("vampi.ndjson.xz"))
            .arg("--assumptions")
            .arg(&file)
            .args(more)
            .output()
            .expect("starts");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{told}");
        String::from_utf8(output.stdout).expect("text")
    };
    let report: Value = serde_json::from_str(&run(&["--json"])).expect("JSON");
    for one in report["modelled"].as_array().expect("a list") {
        assert!(
            one["estimate"].is_null() && !one["not_estimated"].is_null(),
            "{one}"
        );
    }
    let more = "[minutes_per_alert]\nlow = 10\nbase = 20\nhigh = 40\nsource = \"yours <b>\"\n\
                [analyst_hour]\nlow = 60\nbase = 60\nhigh = 60\nsource = \"payroll\"\n";
    std::fs::write(&file, template + more).expect("written");
    let report: Value = serde_json::from_str(&run(&["--json"])).expect("JSON");
    let alerts = value(&report, "measured", "alerts")["value"]
        .as_f64()
        .expect("counted");
    let triage = &value(&report, "modelled", "triage_cost")["estimate"];
    let ends = ["low", "base", "high"].map(|end| triage[end].as_f64().expect("estimated"));
    assert_eq!(ends, [10.0, 20.0, 40.0].map(|minutes| alerts * minutes));
    assert!(value(&report, "modelled", "balance")["estimate"].is_null());
    let markdown = run(&["--markdown"]);
    assert!(
        markdown.contains("payroll")
            && markdown.contains(
                "not estimated: `running_month` is not filled in"
                    .replace('`', "\\`")
                    .replace('_', "\\_")
                    .as_str()
            ),
        "{markdown}"
    );
    // The page has it as text.
    let page = folder.path().join("report.html");
    let mut report = tollwatch();
    succeed(
        report
            .args(["report", "--lanes", "1", "--from"])
            .arg(bundled("vampi.ndjson.xz"))
            .arg("--assumptions")
            .arg(&file)
            .arg("--html")
            .arg(&page),
    );
    let page = std::fs::read_to_string(page).expect("a page");
    assert!(page.contains("Return on investment") && page.contains("yours &lt;b&gt;"));
    std::fs::write(&file, "[breach]\nlow = 1\n").expect("written");
    let refused = tollwatch()
        .args(["roi", "--from", "none.log", "--assumptions"])
        .arg(&file)
        .output()
        .expect("starts");
    let told = String::from_utf8_lossy(&refused.stderr);
    assert!(
        !refused.status.success() && told.contains("roi.toml") && told.contains("breach"),
        "{told}"
    );
}
