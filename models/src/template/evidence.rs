//! Which of the texts at one place are values of a variable, from everything seen there. All evidence is in nats.
//!
//! A value has below it what the other values have, methods too; a literal has an endpoint of its own. Where nothing
//! lies below, the words themselves, what precedes them and how new ones keep coming are all there is. The weights were
//! chosen on half of the vendors of `tests/templates.rs`; the other half measures them.

use hashbrown::HashMap;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::tree::{Callers, Node, is_wild};
use crate::endpoint::{SegmentKind, segment_kind};
use crate::object::name;

/// Outcomes told apart below one text; further ones count as the last.
const OUTCOMES_MAX: usize = 256;
/// Levels read below a text.
const LEVELS: usize = 4;
/// Members of a variable that count in full; the more members the surer, but they are no independent witnesses.
const WITNESSES: f64 = 6.0;
/// Calls of one text that speak for what is usual below all: one that everybody calls must not decide for the others.
const CALLS_EACH: f64 = 10.0;
/// Calls all others together weigh as a prior. Values of one variable may be called somewhat alike, or very much so: then
/// the texts are few, and nothing but that tells them from literals.
const CALLS_OTHERS: [f64; 2] = [8.0, 100.0];
/// Calls the guess about a literal of its own weighs: most are called in one way only.
const ALONE: f64 = 0.5;
/// Share of literals that have a given word below them: one that many places of the host have, one that APIs have, any.
const WORDS: [f64; 3] = [0.3, 0.12, 0.03];

/// Names that programs ask every host for, by a standard or by habit: they are nobody's name for a thing.
const STANDARD: [&str; 9] = [
    ".well-known",
    "favicon.ico",
    "robots.txt",
    "sitemap.xml",
    "security.txt",
    "llms.txt",
    "manifest.json",
    "crossdomain.xml",
    "ads.txt",
];

/// What a host's other places say, counted in places.
#[derive(Default, Debug)]
pub(crate) struct Lexicon {
    /// Of a text: where it is a value, and where it is a literal.
    pub(crate) texts: HashMap<Box<str>, [u32; 2]>,
    /// Of a literal: where a variable follows it, and where not.
    pub(crate) parents: HashMap<Box<str>, [u32; 2]>,
}

/// What stands before a place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context<'a> {
    /// The edge before it; empty at the root.
    pub(crate) parent: &'a str,
    /// What looks like an id in the same place.
    pub(crate) typed: Option<&'a Node>,
}

/// Says for each text whether it is a value of one variable; all false when there is none.
pub(crate) fn values(
    context: &Context<'_>,
    texts: &[(&str, &Node)],
    lexicon: &Lexicon,
) -> Vec<bool> {
    let none = vec![false; texts.len()];
    let outcomes: Vec<Outcomes> = texts
        .iter()
        .map(|(_, node)| Outcomes::of(node, lexicon))
        .collect();
    let typed = context.typed.map(|node| Outcomes::of(node, lexicon));
    let leans: Vec<f64> = texts
        .iter()
        .map(|(text, node)| lean(text, node, lexicon))
        .collect();
    let mut members: Vec<bool> = leans.iter().map(|&lean| 0.0 < lean).collect();
    let mut weights = vec![0.0; texts.len()];
    let mut structures = vec![0.0; texts.len()];
    let mut apart = vec![0.0; texts.len()];
    for _ in 0..4 {
        let all = outcomes
            .iter()
            .zip(&members)
            .filter(|(_, member)| **member)
            .map(|(outcomes, _)| outcomes);
        let common = Outcomes::joined(all.chain(&typed));
        let of_members = texts
            .iter()
            .zip(&members)
            .filter(|(_, member)| **member)
            .map(|((_, node), _)| *node);
        let n_calls: f64 = of_members
            .chain(context.typed)
            .map(|node| f64::from(node.n_calls))
            .sum();
        for (i, weight) in weights.iter_mut().enumerate() {
            let (structure, of_place) = common.agreement(&outcomes[i], members[i]);
            structures[i] = of_place;
            apart[i] = leans[i] - prominence(f64::from(texts[i].1.n_calls), n_calls);
            *weight = apart[i] + structure;
        }
        let majority = majority(&members, context.typed);
        let next: Vec<bool> = weights
            .iter()
            .map(|&weight| 0.0 < weight + majority)
            .collect();
        if next == members {
            break;
        }
        members = next;
    }
    let n_members = members.iter().filter(|&&member| member).count();
    let n_texts = n_members + usize::from(context.typed.is_some());
    if n_texts < 2 || n_members == 0 {
        return none;
    }
    let of_members = || {
        texts
            .iter()
            .zip(&members)
            .filter(|(_, member)| **member)
            .map(|((_, node), _)| *node)
    };
    let callers = of_members().fold(
        context.typed.map_or(Callers::None, |typed| typed.callers),
        |all, node| all.join(node.callers),
    );
    if let Callers::One(_) = callers {
        return none;
    }
    let n_calls: f64 = of_members().map(|node| f64::from(node.n_calls)).sum();
    let n_once = of_members().filter(|node| node.n_calls == 1).count();
    // Texts that can be nothing but ids, each by itself, are as good as ones that look so.
    let n_ids = texts
        .iter()
        .zip(&members)
        .filter(|((_, node), member)| **member && 2.0 <= node.lean)
        .count();
    let typed = context.typed.is_some() || n_members <= 2 * n_ids;
    let mean = |of: &[f64], low: f64, high: f64| {
        let total: f64 = of
            .iter()
            .zip(&members)
            .filter(|(_, member)| **member)
            .map(|(nats, _)| nats.clamp(low, high))
            .sum();
        total / n_members as f64
    };
    let n_members_f = n_members as f64;
    let evidence = mean(&apart, -4.0, 4.0) * n_members_f.min(WITNESSES)
        + mean(&structures, -4.0, 5.0) * n_members_f.min(WITNESSES - 2.0)
        + prior(context, lexicon)
        + openness(n_members, n_once, n_calls, typed);
    if evidence <= 0.0 {
        return none;
    }
    members
}

