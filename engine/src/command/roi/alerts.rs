//! Alerts, counted: how many cases there are, and what each had exposed when it was told and since.

use std::collections::BTreeMap;
use std::path::Path;

use connectors::file::{Line, Lines, open};
use serde_json::Value;

use crate::command::Failure;

/// Cases whose objects are kept apart; of those beyond, the objects are not counted. 100 bytes each.
const CASES_MAX: usize = 100_000;

/// What alerts come to.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::command) struct AlertSums {
    /// Cases that were opened.
    pub(super) n_cases: u64,
    /// Objects of others that a case had exposed when it was opened, and in its latest update.
    exposed: BTreeMap<String, (f64, f64)>,
}

impl AlertSums {
    /// Takes an alert as it stands in its topic; what is none is passed over.
    pub(in crate::command) fn take(&mut self, alert: &str) {
        let Ok(alert) = serde_json::from_str::<Value>(alert) else {
            return;
        };
        let Some(uid) = alert["finding_info"]["uid"].as_str() else {
            return;
        };
        let is_new = alert["activity_id"] == 1;
        self.n_cases += u64::from(is_new);
        let exposed = alert["unmapped"]["tollwatch"]["models"]["n_exposed"].as_f64();
        let Some(exposed) = exposed else { return };
        let has_room = self.exposed.len() < CASES_MAX;
        if let Some((_, latest)) = self.exposed.get_mut(uid) {
            *latest = latest.max(exposed);
        } else if is_new && has_room {
            // Others were opened before what was read.
            self.exposed.insert(uid.to_owned(), (exposed, exposed));
        }
    }

    /// Objects exposed before the cases were told, and after.
    pub(super) fn exposed(&self) -> (f64, f64) {
        let sum = |(before, after): (f64, f64), (first, latest): &(f64, f64)| {
            (before + first, after + (latest - first))
        };
        self.exposed.values().fold((0.0, 0.0), sum)
    }

    /// Of a file with one alert a line, perhaps compressed.
    ///
    /// # Errors
    /// The file can't be read.
    pub(super) fn of_file(path: &Path) -> Result<AlertSums, Failure> {
        let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let input = open(path).map_err(|error| failed(&error))?;
        let mut sums = AlertSums::default();
        for line in Lines::new(input.reader) {
            if let Line::Bytes { bytes, .. } = line.map_err(|error| failed(&error))? {
                sums.take(&String::from_utf8_lossy(&bytes));
            }
        }
        Ok(sums)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_case_counts_once_and_its_objects_before_and_after_it_was_told() {
        let alert = |uid: &str, activity: u8, exposed: Option<u32>| {
            let models = json!({ "n_exposed": exposed });
            json!({"activity_id": activity, "finding_info": {"uid": uid}, "unmapped": {"tollwatch": {"models": models}}}).to_string()
        };
        let mut sums = AlertSums::default();
        let alerts = [
            alert("a", 1, Some(4)),
            alert("a", 2, Some(40)),
            alert("b", 1, None),
            alert("c", 2, Some(9)),
            "no alert".to_owned(),
        ];
        alerts.iter().for_each(|alert| sums.take(alert));
        assert_eq!((sums.n_cases, sums.exposed()), (2, (4.0, 36.0)));
    }
}
