//! Malformed records mixed into good traffic: no good call is lost, every bad record is rejected with
//! its place and reason, nothing stops.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::{json, lines, read_alerts, tollwatch, write_lines};

/// Good calls of a format, all different.
pub(crate) fn good(format: &str, n: usize) -> Vec<Vec<u8>> {
    let call = |i: usize| {
        let ms = 1_767_571_200_000_i64 + i as i64 * 1000;
        let line = match format {
            "kong" => format!(
                r#"{{"started_at":{ms},"client_ip":"192.0.2.1","request":{{"method":"GET","uri":"/a/{i}","url":"https://api.example/a/{i}","size":"138","headers":{{"host":"api.example"}}}},"response":{{"status":200,"size":827,"headers":{{}}}},"latencies":{{"request":515}}}}"#
            ),
            "envoy" => {
                let time = format!(
                    "2026-01-05T{:02}:{:02}:{:02}.003Z",
                    i / 3600 % 24,
                    i / 60 % 60,
                    i % 60
                );
                format!(
                    r#"{{":authority":"api.example","method":"GET","response_code":200,"start_time":"{time}","x-envoy-origin-path":"/a/{i}"}}"#
                )
            }
            _ => unreachable!("a format with a bundled capture"),
        };
        line.into_bytes()
    };
    match format {
        "nginx" => lines("vampi.ndjson.xz", n),
        "combined" => lines("ledger.log.xz", n),
        _ => (0..n).map(call).collect(),
    }
}

/// Records that are no calls of the format.
pub(crate) fn bad(format: &str) -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = [
        &b"garbage"[..],
        b"\xff\xfe\x00\x01 not UTF-8",
        b"{",
        b"}",
        b"{}",
        b"null",
        b"0",
        b"\"text\"",
        b"[1,2,3]",
        b"{\"a\":1}trailing",
        b"\xef\xbb\xbf",
        b"\x00\x00\x00\x00",
        b"' OR 1=1 --",
        b"=cmd|' /C calc'!A0",
        b"<script>alert(1)</script>",
    ]
    .map(<[u8]>::to_vec)
    .into();
    all.push(vec![b'x'; (1 << 20) + 1]);
    all.push([b"{\"a\":".repeat(100_000), b"1".to_vec()].concat());
    all.push(b"[".repeat(500_000));
    // What a good record becomes when it is cut, or has another type or time in it.
    let whole = good(format, 1).remove(0);
    let text = String::from_utf8(whole.clone()).expect("a good record is text");
    all.push(whole[..whole.len() / 2].to_vec());
    let swaps: &[(&str, &str)] = match format {
        "kong" => &[
            ("\"status\":200", "\"status\":{}"),
            ("\"status\":200", "\"status\":99999999999"),
            ("\"method\":\"GET\"", "\"method\":[]"),
            ("1767571200000", "\"yesterday\""),
            ("1767571200000", "-62135596800001"),
            ("1767571200000", "99999999999999999999"),
            ("1767571200000", "1e400"),
        ],
        "envoy" => &[
            ("200", "\"many\""),
            ("200", "99999999999"),
            ("\"GET\"", "7"),
            ("2026-01-05", "2026-13-45"),
            ("2026-01-05", "9999-01-05"),
            ("2026-01-05", "0000-01-05"),
        ],
        "nginx" => &[
            ("\"status\":200", "\"status\":{\"a\":[]}"),
            ("\"status\":200", "\"status\":1000"),
            ("1767571200.003", "1e999"),
            ("1767571200.003", "not a time"),
            ("1767571200.003", "99999999999.0"),
        ],
        _ => &[
            ("02/Mar/2026", "31/Feb/2026"),
            ("02/Mar/2026", "02/Foo/2026"),
            ("02/Mar/2026", "02/Mar/9999"),
            (" 200 ", " abc "),
            (" 200 ", " 99999999999 "),
            ("GET /", "\\x16\\x03\\x01"),
        ],
    };
    for (from, to) in swaps {
        assert!(text.contains(from), "{format}: {from} is in {text}");
        all.push(text.replacen(from, to, 1).into_bytes());
    }
    all
}

/// Good records with a bad one after every second: the lines, and where the bad ones are, from 0.
pub(crate) fn mixed(format: &str) -> (Vec<Vec<u8>>, BTreeSet<i64>) {
    let bad = bad(format);
    // The first is good, so that detection has something to see.
    let mut good = good(format, bad.len() * 2 + 100).into_iter();
    let (mut all, mut places) = (Vec::new(), BTreeSet::new());
    for record in bad {
        all.extend(good.by_ref().take(2));
        places.insert(all.len() as i64);
        all.push(record);
    }
    all.extend(good);
    (all, places)
}

#[test]
fn malformed_lines_are_rejected_in_their_places_and_nothing_else_is() {
    for format in ["kong", "envoy", "nginx", "combined"] {
        let dir = tempfile::tempdir().expect("a folder");
        let (all, places) = mixed(format);
        let (log, rejects) = (dir.path().join("log"), dir.path().join("rejects"));
        write_lines(&log, &all);
        for named in [format, "auto"] {
            let mut replay = tollwatch();
            replay
                .arg("replay")
                .arg(&log)
                .args(["--format", named, "--json", "--lanes", "2"]);
            let summary = json(replay.arg("--rejects").arg(&rejects));
            let found: Vec<Value> = read_alerts(&rejects);
            let lines: BTreeSet<i64> = found
                .iter()
                .map(|reject| reject["line"].as_i64().expect("a line") - 1)
                .collect();
            assert_eq!(lines, places, "{format} as {named}");
            assert_eq!(
                summary["events"].as_u64(),
                Some((all.len() - places.len()) as u64),
                "{format} as {named}"
            );
            let unexplained = found
                .iter()
                .filter(|r| r["detail"].as_str().is_none_or(str::is_empty));
            assert_eq!(unexplained.count(), 0, "{format}: a reject says why");
        }
    }
}
