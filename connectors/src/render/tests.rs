//! What all formats promise, held by parsers of the tests' own that know only the vendors' documents.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// Alerts of every kind of rule, with and without each part, one of them hostile.
const ALERTS: &str = include_str!("alerts.ndjson");

fn alerts() -> Vec<Alert> {
    let parse = |line: &str| Alert::parse(line.as_bytes()).expect("an alert");
    ALERTS.lines().map(parse).collect()
}

/// Keys and values, in order.
type Pairs = Vec<(String, String)>;

/// Fields of a CEF line as its reader finds them: seven of the header, then keys and values.
fn parse_cef(line: &str) -> Option<(Vec<String>, Pairs)> {
    let (mut header, mut field, mut rest) = (Vec::new(), String::new(), line.chars());
    while header.len() < 7 {
        match rest.next()? {
            '\\' => match rest.next()? {
                c @ ('\\' | '|') => field.push(c),
                _ => return None,
            },
            '|' => header.push(std::mem::take(&mut field)),
            c => field.push(c),
        }
    }
    // A key is a word before a bare `=`; what stands before it, but for one space, is the value before.
    let (mut pairs, mut text) = (Pairs::new(), String::new());
    while let Some(c) = rest.next() {
        match c {
            '\\' => match rest.next()? {
                'n' => text.push('\n'),
                'r' => text.push('\r'),
                c @ ('\\' | '=') => text.push(c),
                _ => return None,
            },
            '=' => {
                let (value, key) = match text.rsplit_once(' ') {
                    Some((value, key)) => (value.to_owned(), key.to_owned()),
                    None => (String::new(), text.clone()),
                };
                if let Some(last) = pairs.last_mut() {
                    last.1 = value;
                } else if !value.is_empty() {
                    return None;
                }
                if key.is_empty() || !key.chars().all(|c| c.is_ascii_alphanumeric()) {
                    return None;
                }
                pairs.push((key, String::new()));
                text.clear();
            }
            c => text.push(c),
        }
    }
    pairs.last_mut()?.1 = text;
    Some((header, pairs))
}

/// Fields of a LEEF 2.0 line as its reader finds them.
fn parse_leef(line: &str) -> Option<(Vec<String>, Pairs)> {
    let parts: Vec<&str> = line.splitn(7, '|').collect();
    let [header @ .., attributes] = &parts[..] else {
        return None;
    };
    let delimiter = header.get(5)?.strip_prefix('x')?;
    let delimiter = char::from_u32(u32::from_str_radix(delimiter, 16).ok()?)?;
    let pair = |text: &str| {
        let (key, value) = text.split_once('=')?;
        Some((key.to_owned(), value.to_owned()))
    };
    let pairs: Option<Vec<_>> = attributes.split(delimiter).map(pair).collect();
    Some((
        header.iter().map(|field| (*field).to_owned()).collect(),
        pairs?,
    ))
}

/// Header, parameters of the structured data and message, as RFC 5424's grammar has them.
fn parse_syslog(text: &str) -> Option<(Vec<&str>, Pairs, &str)> {
    let mut parts = text.splitn(7, ' ');
    let header: Vec<&str> = parts.by_ref().take(6).collect();
    let rest = parts.next()?.strip_prefix("[origin")?;
    let (mut rest, mut parameters) = (rest, Vec::new());
    while let Some(parameter) = rest.strip_prefix(' ') {
        let (name, after) = parameter.split_once("=\"")?;
        let (mut value, mut chars) = (String::new(), after.char_indices());
        rest = loop {
            match chars.next()? {
                (_, '\\') => value.push(chars.next().filter(|(_, c)| "\"\\]".contains(*c))?.1),
                (at, '"') => break &after[at + 1..],
                (_, ']') => return None,
                (_, c) => value.push(c),
            }
        };
        parameters.push((name.to_owned(), value));
    }
    Some((header, parameters, rest.strip_prefix("] ")?))
}

