//! The set of templates `endpoint()` consults: immutable, small, read without allocating.
//!
//! Two tries a host: routes that documents specify, and templates learnt. A specified route that fits the whole path
//! wins; else the learnt ones decide as many segments as they know. Text form: a line `HOST /template` each, where
//! `{id}` stands for what looks like an id, `{name}` for any text, and anything else for itself.

use std::collections::BTreeSet;

use crate::endpoint::{Part, SEGMENTS_MAX, SegmentKind, part};
use crate::identity::is_unprintable;

/// Templates one set holds; a longer file is refused. 100 bytes each, so about 6 MiB.
pub const TEMPLATES_MAX: usize = 65_536;
/// Longest template, in bytes.
pub const TEMPLATE_BYTES_MAX: usize = 2048;
/// First line of the text form.
const HEADING: &str = "# tollwatch templates 1";
/// The host of what holds for every host.
pub const ANY_HOST: &str = "*";
/// Steps one path may take through specified routes: with parameters beside literals at every depth there are more ways
/// than anybody documents. Beyond it the path counts as not specified.
const STEPS_MAX: usize = 256;
/// Stands for what looks like an id.
pub(crate) const TYPED: &str = "{id}";
/// Stands for any text.
pub(crate) const OPEN: &str = "{name}";

/// What a set says of one segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Decided {
    /// Nothing: its looks decide.
    #[default]
    Undecided,
    /// It stands for itself.
    Literal,
    /// It names a thing; what stands around the name (`.json`, `:cancel`) stands for itself.
    Variable {
        /// Bytes before the name.
        head: usize,
        /// Bytes behind the name.
        tail: usize,
    },
}

/// Why a text is no set of templates.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TemplateError {
    /// Line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub reason: String,
}

impl std::fmt::Display for TemplateError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {}: {}", self.line, self.reason)
    }
}

impl std::error::Error for TemplateError {}

/// An immutable set of decisions.
#[derive(Clone, Default, Debug)]
pub struct TemplateSet {
    specified: Trie,
    learnt: Trie,
}

/// By host, sorted.
#[derive(Clone, Default, Debug)]
struct Trie {
    roots: Vec<(Box<str>, Node)>,
}

#[derive(Clone, Default, Debug)]
struct Node {
    /// Sorted by text.
    literals: Vec<(Box<str>, Node)>,
    wild: Vec<Wild>,
    /// A template ends here.
    end: bool,
}

#[derive(Clone, Debug)]
struct Wild {
    head: Box<str>,
    tail: Box<str>,
    open: bool,
    next: Node,
}

impl TemplateSet {
    /// Decides nothing.
    pub const EMPTY: TemplateSet = TemplateSet {
        specified: Trie { roots: Vec::new() },
        learnt: Trie { roots: Vec::new() },
    };

    /// A set of learnt templates and specified routes, each a host and a template.
    pub fn new<'a>(
        learnt: impl IntoIterator<Item = (&'a str, &'a str)>,
        specified: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Self {
        let mut set = Self::default();
        for (host, template) in learnt {
            set.learnt.insert(host, template);
        }
        for (host, template) in specified {
            set.specified.insert(host, template);
        }
        set
    }

    /// Whether it decides nothing.
    pub fn is_empty(&self) -> bool {
        self.specified.roots.is_empty() && self.learnt.roots.is_empty()
    }

    /// Decides the segments of a path; `host` is normalised, `decided` undecided.
    pub(crate) fn decide(
        &self,
        host: &str,
        segments: &[&str],
        decided: &mut [Decided; SEGMENTS_MAX],
    ) {
        if self.is_empty() {
            return;
        }
        let mut steps = 0;
        for root in self.specified.roots(host) {
            if fits(root, segments, decided, &mut steps) {
                return;
            }
        }
        *decided = [Decided::Undecided; SEGMENTS_MAX];
        if let Some(root) = self.learnt.roots(host).next() {
            follow(root, segments, decided);
        }
    }
}

