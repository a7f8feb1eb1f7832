//! What things cost and how long they take: a file that the user writes, checked whole before anything is computed.

use std::fmt::Write as _;
use std::path::Path;

use serde::Deserialize;

use crate::command::Failure;

/// Longest file, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Largest value: beyond it somebody slipped.
const VALUE_MAX: f64 = 1e12;

/// One assumption: a range, and who says so.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::command) struct Assumption {
    pub(super) low: f64,
    pub(super) base: f64,
    pub(super) high: f64,
    /// Where it comes from: an invoice, a study, or `yours`.
    pub(super) source: String,
}

/// Names of what may be assumed, in the order of the file, and whether it is a share of one.
const NAMES: [(&str, bool); 10] = [
    ("analyst_hour", false),
    ("engineer_hour", false),
    ("minutes_per_alert", false),
    ("hours_per_endpoint", false),
    ("reviews_per_year", false),
    ("hours_per_finding", false),
    ("share_real", true),
    ("share_breach", true),
    ("breach_cost", false),
    ("running_month", false),
];

/// The assumptions; what is absent is not assumed.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::command) struct Assumptions {
    /// Name of the money, for the tables.
    pub(super) currency: String,
    analyst_hour: Option<Assumption>,
    engineer_hour: Option<Assumption>,
    minutes_per_alert: Option<Assumption>,
    hours_per_endpoint: Option<Assumption>,
    reviews_per_year: Option<Assumption>,
    hours_per_finding: Option<Assumption>,
    share_real: Option<Assumption>,
    share_breach: Option<Assumption>,
    breach_cost: Option<Assumption>,
    running_month: Option<Assumption>,
}

impl Assumptions {
    /// Of a file.
    ///
    /// # Errors
    /// It can't be read, or every fault of what it says.
    pub(in crate::command) fn read(path: &Path) -> Result<Assumptions, Failure> {
        let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let length = std::fs::metadata(path)
            .map_err(|error| failed(&error))?
            .len();
        if FILE_BYTES_MAX < length {
            return Err(failed(&format!("is longer than {FILE_BYTES_MAX} bytes")).into());
        }
        let text = std::fs::read_to_string(path).map_err(|error| failed(&error))?;
        Assumptions::parse(&text).map_err(|error| failed(&error).into())
    }

    /// Of the text of a file.
    pub(super) fn parse(text: &str) -> Result<Assumptions, String> {
        let assumptions: Assumptions = toml::from_str(text).map_err(|error| {
            format!(
                "is no file of assumptions: {error}`tollwatch roi --template` writes one to fill in"
            )
        })?;
        let mut faults = String::new();
        for (name, one) in assumptions.filled() {
            let is_share = NAMES.contains(&(name, true));
            if let Some(fault) = one.fault(is_share) {
                let _ = write!(faults, "\n  {name} {fault}");
            }
        }
        match faults.is_empty() {
            true => Ok(assumptions),
            false => Err(format!("can't be used:{faults}")),
        }
    }

    /// The assumption of that name.
    pub(super) fn get(&self, name: &str) -> Option<&Assumption> {
        let one = match name {
            "analyst_hour" => &self.analyst_hour,
            "engineer_hour" => &self.engineer_hour,
            "minutes_per_alert" => &self.minutes_per_alert,
            "hours_per_endpoint" => &self.hours_per_endpoint,
            "reviews_per_year" => &self.reviews_per_year,
            "hours_per_finding" => &self.hours_per_finding,
            "share_real" => &self.share_real,
            "share_breach" => &self.share_breach,
            "breach_cost" => &self.breach_cost,
            "running_month" => &self.running_month,
            _ => return None,
        };
        one.as_ref()
    }

    /// Those that are filled in.
    pub(super) fn filled(&self) -> impl Iterator<Item = (&'static str, &Assumption)> {
        NAMES
            .into_iter()
            .filter_map(|(name, _)| Some((name, self.get(name)?)))
    }
}