/// Where most texts are values the next one is too.
fn majority(members: &[bool], typed: Option<&Node>) -> f64 {
    let n_members = members.iter().filter(|&&member| member).count() as f64;
    // How many texts looked like an id was not counted; five calls each, ten at most, is a careful guess.
    let n_typed = typed.map_or(0.0, |typed| (f64::from(typed.n_calls) / 5.0).min(10.0));
    let n_literals = members.len() as f64 - n_members;
    ((n_members + n_typed + 1.0) / (n_literals + 2.0))
        .ln()
        .clamp(-0.3, 5.0)
}

/// What takes much of a place's calls is an endpoint of its own, what takes little a value; nats against a value.
fn prominence(calls: f64, all: f64) -> f64 {
    if all < 30.0 {
        return 0.0;
    }
    (calls / all / 0.03).ln().clamp(-1.0, 2.5)
}

/// How ready the place is for a variable.
fn prior(context: &Context<'_>, lexicon: &Lexicon) -> f64 {
    let parent = context.parent;
    let mut nats = if parent.is_empty()
        || name::is_transport(parent)
        || segment_kind(parent) == SegmentKind::Version
    {
        -5.0
    } else if is_wild(parent) || name::is_verb(parent) {
        -1.5
    } else if parent.ends_with('s') || parent.ends_with('S') {
        0.5
    } else {
        -1.0
    };
    if context.typed.is_some() {
        nats += 2.0;
    }
    if let Some(&[variable, none]) = lexicon.parents.get(parent) {
        nats += 0.8 * f64::from(variable.min(3)) - 0.5 * f64::from(none.min(3));
    }
    nats
}

/// New texts that keep coming speak for a variable, few that come often against it (Good and Turing's rate).
fn openness(n_members: usize, n_once: usize, n_calls: f64, typed: bool) -> f64 {
    let (members, once) = (n_members as f64, n_once as f64);
    let each = n_calls / members;
    // From three calls each on it would be seen that new ones keep coming.
    let sure = ((each - 1.0) / 4.0).min(1.0);
    let number = (2.0 * (members / 12.0).ln()).clamp(if typed { 0.0 } else { -5.0 }, 3.0);
    // None of them is new any more.
    let closed = if !typed && once == 0.0 {
        (each / 15.0).ln().clamp(0.0, 2.0)
    } else {
        0.0
    };
    3.0 * once / members * (members / 6.0).min(1.0) + sure * number - closed
}

fn lean(text: &str, node: &Node, lexicon: &Lexicon) -> f64 {
    if segment_kind(text) == SegmentKind::Version || STANDARD.contains(&text) {
        return f64::NEG_INFINITY;
    }
    let known = lexicon.texts.get(text).map_or(0.0, |&[value, literal]| {
        0.7 * f64::from(value.min(3)) - 0.7 * f64::from(literal.min(3))
    });
    f64::from(node.lean) + known
}

fn word_share(word: &str, node: &Node, lexicon: &Lexicon) -> f64 {
    let [host, api, any] = WORDS;
    let often = lexicon
        .texts
        .get(word)
        .is_some_and(|&[_, literal]| 2 <= literal);
    match often {
        true => host,
        false if node.lean < -1.0 => api,
        false => any,
    }
}

/// What calls come to below a text: how many of each, and what share of all literals has such an outcome.
#[derive(Default)]
struct Outcomes {
    /// Calls, their usual share, and whether a word is part of it.
    counts: HashMap<u64, (f64, f64, bool)>,
    n_calls: f64,
}

/// How many of all places are called with each method, as [`super::tree::method_at`] counts them.
const METHOD_SHARES: [f64; 6] = [0.6, 0.25, 0.1, 0.12, 0.06, 0.05];
/// Share of places that something like an id follows.
const WILD: f64 = 0.3;