/// Reads the text form: hosts and templates.
pub fn read(text: &str) -> Result<Vec<(&str, &str)>, TemplateError> {
    let wrong = |line: usize, reason: String| TemplateError { line, reason };
    let mut lines = text.lines().zip(1..);
    if lines.next().map(|(line, _)| line.trim_end()) != Some(HEADING) {
        return Err(wrong(
            1,
            format!("is not `{HEADING}`: no file of templates, or of another version"),
        ));
    }
    let mut templates = Vec::new();
    for (line, at) in lines {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match line
            .split_once(' ')
            .filter(|(_, template)| is_template(template))
        {
            _ if templates.len() == TEMPLATES_MAX => {
                return Err(wrong(at, format!("more than {TEMPLATES_MAX} templates")));
            }
            Some(found) => templates.push(found),
            None => return Err(wrong(at, "is not `HOST /template`".to_owned())),
        }
    }
    Ok(templates)
}

/// The text form of templates, sorted. What no line can hold is left out: white space or control characters in a literal, which
/// callers choose.
pub fn write<'a>(templates: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let templates = templates.into_iter();
    let sorted: BTreeSet<_> = templates
        .filter(|(_, template)| is_template(template))
        .collect();
    let mut out = format!("{HEADING}\n");
    for (host, template) in sorted {
        out.extend([host, " ", template, "\n"]);
    }
    out
}

impl Trie {
    fn insert(&mut self, host: &str, template: &str) {
        let mut node = own(&mut self.roots, host);
        for segment in template
            .split('/')
            .filter(|segment| !segment.is_empty())
            .take(SEGMENTS_MAX)
        {
            node = node.child(segment);
        }
        node.end = true;
    }

    /// The host's own root, then that of every host.
    fn roots(&self, host: &str) -> impl Iterator<Item = &Node> {
        [host, ANY_HOST]
            .into_iter()
            .filter_map(|host| of(&self.roots, host))
    }
}

impl Node {
    fn child(&mut self, segment: &str) -> &mut Node {
        let Some((head, open, tail)) = wildcard(segment) else {
            return own(&mut self.literals, segment);
        };
        let found = self
            .wild
            .iter()
            .position(|wild| *wild.head == *head && *wild.tail == *tail && wild.open == open);
        let at = found.unwrap_or_else(|| {
            let wild = Wild {
                head: head.into(),
                tail: tail.into(),
                open,
                next: Node::default(),
            };
            // The longest tail is tried first: `{name}.json` before `{name}`.
            let key = |wild: &Wild| std::cmp::Reverse(wild.tail.len() + wild.head.len());
            let at = self.wild.partition_point(|other| key(other) <= key(&wild));
            self.wild.insert(at, wild);
            at
        });
        &mut self.wild[at].next
    }

    fn literal(&self, segment: &str) -> Option<&Node> {
        of(&self.literals, segment)
    }
}

fn of<'a>(sorted: &'a [(Box<str>, Node)], text: &str) -> Option<&'a Node> {
    let at = sorted
        .binary_search_by(|(other, _)| (**other).cmp(text))
        .ok()?;
    sorted.get(at).map(|(_, node)| node)
}

/// The node of a text, made if there is none.
fn own<'a>(sorted: &'a mut Vec<(Box<str>, Node)>, text: &str) -> &'a mut Node {
    let at = match sorted.binary_search_by(|(other, _)| (**other).cmp(text)) {
        Ok(at) => at,
        Err(at) => {
            sorted.insert(at, (text.into(), Node::default()));
            at
        }
    };
    &mut sorted[at].1
}

/// Splits `{name}.json`: what stands before the braces, whether any text fits, and what stands behind. Two names in one
/// segment are one.
fn wildcard(segment: &str) -> Option<(&str, bool, &str)> {
    let (head, rest) = segment.split_once('{')?;
    let (name, tail) = rest.rsplit_once('}')?;
    Some((head, name != "id", tail))
}

fn is_template(text: &str) -> bool {
    text.starts_with('/')
        && text.len() <= TEMPLATE_BYTES_MAX
        && !text.contains(|c: char| c.is_whitespace() || is_unprintable(c))
}

