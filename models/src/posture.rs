//! Misconfiguration, seen in the calls themselves (OWASP API8 and its neighbours).
//!
//! The way of the data: a call is a [`CallView`]; [`facts`] says for each check whether the call could have shown the fault
//! and whether it did; [`Counts`] of facts add up over calls, lanes and time, in any order; [`Life::observe`] takes the
//! counts of an endpoint, host, identity or source at an event time and says what changed; a [`Finding`] keeps the
//! life with samples, owner and a name that survives other templates; a [`Book`] holds those of one subject.
//!
//! * `view.rs` the call · `call.rs` its facts, with `path.rs`, `text.rs`, `token.rs`, `answer.rs`, `cookie.rs` · `fact.rs` facts and counts
//! * `check.rs` what a check is · `list/` all of them, each declared once: documents, coverage and the map to standards come from there
//! * `evaluate.rs` when counts are a finding · `life.rs` what becomes of it · `finding.rs` its name, samples, owner · `book.rs` all of one subject
//! * `shown.rs` what calls of an endpoint come to · `register.rs` all endpoints, hosts, identities and sources of a lane
//! * `versions.rs` which versions of a route are old
//! * `pace.rs` how fast callers are and where credentials come from
//! * `page.rs` the list as Markdown
//!
//! **Invariant**: nobody is accused by what a log can't tell. A field that the source does not log makes a check blind, never
//! content; a finding is closed by calls that could have shown it and did not, never by silence. 80 to 170 ns a call on a busy core, nothing allocated.

mod answer;
mod book;
mod call;
pub mod check;
mod cookie;
mod evaluate;
mod fact;
mod finding;
mod life;
mod list;
mod pace;
mod page;
pub mod path;
mod register;
mod shown;
mod text;
mod token;
mod versions;
mod view;

pub use answer::{Answer, AnswerHeaders};
pub use book::Book;
pub use call::{facts, if_superseded};
pub use check::{ANSWERED, CHECKS_MAX, Check, Decided, NOT_LOGGED, Scope, Severity, Tier};
pub use evaluate::{Standing, wilson};
pub use fact::{Context, Counts, FACTS, Facts, ORIGIN_BUCKETS, Tally};
pub use finding::{Finding, SAMPLES_MAX, Sample, Samples, covers, fingerprint};
pub use life::{Change, Life, Phase, STALE_MS};
pub use list::{CHECKS, check, find};
pub use pace::{Pace, Spread};
pub use page::checks_page;
pub(crate) use page::columns;
pub use register::{Register, Told};
pub use shown::Shown;
pub(crate) use text::{are_kin, host_of_url};
pub use token::{Token, TokenReader};
pub use versions::Versions;
pub use view::{CallView, McpHeaders};
