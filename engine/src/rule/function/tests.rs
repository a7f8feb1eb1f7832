use datafusion::common::DFSchema;
use proptest::prelude::*;

use super::*;
use crate::rule::plan::{expression, other_functions};

/// What an expression gives for one text `t`, as SQL shows it.
fn answer(sql: &str, t: Option<&str>) -> Result<String, String> {
    let texts: ArrayRef = Arc::new(StringArray::from(vec![t]));
    let batch = arrow::array::RecordBatch::try_from_iter_with_nullable([("t", texts, true)])
        .map_err(|e| e.to_string())?;
    let schema = DFSchema::try_from(batch.schema()).map_err(|e| e.to_string())?;
    let told = |e: DataFusionError| e.strip_backtrace();
    let expr = expression(sql, &schema).map_err(told)?;
    let value = expr.evaluate(&batch).map_err(told)?;
    let array = value.into_array(1).map_err(told)?;
    let value = ScalarValue::try_from_array(&array, 0).map_err(told)?;
    Ok(match value.is_null() {
        true => "NULL".to_owned(),
        false => value.to_string(),
    })
}

#[test]
fn every_example_gives_its_answer_as_a_constant_and_of_a_column() {
    for function in FUNCTIONS {
        let told = answer(function.example, None);
        assert_eq!(told.as_deref(), Ok(function.answer), "{}", function.example);
        let (head, rest) = function
            .example
            .split_once("('")
            .expect("a text comes first");
        let (text, tail) = rest.split_once('\'').expect("it ends");
        let of_column = format!("{head}(t{tail}");
        let told = answer(&of_column, Some(text));
        assert_eq!(told.as_deref(), Ok(function.answer), "{of_column}");
        assert_eq!(
            answer(&of_column, None).as_deref(),
            Ok("NULL"),
            "{of_column}"
        );
    }
}

