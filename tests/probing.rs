//! Probing that takes what others do to see: over files, from a gateway's lines to alerts and findings.

use serde_json::{Value, json};

use crate::alerts::alerts_of;
use crate::support::{tollwatch, write_lines};

const BEGIN_MS: i64 = 1_767_571_200_000;
const MINUTE_MS: i64 = 60_000;

/// A call of a consumer, as Kong logs it.
fn call(at_ms: i64, consumer: &str, uri: &str, status: u16) -> Value {
    json!({
        "started_at": BEGIN_MS + at_ms,
        "client_ip": "192.0.2.7",
        "consumer": { "username": consumer },
        "request": {
            "method": "GET", "uri": uri, "url": format!("https://api.shop.example{uri}"), "size": "138",
            "headers": { "host": "api.shop.example", "user-agent": "okhttp/4.12" },
        },
        "response": { "status": status, "size": 827, "headers": {} },
        "latencies": { "request": 5 },
    })
}

/// Fourteen hours of a dozen consumers and their orders.
fn usual() -> Vec<Value> {
    let calls = (0..14 * 60).flat_map(|minute| {
        let consumer = format!("app-{}", minute % 12);
        let orders = format!("/v2/orders/{}", 1000 + minute % 12);
        ["/v2/orders?page=1", &orders]
            .map(|uri| call(i64::from(minute) * MINUTE_MS, &consumer, uri, 200))
    });
    calls.collect()
}

/// What follows, a minute after the other, by one consumer.
fn then(mut calls: Vec<Value>, consumer: &str, more: &[(&str, u16)]) -> Vec<Value> {
    for (n, (uri, status)) in more.iter().enumerate() {
        let at_ms = (14 * 60 + n as i64) * MINUTE_MS;
        calls.push(call(at_ms, consumer, uri, *status));
    }
    calls
}

/// Rule and title of the alerts about probing.
fn told(calls: &[Value]) -> Vec<(String, String)> {
    let dir = tempfile::tempdir().expect("a folder");
    let log = dir.path().join("log");
    let calls = calls.iter().map(|call| call.to_string().into_bytes());
    write_lines(&log, &calls.collect::<Vec<_>>());
    let alerts = alerts_of(&log);
    let text = |alert: &Value, at: &str| {
        let text = alert.pointer(at).and_then(Value::as_str);
        text.expect("a text").to_owned()
    };
    let of = |alert: &Value| {
        let rule = text(alert, "/finding_info/analytic/uid");
        let title = text(alert, "/finding_info/title");
        rule.starts_with("misconfig").then_some((rule, title))
    };
    alerts.iter().filter_map(of).collect()
}

#[test]
fn who_walks_to_an_old_version_is_told_and_that_it_was_let_in_as_well() {
    let walk: Vec<(&str, u16)> = vec![
        ("/.env", 404),
        ("/.git/config", 404),
        ("/v2/orders/7000", 403),
        ("/v1/orders/7000", 200),
        ("/v1/orders/7001", 200),
        ("/v1/orders/7002", 200),
        ("/v1/orders/7003", 200),
        ("/v1/orders/7004", 200),
    ];
    let told = told(&then(usual(), "app-3", &walk));
    let rules: Vec<&str> = told.iter().map(|(rule, _)| rule.as_str()).collect();
    assert!(rules.contains(&"misconfig_probe"), "{told:#?}");
    let answered = told
        .iter()
        .find(|(rule, _)| rule == "misconfig_probe_answered");
    let (_, title) = answered.unwrap_or_else(|| panic!("{told:#?}"));
    assert!(
        title.starts_with("app-3 probes the API and was let in"),
        "{title}"
    );
    assert!(title.contains("version_walking"), "{title}");
    assert!(
        told.iter().all(|(_, title)| title.contains("app-3")),
        "{told:#?}"
    );
}

#[test]
fn clients_that_fall_back_after_a_release_are_not_told() {
    let fall_back = |status: u16| -> Vec<(String, u16)> {
        let pairs = (0..20).flat_map(|n| {
            [
                (format!("/v3/orders/{n}"), status),
                (format!("/v2/orders/{n}"), 200),
            ]
        });
        pairs.collect()
    };
    for status in [401, 403, 410] {
        let calls = fall_back(status);
        let calls: Vec<(&str, u16)> = calls.iter().map(|(uri, s)| (uri.as_str(), *s)).collect();
        assert_eq!(told(&then(usual(), "app-3", &calls)), [], "after {status}");
    }
}

