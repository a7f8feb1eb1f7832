//! What the headers of answers show: over files, from a gateway's lines to findings, and away again.

use serde_json::{Value, json};

use crate::posture::{list, text};
use crate::support::write_lines;

const BEGIN_MS: i64 = 1_767_571_200_000;
const MINUTE_MS: i64 = 60_000;
/// The checks that ask about these headers, and about the way behind the gateway.
const CHECKS: [&str; 8] = [
    "plaintext_upstream",
    "hsts_missing",
    "hardening_headers",
    "cookie_flags",
    "cacheable_private_answer",
    "debug_on",
    "internal_address_told",
    "open_redirect",
];

/// A page that a user's browser gets, in good order, as Kong logs it.
fn good(minute: i64) -> Value {
    let uri = "/orders/overview";
    json!({
        "started_at": BEGIN_MS + minute * MINUTE_MS,
        "client_ip": format!("198.51.100.{}", minute % 5),
        "consumer": { "username": format!("user-{}", minute % 5) },
        "service": { "name": "orders", "host": "orders.internal", "protocol": "https" },
        "request": {
            "method": "GET", "uri": uri, "url": format!("https://api.shop.example{uri}"), "size": "138",
            "headers": { "host": "api.shop.example", "user-agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0" },
        },
        "response": { "status": 200, "size": 827, "headers": {
            "date": "Mon, 05 Jan 2026 00:00:00 GMT",
            "content-type": "text/html; charset=utf-8",
            "strict-transport-security": "max-age=31536000",
            "x-content-type-options": "nosniff",
            "content-security-policy": "default-src 'self'; frame-ancestors 'none'",
            "cache-control": "private, no-store",
            "set-cookie": ["lang=de", "sid=***; Secure; HttpOnly; SameSite=Lax"],
        } },
        "latencies": { "request": 5, "proxy": 3 },
    })
}

/// The same with a fault of a check.
fn bad(check: &str, minute: i64) -> Value {
    let mut call = good(minute);
    let redirect = |call: &mut Value, uri: &str, location: &str| {
        call["request"]["uri"] = json!(uri);
        call["response"]["status"] = json!(302);
        call["response"]["headers"]["location"] = json!(location);
    };
    let headers = &mut call["response"]["headers"];
    match check {
        "plaintext_upstream" => call["service"]["protocol"] = json!("http"),
        "hsts_missing" => headers["strict-transport-security"] = json!("max-age=300"),
        "hardening_headers" => headers["content-security-policy"] = json!("default-src 'self'"),
        "cookie_flags" => headers["set-cookie"] = json!(["lang=de", "sid=***; Secure"]),
        "cacheable_private_answer" => headers["cache-control"] = json!("public, max-age=60"),
        "debug_on" => headers["x-debug-token"] = json!("f4c2a1"),
        "internal_address_told" => redirect(&mut call, "/orders", "http://10.0.0.5:8080/orders/"),
        _ => {
            let target = format!("https://shop-{minute}.example/");
            redirect(&mut call, &format!("/out?to={target}"), &target);
        }
    }
    call
}

/// The contrary of a fault, where a good call is none.
fn contrary(check: &str, minute: i64) -> Value {
    let mut call = bad(check, minute);
    match check {
        "internal_address_told" | "open_redirect" => {
            call["response"]["headers"]["location"] = json!("/orders/overview");
            call
        }
        _ => good(minute),
    }
}

/// A call of which the log has nothing of this.
fn unlogged(mut call: Value) -> Value {
    call["response"]["headers"] = json!({ "content-type": "text/html" });
    call["service"] = json!({ "name": "orders", "host": "orders.internal" });
    call
}

/// Phase and samples of the findings of these checks.
fn found(calls: impl Iterator<Item = Value>) -> Vec<(String, String, String)> {
    let dir = tempfile::tempdir().expect("a folder");
    let log = dir.path().join("log");
    let calls = calls.map(|call| call.to_string().into_bytes());
    write_lines(&log, &calls.collect::<Vec<_>>());
    // One lane keeps the order of the lines.
    let (findings, _) = list(&[&log], &["--all", "--lanes", "1"]);
    let of = |finding: &Value| {
        let (check, phase) = (text(finding, "check"), text(finding, "phase"));
        let sample = text(&finding["samples"][0], "call");
        CHECKS
            .contains(&check)
            .then(|| (check.to_owned(), phase.to_owned(), sample.to_owned()))
    };
    findings.iter().filter_map(of).collect()
}

#[test]
fn what_an_answer_lacks_is_open_until_answers_have_it() {
    for check in CHECKS {
        let faulty = || (0..60).map(|minute| bad(check, minute));
        let open = found(faulty());
        let phases: Vec<_> = open
            .iter()
            .map(|(of, phase, _)| (of.as_str(), phase.as_str()))
            .collect();
        assert_eq!(phases, [(check, "open")], "{open:#?}");
        let mended = (60..400).map(|minute| contrary(check, minute));
        let after = found(faulty().chain(mended));
        let phases: Vec<_> = after
            .iter()
            .map(|(of, phase, _)| (of.as_str(), phase.as_str()))
            .collect();
        assert_eq!(phases, [(check, "resolved")], "{after:#?}");
    }
}

#[test]
fn what_a_log_does_not_hold_is_neither_a_fault_nor_mended() {
    for check in CHECKS {
        let silent =
            |minutes: std::ops::Range<i64>| minutes.map(|minute| unlogged(bad(check, minute)));
        assert_eq!(found(silent(0..60)), [], "{check}");
        let faulty = (0..60).map(|minute| bad(check, minute));
        let after = found(faulty.chain(silent(60..400)));
        assert!(
            after.iter().all(|(_, phase, _)| phase == "open"),
            "{check}: {after:#?}"
        );
    }
    assert_eq!(found((0..400).map(good)), []);
}

#[test]
fn samples_say_what_was_missing_and_nothing_of_a_cookie() {
    let sample = |check: &str| {
        let found = found((0..60).map(|minute| bad(check, minute)));
        found
            .into_iter()
            .map(|(_, _, sample)| sample)
            .collect::<String>()
    };
    assert_eq!(
        sample("cookie_flags"),
        "GET /orders/overview 200, no HttpOnly, no SameSite"
    );
    assert_eq!(
        sample("hsts_missing"),
        "GET /orders/overview 200, Strict-Transport-Security is short"
    );
    assert_eq!(
        sample("hardening_headers"),
        "GET /orders/overview 200, any site may frame it"
    );
}