/// Whether a specified route fits the whole path; literals go before parameters.
fn fits(node: &Node, segments: &[&str], decided: &mut [Decided], steps: &mut usize) -> bool {
    *steps += 1;
    let (Some((segment, rest)), Some((slot, rest_decided))) =
        (segments.split_first(), decided.split_first_mut())
    else {
        return segments.is_empty() && node.end;
    };
    if STEPS_MAX < *steps {
        return false;
    }
    if let Some(next) = node.literal(segment)
        && fits(next, rest, rest_decided, steps)
    {
        *slot = Decided::Literal;
        return true;
    }
    for wild in &node.wild {
        if wild.fits(segment) && fits(&wild.next, rest, rest_decided, steps) {
            *slot = wild.decided();
            return true;
        }
    }
    false
}

impl Wild {
    fn decided(&self) -> Decided {
        Decided::Variable {
            head: self.head.len(),
            tail: self.tail.len(),
        }
    }

    fn fits(&self, segment: &str) -> bool {
        self.head.len() + self.tail.len() < segment.len()
            && segment.starts_with(&*self.head)
            && segment.ends_with(&*self.tail)
    }
}

/// Decides as many segments as learnt templates know.
fn follow(mut node: &Node, segments: &[&str], decided: &mut [Decided]) {
    for (i, (&segment, slot)) in segments.iter().zip(decided).enumerate() {
        if let Some(next) = node.literal(segment) {
            *slot = Decided::Literal;
            node = next;
            continue;
        }
        if node.wild.is_empty() {
            return;
        }
        if let [wild] = node.wild.as_slice()
            && wild.open
            && wild.tail.is_empty()
        {
            *slot = wild.decided();
            node = &wild.next;
            continue;
        }
        // What looks like an id is left to its looks: they know its tail, and what is a secret.
        let tail = match part(segment, segments.get(..i).unwrap_or(&[])) {
            Part::Variable { kind, tail, .. } if kind != SegmentKind::Word => Some(tail),
            Part::Placeholder => Some(""),
            _ => None,
        };
        if let Some(wild) = tail.and_then(|tail| node.wild.iter().find(|wild| *wild.tail == *tail))
        {
            node = &wild.next;
        } else if let Some(wild) = node
            .wild
            .iter()
            .find(|wild| wild.open && wild.fits(segment))
        {
            *slot = wild.decided();
            node = &wild.next;
        } else {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::endpoint_by;
    use proptest::prelude::*;

    fn template(set: &TemplateSet, host: &str, path: &str) -> (String, Vec<(String, String)>) {
        let (mut out, mut variables) = (String::new(), Vec::new());
        endpoint_by(set, "GET", Some(host), path, &mut out, &mut variables);
        let of = variables
            .into_iter()
            .map(|variable| (variable.collection, variable.value));
        (
            out.rsplit(' ').next().unwrap_or("").to_owned(),
            of.collect(),
        )
    }

    #[test]
    fn a_specified_route_wins_over_what_was_learnt_and_what_was_learnt_over_looks() {
        let learnt = [
            ("h", "/teams/{name}"),
            ("h", "/teams/all"),
            ("h", "/files/{name}.json"),
            ("h", "/users/directory"),
            ("h", "/password/reset/{name}"),
        ];
        let specified = [
            ("h", "/teams/red"),
            ("*", "/reports/{kind}/{day}"),
            ("*", "/reports/yearly"),
            ("h", "/plot.{format}"),
            ("h", "/{id}/2015/x"),
        ];
        let set = TemplateSet::new(learnt, specified);
        for (host, path, want, objects) in [
            ("h", "/teams/blue", "/teams/{id}", vec![("team", "blue")]),
            (
                "H:443",
                "/teams/blue/members",
                "/teams/{id}/members",
                vec![("team", "blue")],
            ),
            ("h", "/teams/all", "/teams/all", vec![]),
            ("h", "/teams/red", "/teams/red", vec![]),
            ("other", "/teams/blue", "/teams/blue", vec![]),
            (
                "other",
                "/reports/sales/monday",
                "/reports/{id}/{id}",
                vec![("report", "sales"), ("report", "sales/monday")],
            ),
            ("other", "/reports/yearly", "/reports/yearly", vec![]),
            (
                "h",
                "/files/notes.json",
                "/files/{id}.json",
                vec![("file", "notes")],
            ),
            ("h", "/files/notes.xml", "/files/notes.xml", vec![]),
            ("h", "/plot.png", "/plot.{id}", vec![("", "png")]),
            ("h", "/a/2015/x", "/{id}/2015/x", vec![("", "a")]),
            ("h", "/users/directory", "/users/directory", vec![]),
            ("h", "/users/ada", "/users/{id}", vec![("user", "ada")]),
            (
                "h",
                "/password/reset/abcDEFghijKLmnop",
                "/password/reset/{id}",
                vec![],
            ),
            ("h", "/teams/undefined", "/teams/{id}", vec![]),
            ("h", "/teams/xoxb-abcdefghijkl", "/teams/{id}", vec![]),
        ] {
            let (got, found) = template(&set, host, path);
            assert_eq!(got, want, "{host} {path}");
            let found: Vec<_> = found
                .iter()
                .map(|(collection, value)| (collection.as_str(), value.as_str()))
                .collect();
            assert_eq!(found, objects, "{host} {path}");
        }
    }

    #[test]
    fn text_comes_back_as_it_was_written() {
        let templates = [("h", "/b/{name}"), ("-", "/a"), ("h", "/a/{name}.json")];
        let text = write(templates);
        let mut sorted = templates.to_vec();
        sorted.sort_unstable();
        assert_eq!(read(&text), Ok(sorted.clone()));
        let unwritable = [
            ("h", "/a b"),
            ("h", "/a\nh /b"),
            ("h", "/a\u{a0}"),
            ("h", "/\u{202e}a"),
        ];
        assert_eq!(write(templates.into_iter().chain(unwritable)), text);
    }

    #[test]
    fn what_is_no_text_of_templates_says_where() {
        for (text, line) in [
            ("", 1),
            ("# tollwatch templates 2\n", 1),
            ("# tollwatch templates 1\n\nh a\n", 3),
            ("# tollwatch templates 1\nh /a b\n", 2),
        ] {
            assert_eq!(read(text).expect_err("wrong").line, line, "{text}");
        }
    }

    #[test]
    fn parameters_beside_literals_at_every_depth_end_in_time() {
        let both = |depth: u32| {
            (0..1u32 << depth).map(move |bits| {
                (0..depth)
                    .map(|i| if bits >> i & 1 == 1 { "/{p}" } else { "/a" })
                    .collect::<String>()
            })
        };
        let routes: Vec<String> = both(12).map(|route| route + "/end").collect();
        let set = TemplateSet::new([], routes.iter().map(|route| ("h", route.as_str())));
        assert_eq!(
            template(&set, "h", &("/a".repeat(12) + "/other")).0,
            "/a".repeat(12) + "/other"
        );
    }

    proptest! {
        #[test]
        fn any_text_and_any_path_are_safe(text in "\\PC{0,80}|(h|\\*) (/[a-c{}.:]{0,6}){0,6}", path in "(/[a-cé{}%.:0-9]{0,8}){0,30}") {
            let text = format!("{HEADING}\n{text}\n");
            let templates = read(&text).unwrap_or_default();
            for set in [TemplateSet::new(templates.clone(), []), TemplateSet::new([], templates)] {
                let (mut out, mut variables) = (String::new(), Vec::new());
                endpoint_by(&set, "GET", Some("h"), &path, &mut out, &mut variables);
                prop_assert!(out.len() <= crate::endpoint::ENDPOINT_BYTES_MAX);
                prop_assert!(out.bytes().all(|b| b.is_ascii_graphic() || b == b' '));
            }
        }
    }
}
