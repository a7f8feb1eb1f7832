//! What a host's tree amounts to: variables merged, templates read off.

use std::collections::{BTreeMap, BTreeSet};

use super::evidence::{Context, Lexicon, values};
use super::learner::Merge;
use super::set::{OPEN, TYPED};
use super::tree::{Node, is_wild, wild_tail, word_tail};
use crate::endpoint::{Part, part};

/// Formats (`.json`) in one place that are part of the template; with more of them they are part of files' names.
const FORMATS_MAX: usize = 2;
/// Values shown of one variable.
const EXAMPLES: usize = 3;

/// The tree with its variables merged, and what was merged, by template: once to learn the host's words, once more
/// with them.
pub(crate) fn settled(root: &Node) -> (Node, Vec<(String, Merge)>) {
    let (mut words, mut merges) = (Lexicon::default(), Vec::new());
    settle(
        &mut root.clone(),
        "",
        "",
        &Lexicon::default(),
        &mut words,
        &mut merges,
    );
    merges.clear();
    let mut node = root.clone();
    settle(
        &mut node,
        "",
        "",
        &words,
        &mut Lexicon::default(),
        &mut merges,
    );
    (node, merges)
}

fn settle(
    node: &mut Node,
    parent: &str,
    path: &str,
    lexicon: &Lexicon,
    seen: &mut Lexicon,
    merges: &mut Vec<(String, Merge)>,
) {
    let (mut values, files) = values_by_place(node, parent, lexicon);
    let mut merging: BTreeMap<String, Vec<(Box<str>, Node)>> = BTreeMap::new();
    for (at, (edge, child)) in std::mem::take(&mut node.children).into_iter().enumerate() {
        let value = values.remove(&at);
        if !is_wild(&edge) {
            let [n_value, n_literal] = seen.texts.entry(edge.clone()).or_default();
            *(if value.is_some() { n_value } else { n_literal }) += 1;
        }
        match value {
            Some(tail) => merging.entry(tail).or_default().push((edge, *child)),
            None => node.children.push((edge, child)),
        }
    }
    for (tail, mut texts) in merging {
        let edge = format!("{OPEN}{tail}");
        texts.sort_by(|(a, x), (b, y)| (y.n_calls, a).cmp(&(x.n_calls, b)));
        let examples = texts
            .iter()
            .take(EXAMPLES)
            .map(|(text, _)| text.to_string())
            .collect();
        let mut nodes: Vec<Node> = texts
            .into_iter()
            .map(|(_, node)| Node { n_texts: 1, ..node })
            .collect();
        node.children.retain_mut(|(other, child)| {
            let joins = wild_tail(other).is_some_and(|other| {
                other == tail || files && tail.is_empty() && other.starts_with('.')
            });
            if joins {
                nodes.push(std::mem::take(child));
            }
            !joins
        });
        let joined = Node {
            lean: 0.0,
            ..Node::joined(nodes)
        };
        let merge = Merge {
            n_values: joined.n_texts as usize,
            n_calls: u64::from(joined.n_calls),
            examples,
            ..Merge::default()
        };
        merges.push((format!("{path}/{edge}"), merge));
        node.put(&edge, joined);
    }
    let variable = node.children.iter().any(|(edge, _)| is_wild(edge));
    seen.parents.entry(parent.into()).or_default()[usize::from(!variable)] += 1;
    for (edge, child) in &mut node.children {
        settle(
            child,
            edge,
            &format!("{path}/{edge}"),
            lexicon,
            seen,
            merges,
        );
    }
}

/// The places of a node's children that are values, each with its tail; and whether they are files, whose formats are
/// part of their names.
fn values_by_place(
    node: &Node,
    parent: &str,
    lexicon: &Lexicon,
) -> (BTreeMap<usize, String>, bool) {
    let extensions = node.children.iter().filter_map(|(edge, _)| extension(edge));
    let files = FORMATS_MAX < extensions.collect::<BTreeSet<_>>().len();
    let mut by_tail: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (at, (edge, _)) in node
        .children
        .iter()
        .enumerate()
        .filter(|(_, (edge, _))| !is_wild(edge))
    {
        let tail = word_tail(edge);
        let tail = if files && tail.starts_with('.') {
            ""
        } else {
            tail
        };
        by_tail.entry(tail).or_default().push(at);
    }
    let mut found = BTreeMap::new();
    for (tail, places) in by_tail {
        let typed = node
            .get(&format!("{TYPED}{tail}"))
            .or_else(|| node.get(&format!("{OPEN}{tail}")));
        let typed = typed.filter(|typed| typed.n_calls / 2 < typed.n_mixed || 0 < typed.n_texts);
        let context = Context { parent, typed };
        let texts = places.iter().filter_map(|&at| node.children.get(at));
        let texts: Vec<(&str, &Node)> = texts.map(|(edge, child)| (&**edge, &**child)).collect();
        for (at, value) in places.iter().zip(values(&context, &texts, lexicon)) {
            if value {
                found.insert(*at, tail.to_owned());
            }
        }
    }
    (found, files)
}

/// What stands behind the last dot, if it can be a file's ending.
fn extension(text: &str) -> Option<&str> {
    let (name, ending) = text.rsplit_once('.')?;
    let plain = (2..=5).contains(&ending.len()) && ending.bytes().all(|b| b.is_ascii_lowercase());
    (plain && !name.is_empty()).then_some(ending)
}

/// The templates that say more than a path by itself: those through a merged variable, and the literals kept apart
/// where names would stand.
pub(crate) fn push_templates(node: &Node, path: &mut String, each: &mut impl FnMut(&str)) -> bool {
    let mut any = false;
    let beside_open = node.children.iter().any(|(edge, _)| edge.starts_with(OPEN));
    let length = path.len();
    for (edge, child) in &node.children {
        path.push('/');
        path.push_str(edge);
        let below = push_templates(child, path, each);
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        let (last, before) = segments
            .split_last()
            .map_or(("", &[][..]), |(last, before)| (*last, before));
        let unlike = wild_tail(edge).is_none() && !matches!(part(last, before), Part::Literal);
        let open = edge.starts_with(OPEN);
        if !below && (beside_open || open || unlike) {
            each(path);
        }
        any |= below || beside_open || open || unlike;
        path.truncate(length);
    }
    any
}
