//! One agent's tool calls in their order: reading what is private, reading what strangers wrote, and writing outside, within a
//! few calls; and the same call again and again.
//!
//! Whoever wrote what the agent read may have told it what to send (indirect prompt injection); none of the three is wrong
//! alone. Tools are judged by the words of their names. An agent whose work this is, is told once and may be excepted.
//! 120 bytes an agent; needs its calls in order, so it belongs to the agent's lane.

use serde::{Deserialize, Serialize};

/// Calls within which the three make a chain.
pub const CHAIN_CALLS: u64 = 20;
/// Equal calls that are a loop, and the event time within which they are, in milliseconds.
pub const LOOP_CALLS: u32 = 10;
/// See [`LOOP_CALLS`].
pub const LOOP_MS: i64 = 120_000;
/// Calls whose repetition is watched at a time.
const SLOTS: usize = 4;

/// What a tool does, by its name, as bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ToolClass(u8);

impl ToolClass {
    /// Reads what is the user's or the company's.
    pub const PRIVATE_READ: ToolClass = ToolClass(1);
    /// Reads what strangers may have written.
    pub const UNTRUSTED_READ: ToolClass = ToolClass(2);
    /// Sends something out.
    pub const EXTERNAL_WRITE: ToolClass = ToolClass(4);

    /// True when it has this class.
    pub fn is(self, class: ToolClass) -> bool {
        self.0 & class.0 != 0
    }

    /// The classes of a tool's name.
    pub fn of(tool: &str) -> ToolClass {
        let any = |words: &[&str]| {
            words_of(tool).any(|word| words.iter().any(|known| word.eq_ignore_ascii_case(known)))
        };
        let sends = any(&[
            "send", "publish", "tweet", "upload", "share", "forward", "reply", "webhook",
            "transfer", "pay", "submit", "invite",
        ]) || (any(&["post", "push", "put"])
            && any(&[
                "http", "web", "slack", "external", "url", "message", "comment", "social", "blog",
            ]));
        if sends {
            return ToolClass::EXTERNAL_WRITE;
        }
        if any(&[
            "web", "browse", "browser", "url", "website", "page", "scrape", "crawl", "internet",
            "http", "rss", "feed", "issue", "issues", "comment", "comments", "review", "reviews",
            "forum",
        ]) {
            return ToolClass::UNTRUSTED_READ;
        }
        let reads = any(&[
            "get", "read", "list", "search", "query", "find", "fetch", "lookup", "download",
            "export", "open", "view", "select", "describe", "retrieve",
        ]);
        let private = any(&[
            "file",
            "files",
            "email",
            "emails",
            "mail",
            "inbox",
            "message",
            "messages",
            "contact",
            "contacts",
            "customer",
            "customers",
            "user",
            "users",
            "account",
            "accounts",
            "order",
            "orders",
            "invoice",
            "invoices",
            "payment",
            "payments",
            "document",
            "documents",
            "drive",
            "calendar",
            "database",
            "db",
            "sql",
            "table",
            "records",
            "record",
            "crm",
            "ticket",
            "tickets",
            "secret",
            "secrets",
            "note",
            "notes",
            "repo",
            "repository",
            "task",
            "tasks",
            "employee",
            "patient",
            "memory",
        ]);
        if reads && private {
            ToolClass::PRIVATE_READ
        } else {
            ToolClass::default()
        }
    }
}

/// Words of a name: split at what is no letter and at humps.
fn words_of(name: &str) -> impl Iterator<Item = &str> {
    name.split(|c: char| !c.is_ascii_alphanumeric())
        .flat_map(|part| {
            let mut rest = part;
            std::iter::from_fn(move || {
                let hump = rest
                    .bytes()
                    .zip(rest.bytes().skip(1))
                    .position(|(one, two)| one.is_ascii_lowercase() && two.is_ascii_uppercase());
                let (word, tail) = rest.split_at(hump.map_or(rest.len(), |at| at + 1));
                rest = tail;
                (!word.is_empty()).then_some(word)
            })
        })
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Repeat {
    key: u64,
    n: u32,
    first_ms: i64,
    last_ms: i64,
}

/// The latest tool calls of one agent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chain {
    n_calls: u64,
    private_at: u64,
    untrusted_at: u64,
    repeats: [Repeat; SLOTS],
}

/// What a tool call completed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Completed {
    /// A write outside, after both kinds of reading.
    pub chain: bool,
    /// One more equal call within the time, beyond the tenth.
    pub repeat: bool,
}

