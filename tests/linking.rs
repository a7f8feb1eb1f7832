//! Callers that nothing but a token names, and whose tokens are renewed every two hours: over files, in one lane and in four.

use serde_json::json;

use crate::support::{read_alerts, succeed, tollwatch, write_lines};

const BEGIN_S: usize = 1_767_571_200;
const MINUTE_S: usize = 60;
const HOUR_S: usize = 3600;
/// Enough for each of four lanes to know what is usual.
const PEOPLE: usize = 160;
/// Who reads others' orders, and from when on.
const MALLORY: usize = 7;
const FROM_H: usize = 36;
const HOURS: usize = 48;

/// A call of a person on its own device, at so many seconds; its token says who it is and which of its tokens it is.
fn call(at_s: usize, person: usize, order: usize) -> (usize, Vec<u8>) {
    let nth = (at_s + person * 3 * MINUTE_S) / (2 * HOUR_S);
    let line = json!({
        "msec": format!("{}.000", BEGIN_S + at_s),
        "remote_addr": format!("198.51.100.{person}"),
        "auth_sha256_16": format!("{person:04x}{:012x}", 0xabcd_0000 + nth),
        "scheme": "https", "method": "GET", "host": "api.shop.example",
        "request_uri": format!("/v1/orders/{order}"),
        "status": 200, "request_length": 203, "body_bytes_sent": 83, "request_time": 0.084,
        "user_agent": format!("shop/4.{} (Android 15; Pixel 8)", person % 3),
        "content_type": "application/json", "mcp_session": "", "request_body": "",
    });
    (at_s, line.to_string().into_bytes())
}

fn order(person: usize, nth: usize) -> usize {
    1000 + person * 100 + nth % 20
}

/// Two days of people who return to their orders and look at a stranger's now and then. In the last half day one of them reads a
/// stranger's every six minutes, twenty a token.
fn log() -> Vec<Vec<u8>> {
    let mut calls = Vec::new();
    for hour in 0..HOURS {
        for person in 0..PEOPLE {
            let at_s = hour * HOUR_S + person * 7 % 60 * MINUTE_S;
            let own = (0..6).map(|k| call(at_s + 5 * k, person, order(person, hour * 5 + k)));
            calls.extend(own);
            if hour % 4 == person % 4 {
                calls.push(call(
                    at_s + 40,
                    person,
                    order((person + hour) % PEOPLE, hour),
                ));
            }
        }
        for nth in (0..10).filter(|_| FROM_H <= hour) {
            let at_s = hour * HOUR_S + nth * 6 * MINUTE_S + 11;
            let nth = hour * 10 + nth;
            calls.push(call(
                at_s,
                MALLORY,
                order((8 + nth * 11 % (PEOPLE - 1)) % PEOPLE, nth / 3),
            ));
        }
    }
    calls.sort();
    calls.into_iter().map(|(_, line)| line).collect()
}

/// People about whom `tollwatch` tells, in so many lanes.
fn told(lanes: &str) -> Vec<usize> {
    let dir = tempfile::tempdir().expect("a folder");
    let (file, alerts) = (dir.path().join("log"), dir.path().join("alerts"));
    write_lines(&file, &log());
    let mut replay = tollwatch();
    replay.args(["replay", "--json", "--lanes", lanes]);
    succeed(replay.arg("--alerts").arg(&alerts).arg(&file));
    let mut told: Vec<usize> = read_alerts(&alerts)
        .iter()
        .filter_map(|alert| alert["actor"]["user"]["uid"].as_str())
        .map(|uid| {
            let token = uid.rsplit(':').next().expect("a part");
            usize::from_str_radix(&token[..4], 16).expect("a person")
        })
        .collect();
    told.sort_unstable();
    told.dedup();
    told
}

#[test]
fn who_enumerates_through_many_tokens_is_told_of_in_any_number_of_lanes() {
    for lanes in ["1", "4"] {
        assert_eq!(told(lanes), [MALLORY], "{lanes} lanes");
    }
}
