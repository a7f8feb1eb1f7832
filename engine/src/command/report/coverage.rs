//! Which checks of posture a source's format allows, and why it does not allow the others.

use connectors::format::{Presence, formats};
use models::posture::{CHECKS, Check, Decided, NOT_LOGGED};
use serde_json::{Value, json};

use crate::command::check::presence;
use crate::mapping::SourceFormat;

/// Whether a check can see on a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sight {
    /// What it needs is logged by default.
    Sees,
    /// What it needs is logged where the gateway is configured to.
    IfConfigured,
    /// What it needs is never there.
    Blind,
    /// It is decided otherwise than by calls.
    Elsewhere,
}

impl Sight {
    pub(super) const ALL: [Sight; 4] = [
        Sight::Sees,
        Sight::IfConfigured,
        Sight::Blind,
        Sight::Elsewhere,
    ];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Sight::Sees => "sees",
            Sight::IfConfigured => "sees if configured",
            Sight::Blind => "blind",
            Sight::Elsewhere => "not by calls",
        }
    }
}

/// The checks on one source; none where its format is not known.
pub(super) struct Coverage {
    pub(super) source: String,
    pub(super) format: String,
    /// Each check, whether it sees, and why not.
    pub(super) checks: Vec<(&'static Check, Sight, String)>,
}

impl Coverage {
    pub(super) fn of(source: &str, format: &SourceFormat) -> Coverage {
        let name = format.to_string();
        let checks = match format {
            SourceFormat::Known(_) => {
                let known = formats().into_iter().find(|(known, _, _)| *known == name);
                known.map_or_else(Vec::new, |(_, has, _)| judged(format_has(has)))
            }
            SourceFormat::Mapped(mapping) => {
                let mapping = mapping.clone();
                judged(
                    move |column| match mapping.holds(column) && !NOT_LOGGED.contains(&column) {
                        true => Presence::Always,
                        false => Presence::Never,
                    },
                )
            }
        };
        Coverage {
            source: source.to_owned(),
            format: name,
            checks,
        }
    }

    /// How many checks there are of a kind.
    pub(super) fn n_of(&self, sight: Sight) -> usize {
        self.checks.iter().filter(|(_, of, _)| *of == sight).count()
    }

    pub(super) fn as_json(&self) -> Value {
        let checks = self.checks.iter().map(
            |(check, sight, why)| json!({ "check": check.id, "sight": sight.as_str(), "why": why }),
        );
        json!({ "source": self.source, "format": self.format, "checks": checks.collect::<Vec<_>>() })
    }
}

fn format_has(has: connectors::format::Capabilities) -> impl Fn(&str) -> Presence {
    move |column| match NOT_LOGGED.contains(&column) {
        true => Presence::Never,
        false => presence(&has, column),
    }
}

fn judged(has: impl Fn(&str) -> Presence) -> Vec<(&'static Check, Sight, String)> {
    CHECKS.into_iter().map(|check| judge(check, &has)).collect()
}

fn judge(
    check: &'static Check,
    has: &impl Fn(&str) -> Presence,
) -> (&'static Check, Sight, String) {
    let lacking = |as_said: Presence| {
        let those = check.blind_for(|column| has(column) != as_said);
        those.collect::<Vec<_>>().join(", ")
    };
    let (never, unless) = (lacking(Presence::Never), lacking(Presence::Configured));
    let (sight, why) = match &check.decided {
        Decided::Elsewhere(by) => (Sight::Elsewhere, (*by).to_owned()),
        Decided::NotObservable(why) => (Sight::Blind, (*why).to_owned()),
        Decided::Calls(_) if !never.is_empty() => {
            (Sight::Blind, format!("no {never} in these logs"))
        }
        Decided::Calls(_) if !unless.is_empty() => (
            Sight::IfConfigured,
            format!("log {unless}; docs/recipes has the gateways' configuration"),
        ),
        Decided::Calls(_) => (Sight::Sees, String::new()),
    };
    (check, sight, why)
}

#[cfg(test)]
mod tests {
    use connectors::format::Format;

    use super::*;

    #[test]
    fn a_check_that_lacks_a_column_says_which() {
        let sight = |format: &str, id: &str| {
            let format = format.parse::<Format>().expect("known");
            let coverage = Coverage::of("logs", &format.into());
            assert_eq!(coverage.checks.len(), CHECKS.len());
            let mut checks = coverage.checks.into_iter();
            let found = checks.find(|(check, ..)| check.id == id);
            found.map(|(_, sight, why)| (sight, why)).expect("known")
        };
        // No scheme in a combined log, nothing of an answer's headers, a contract for what is undocumented.
        assert_eq!(sight("combined", "plaintext_http").0, Sight::Blind);
        assert_eq!(sight("kong", "hsts_missing").0, Sight::Sees);
        assert_eq!(sight("kong", "plaintext_upstream").0, Sight::Sees);
        let (blind, why) = sight("combined", "hsts_missing");
        assert!(blind == Sight::Blind && why.contains("hsts"), "{why}");
        let (unless, why) = sight("nginx", "cookie_flags");
        assert!(
            unless == Sight::IfConfigured && why.contains("set_cookie"),
            "{why}"
        );
        assert_eq!(sight("combined", "plaintext_upstream").0, Sight::Blind);
        assert_eq!(sight("kong", "undocumented").0, Sight::Elsewhere);
        assert_eq!(sight("kong", "secret_in_url").0, Sight::Sees);
        assert_eq!(sight("envoy", "auth_missing").0, Sight::IfConfigured);
    }

    #[test]
    fn of_a_format_that_is_not_known_nothing_is_said() {
        assert!(
            Coverage::of("topic", &Format::Auto.into())
                .checks
                .is_empty()
        );
    }
}
