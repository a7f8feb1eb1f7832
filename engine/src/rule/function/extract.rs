//! Many paths out of one JSON text in one pass: what `json_get` and its kin give, each a column of its own.
//!
//! A line of 500 bytes with fifteen fields would be parsed fifteen times over; here what no path names is skipped. Must not know:
//! mappings, batches.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::json::{Step, push_text, steps_of};

/// Paths to read, as a tree of steps.
#[derive(Debug, Default)]
pub struct Paths {
    root: Node,
    n_paths: usize,
}

/// What stands at each path of one text, in the order the paths were added.
pub type Found = Vec<Option<Value>>;

impl Paths {
    /// Adds a path; its place comes back.
    ///
    /// # Errors
    /// It is no path.
    pub fn add(&mut self, path: &str) -> Result<usize, String> {
        let mut node = &mut self.root;
        for step in steps_of(path)? {
            node = node.child_mut(step);
        }
        let place = *node.place.get_or_insert(self.n_paths);
        self.n_paths = self.n_paths.max(place + 1);
        Ok(place)
    }

    /// Number of different paths.
    pub fn len(&self) -> usize {
        self.n_paths
    }

    /// True when there is no path.
    pub fn is_empty(&self) -> bool {
        self.n_paths == 0
    }

    /// Reads a text; false, and nothing found, when it is no JSON.
    pub fn read(&self, text: &str, found: &mut Found) -> bool {
        found.clear();
        found.resize(self.n_paths, None);
        let mut parser = serde_json::Deserializer::from_str(text);
        let seed = Seed {
            node: &self.root,
            found,
        };
        let read = seed.deserialize(&mut parser).and_then(|()| parser.end());
        if read.is_err() {
            found.fill(None);
        }
        read.is_ok()
    }
}

/// A value as text; none for null.
pub fn text(value: Value) -> Option<String> {
    let mut text = String::new();
    push_text(value, &mut text).then_some(text)
}

/// One step of some paths.
#[derive(Debug, Default)]
struct Node {
    /// Place of the path that ends here.
    place: Option<usize>,
    keys: Vec<(String, Node)>,
    indices: Vec<(usize, Node)>,
}

impl Node {
    fn child_mut(&mut self, step: Step) -> &mut Node {
        fn of<K: PartialEq>(children: &mut Vec<(K, Node)>, key: K) -> &mut Node {
            let at = children.iter().position(|(known, _)| *known == key);
            let at = at.unwrap_or_else(|| {
                children.push((key, Node::default()));
                children.len() - 1
            });
            &mut children[at].1
        }
        match step {
            Step::Key(key) => of(&mut self.keys, key),
            Step::Index(at) => of(&mut self.indices, at),
        }
    }

    fn key(&self, key: &str) -> Option<&Node> {
        self.keys
            .iter()
            .find(|(known, _)| known == key)
            .map(|(_, node)| node)
    }

    fn index(&self, at: usize) -> Option<&Node> {
        self.indices
            .iter()
            .find(|(known, _)| *known == at)
            .map(|(_, node)| node)
    }

    fn children(&self) -> impl Iterator<Item = &Node> {
        let keys = self.keys.iter().map(|(_, node)| node);
        keys.chain(self.indices.iter().map(|(_, node)| node))
    }

    /// Forgets what was found here and below: of a key that stands twice the last one counts.
    fn clear(&self, found: &mut Found) {
        if let Some(place) = self.place {
            found[place] = None;
        }
        self.children().for_each(|child| child.clear(found));
    }

    /// Keeps a value, and what of it is asked for below.
    fn keep(&self, value: Value, found: &mut Found) {
        for (key, node) in &self.keys {
            if let Some(below) = value.get(key) {
                node.keep(below.clone(), found);
            }
        }
        for (at, node) in &self.indices {
            if let Some(below) = value.get(at) {
                node.keep(below.clone(), found);
            }
        }
        if let Some(place) = self.place {
            found[place] = Some(value);
        }
    }
}

/// Reads the value a node stands for.
struct Seed<'n, 'f> {
    node: &'n Node,
    found: &'f mut Found,
}

impl<'de> DeserializeSeed<'de> for Seed<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, parser: D) -> Result<(), D::Error> {
        if self.node.place.is_none() {
            return parser.deserialize_any(self);
        }
        let value = Value::deserialize(parser)?;
        self.node.keep(value, self.found);
        Ok(())
    }
}

