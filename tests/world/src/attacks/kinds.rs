//! The kinds of attack, one function each: whom, what, when.

use super::Kind;
use super::stage::Stage;
use crate::api::Collection;

mod others;
mod ruses;
mod walks;

macro_rules! kind {
    ($run:path, $name:literal, $family:literal, $low:literal..=$high:literal, $what:literal) => {
        Kind {
            name: $name,
            family: $family,
            bands: ($low, $high),
            what: $what,
            run: $run,
        }
    };
}

/// Every kind.
pub static KINDS: [Kind; 46] = [
    kind!(
        walks::sequential,
        "sequential",
        "bola",
        1..=5,
        "reads neighbouring ids upwards"
    ),
    kind!(
        walks::descending,
        "descending",
        "bola",
        1..=5,
        "reads neighbouring ids downwards"
    ),
    kind!(
        walks::strided,
        "strided",
        "bola",
        1..=5,
        "reads every k-th id"
    ),
    kind!(
        walks::shuffled,
        "shuffled",
        "bola",
        1..=5,
        "reads a block of ids in random order"
    ),
    kind!(
        walks::sparse,
        "sparse",
        "bola",
        1..=5,
        "reads random ids of the whole range, some of which do not exist"
    ),
    kind!(
        walks::bisect,
        "bisect",
        "bola",
        1..=3,
        "finds the end of the ids by doubling and halving, then reads the newest"
    ),
    kind!(
        walks::cadence,
        "cadence",
        "bola",
        3..=5,
        "reads one object an hour or a day at an even pace"
    ),
    kind!(walks::ramp, "ramp", "bola", 2..=5, "reads more every day"),
    kind!(
        walks::low_and_slow,
        "low_and_slow",
        "bola",
        3..=5,
        "reads a few objects every day"
    ),
    kind!(
        walks::hidden,
        "hidden",
        "bola",
        3..=5,
        "mixes single foreign reads into every one of the own sessions"
    ),
    kind!(walks::night, "night", "bola", 2..=4, "reads at night only"),
    kind!(
        walks::bursts,
        "bursts",
        "bola",
        1..=3,
        "reads in short bursts with hours between"
    ),
    kind!(
        walks::leaked,
        "leaked_ids",
        "bola",
        1..=5,
        "reads objects whose ids can't be guessed, from a leaked list"
    ),
    kind!(
        ruses::distributed,
        "distributed",
        "bola",
        1..=5,
        "shares a block of ids among several accounts"
    ),
    kind!(
        ruses::rotating_tokens,
        "rotating_tokens",
        "bola",
        2..=5,
        "takes a new token every few calls"
    ),
    kind!(
        ruses::rotating_addresses,
        "rotating_addresses",
        "bola",
        1..=5,
        "calls from a new address every few calls"
    ),
    kind!(
        ruses::stolen_session,
        "stolen_session",
        "bola",
        2..=5,
        "uses the token of one with many objects on another machine"
    ),
    kind!(
        ruses::insider,
        "insider_support",
        "bola",
        2..=5,
        "support reads customers without a ticket"
    ),
    kind!(
        ruses::cross_tenant,
        "cross_tenant",
        "bola",
        1..=5,
        "reads objects of one other tenant"
    ),
    kind!(
        ruses::denied_then_allowed,
        "denied_then_allowed",
        "bola",
        1..=4,
        "is refused on objects, then reads their parts"
    ),
    kind!(
        ruses::writes,
        "write_others",
        "bola",
        2..=5,
        "changes and deletes others' objects"
    ),
    kind!(
        ruses::harvest,
        "harvest",
        "bola",
        1..=5,
        "takes ids out of lists and searches, then fetches them"
    ),
    kind!(
        ruses::batches,
        "batch_ids",
        "bola",
        1..=4,
        "reads several foreign ids a request"
    ),
    kind!(
        ruses::paging,
        "paging",
        "bola",
        1..=4,
        "pages through a list that shows everyone's objects"
    ),
    kind!(
        ruses::exports,
        "export_scrape",
        "bola",
        1..=5,
        "fetches others' printed forms"
    ),
    kind!(
        ruses::nested,
        "nested_tampering",
        "bola",
        1..=5,
        "names others' objects below the own tenant"
    ),
    kind!(
        others::emails,
        "email_enumeration",
        "oracle",
        1..=5,
        "asks which addresses have accounts"
    ),
    kind!(
        others::resets,
        "reset_enumeration",
        "oracle",
        1..=5,
        "asks for others' new passwords"
    ),
    kind!(
        others::coupons,
        "coupon_guessing",
        "oracle",
        1..=5,
        "tries codes"
    ),
    kind!(
        others::rogue_agent,
        "rogue_agent",
        "agent",
        1..=5,
        "an AI agent reads beyond its user"
    ),
    kind!(
        others::tool_crawl,
        "tool_crawl",
        "agent",
        1..=5,
        "an AI agent calls tools it was never shown"
    ),
    kind!(
        ruses::new_account,
        "new_account",
        "bola",
        1..=4,
        "enumerates from the account's first minutes on"
    ),
    kind!(
        ruses::warm_up,
        "warm_up",
        "bola",
        1..=5,
        "begins within the first hours of the log"
    ),
    kind!(
        ruses::rare,
        "rare_collection",
        "bola",
        1..=5,
        "reads the collection that fewest people use"
    ),
    kind!(
        others::functions,
        "staff_functions",
        "bfla",
        1..=5,
        "calls functions that only staff calls"
    ),
    kind!(
        others::methods,
        "method_tampering",
        "bfla",
        1..=5,
        "sends methods that no client sends"
    ),
    kind!(
        others::paths,
        "path_probing",
        "probing",
        1..=2,
        "asks for configuration, debug and admin paths, fast"
    ),
    kind!(
        others::quiet_paths,
        "quiet_probing",
        "probing",
        3..=5,
        "asks for such paths now and then"
    ),
    kind!(
        others::versions,
        "version_walking",
        "bola",
        1..=4,
        "asks the old version for what the new one refuses"
    ),
    kind!(
        others::polluted,
        "polluted_ids",
        "bola",
        2..=5,
        "names the own object in the path and another's in the query"
    ),
    kind!(
        others::normalised,
        "path_tricks",
        "probing",
        1..=4,
        "writes others' paths with dots, slashes and percents"
    ),
    kind!(
        ruses::befriended,
        "befriended",
        "bola",
        3..=5,
        "two accounts visit each other for days, then the same victims"
    ),
    kind!(
        ruses::first_toucher,
        "first_toucher",
        "bola",
        3..=5,
        "reads new objects before their owners do"
    ),
    kind!(
        ruses::neighbours,
        "time_neighbours",
        "bola",
        1..=4,
        "guesses ids around the own by their time"
    ),
    kind!(
        ruses::graph,
        "graphql_nodes",
        "bola",
        1..=5,
        "asks GraphQL for others' nodes"
    ),
    kind!(
        ruses::single,
        "single_victim",
        "bola",
        4..=5,
        "comes back to a few objects of one person"
    ),
];

fn counts(collection: &Collection) -> bool {
    collection.scheme.is_guessable() && collection.scheme_after.is_none()
}