#[test]
fn sprayed_hosts_origins_and_ids_named_twice_are_told_and_ones_own_are_not() {
    let with = |header: &str, values: &[&str]| {
        let mut calls = usual();
        for (n, value) in values.iter().enumerate() {
            let at_ms = (14 * 60 + n as i64) * MINUTE_MS;
            let mut call = call(at_ms, "app-3", "/v2/orders?page=1", 200);
            call["request"]["headers"][header] = json!(value);
            calls.push(call);
        }
        told(&calls)
    };
    let names = [
        "a.net", "b.net", "c.net", "d.net", "e.net", "f.net", "g.net", "h.net",
    ];
    let origins = names.map(|name| format!("https://{name}"));
    let origins: Vec<&str> = origins.iter().map(String::as_str).collect();
    for (header, values, class) in [
        ("origin", origins.as_slice(), "origin_spray"),
        ("x-forwarded-host", &names, "host_spray"),
    ] {
        let told = with(header, values);
        assert!(
            told.iter()
                .any(|(rule, title)| rule == "misconfig_probe" && title.contains(class)),
            "{header}: {told:#?}"
        );
        let own: Vec<&str> = values.iter().map(|_| values[0]).collect();
        assert_eq!(with(header, &own), [], "{header} of its own");
    }
    let twice: Vec<String> = [
        "order_id",
        "user_id",
        "account_id",
        "customer_id",
        "invoice_id",
        "card_id",
        "task_id",
        "group_id",
    ]
    .iter()
    .map(|name| format!("/v2/orders?{name}=1&{name}=2"))
    .collect();
    let twice: Vec<(&str, u16)> = twice.iter().map(|uri| (uri.as_str(), 200)).collect();
    let told = told(&then(usual(), "app-3", &twice));
    assert!(
        told.iter()
            .any(|(_, title)| title.contains("parameter_pollution")),
        "{told:#?}"
    );
}

/// The ids of the checks that are found open in some calls, with their subjects.
fn found(calls: &[Value]) -> Vec<(String, String)> {
    let dir = tempfile::tempdir().expect("a folder");
    let log = dir.path().join("log");
    let calls = calls.iter().map(|call| call.to_string().into_bytes());
    write_lines(&log, &calls.collect::<Vec<_>>());
    let output = tollwatch()
        .args(["posture", "list", "--json", "--from"])
        .arg(&log)
        .output()
        .expect("the command starts");
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let text = |finding: &Value, field: &str| finding[field].as_str().expect("a text").to_owned();
    let findings = report["findings"].as_array().expect("a list").iter();
    findings
        .map(|finding| (text(finding, "check"), text(finding, "subject")))
        .collect()
}

#[test]
fn a_shared_key_an_unsigned_token_and_a_missing_limit_are_found() {
    let keyed = |n_networks: i64| -> Vec<Value> {
        let keyed = |n: i64| {
            let mut call = call(n * MINUTE_MS, "", "/v2/orders?page=1", 200);
            call["consumer"] = Value::Null;
            call["client_ip"] = json!(format!("198.51.{}.7", n % n_networks));
            call["request"]["headers"]["x-api-key"] = json!("k-4eC39HqLyjWDarjtT1zdp7dc");
            call
        };
        (0..300).map(keyed).collect()
    };
    let is_shared = |calls: &[Value]| {
        let found = found(calls);
        let one = found.iter().find(|(check, _)| check == "shared_credential");
        one.map(|(_, subject)| subject.clone())
    };
    let subject = is_shared(&keyed(25)).expect("a key of 25 networks is shared");
    assert!(subject.starts_with("api_key:"), "{subject}");
    assert_eq!(is_shared(&keyed(19)), None);

    // {"alg":"none"}.{"sub":"mallory"}
    let mut unsigned = call(0, "", "/v2/orders?page=1", 200);
    unsigned["request"]["headers"]["authorization"] =
        json!("Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJtYWxsb3J5In0.x");
    let of = |check: &str, calls: &[Value]| found(calls).iter().any(|(of, _)| of == check);
    assert!(of("token_unsigned", &[unsigned.clone()]));
    unsigned["response"]["status"] = json!(401);
    assert!(!of("token_unsigned", &[unsigned]));

    let fast = |status: u16| -> Vec<Value> {
        let fast = |n: i64| {
            call(
                n * 10,
                "job",
                "/v2/orders?page=1",
                if n < 700 { 200 } else { status },
            )
        };
        (0..6000).map(fast).collect()
    };
    assert!(
        of("no_rate_limit", &fast(200)),
        "5400 calls beyond 600 in a minute"
    );
    assert!(!of("no_rate_limit", &fast(429)));
}