impl<'de> Visitor<'de> for Seed<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(child) = map.next_key_seed(Key(self.node))? {
            let Some(node) = child else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            node.clear(self.found);
            map.next_value_seed(Seed {
                node,
                found: self.found,
            })?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        for at in 0.. {
            let more = match self.node.index(at) {
                None => seq.next_element::<IgnoredAny>()?.is_some(),
                Some(node) => {
                    let found = &mut *self.found;
                    seq.next_element_seed(Seed { node, found })?.is_some()
                }
            };
            if !more {
                break;
            }
        }
        Ok(())
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }
}

/// The node of a key, if a path names it.
struct Key<'n>(&'n Node);

impl<'de, 'n> DeserializeSeed<'de> for Key<'n> {
    type Value = Option<&'n Node>;

    fn deserialize<D: Deserializer<'de>>(self, parser: D) -> Result<Self::Value, D::Error> {
        parser.deserialize_str(self)
    }
}

impl<'n> Visitor<'_> for Key<'n> {
    type Value = Option<&'n Node>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.0.key(key))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What stands at a path of a text that was parsed whole.
    fn at(text: &str, path: &str) -> Option<Value> {
        let value: Value = serde_json::from_str(text).ok()?;
        let step = |value: Value, step: Step| match step {
            Step::Key(key) => value.get(key).cloned(),
            Step::Index(at) => value.get(at).cloned(),
        };
        steps_of(path).unwrap().into_iter().try_fold(value, step)
    }

    fn json() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just("null".to_owned()),
            any::<bool>().prop_map(|flag| flag.to_string()),
            any::<i64>().prop_map(|number| number.to_string()),
            any::<f32>().prop_map(|number| serde_json::json!(number).to_string()),
            "[a-z\\\\\"é]{0,4}".prop_map(|text| serde_json::json!(text).to_string()),
        ];
        leaf.prop_recursive(4, 40, 5, |inner| {
            let pair = ("[abc]", inner.clone()).prop_map(|(key, value)| format!("{key:?}:{value}"));
            prop_oneof![
                proptest::collection::vec(inner, 0..4)
                    .prop_map(|all| format!("[{}]", all.join(","))),
                // A key may stand twice.
                proptest::collection::vec(pair, 0..5)
                    .prop_map(|all| format!("{{{}}}", all.join(","))),
            ]
        })
    }

    const PATHS: [&str; 12] = [
        "a", "b", "a.b", "a.b.c", "b.a", "c[0]", "c[1].a", "[0]", "[1].b", "c", "c.c", "a[0][1]",
    ];

    proptest! {
        #[test]
        fn one_pass_finds_what_each_path_alone_does(text in json(), from in 0..PATHS.len(), n in 1..PATHS.len()) {
            let asked: Vec<&str> = PATHS.iter().cycle().skip(from).take(n).copied().collect();
            let mut paths = Paths::default();
            let places: Vec<usize> = asked.iter().map(|path| paths.add(path).unwrap()).collect();
            let mut found = Found::new();
            prop_assert!(paths.read(&text, &mut found), "{text}");
            for (path, place) in asked.iter().zip(places) {
                prop_assert_eq!(&found[place], &at(&text, path), "{} of {}", path, text);
            }
        }

        #[test]
        fn what_is_no_json_holds_nothing(text in json(), cut in 1_usize..5) {
            let mut paths = Paths::default();
            paths.add("a").unwrap();
            let mut found = Found::new();
            let cut = text.len().saturating_sub(cut);
            let front = &text[..text.floor_char_boundary(cut)];
            let is_json = serde_json::from_str::<Value>(front).is_ok();
            prop_assert_eq!(paths.read(front, &mut found), is_json, "{}", front);
        }
    }

    #[test]
    fn deep_and_broken_texts_end_in_nothing() {
        let mut paths = Paths::default();
        paths.add("a.a").unwrap();
        let mut found = Found::new();
        let deep = "{\"a\":".repeat(100_000) + "1";
        for text in [
            deep.as_str(),
            &"[".repeat(100_000),
            "",
            "{\"a\":{\"a\":1}} x",
            "\u{0}",
        ] {
            assert!(!paths.read(text, &mut found));
            assert_eq!(found, [None]);
        }
    }
}