#[test]
fn functions_give_what_their_tables_say() {
    let rows = [
        ("ip_in(t, '10.0.0.0/8')", "::ffff:10.1.1.1", "true"),
        ("ip_in(t, '::ffff:10.0.0.0/104')", "10.1.1.1", "true"),
        ("ip_in(t, '0.0.0.0/0')", "2001:db8::1", "false"),
        ("ip_in(t, '::/0')", "10.0.0.1", "false"),
        (
            "ip_in(t, '2001:db8::/32', '10.0.0.1')",
            "[2001:db8::7]",
            "true",
        ),
        ("ip_in(t, '10.0.0.1')", "10.0.0.2", "false"),
        ("ip_in(t, '10.0.0.1')", "10.0.0.1:443", "NULL"),
        ("ip_in(t, NULL)", "10.0.0.1", "NULL"),
        ("is_private(t)", "100.64.3.2", "true"),
        ("is_private(t)", "100.128.0.1", "false"),
        ("is_private(t)", "fd00::1", "true"),
        ("is_private(t)", "8.8.8.8", "false"),
        ("is_private(t)", "-", "NULL"),
        ("ip_prefix(t, 48)", "2001:db8:1:2::3", "2001:db8:1::/48"),
        ("ip_prefix(t, 48)", "203.0.113.9", "203.0.113.9/32"),
        ("ip_prefix(t, 0)", "203.0.113.9", "0.0.0.0/0"),
        ("path_template(t)", "https://h.example/a/17#x", "/a/{id}"),
        ("path_segment(t, 2)", "//v1//us%65rs/?a=/b", "users"),
        ("path_segment(t, -3)", "/a/b", "NULL"),
        ("query_param(t, 'a')", "?b=1&a=2&a=3", "2"),
        ("query_param(t, 'a')", "a&b=1", ""),
        ("query_param(t, 'a b')", "a+b=%ff", "\u{fffd}"),
        ("query_param(t, 'a')", "aa=1", "NULL"),
        ("url_decode(t)", "%zz%4", "%zz%4"),
        (
            "json_get(t, 'a')",
            r#"{"a": {"b": [1, null]}}"#,
            r#"{"b":[1,null]}"#,
        ),
        (
            "json_get(t, 'a.b[1]')",
            r#"{"a": {"b": [1, null]}}"#,
            "NULL",
        ),
        ("json_get(t, '[1].b')", r#"[0, {"b": "x"}]"#, "x"),
        (
            r#"json_get(t, '["a.b"]["c"][0].d')"#,
            r#"{"a.b": {"c": [{"d": "x"}]}}"#,
            "x",
        ),
        ("json_get(t, 'a')", "{\"a\": ", "NULL"),
        ("json_get_int(t, 'a')", r#"{"a": 1.5}"#, "NULL"),
        ("json_get_bool(t, 'a')", r#"{"a": "true"}"#, "NULL"),
        ("entropy(t)", "", "0"),
        ("entropy(t)", "aaaa", "0"),
        ("is_uuid(t)", "6f1c2f0e2f624c0c9f0c2a6e3b1d9f10", "false"),
        ("id_kind(t)", "reports", "text"),
        ("id_kind(t)", "-17", "int"),
        (
            "ua_family(t)",
            "Mozilla/5.0 (X11) AppleWebKit/537.36 Chrome/120.0 Safari/537.36 Edg/120.0",
            "edge",
        ),
        ("ua_family(t)", "a-thing/1", "other"),
        (
            "ua_is_bot(t)",
            "Mozilla/5.0 (X11) AppleWebKit/537.36 Chrome/120.0 Safari/537.36",
            "false",
        ),
        ("ua_is_bot(t)", "SQLMAP/1.7", "true"),
    ];
    for (sql, text, wanted) in rows {
        assert_eq!(
            answer(sql, Some(text)).as_deref(),
            Ok(wanted),
            "{sql} of {text}"
        );
    }
}

#[test]
fn a_bad_constant_is_a_fault_of_the_rule() {
    let rows = [
        ("ip_in(t, '10.0.0.1/8')", "write 10.0.0.0/8"),
        ("ip_in(t, '10.0.0.0/33')", "is no network"),
        ("ip_in(t, 'office')", "is no network"),
        ("ip_in(t, t)", "takes constants behind its first argument"),
        (
            "ip_in(t)",
            "ip_in takes other arguments: ip_in(ip, 'network' [, 'network' …])",
        ),
        ("is_private(7)", "argument 1 of is_private is a Int64"),
        ("ip_prefix(t, 129)", "129 is no number of bits"),
        ("ip_prefix(t, '24')", "argument 2 of ip_prefix"),
        ("path_segment(t, 0)", "0 is no segment"),
        ("json_get(t, '')", "is no path"),
        ("json_get(t, 'a[')", "is no path"),
        ("json_get(t, 'a..b')", "is no path"),
        ("json_get(t, 'a[0]b')", "is no path"),
        (r#"json_get(t, 'a["b')"#, "is no path"),
        (
            "json_get(t, 'a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q')",
            "more than 16 steps",
        ),
    ];
    for (sql, wanted) in rows {
        let told = answer(sql, Some("10.0.0.1")).expect_err(sql);
        assert!(told.contains(wanted), "{sql}: {told}");
    }
}

#[test]
fn rules_may_call_what_is_the_same_at_each_call_and_nothing_else() {
    let others = other_functions();
    for wanted in [
        "lower",
        "regexp_like",
        "round",
        "md5",
        "encode",
        "date_trunc",
        "array_length",
    ] {
        assert!(others.iter().any(|name| name == wanted), "{wanted}");
    }
    for changing in ["random", "uuid", "now", "current_date", "current_time"] {
        assert!(!others.iter().any(|name| name == changing), "{changing}");
        let call = format!("{changing}() IS NULL");
        let told = answer(&call, None).expect_err(changing);
        assert!(told.contains("changes from call to call"), "{call}: {told}");
    }
}

proptest! {
    /// Callers choose the text.
    #[test]
    fn no_text_makes_a_function_panic_or_fail(text in "\\PC{0,60}|[\\x00-\\x7f%/\\[\\]{}\":.,&=]{0,200}") {
        for function in FUNCTIONS {
            let (head, rest) = function.example.split_once("('").expect("a text comes first");
            let (_, tail) = rest.split_once('\'').expect("it ends");
            let told = answer(&format!("{head}(t{tail}"), Some(&text));
            prop_assert!(told.is_ok(), "{}: {told:?}", function.name);
        }
    }

    /// A mapped address is the address, and a prefix holds what it was taken of.
    #[test]
    fn an_address_is_in_its_own_prefix(ip in any::<u32>(), bits in 0u8..=32) {
        let ip = std::net::Ipv4Addr::from(ip);
        let prefix = answer(&format!("ip_prefix(t, {bits})"), Some(&ip.to_string())).unwrap();
        for text in [ip.to_string(), ip.to_ipv6_mapped().to_string()] {
            let told = answer(&format!("ip_in(t, '{prefix}')"), Some(&text));
            prop_assert_eq!(told.as_deref(), Ok("true"));
        }
    }

    #[test]
    fn entropy_is_between_nothing_and_what_the_length_allows(text in ".{1,200}") {
        let told: f64 = answer("entropy(t)", Some(&text)).unwrap().parse().unwrap();
        prop_assert!(0.0 <= told && told <= (text.len() as f64).log2() + 1e-9, "{told}");
    }
}
