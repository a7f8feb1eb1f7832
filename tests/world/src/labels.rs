//! What is true of each line, kept beside the log: `labels.tsv` and `scenarios.json`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::attacks::Episode;
use crate::scribe::Call;
use crate::world::World;

/// First row of `labels.tsv`.
pub const HEADER: &str = "line\tlabel\tscenario\tidentity\trole\tforeign\tobject\n";

/// Class of the lines that were sown.
pub(crate) const SOWN: &str = "sown";

/// What was seen of an episode.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Its calls.
    pub n_calls: usize,
    /// First and last line.
    pub lines: (u64, u64),
    /// End of the first and of the last call.
    pub ends_ms: (i64, i64),
    /// Objects.
    pub objects: BTreeSet<String>,
    /// Objects of others.
    pub foreign: BTreeSet<String>,
    /// Calls by status.
    pub statuses: BTreeMap<u16, usize>,
}

/// Appends the label of a call and counts it.
pub fn write(
    world: &World,
    episodes: &[Episode],
    call: &Call,
    n: u64,
    seen: &mut [Seen],
    out: &mut String,
) {
    let name = &world.actors[call.by.actor as usize].name;
    let foreign = match call.is_foreign {
        None => "",
        Some(false) => "0",
        Some(true) => "1",
    };
    let class = call.by.class;
    let Some(at) = usize::from(call.by.episode).checked_sub(1) else {
        let _ = writeln!(out, "{n}\tlegit\t-\t{name}\t{class}\t{foreign}\t");
        return;
    };
    let _ = writeln!(
        out,
        "{n}\tattack\t{}\t{name}\t{class}\t{foreign}\t{}",
        episodes[at].name, call.object
    );
    let seen = &mut seen[at];
    if seen.n_calls == 0 {
        (seen.lines.0, seen.ends_ms.0) = (n, call.end_ms);
    }
    (seen.lines.1, seen.ends_ms.1) = (n, call.end_ms);
    seen.n_calls += 1;
    *seen.statuses.entry(call.status).or_default() += 1;
    for object in call.object.split('|').filter(|object| !object.is_empty()) {
        seen.objects.insert(object.to_owned());
        if call.is_foreign == Some(true) {
            seen.foreign.insert(object.to_owned());
        }
    }
}

/// `scenarios.json`: one entry an episode.
pub fn scenarios(world: &World, episodes: &[Episode], seen: &[Seen]) -> String {
    let entry = |(episode, seen): (&Episode, &Seen)| {
        let names: Vec<String> = episode
            .attackers
            .iter()
            .map(|at| format!("\"{}\"", world.actors[*at as usize].name))
            .collect();
        let statuses: Vec<String> = seen
            .statuses
            .iter()
            .map(|(status, n)| format!("\"{status}\": {n}"))
            .collect();
        format!(
            concat!(
                " {{\n  \"id\": \"{}\",\n  \"type\": \"{}\",\n  \"kind\": \"{}\",\n  \"band\": {},\n  \"tool\": \"generated\",\n  \"description\": \"{}\",\n",
                "  \"identities\": [{}],\n  \"start\": \"{}\",\n  \"end\": \"{}\",\n  \"events\": {},\n  \"objects_touched\": {},\n  \"foreign_objects\": {},\n",
                "  \"status_counts\": {{{}}},\n  \"first_line\": {},\n  \"last_line\": {},\n  \"visible\": {},\n  \"why\": \"{}\"\n }}"
            ),
            episode.name,
            episode.kind.family,
            episode.kind.name,
            episode.band,
            episode.kind.what,
            names.join(", "),
            time(seen.ends_ms.0),
            time(seen.ends_ms.1),
            seen.n_calls,
            seen.objects.len(),
            seen.foreign.len(),
            statuses.join(", "),
            seen.lines.0,
            seen.lines.1,
            episode.hidden.is_none(),
            episode.hidden.unwrap_or("")
        )
    };
    let entries: Vec<String> = episodes
        .iter()
        .zip(seen)
        .filter(|(_, seen)| seen.n_calls > 0)
        .map(entry)
        .collect();
    format!("[\n{}\n]\n", entries.join(",\n"))
}

/// A moment as ISO 8601 in UTC; days by Hinnant's `civil_from_days`, *chrono-compatible low-level date algorithms*.
pub fn time(at_ms: i64) -> String {
    let (days, ms) = (at_ms.div_euclid(86_400_000), at_ms.rem_euclid(86_400_000));
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (s, ms) = (ms / 1000, ms % 1000);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{ms:03}Z",
        s / 3600,
        s / 60 % 60,
        s % 60
    )
}

#[cfg(test)]
mod tests {
    use super::time;

    #[test]
    fn times_are_those_of_the_calendar() {
        assert_eq!(time(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(time(1_767_571_200_003), "2026-01-05T00:00:00.003Z");
        assert_eq!(time(1_709_164_800_000), "2024-02-29T00:00:00.000Z");
    }
}