impl Outcomes {
    fn of(node: &Node, lexicon: &Lexicon) -> Self {
        let mut outcomes = Self::default();
        outcomes.push(node, 0, (1.0, false), 0, lexicon);
        outcomes.n_calls = outcomes.counts.values().map(|(n, _, _)| n).sum();
        outcomes
    }

    fn push(
        &mut self,
        node: &Node,
        path: u64,
        (share, words): (f64, bool),
        level: usize,
        lexicon: &Lexicon,
    ) {
        for (method, (&n, usual)) in node.n_ends.iter().zip(METHOD_SHARES).enumerate() {
            if 0 < n {
                self.add(
                    xxh3_64_with_seed(&[method as u8], path),
                    f64::from(n),
                    share * usual,
                    words,
                );
            }
        }
        for (edge, child) in &node.children {
            let name = is_wild(edge) || 0.0 < lean(edge, child, lexicon);
            let below = if name { "" } else { edge };
            let usual = if name {
                WILD
            } else {
                word_share(edge, child, lexicon)
            };
            let (path, share) = (
                xxh3_64_with_seed(below.as_bytes(), path.wrapping_add(1)),
                share * usual,
            );
            if level < LEVELS {
                self.push(child, path, (share, words || !name), level + 1, lexicon);
            } else {
                self.add(path, f64::from(child.n_calls), share, words || !name);
            }
        }
    }

    fn add(&mut self, outcome: u64, n: f64, share: f64, words: bool) {
        let known = self.counts.len() < OUTCOMES_MAX || self.counts.contains_key(&outcome);
        self.counts
            .entry(if known { outcome } else { 0 })
            .or_insert((0.0, share, words))
            .0 += n;
    }

    /// How much of one text counts among all.
    fn scale(&self) -> f64 {
        (CALLS_EACH / self.n_calls.max(1.0)).min(1.0)
    }

    fn joined<'a>(all: impl Iterator<Item = &'a Outcomes>) -> Self {
        let mut joined = Self::default();
        for outcomes in all {
            let scale = outcomes.scale();
            for (&outcome, &(n, share, words)) in &outcomes.counts {
                joined
                    .counts
                    .entry(outcome)
                    .or_insert((0.0, share, words))
                    .0 += scale * n;
            }
            joined.n_calls += scale * outcomes.n_calls;
        }
        joined
    }

    /// Log of the Bayes factor between "drawn as the others' calls" and "an endpoint of its own", two
    /// Dirichlet-multinomials; `member` if the text is one of those joined. Returns what that says of the text, and
    /// of the place as a whole.
    fn agreement(&self, text: &Outcomes, member: bool) -> (f64, f64) {
        let own = if member { text.scale() } else { 0.0 };
        let others = self.n_calls - own * text.n_calls;
        if others < 0.5 {
            return (0.0, 0.0);
        }
        let mut outcomes: Vec<_> = text.counts.iter().collect();
        // Sums of floats depend on their order, and the map's is its own.
        outcomes.sort_unstable_by_key(|(outcome, _)| **outcome);
        let mut alone = -rising(ALONE, text.n_calls);
        let [mut somewhat, mut very] =
            CALLS_OTHERS.map(|calls| -rising(others.min(calls) + 1.0, text.n_calls));
        let mut shared_words = false;
        for (outcome, &(n, share, words)) in outcomes {
            let other = self
                .counts
                .get(outcome)
                .map_or(0.0, |(other, _, _)| (other - own * n).max(0.0));
            shared_words |= words && 1.0 <= other;
            alone += rising(ALONE * share, n);
            somewhat += rising(other * (CALLS_OTHERS[0] / others).min(1.0) + share, n);
            very += rising(other * (CALLS_OTHERS[1] / others).min(1.0) + share, n);
        }
        let of_text = somewhat.max(very) - alone;
        let of_text = of_text.clamp(-6.0, if shared_words { 6.0 } else { 0.5 });
        let of_place = if somewhat + 2.0 < very {
            (very - somewhat).min(5.0)
        } else {
            of_text.min(1.5)
        };
        (of_text, of_place.max(-4.0))
    }
}

/// Log of `x (x + 1) … (x + n - 1)`, continued to fractions: ln Γ(x + n) - ln Γ(x).
fn rising(x: f64, n: f64) -> f64 {
    ln_gamma(x + n) - ln_gamma(x)
}

/// ln Γ for `x > 0`: shifted above 8, then Stirling's series; exact to nine digits.
fn ln_gamma(mut x: f64) -> f64 {
    let mut shift = 1.0;
    while x < 8.0 {
        shift *= x;
        x += 1.0;
    }
    let square = x * x;
    (x - 0.5) * x.ln() - x
        + 0.5 * std::f64::consts::TAU.ln()
        + (1.0 - (1.0 / 30.0 - 1.0 / (105.0 * square)) / square) / (12.0 * x)
        - shift.ln()
}
