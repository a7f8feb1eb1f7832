//! What a check is: declared once, with everything that is told of it.

use super::fact::Context;

/// Checks there may be.
pub const CHECKS_MAX: usize = 47;

/// Fields that checks would need and no column of the events carries: what is kept of a call is no credential, and not each header.
pub const NOT_LOGGED: [&str; 2] = ["authorization", "request_headers"];
/// Fields of a call that are in the column `answer` as bits.
pub const ANSWERED: [&str; 9] = [
    "hsts",
    "content_type_options",
    "frame_options",
    "content_security_policy",
    "cache_control",
    "vary",
    "set_cookie",
    "location",
    "debug_header",
];

/// How bad a finding is; the names are those of rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing.
    Informational,
    /// To be mended with the next change.
    Low,
    /// To be mended soon.
    Medium,
    /// To be mended now.
    High,
    /// Open to anybody.
    Critical,
}

impl Severity {
    /// The name in findings and documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Informational => "informational",
            Severity::Low => "low",
            Severity::Medium => "medium",
            Severity::High => "high",
            Severity::Critical => "critical",
        }
    }
}

/// What a source has to log for a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tier {
    /// A plain access log.
    T0,
    /// Selected headers or claims.
    T1,
    /// Samples of bodies.
    T2,
}

impl Tier {
    /// The name in documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Tier::T0 => "T0",
            Tier::T1 => "T1",
            Tier::T2 => "T2",
        }
    }
}

/// What a finding is about, and whose counts decide it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// An endpoint.
    Endpoint,
    /// A host.
    Host,
    /// An identity.
    Identity,
    /// A source topic.
    Source,
}

impl Scope {
    /// The name in findings and documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Scope::Endpoint => "endpoint",
            Scope::Host => "host",
            Scope::Identity => "identity",
            Scope::Source => "source",
        }
    }
}

/// When what was counted is a finding.
#[derive(Clone, Copy, Debug)]
pub struct Test {
    /// Calls that showed the fault, at least.
    pub bad_min: u64,
    /// Share of those that could have, at least: compared with the lower end of its 95 % interval. 0 asks for none.
    pub share_min: f64,
    /// Identities that showed it, at least: what one caller does is a probe.
    pub identities_min: u64,
    /// Calls that could have shown it and did not, before the first that did, at least: for what used to be right.
    pub clean_before_min: u64,
    /// What else must hold.
    pub guards: &'static [Guard],
}

impl Test {
    /// Some calls of some identities.
    pub const fn seen(bad_min: u64, identities_min: u64) -> Test {
        Test {
            bad_min,
            share_min: 0.0,
            identities_min,
            clean_before_min: 0,
            guards: &[],
        }
    }

    /// The same, and a share of the calls.
    pub const fn share(self, share_min: f64) -> Test {
        Test { share_min, ..self }
    }

    /// The same, and a clean past.
    pub const fn after(self, clean_before_min: u64) -> Test {
        Test {
            clean_before_min,
            ..self
        }
    }

    /// The same, under conditions.
    pub const fn when(self, guards: &'static [Guard]) -> Test {
        Test { guards, ..self }
    }
}

/// A condition on counts beside the check's own.
#[derive(Clone, Copy, Debug)]
pub enum Guard {
    /// Of calls with `of`, at least this share have `part`, and there are at least `min` of them.
    ShareAtLeast {
        /// The part.
        part: Context,
        /// The whole.
        of: Context,
        /// The least share.
        share: f64,
        /// The least whole.
        min: u64,
    },
    /// Of calls with `of`, at most this share have `part`.
    ShareAtMost {
        /// The part.
        part: Context,
        /// The whole.
        of: Context,
        /// The most.
        share: f64,
    },
    /// The same as the first of these, of the whole host.
    HostShareAtLeast {
        /// The part.
        part: Context,
        /// The whole.
        of: Context,
        /// The least share.
        share: f64,
        /// The least whole.
        min: u64,
    },
    /// The host answers at most half of what this check asks with the fault: one that answers anything says nothing.
    HostIsSelective,
    /// Any origin was let in outright, or at least this many of the buckets of reflected ones are filled.
    Origins(usize),
    /// At least this many of the buckets of hosts that redirects went to are filled.
    RedirectHosts(usize),
}

/// How a check is decided.
#[derive(Clone, Copy, Debug)]
pub enum Decided {
    /// By counts of calls.
    Calls(Test),
    /// By another part of the program, which is named.
    Elsewhere(&'static str),
    /// Not by a log of this form, for the reason given.
    NotObservable(&'static str),
}

/// One check.
#[derive(Clone, Copy, Debug)]
pub struct Check {
    /// Its number, from 1; never reused.
    pub number: u8,
    /// Its name in findings; never changed.
    pub id: &'static str,
    /// In a sentence's place.
    pub title: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What the source must log.
    pub tier: Tier,
    /// What it is about.
    pub scope: Scope,
    /// Columns without which it is blind, and fields of [`ANSWERED`].
    pub needs: &'static [&'static str],
    /// How it is decided.
    pub decided: Decided,
    /// Kind of finding in the map to standards ([`crate::compliance`]).
    pub finding: &'static str,
    /// What shows it.
    pub bad: &'static str,
    /// What shows the contrary.
    pub contrary: &'static str,
    /// How it keeps from accusing what is in order, and where it can't.
    pub quiet: &'static str,
    /// What to do.
    pub remedy: &'static str,
}

impl Check {
    /// The columns it needs that `has` does not have: without them it is blind.
    pub fn blind_for<'c>(
        &'c self,
        has: impl Fn(&str) -> bool + 'c,
    ) -> impl Iterator<Item = &'static str> + 'c {
        self.needs
            .iter()
            .copied()
            .filter(move |column| !has(column))
    }

    /// The test, when calls decide it.
    pub fn test(&self) -> Option<&Test> {
        match &self.decided {
            Decided::Calls(test) => Some(test),
            Decided::Elsewhere(_) | Decided::NotObservable(_) => None,
        }
    }
}