impl Assumption {
    /// What is wrong with it.
    fn fault(&self, is_share: bool) -> Option<String> {
        let values = [self.low, self.base, self.high];
        let most = if is_share { 1.0 } else { VALUE_MAX };
        if !values.iter().all(|value| (0.0..=most).contains(value)) {
            return Some(format!("has a value that is not between 0 and {most}"));
        }
        if !values.is_sorted() {
            return Some("is not low <= base <= high".to_owned());
        }
        self.source
            .trim()
            .is_empty()
            .then(|| "has no source; write where it comes from, or \"yours\"".to_owned())
    }
}

/// A file with every assumption and none filled in.
pub(super) const TEMPLATE: &str = r#"# Assumptions of `tollwatch roi`. None is filled in: what depends on one that is missing is not estimated.
# Take away the # before those you want to make. low <= base <= high; source says where it comes from: an invoice, a study, or "yours".

currency = "EUR"

# What an hour of an analyst costs, all included.
# [analyst_hour]
# low =
# base =
# high =
# source = "yours"

# What an hour of an engineer costs, all included.
# [engineer_hour]
# low =
# base =
# high =
# source = "yours"

# Minutes an analyst needs for one case, from opening it to its end.
# [minutes_per_alert]
# low =
# base =
# high =
# source = "yours"

# Hours it takes to find and write down one endpoint by hand.
# [hours_per_endpoint]
# low =
# base =
# high =
# source = "yours"

# How often a year the inventory would be made by hand, were this not there. 0 if it would not be.
# [reviews_per_year]
# low =
# base =
# high =
# source = "yours"

# Hours of a review by hand for each misconfiguration that it finds.
# [hours_per_finding]
# low =
# base =
# high =
# source = "yours"

# Share of the cases that turn out to be attacks, 0 to 1: count it over cases you have closed.
# [share_real]
# low =
# base =
# high =
# source = "yours"

# Share of such attacks that become a breach when nobody stops them, 0 to 1.
# [share_breach]
# low =
# base =
# high =
# source = "yours"

# What such a breach costs.
# [breach_cost]
# low =
# base =
# high =
# source = "yours"

# What running tollwatch costs a month: machines, storage, care.
# [running_month]
# low =
# base =
# high =
# source = "yours"
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_assumes_nothing_and_names_everything() {
        let template = Assumptions::parse(TEMPLATE).expect("it is a file of assumptions");
        assert_eq!(template.filled().count(), 0);
        let filled = TEMPLATE
            .replace("# [", "[")
            .replace("# low =", "low = 0.1")
            .replace("# base =", "base = 0.2")
            .replace("# high =", "high = 0.3")
            .replace("# source", "source");
        let filled = Assumptions::parse(&filled).expect("it is a file of assumptions");
        let names: Vec<&str> = filled.filled().map(|(name, _)| name).collect();
        assert_eq!(names, NAMES.map(|(name, _)| name));
    }

    #[test]
    fn what_can_not_be_meant_is_refused_with_its_name() {
        #[rustfmt::skip]
        let table = [
            ("[analyst_hour]\nlow = 2\nbase = 1\nhigh = 3\nsource = 'yours'", "analyst_hour is not low"),
            ("[share_real]\nlow = 0.1\nbase = 0.5\nhigh = 1.5\nsource = 'yours'", "share_real has a value"),
            ("[breach_cost]\nlow = -1\nbase = 1\nhigh = 1\nsource = 'yours'", "breach_cost has a value"),
            ("[breach_cost]\nlow = nan\nbase = 1\nhigh = 1\nsource = 'yours'", "breach_cost has a value"),
            ("[breach_cost]\nlow = 1\nbase = 1\nhigh = 1\nsource = ' '", "breach_cost has no source"),
            ("[breach_cost]\nlow = 1\nbase = 1\nhigh = 1", "source"), ("[breach]\nlow = 1", "breach"), ("[breach_cost]\nlow = 'x'", "line 2"),
        ];
        for (text, want) in table {
            let error = Assumptions::parse(text).expect_err(text);
            assert!(error.contains(want), "{text}: {error}");
        }
    }
}