impl Chain {
    /// Takes in a tool call that was answered with success.
    ///
    /// `arguments`: what tells equal calls apart, a hash of the arguments or of the objects in them; without one no loop is seen.
    pub fn note(&mut self, tool: &str, arguments: Option<u64>, at_ms: i64) -> Completed {
        self.n_calls = self.n_calls.saturating_add(1);
        let class = ToolClass::of(tool);
        if class.is(ToolClass::PRIVATE_READ) {
            self.private_at = self.n_calls;
        }
        if class.is(ToolClass::UNTRUSTED_READ) {
            self.untrusted_at = self.n_calls;
        }
        let near = |at: u64| at != 0 && self.n_calls - at < CHAIN_CALLS;
        let chain =
            class.is(ToolClass::EXTERNAL_WRITE) && near(self.private_at) && near(self.untrusted_at);
        if chain {
            // The next one has to read again.
            (self.private_at, self.untrusted_at) = (0, 0);
        }
        let repeat = arguments.is_some_and(|arguments| {
            let key = xxhash_rust::xxh3::xxh3_64_with_seed(tool.as_bytes(), arguments);
            self.repeats(key, at_ms)
        });
        Completed { chain, repeat }
    }

    fn repeats(&mut self, key: u64, at_ms: i64) -> bool {
        let known = self
            .repeats
            .iter()
            .position(|repeat| repeat.n != 0 && repeat.key == key);
        let at = known
            .or_else(|| {
                (0..SLOTS)
                    .min_by_key(|at| (self.repeats[*at].n != 0, self.repeats[*at].last_ms, *at))
            })
            .unwrap_or(0);
        let repeat = &mut self.repeats[at];
        if known.is_none() || LOOP_MS < at_ms.saturating_sub(repeat.first_ms) {
            *repeat = Repeat {
                key,
                n: 0,
                first_ms: at_ms,
                last_ms: at_ms,
            };
        }
        repeat.n = repeat.n.saturating_add(1);
        repeat.last_ms = repeat.last_ms.max(at_ms);
        LOOP_CALLS <= repeat.n
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tools_are_judged_by_their_words() {
        #[rustfmt::skip]
        let table = [
            ("read_email", ToolClass::PRIVATE_READ), ("listFiles", ToolClass::PRIVATE_READ), ("get_task", ToolClass::PRIVATE_READ), ("search_web", ToolClass::UNTRUSTED_READ),
            ("fetch_url", ToolClass::UNTRUSTED_READ), ("github.getIssue", ToolClass::UNTRUSTED_READ), ("send_email", ToolClass::EXTERNAL_WRITE), ("http_post", ToolClass::EXTERNAL_WRITE),
            ("post_task", ToolClass::default()), ("sender_info", ToolClass::default()), ("calculate", ToolClass::default()), ("profile_update", ToolClass::default()), ("", ToolClass::default()),
        ];
        for (tool, want) in table {
            assert_eq!(ToolClass::of(tool), want, "{tool}");
        }
    }

    #[test]
    fn all_three_within_twenty_calls_are_a_chain() {
        let run = |between: usize, tools: &[&str]| {
            let mut chain = Chain::default();
            let mut fired = 0;
            for tool in tools {
                fired += usize::from(chain.note(tool, None, 0).chain);
                (0..between)
                    .for_each(|_| fired += usize::from(chain.note("calculate", None, 0).chain));
            }
            fired
        };
        assert_eq!(run(0, &["read_email", "fetch_url", "send_email"]), 1);
        assert_eq!(
            run(0, &["fetch_url", "read_email", "send_email", "send_email"]),
            1,
            "told once"
        );
        assert_eq!(run(0, &["read_email", "send_email"]), 0, "a mail program");
        assert_eq!(
            run(0, &["send_email", "read_email", "fetch_url"]),
            0,
            "it sent before"
        );
        assert_eq!(
            (
                run(8, &["read_email", "fetch_url", "send_email"]),
                run(9, &["read_email", "fetch_url", "send_email"])
            ),
            (1, 0),
            "18 and 20 calls on"
        );
    }

    #[test]
    fn ten_equal_calls_in_two_minutes_are_a_loop() {
        let run = |n: i64, gap_ms: i64, arguments: fn(i64) -> Option<u64>| {
            let mut chain = Chain::default();
            (0..n)
                .filter(|i| chain.note("get_task", arguments(*i), i * gap_ms).repeat)
                .count()
        };
        assert_eq!(
            (
                run(9, 1000, |_| Some(1)),
                run(10, 1000, |_| Some(1)),
                run(12, 1000, |_| Some(1))
            ),
            (0, 1, 3)
        );
        assert_eq!(run(10, 13_333, |_| Some(1)), 1, "just within");
        assert_eq!(run(20, 13_334, |_| Some(1)), 0, "a poller is slower");
        assert_eq!(run(100, 100, |i| Some(i as u64)), 0, "other arguments");
        assert_eq!(run(100, 100, |_| None), 0, "unknown arguments");
        assert_eq!(
            run(40, 1000, |i| Some(i as u64 % 4)),
            4,
            "four loops at once"
        );
    }
}
