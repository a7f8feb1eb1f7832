//! Whether what was counted is a finding.

use super::check::{Check, Guard, Test};
use super::fact::{Context, Counts, Facts, ORIGIN_BUCKETS, Tally};

/// Standard normal quantile of a two-sided 95 % interval.
const Z: f64 = 1.959_963_984_540_054;

/// What a check is evaluated on.
#[derive(Clone, Copy, Debug)]
pub struct Standing<'a> {
    /// Counts of what the check is about.
    pub counts: &'a Counts,
    /// Counts of its host; `None` where they are not at hand: a check that asks for them then waits.
    pub host: Option<&'a Counts>,
    /// Identities that showed the fault, estimated; where only those of the endpoint are counted, those.
    pub n_identities: u64,
    /// Event time of the counts, ms.
    pub at_ms: i64,
}

/// The 95 % interval of a share, after Wilson (1927): it stays in [0, 1] and holds for few calls.
pub fn wilson(tally: Tally) -> (f64, f64) {
    if tally.of == 0 {
        return (0.0, 1.0);
    }
    let n = tally.of as f64;
    let share = tally.bad.min(tally.of) as f64 / n;
    let spread = Z * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
    let middle = share + Z * Z / (2.0 * n);
    let whole = 1.0 + Z * Z / n;
    (
        ((middle - spread) / whole).max(0.0),
        ((middle + spread) / whole).min(1.0),
    )
}

/// True when the window's calls, after so many clean ones, are a finding.
pub(super) fn is_finding(
    check: &Check,
    test: &Test,
    window: Tally,
    clean_before: u64,
    standing: &Standing<'_>,
) -> bool {
    test.bad_min.max(1) <= window.bad
        && test.identities_min <= standing.n_identities
        && test.clean_before_min <= clean_before
        && (test.share_min == 0.0 || test.share_min <= wilson(window).0)
        && test
            .guards
            .iter()
            .all(|guard| holds(*guard, check, standing))
}

fn holds(guard: Guard, check: &Check, standing: &Standing<'_>) -> bool {
    let n = |counts: &Counts, context| counts.get(Facts::context(context));
    let at_least = |counts: &Counts, part, of, share: f64, min: u64| {
        let whole = n(counts, of);
        min.max(1) <= whole && share * whole as f64 <= n(counts, part) as f64
    };
    match guard {
        Guard::ShareAtLeast {
            part,
            of,
            share,
            min,
        } => at_least(standing.counts, part, of, share, min),
        Guard::ShareAtMost { part, of, share } => {
            n(standing.counts, part) as f64 <= share * n(standing.counts, of) as f64
        }
        Guard::HostShareAtLeast {
            part,
            of,
            share,
            min,
        } => standing
            .host
            .is_some_and(|host| at_least(host, part, of, share, min)),
        Guard::HostIsSelective => {
            // One that was asked a few times only has had no chance to refuse.
            let asked = standing.host.map(|host| host.tally(check.number));
            asked.is_none_or(|asked| asked.of < 10 || 2 * asked.bad <= asked.of)
        }
        Guard::Origins(n_min) => {
            n(standing.counts, Context::AnyOrigin) != 0
                || n_min <= n_filled(standing.counts, Context::Reflected)
        }
        Guard::RedirectHosts(n_min) => n_min <= n_filled(standing.counts, Context::Redirected),
    }
}

/// Buckets of a context that a call was sorted into.
fn n_filled(counts: &Counts, context: Context) -> usize {
    let first = Facts::context(context);
    let buckets = 0..ORIGIN_BUCKETS as u8;
    buckets
        .filter(|bucket| counts.get(first + bucket) != 0)
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_wilsons() {
        #[rustfmt::skip]
        let table = [
            (0, 0, 0.0, 1.0), (0, 10, 0.0, 0.277_533), (10, 10, 0.722_467, 1.0), (5, 10, 0.236_593, 0.763_407), (1, 100, 0.001_767, 0.054_486), (9, 3, 0.438_503, 1.0),
        ];
        for (bad, of, low, high) in table {
            let (l, h) = wilson(Tally { bad, of });
            assert!(
                (l - low).abs() < 1e-5 && (h - high).abs() < 1e-5,
                "{bad} of {of}: {l} to {h}"
            );
        }
    }
}
