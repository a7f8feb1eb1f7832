//! Learns templates from calls: a bounded tree for each host, and what it makes of it.

use std::collections::BTreeMap;

use hashbrown::HashMap;

use super::set::{ANY_HOST, OPEN, TYPED};
use super::settle::{push_templates, settled};
use super::tree::{Callers, Node, is_wild, method_at, word_tail};
use super::vocabulary;
use crate::endpoint::{Part, SegmentKind, is_placeholder, part, push_host, with_segments};

/// Nodes of all trees. About 200 bytes each with their texts, so 50 MiB; at the limit the trees are settled, what is a
/// variable by then is merged, and if that is not enough what was called least goes.
pub const NODES_MAX: usize = 262_144;
/// Nodes one caller may make; beyond it its calls count where there is a node already. So a walk through words can't
/// push out what others taught. For the learner's life: a log is learnt from once.
pub const NODES_PER_CALLER_MAX: usize = 16_384;
/// Callers whose nodes are counted apart; later ones share one count.
const CALLERS_MAX: usize = 65_536;
/// Literals told apart in one place; with more of them it is a variable.
pub const CHILDREN_MAX: usize = 1024;
/// Hosts learnt apart; calls of further ones are not learnt from.
pub const HOSTS_MAX: usize = 256;
/// What leans so far to a literal (`findingsv2`, a long name of known words) is one, though its looks say otherwise.
const LITERAL: f64 = -1.0;

/// One call to learn from.
#[derive(Clone, Copy, Debug)]
pub struct Observation<'a> {
    /// HTTP method.
    pub method: &'a str,
    /// Host as logged.
    pub host: Option<&'a str>,
    /// Path as logged; a query is ignored.
    pub path: &'a str,
    /// Answer; none counts as success.
    pub status: Option<u16>,
    /// Who called, as a hash.
    pub caller: u64,
}

/// Texts that were found to be values of one variable.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Merge {
    /// Host.
    pub host: String,
    /// Template up to the variable: `/repos/{name}`.
    pub template: String,
    /// Distinct values.
    pub n_values: usize,
    /// Calls.
    pub n_calls: u64,
    /// Some of the values, those called most first.
    pub examples: Vec<String>,
}

/// What was learnt.
#[derive(Default, Debug)]
pub struct Learnt {
    /// Host and template, as [`super::TemplateSet`] takes them.
    pub templates: Vec<(String, String)>,
    /// The variables among them that no single call tells, those with most calls first.
    pub merges: Vec<Merge>,
}

/// Learns templates from calls.
#[derive(Default, Debug)]
pub struct Learner {
    hosts: BTreeMap<String, Node>,
    n_nodes: usize,
    nodes_of: HashMap<u64, usize>,
    n_ignored: u64,
}

impl Learner {
    /// Learns one call. Only an answer below 400 proves that there is an endpoint: what scanners ask for never gets in.
    pub fn observe(&mut self, call: &Observation<'_>) {
        if call
            .status
            .is_some_and(|status| !(200..400).contains(&status))
        {
            return;
        }
        let mut host = String::new();
        push_host(call.host.unwrap_or(""), &mut host);
        // A caller who writes that name would teach what holds for every host.
        if host == ANY_HOST {
            return;
        }
        if !self.hosts.contains_key(&host) && HOSTS_MAX <= self.hosts.len() {
            self.n_ignored += 1;
            return;
        }
        if NODES_MAX <= self.n_nodes {
            self.shrink();
        }
        let caller =
            match self.nodes_of.len() < CALLERS_MAX || self.nodes_of.contains_key(&call.caller) {
                true => call.caller,
                false => 0,
            };
        let n_made = self.nodes_of.entry(caller).or_default();
        self.n_nodes += usize::from(!self.hosts.contains_key(&host));
        let root = self.hosts.entry(host).or_default();
        let budget = NODES_PER_CALLER_MAX
            .saturating_sub(*n_made)
            .min(NODES_MAX.saturating_sub(self.n_nodes));
        let (n_new, opened) =
            with_segments(call.path, |segments| grow(root, segments, call, budget));
        *n_made += n_new;
        self.n_nodes += n_new;
        if opened {
            self.n_nodes = n_nodes(&self.hosts);
        }
    }

