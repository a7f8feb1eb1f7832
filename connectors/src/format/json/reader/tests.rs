//! What the reader takes is what `sonic_rs` reads.

use proptest::prelude::*;
use serde::de::{Deserialize, IgnoredAny};

use super::*;

/// Any value, by what a visitor was given.
#[derive(Debug, PartialEq)]
enum Tree {
    Borrowed(String),
    Copied(String),
    Unsigned(u64),
    Negative(i64),
    /// By its bits: a zero has a sign.
    Float(u64),
    Bool(bool),
    Nothing,
    List(Vec<Tree>),
    Object(Vec<(Tree, Tree)>),
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Tree, E> {
        Ok(Tree::Borrowed(text.to_owned()))
    }

    fn visit_str<E>(self, text: &str) -> Result<Tree, E> {
        Ok(Tree::Copied(text.to_owned()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Tree, E> {
        Ok(Tree::Unsigned(number))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Tree, E> {
        Ok(Tree::Negative(number))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Tree, E> {
        Ok(Tree::Float(number.to_bits()))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
        Ok(Tree::Bool(value))
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Nothing)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Tree, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = seq.next_element()? {
            list.push(element);
        }
        Ok(Tree::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Tree::Object(members))
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Tree, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

fn taken<'a, T: Deserialize<'a>>(text: &'a str) -> Option<T> {
    let mut reader = Reader::new(text);
    let value = T::deserialize(&mut reader).ok()?;
    reader.end().ok().map(|()| value)
}

/// What is taken is what `sonic_rs` reads, and so is what is skipped.
fn check(text: &str) {
    let read = sonic_rs::from_str::<Tree>(text).ok();
    if let Some(tree) = taken::<Tree>(text) {
        assert_eq!(Some(tree), read, "{text}");
    }
    if taken::<IgnoredAny>(text).is_some() {
        let skipped = sonic_rs::from_str::<IgnoredAny>(text);
        assert!(skipped.is_ok() && read.is_some(), "{text}");
    }
}

#[test]
fn usual_records_are_taken_and_rare_ones_given_up() {
    let taken_ones = [
        r#" {"a" : "b", "c":[1 , -2,0.25,1767571200.0037892,true,false,null],"d":{},"e":[]} "#,
        r#""\"\\\/\b\f\n\r\t\u00e9\uD83D\uDE00 é \u0000""#,
        "999999999999999999",
        "0.000",
    ];
    for text in taken_ones {
        assert!(taken::<Tree>(text).is_some(), "{text}");
        assert!(taken::<IgnoredAny>(text).is_some(), "{text}");
        check(text);
    }
    let given_up = [
        "",
        " ",
        "{",
        "[",
        "\"",
        "\"\\",
        "\"\\u12",
        "{\"a\"",
        "{\"a\":",
        "{\"a\":1",
        "{\"a\":1,}",
        "{,\"a\":1}",
        "{1:2}",
        "[1,]",
        "[,1]",
        "[1 2]",
        "1 2",
        "01",
        "-",
        "-0",
        "-0.5",
        "1.",
        ".5",
        "1e3",
        "1.5E3",
        "1000000000000000000",
        "nul",
        "nulll",
        "tru",
        "\"\t\"",
        "\"\\x22\"",
        "\"\\ud800\"",
        "\"\\ud800\\u0041\"",
        "\"\\udc00\"",
        "\"\\u+123\"",
        "+1",
        "'a'",
        "\u{feff}1",
    ];
    for text in given_up {
        assert_eq!(taken::<Tree>(text), None, "{text}");
        assert!(taken::<IgnoredAny>(text).is_none(), "{text}");
    }
}

#[test]
fn a_string_ends_where_it_ends_however_long_it_is() {
    for n_before in 0..20 {
        let before = "é~\u{7f}".repeat(n_before);
        assert_eq!(string_stop(before.as_bytes(), 0), before.len());
        for stop in ['"', '\\', '\u{1f}', '\0'] {
            let text = format!("{before}{stop}é\"");
            assert_eq!(string_stop(text.as_bytes(), 0), before.len(), "{text:?}");
        }
    }
}

proptest! {
    #[test]
    fn what_is_taken_is_what_sonic_reads(
        parts in prop::collection::vec(
            prop_oneof![
                prop::sample::select(&["{", "}", "[", "]", ",", ":", " ", "\n", "\"", "\\", "\"a\"", "\"a\":", "\\u00e9", "\\ud83d", "\\ude00", "\\n", "\\x", "é", "\t",
                    "null", "true", "false", "0", "1", "-", ".", "e5", "123456789", "000", "{\"a\":", "[1,"][..]).prop_map(str::to_owned),
                "[ -~]{0,6}",
            ],
            0..12,
        ),
    ) {
        check(&parts.concat());
    }

    #[test]
    fn decimals_are_what_sonic_reads(
        whole in prop_oneof![0_u64..10, 0_u64..3_000_000_000, any::<u64>()],
        decimals in "[0-9]{1,25}",
    ) {
        let text = format!("{whole}.{decimals}");
        prop_assert!(taken::<Tree>(&text).is_some());
        check(&text);
    }

    #[test]
    fn values_are_verbatim(parts in prop::collection::vec(prop::sample::select(&["{}", "[ 1,{\"a\":\"]\"}]", "\"a\\n\"", "1.5", "null"][..]), 1..4)) {
        struct Verbatim;
        impl<'de> Visitor<'de> for Verbatim {
            type Value = &'de str;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<&'de str, E> {
                Ok(text)
            }
        }
        let text = format!(" {} ", parts.join(" "));
        let mut reader = Reader::new(&text);
        for part in parts {
            prop_assert_eq!(reader.deserialize_newtype_struct(VERBATIM, Verbatim), Ok(part));
        }
        prop_assert_eq!(reader.end(), Ok(()));
    }
}
