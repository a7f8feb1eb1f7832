//! The tree of one host: what was called, segment by segment.
//!
//! An edge is a literal, `{id}` (what looks like an id) or `{name}` (any text), the latter two perhaps with a tail.

use super::set::{OPEN, TYPED};
use super::vocabulary;

/// Callers told apart at one node; from the second on it counts as several.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) enum Callers {
    /// Nobody yet.
    #[default]
    None,
    /// This one.
    One(u64),
    /// Two or more.
    Several,
}

impl Callers {
    /// Those of both.
    pub(crate) fn join(self, other: Callers) -> Callers {
        match (self, other) {
            (Callers::None, any) | (any, Callers::None) => any,
            (one, same) if one == same => one,
            _ => Callers::Several,
        }
    }
}

/// A place in the paths of one host. About 100 bytes, and its edges' texts.
#[derive(Clone, Default, Debug)]
pub(crate) struct Node {
    /// Sorted by edge; boxed, so that making room in the middle moves little.
    pub(crate) children: Vec<(Box<str>, Box<Node>)>,
    /// Calls that came through.
    pub(crate) n_calls: u32,
    /// Calls that ended here, by [`method_at`].
    pub(crate) n_ends: [u32; METHODS],
    /// Calls that came with letters and digits mixed, which words may stand beside; numbers and UUIDs rarely have such company.
    pub(crate) n_mixed: u32,
    /// What its text alone says, in nats ([`vocabulary::lean`]); zero for what stands for many texts.
    pub(crate) lean: f32,
    /// Texts that were merged into it; zero for a literal.
    pub(crate) n_texts: u32,
    /// Who called.
    pub(crate) callers: Callers,
}

/// Methods counted apart.
pub(crate) const METHODS: usize = 6;

/// The method's place in [`Node::n_ends`].
pub(crate) fn method_at(method: &str) -> usize {
    let known = ["GET", "POST", "PUT", "DELETE", "PATCH"];
    known
        .iter()
        .position(|known| method.eq_ignore_ascii_case(known))
        .unwrap_or(5)
}

impl Node {
    /// The child behind an edge.
    pub(crate) fn get(&self, edge: &str) -> Option<&Node> {
        let at = self.at(edge).ok()?;
        self.children.get(at).map(|(_, node)| &**node)
    }

    /// The child behind an edge, made if there is none; says whether it was.
    pub(crate) fn get_or_make(&mut self, edge: &str) -> (&mut Node, bool) {
        let (at, made) = match self.at(edge) {
            Ok(at) => (at, false),
            Err(at) => {
                let node = Node {
                    lean: if is_wild(edge) { 0.0 } else { lean(edge) },
                    ..Node::default()
                };
                self.children.insert(at, (edge.into(), Box::new(node)));
                (at, true)
            }
        };
        (&mut self.children[at].1, made)
    }

    fn at(&self, edge: &str) -> Result<usize, usize> {
        self.children
            .binary_search_by(|(other, _)| (**other).cmp(edge))
    }

    /// One node that knows what all of these do. Sorts their edges once: putting them in one by one would take time as
    /// the square of their number, and callers choose that.
    pub(crate) fn joined(mut nodes: Vec<Node>) -> Node {
        if nodes.len() == 1 {
            return nodes.pop().unwrap_or_default();
        }
        let mut all = Node::default();
        let mut children = Vec::new();
        for node in nodes {
            all.n_calls = all.n_calls.saturating_add(node.n_calls);
            for (sum, n) in all.n_ends.iter_mut().zip(node.n_ends) {
                *sum = sum.saturating_add(n);
            }
            all.n_mixed = all.n_mixed.saturating_add(node.n_mixed);
            all.n_texts = all.n_texts.saturating_add(node.n_texts);
            all.callers = all.callers.join(node.callers);
            children.extend(node.children);
        }
        children.sort_by(|(a, _), (b, _)| a.cmp(b));
        let mut children = children.into_iter().peekable();
        while let Some((edge, child)) = children.next() {
            let lean = child.lean;
            let mut same = vec![*child];
            while let Some((_, child)) = children.next_if(|(other, _)| *other == edge) {
                same.push(*child);
            }
            let joined = Node {
                lean,
                ..Node::joined(same)
            };
            all.children.push((edge, Box::new(joined)));
        }
        all
    }

    /// Puts a node behind an edge that has none.
    pub(crate) fn put(&mut self, edge: &str, node: Node) {
        if let Err(at) = self.at(edge) {
            self.children.insert(at, (edge.into(), Box::new(node)));
        }
    }

    /// Nodes of the tree, this one too.
    pub(crate) fn n_nodes(&self) -> usize {
        1 + self
            .children
            .iter()
            .map(|(_, child)| child.n_nodes())
            .sum::<usize>()
    }
}

fn lean(text: &str) -> f32 {
    vocabulary::lean(text.strip_suffix(word_tail(text)).unwrap_or(text)) as f32
}

/// Whether an edge stands for many texts.
pub(crate) fn is_wild(edge: &str) -> bool {
    edge.starts_with(TYPED) || edge.starts_with(OPEN)
}

/// The tail of an edge that stands for many texts.
pub(crate) fn wild_tail(edge: &str) -> Option<&str> {
    edge.strip_prefix(TYPED).or_else(|| edge.strip_prefix(OPEN))
}

/// The tail that stays literal behind a name: a format, or a verb behind a colon.
pub(crate) fn word_tail(segment: &str) -> &str {
    let Some(at) = segment.rfind(['.', ':']).filter(|&at| 0 < at) else {
        return "";
    };
    let tail = segment.get(at..).unwrap_or("");
    let verb = tail.starts_with(':')
        && (4..=32).contains(&tail.len())
        && tail.bytes().skip(1).all(|b| b.is_ascii_alphabetic());
    let format = matches!(
        tail,
        ".json" | ".xml" | ".html" | ".rss" | ".atom" | ".csv" | ".txt" | ".zip" | ".pdf"
    );
    if verb || format { tail } else { "" }
}