    /// Calls that were not learnt from for want of room.
    pub fn n_ignored(&self) -> u64 {
        self.n_ignored
    }

    /// What the calls so far amount to.
    pub fn learnt(&self) -> Learnt {
        let mut learnt = Learnt::default();
        for (host, root) in &self.hosts {
            let (settled, merges) = settled(root);
            learnt
                .merges
                .extend(merges.into_iter().map(|(template, merge)| Merge {
                    host: host.clone(),
                    template,
                    ..merge
                }));
            let mut path = String::new();
            push_templates(&settled, &mut path, &mut |template| {
                learnt.templates.push((host.clone(), template.to_owned()));
            });
        }
        learnt.merges.sort_by(|a, b| {
            (b.n_calls, &a.host, &a.template).cmp(&(a.n_calls, &b.host, &b.template))
        });
        learnt
    }

    fn shrink(&mut self) {
        for root in self.hosts.values_mut() {
            *root = settled(root).0;
        }
        let mut least = 1u32;
        self.n_nodes = n_nodes(&self.hosts);
        while NODES_MAX / 2 < self.n_nodes {
            self.hosts.values_mut().for_each(|root| prune(root, least));
            self.n_nodes = n_nodes(&self.hosts);
            least = least.saturating_mul(2);
        }
    }
}

fn n_nodes(hosts: &BTreeMap<String, Node>) -> usize {
    hosts.values().map(Node::n_nodes).sum()
}

/// Drops what was called at most `least` times.
fn prune(node: &mut Node, least: u32) {
    node.children.retain(|(_, child)| least < child.n_calls);
    node.children
        .iter_mut()
        .for_each(|(_, child)| prune(child, least));
}

/// Adds a call to a tree; returns how many nodes that made, at most `budget`, and whether it merged others.
fn grow(
    root: &mut Node,
    segments: &[&str],
    call: &Observation<'_>,
    budget: usize,
) -> (usize, bool) {
    let (mut n_new, mut opened) = (0, false);
    // Braces are the templates' own: a caller's would be read as a variable.
    if segments
        .iter()
        .any(|segment| segment.contains(['{', '}']) && !is_placeholder(segment))
    {
        return (n_new, opened);
    }
    let mut node = root;
    let count = |node: &mut Node| {
        node.n_calls = node.n_calls.saturating_add(1);
        node.callers = node.callers.join(Callers::One(call.caller));
    };
    count(node);
    for (i, segment) in segments.iter().enumerate() {
        let (mut edge, mixed) = edge(node, segment, segments.get(..i).unwrap_or(&[]));
        if node.get(&edge).is_none() {
            if n_new == budget {
                return (n_new, opened);
            }
            if CHILDREN_MAX <= node.children.len() && !is_wild(&edge) {
                edge = OPEN.to_owned();
                if node.get(OPEN).is_none() {
                    open(node);
                    opened = true;
                }
            }
        }
        let (next, made) = node.get_or_make(&edge);
        n_new += usize::from(made);
        node = next;
        count(node);
        node.n_mixed = node.n_mixed.saturating_add(u32::from(mixed));
    }
    if let Some(n) = node.n_ends.get_mut(method_at(call.method)) {
        *n = n.saturating_add(1);
    }
    (n_new, opened)
}

/// So many texts in one place are values: all but clear words become one variable.
fn open(node: &mut Node) {
    let mut values = Vec::new();
    for (edge, mut child) in std::mem::take(&mut node.children) {
        if is_wild(&edge) || f64::from(child.lean) < LITERAL {
            node.children.push((edge, child));
        } else {
            child.n_texts = 1;
            values.push(*child);
        }
    }
    node.put(OPEN, Node::joined(values));
}