fn owned(pairs: &[(&'static str, String)]) -> Pairs {
    let pair = |(key, value): &(&str, String)| ((*key).to_owned(), value.clone());
    pairs.iter().map(pair).collect()
}

/// Holds what every rendering of an alert promises.
fn check(alert: &Alert) {
    for (name, format) in Format::ALL {
        let text = render(alert, format);
        assert!(
            !text.contains(['\n', '\r']),
            "{name} has several lines: {text}"
        );
        if !matches!(format, Format::Cef | Format::Leef) {
            let value: Value = serde_json::from_str(&text).expect("JSON");
            assert!(value.is_object(), "{name}");
        }
        assert_eq!(text, render(alert, format), "{name} is the same again");
    }
    let line = render(alert, Format::Cef);
    let (header, pairs) = parse_cef(&line).unwrap_or_else(|| panic!("no CEF: {line}"));
    assert_eq!(header[0], "CEF:0");
    assert_eq!(header[1..], cef::header(alert), "{line}");
    assert_eq!(pairs, owned(&cef::extension(alert)), "{line}");
    for (size, field) in [63, 63, 31, 1_023, 512].into_iter().zip(&header[1..]) {
        assert!(field.len() <= size, "{field}");
    }
    assert!(line.len() <= 33 << 10, "{} bytes", line.len());

    let line = render(alert, Format::Leef);
    let (header, pairs) = parse_leef(&line).unwrap_or_else(|| panic!("no LEEF: {line}"));
    assert_eq!(header[0], "LEEF:2.0");
    let expected = leef::header(alert).map(|field| field.replace('|', " "));
    assert_eq!(header[1..], expected, "{line}");
    assert_eq!(pairs, owned(&leef::attributes(alert)), "{line}");
    assert!(header[4].len() <= 255 && line.len() <= 20 << 10);

    for pairs in [cef::extension(alert), leef::attributes(alert)] {
        let keys: std::collections::BTreeSet<_> = pairs.iter().map(|(key, _)| key).collect();
        assert_eq!(keys.len(), pairs.len(), "no key is there twice");
    }

    let message = syslog::message(alert, "gw 1\n", &line);
    let (header, parameters, text) = parse_syslog(&message).expect("a syslog message");
    assert_eq!(header[2..4], ["gw?1?", "tollwatch"], "{message}");
    assert!(header[5].len() <= 32 && header[0].starts_with('<') && header[0].ends_with(">1"));
    let version = text::cut(&alert.product_version, 32);
    let parameter = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let software = parameter("software", "tollwatch");
    assert_eq!(parameters, [software, parameter("swVersion", &version)]);
    assert_eq!(text, line);
    let frame = syslog::frame(&message);
    let (length, framed) = frame.split_once(' ').expect("a length");
    assert_eq!((length.parse(), framed), (Ok(message.len()), &*message));

    let slack: Value = serde_json::from_str(&render(alert, Format::Slack)).expect("JSON");
    let slack = slack["text"].as_str().expect("a text");
    assert!(!slack.contains(['<', '>']), "{slack}");
    let bare = slack
        .replace("&amp;", "")
        .replace("&lt;", "")
        .replace("&gt;", "");
    assert!(!bare.contains('&'), "{slack}");
    // Each line has its marks closed: an odd one would open a span into the next.
    assert!(
        slack.lines().all(|line| line.matches('`').count() % 2 == 0),
        "{slack}"
    );
}

#[test]
fn an_alert_is_in_every_format_what_was_meant() {
    for alert in alerts() {
        check(&alert);
    }
    for (name, format) in Format::ALL {
        assert_eq!(Format::named(name), Some(format));
    }
}

#[test]
fn what_a_siem_searches_by_is_there() {
    let alerts = alerts();
    let probe = &alerts[0];
    let (_, cef) = parse_cef(&render(probe, Format::Cef)).expect("CEF");
    for (key, value) in [
        ("externalId", "00000000000000000000000000000001-1"),
        ("suid", "ivo"),
        ("src", "192.0.2.7"),
        ("dhost", "api.example"),
        // Of the call that made the alert, which is not the first of the evidence.
        ("request", "/00"),
        ("cs2", "API8:2023"),
        ("cs4", "T1595.002"),
        ("cn1", "404"),
    ] {
        let found = cef.iter().find(|(name, _)| name == key);
        assert_eq!(found.map(|(_, value)| value.as_str()), Some(value), "{key}");
    }
    let of = |alert: &Alert, format| -> Value {
        serde_json::from_str(&render(alert, format)).expect("JSON")
    };
    let ecs = of(probe, Format::Ecs);
    assert_eq!(ecs["threat"]["tactic"]["id"], json!(["TA0043"]));
    assert_eq!(
        ecs["threat"]["technique"]["subtechnique"]["id"],
        json!(["T1595.002"])
    );
    assert_eq!(ecs["event"]["severity"], 47);
    let hec = of(probe, Format::Hec);
    assert_eq!(
        (&hec["event"], &hec["fields"]["user"]),
        (&probe.value, &json!("ivo"))
    );
    assert_eq!(hec["time"], 1_767_601_519.146);
    assert_eq!(of(&alerts[3], Format::Asim)["EventSeverity"], "High");
    assert_eq!(
        of(&alerts[3], Format::Asim)["EventOriginalSeverity"],
        "Critical"
    );
    assert_eq!(of(&alerts[2], Format::Asim)["AlertStatus"], "Closed");
    let posture = &alerts[4];
    assert_eq!(
        of(posture, Format::Asim)["EventSubType"],
        "Compliance Violation"
    );
    assert_eq!(
        of(posture, Format::Udm)["securityResult"][0]["category"][0],
        "POLICY_VIOLATION"
    );
    assert_eq!(of(posture, Format::Ecs).get("user"), None);
    assert_eq!(
        of(&alerts[1], Format::Udm)["principal"]["ip"],
        json!(["2001:db8::7"])
    );
    let (_, ipv6) = parse_cef(&render(&alerts[1], Format::Cef)).expect("CEF");
    assert!(ipv6.contains(&("c6a2".to_owned(), "2001:db8::7".to_owned())));
    assert_eq!(of(&alerts[2], Format::Json)["activity"], "close");
    assert_eq!(
        of(&alerts[7], Format::Udm)["principal"]["application"],
        "tollwatch"
    );
}

#[test]
fn a_finding_of_posture_is_no_alarm_and_says_when_it_is_mended() {
    let alerts = alerts();
    let [opened, resolved] = &alerts[8..] else {
        panic!("two findings");
    };
    let of = |alert: &Alert, format| -> Value {
        serde_json::from_str(&render(alert, format)).expect("JSON")
    };
    let ecs = of(opened, Format::Ecs);
    assert_eq!(ecs["event"]["kind"], "state");
    assert_eq!(ecs["event"]["category"], json!(["configuration"]));
    assert_eq!(ecs["tollwatch"]["compliance"][1], "PCI DSS 4.0 8.3.1");
    // One document for all its life: the case is what a reader upserts by.
    let case = |alert: &Alert| of(alert, Format::Ecs)["tollwatch"]["case"].clone();
    assert_eq!(case(opened), case(resolved));
    assert_ne!(opened.uid, resolved.uid);
    assert_eq!(of(opened, Format::Hec)["sourcetype"], "tollwatch:finding");
    let asim = of(resolved, Format::Asim);
    assert_eq!(asim["EventSubType"], "Compliance Violation");
    assert_eq!(asim["AlertStatus"], "Closed");
    let states = [opened, resolved]
        .map(|alert| of(alert, Format::Udm)["securityResult"][0]["alertState"].clone());
    assert_eq!(states, ["ALERTING", "NOT_ALERTING"]);
    assert_eq!(of(opened, Format::Json)["class"], "posture");
    // Of a whole host: no method, which `*` is none of.
    let (_, cef) = parse_cef(&render(resolved, Format::Cef)).expect("CEF");
    assert!(cef.contains(&("dhost".to_owned(), "api.example".to_owned())));
    assert!(cef.contains(&("cs6".to_owned(), "close".to_owned())));
    assert_eq!(resolved.endpoint.method, "");
}

#[test]
fn an_endpoint_without_a_host_names_none() {
    let mut value = alerts()[0].value.clone();
    for (uid, method, host) in [
        ("GET api.example /a/{id}", "GET", "api.example"),
        ("GET - /a/{id}", "GET", ""),
        ("something else altogether", "", ""),
        ("", "", ""),
    ] {
        value["resources"][0]["uid"] = json!(uid);
        let alert = Alert::parse(value.to_string().as_bytes()).expect("an alert");
        let endpoint = &alert.endpoint;
        assert_eq!(
            (&*endpoint.uid, &*endpoint.method, &*endpoint.host),
            (uid, method, host)
        );
        check(&alert);
    }
}

#[test]
fn no_alert_is_an_error_that_says_what_is_missing() {
    for (record, said) in [
        ("{", "not JSON"),
        ("[]", "class_uid"),
        (r#"{"class_uid":2002}"#, "class_uid"),
        (r#"{"class_uid":2003,"activity_id":1}"#, "time"),
        (r#"{"class_uid":2004,"activity_id":1}"#, "time"),
        (
            r#"{"class_uid":2004,"activity_id":1,"time":1767601459146}"#,
            "metadata.uid",
        ),
        (
            r#"{"class_uid":2004,"activity_id":1,"time":17,"metadata":{"uid":"x"}}"#,
            "time",
        ),
    ] {
        let error = Alert::parse(record.as_bytes())
            .expect_err(record)
            .to_string();
        assert!(error.contains(said), "{record}: {error}");
    }
    assert!(Alert::parse(b"\xff\xfe").is_err());
}

#[test]
fn a_record_of_several_lines_becomes_one() {
    let value = &alerts()[0].value;
    let pretty = serde_json::to_string_pretty(value).expect("JSON");
    let alert = Alert::parse(pretty.as_bytes()).expect("an alert");
    let again: Value = serde_json::from_str(&render(&alert, Format::Ocsf)).expect("JSON");
    assert_eq!(&again, value);
    check(&alert);
}

#[test]
fn a_value_is_escaped_as_the_vectors_have_it() {
    let dir = std::env::var_os("TOLLWATCH_SHARED").map_or_else(
        || std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared"),
        std::path::PathBuf::from,
    );
    let path = dir.join("data/standards/siem/vectors.json");
    let Ok(text) = std::fs::read_to_string(&path) else {
        eprintln!("skipped: {} is not there", path.display());
        return;
    };
    let vectors: Value = serde_json::from_str(&text).expect("JSON");
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    for vector in vectors["cef"].as_array().expect("vectors") {
        let (mut header, mut extension) = (String::new(), String::new());
        cef::escape_header(&text(&vector["value"]), &mut header);
        cef::escape_value(&text(&vector["value"]), &mut extension);
        assert_eq!(
            [header, extension],
            [text(&vector["header"]), text(&vector["extension"])]
        );
    }
    for vector in vectors["leef"].as_array().expect("vectors") {
        let value = text(&vector["value"]);
        let (tab, caret) = (
            leef::without_ends(&value, '\t'),
            leef::without_ends(&value, '^'),
        );
        assert_eq!([tab, caret], [text(&vector["tab"]), text(&vector["caret"])]);
    }
    // Lines of others, read by the parsers these tests trust.
    let (_, cef) = parse_cef(&text(&vectors["cef_line"])).expect("CEF");
    assert!(cef.contains(&(
        "request".into(),
        "https://api.example.com/orders/{id}?a=b".into()
    )));
    let (_, leef) = parse_leef(&text(&vectors["leef_line"])).expect("LEEF");
    assert!(leef.contains(&(
        "url".into(),
        "https://api.example.com/orders/{id}?a=b".into()
    )));
}

/// Texts that mean something to one format or another.
fn hostile() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("|".to_owned()),
        Just("\\".to_owned()),
        Just("=".to_owned()),
        Just(" ".to_owned()),
        Just("\n".to_owned()),
        Just("\r\n".to_owned()),
        Just("\t".to_owned()),
        Just("\u{0}".to_owned()),
        Just("\u{2028}\u{202e}".to_owned()),
        Just("\"] [forged x=\"".to_owned()),
        Just(" suser=root".to_owned()),
        Just("\\n".to_owned()),
        Just("\nCEF:0|a|b|c|d|e|9|".to_owned()),
        Just("<!channel>`&amp;".to_owned()),
        Just("日本".to_owned()),
        any::<char>().prop_map(String::from),
        "[a-z0-9/]{1,8}",
        "[a-z]{1500}",
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

/// Puts `texts` in the places of an alert that hold a text, in turn.
fn fill(value: &mut Value, texts: &mut impl Iterator<Item = String>) {
    match value {
        Value::String(text) => *text = texts.next().unwrap_or_default(),
        Value::Array(values) => values.iter_mut().for_each(|value| fill(value, texts)),
        Value::Object(fields) => fields.values_mut().for_each(|value| fill(value, texts)),
        _ => (),
    }
}

proptest! {
    #[test]
    fn no_text_is_more_than_one_value(texts in proptest::collection::vec(hostile(), 1..24), which in 0_usize..10) {
        let mut value = alerts()[which].value.clone();
        fill(&mut value, &mut texts.into_iter().cycle());
        if let Ok(alert) = Alert::parse(value.to_string().as_bytes()) {
            check(&alert);
        }
    }

    #[test]
    fn no_bytes_make_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let _ = Alert::parse(&bytes);
    }

    #[test]
    fn what_was_escaped_is_read_as_it_was(text in hostile()) {
        let mut line = "CEF:0|".to_owned();
        cef::escape_header(&text, &mut line);
        line.push_str("||||||k=");
        cef::escape_value(&text, &mut line);
        line.push_str(" end=1");
        let (header, pairs) = parse_cef(&line).expect("CEF");
        prop_assert_eq!(&header[1], &text.replace(['\n', '\r'], " "));
        let expected = [("k".to_owned(), text.clone()), ("end".to_owned(), "1".to_owned())];
        prop_assert_eq!(pairs, expected);
        let message = format!("<1>1 - - - - - [origin x=\"{}\"] end", syslog::escape(&text));
        let (_, parameters, rest) = parse_syslog(&message).expect("a syslog message");
        prop_assert_eq!((&parameters[0].1, rest), (&text, "end"));
    }
}