/// The edge a segment takes, and whether it is of mixed letters and digits; what was merged already stays merged.
fn edge(node: &Node, segment: &str, before: &[&str]) -> (String, bool) {
    let open = |tail: &str| format!("{OPEN}{tail}");
    match part(segment, before) {
        Part::Variable {
            kind: SegmentKind::Mixed,
            tail: "",
            ..
        } if is_plain(segment) && vocabulary::lean(segment) < LITERAL => {
            (segment.to_owned(), false)
        }
        Part::Variable {
            kind: SegmentKind::Word,
            ..
        }
        | Part::Literal => {
            let open = open(word_tail(segment));
            match node.get(segment).is_none() && node.get(&open).is_some() {
                true => (open, false),
                false => (segment.to_owned(), false),
            }
        }
        Part::Variable { kind, tail, .. } => {
            let mixed = matches!(kind, SegmentKind::Mixed | SegmentKind::Hex);
            match open(tail) {
                open if node.get(&open).is_some() => (open, mixed),
                _ => (format!("{TYPED}{tail}"), mixed),
            }
        }
        Part::Placeholder => (TYPED.to_owned(), false),
    }
}

fn is_plain(segment: &str) -> bool {
    segment
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::endpoint_by;
    use crate::template::TemplateSet;

    const NAMES: [&str; 20] = [
        "ada", "grace", "linus", "mary", "otto", "wei", "fatima", "jose", "ingrid", "pavel",
        "yuki", "noor", "bram", "chloe", "dmitri", "elena", "finn", "gita", "hugo", "irene",
    ];

    fn observe(learner: &mut Learner, method: &str, path: &str, status: u16, caller: u64) {
        let status = Some(status);
        learner.observe(&Observation {
            method,
            host: Some("h"),
            path,
            status,
            caller,
        });
    }

    /// A small forge: owners with repositories, people, and endpoints of their own beside both.
    fn forge() -> Vec<(&'static str, String)> {
        let mut calls = Vec::new();
        for (i, owner) in NAMES.iter().enumerate() {
            for repo in ["river-stone", "lantern", "the-quarry"]
                .map(|repo| format!("{repo}-{}", NAMES[(i * 7) % 20]))
            {
                calls.push(("GET", format!("/repos/{owner}/{repo}")));
                calls.push(("GET", format!("/repos/{owner}/{repo}/issues")));
                calls.push(("POST", format!("/repos/{owner}/{repo}/issues")));
            }
            calls.push(("GET", format!("/orgs/{owner}")));
            calls.push(("GET", format!("/notes/{owner}.json")));
            calls.push(("POST", format!("/jobs/{owner}:cancel")));
            for path in [
                "/repos/search",
                "/orgs/search",
                "/health/ready",
                "/health/live",
                "/invoices",
                "/shipments",
            ] {
                calls.push(("GET", path.to_owned()));
            }
        }
        calls
    }

    fn set(learnt: &Learnt) -> TemplateSet {
        TemplateSet::new(
            learnt
                .templates
                .iter()
                .map(|(host, template)| (host.as_str(), template.as_str())),
            [],
        )
    }

    fn learnt(calls: &[(&str, String)]) -> Learnt {
        let mut learner = Learner::default();
        for (i, (method, path)) in calls.iter().enumerate() {
            observe(&mut learner, method, path, 200, i as u64 % 5);
        }
        learner.learnt()
    }

    #[test]
    fn names_become_variables_and_endpoints_of_their_own_stay_apart() {
        let learnt = learnt(&forge());
        let set = set(&learnt);
        for (path, want, objects) in [
            (
                "/repos/someone/something/issues",
                "/repos/{id}/{id}/issues",
                vec!["someone", "someone/something"],
            ),
            (
                "/repos/ada/lantern",
                "/repos/{id}/{id}",
                vec!["ada", "ada/lantern"],
            ),
            ("/repos/search", "/repos/search", vec![]),
            ("/orgs/search", "/orgs/search", vec![]),
            ("/orgs/nobody-yet", "/orgs/{id}", vec!["nobody-yet"]),
            ("/notes/zoe.json", "/notes/{id}.json", vec!["zoe"]),
            ("/jobs/zoe:cancel", "/jobs/{id}:cancel", vec!["zoe"]),
            ("/health/ready", "/health/ready", vec![]),
            ("/invoices", "/invoices", vec![]),
            ("/unheard/of", "/unheard/of", vec![]),
        ] {
            let (mut out, mut variables) = (String::new(), Vec::new());
            endpoint_by(&set, "GET", Some("h"), path, &mut out, &mut variables);
            assert_eq!(
                out,
                format!("GET h {want}"),
                "{path}; {:#?}",
                learnt.templates
            );
            let values: Vec<&str> = variables
                .iter()
                .map(|variable| variable.value.as_str())
                .collect();
            assert_eq!(values, objects, "{path}");
        }
        let repos = learnt
            .merges
            .iter()
            .find(|merge| merge.template == "/repos/{name}")
            .expect("owners");
        assert_eq!((repos.n_values, repos.n_calls), (20, 180));
    }

    #[test]
    fn the_order_of_calls_changes_nothing() {
        let mut calls = forge();
        let forwards = learnt(&calls);
        calls.reverse();
        assert_eq!(learnt(&calls).templates, forwards.templates);
    }

    #[test]
    fn what_was_never_answered_is_not_learnt() {
        let mut learner = Learner::default();
        for (i, name) in NAMES.iter().enumerate() {
            observe(
                &mut learner,
                "GET",
                &format!("/backup/{name}"),
                404,
                i as u64,
            );
        }
        assert_eq!((learner.n_nodes, learner.learnt().templates.len()), (0, 0));
    }

    #[test]
    fn what_callers_write_as_a_template_is_not_learnt() {
        let mut learner = Learner::default();
        for i in 0..2 {
            for path in [
                "/{name}/x",
                "/{id}.json",
                "/a{b}c",
                "/a}",
                "/admin/%7Bname%7Dx",
            ] {
                observe(&mut learner, "GET", path, 200, i);
            }
            learner.observe(&Observation {
                method: "GET",
                host: Some("*"),
                path: "/a",
                status: Some(200),
                caller: i,
            });
        }
        let of_hosts: Vec<_> = learner.hosts.iter().collect();
        let [(host, root)] = of_hosts.as_slice() else {
            panic!("one host: {of_hosts:?}");
        };
        let edges: Vec<_> = root.children.iter().map(|(edge, _)| &**edge).collect();
        assert_eq!((host.as_str(), edges), ("h", vec!["{id}"]));
    }

    #[test]
    fn one_caller_alone_makes_no_variable() {
        let mut learner = Learner::default();
        for (_, path) in forge() {
            observe(&mut learner, "GET", &path, 200, 1);
        }
        assert!(learner.learnt().merges.is_empty());
    }

    #[test]
    fn a_flood_of_words_stays_within_the_bounds() {
        let mut learner = Learner::default();
        for (method, path) in forge() {
            observe(&mut learner, method, &path, 200, 1);
            observe(&mut learner, method, &path, 200, 2);
        }
        for i in 0..300_000u64 {
            let word = |i: u64| {
                format!("{:x}", i.wrapping_mul(0x9e37_79b9_7f4a_7c15))
                    .replace(|c: char| c.is_ascii_digit(), "q")
            };
            observe(
                &mut learner,
                "GET",
                &format!("/{}/{}", word(i % 700), word(i)),
                200,
                i % 50,
            );
        }
        assert!(learner.n_nodes <= NODES_MAX, "{}", learner.n_nodes);
        assert_eq!(
            learner.n_nodes,
            learner.hosts.values().map(Node::n_nodes).sum::<usize>(),
            "counted right"
        );
        let templates = learner.learnt().templates;
        assert!(
            templates
                .iter()
                .any(|(_, template)| template.starts_with("/repos/{name}/{name}")),
            "the forge is still known"
        );
    }
}
