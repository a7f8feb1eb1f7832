//! Recall against false alerts: what a detector finds at each setting of its threshold, and what two of them find at the same
//! number of false alerts.

use super::Evaluation;
use super::interval::wilson;

/// One setting of a threshold and what came of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Point {
    /// The setting.
    pub threshold: f64,
    /// True for the setting its maker ships or shows.
    pub is_default: bool,
    /// Episodes found.
    pub n_found: usize,
    /// All episodes.
    pub n_episodes: usize,
    /// False alerts.
    pub n_false: usize,
    /// Calls.
    pub n_events: usize,
    /// Objects of others exposed before the alert, median; a miss counts all.
    pub exposed_median: usize,
}

/// A detector over the settings of its threshold.
#[derive(Clone, Debug, Default)]
pub struct Curve {
    /// Name of the detector.
    pub name: String,
    /// Its points, in the order of the thresholds.
    pub points: Vec<Point>,
}

/// What two detectors find at the same number of false alerts.
#[derive(Debug)]
pub struct Comparison<'a> {
    /// False alerts allowed per million events.
    pub per_million: f64,
    /// Ours; none where no setting is as quiet.
    pub ours: Option<&'a Point>,
    /// The best of the others, by name; none where none is as quiet.
    pub rival: Option<(&'a str, &'a Point)>,
}

impl Point {
    /// A setting's outcome.
    pub fn of(threshold: f64, is_default: bool, evaluation: &Evaluation) -> Point {
        Point {
            threshold,
            is_default,
            n_found: evaluation.n_found(),
            n_episodes: evaluation.episodes.len(),
            n_false: evaluation.false_alerts.len(),
            n_events: evaluation.n_events,
            exposed_median: evaluation.all().exposed().0,
        }
    }

    /// Share of the episodes found.
    pub fn recall(&self) -> f64 {
        self.n_found as f64 / self.n_episodes.max(1) as f64
    }

    /// Wilson's 95 % interval of the recall.
    pub fn interval(&self) -> (f64, f64) {
        wilson(self.n_found, self.n_episodes)
    }

    /// False alerts per million events.
    pub fn per_million(&self) -> f64 {
        self.n_false as f64 * 1e6 / self.n_events.max(1) as f64
    }
}

impl Curve {
    /// The setting that finds most with at most so many false alerts per million events; of several the quietest, then the one
    /// that exposes least. None where every setting is louder.
    pub fn best_at(&self, per_million: f64) -> Option<&Point> {
        let quiet = self
            .points
            .iter()
            .filter(|p| p.per_million() <= per_million);
        quiet.max_by(|a, b| {
            let by_found = a.n_found.cmp(&b.n_found);
            let by_false = b.n_false.cmp(&a.n_false);
            by_found
                .then(by_false)
                .then(b.exposed_median.cmp(&a.exposed_median))
        })
    }

    /// The point at the default.
    pub fn at_default(&self) -> Option<&Point> {
        self.points.iter().find(|point| point.is_default)
    }
}

impl<'a> Comparison<'a> {
    /// Compares at so many false alerts per million events. Each detector has the setting that suits it best there, picked
    /// afterwards: neither would have known it.
    pub fn at(per_million: f64, ours: &'a Curve, rivals: &'a [Curve]) -> Comparison<'a> {
        let best = rivals
            .iter()
            .filter_map(|curve| Some((curve.name.as_str(), curve.best_at(per_million)?)))
            // Of equals the one that stands first.
            .reduce(|best, other| match best.1.n_found < other.1.n_found {
                true => other,
                false => best,
            });
        Comparison {
            per_million,
            ours: ours.best_at(per_million),
            rival: best,
        }
    }

    /// Recall of ours over that of the best rival; none where no rival finds anything.
    pub fn ratio(&self) -> Option<f64> {
        let found = |point: &Point| point.n_found as f64;
        let rival = self.rival.map_or(0.0, |(_, point)| found(point));
        (0.0 < rival).then(|| self.ours.map_or(0.0, found) / rival)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A curve over ten episodes and a million events, of (found, false alerts).
    fn curve(name: &str, of: &[(usize, usize)]) -> Curve {
        let point = |(at, (n_found, n_false)): (usize, &(usize, usize))| Point {
            threshold: at as f64,
            n_found: *n_found,
            n_episodes: 10,
            n_false: *n_false,
            n_events: 1_000_000,
            ..Point::default()
        };
        Curve {
            name: name.to_owned(),
            points: of.iter().enumerate().map(point).collect(),
        }
    }

    #[test]
    fn recall_at_a_number_of_false_alerts_is_the_best_that_is_as_quiet() {
        // Not in order, and not growing: a tighter setting may lose an episode and gain another.
        let ours = curve("ours", &[(6, 0), (5, 1), (9, 12), (8, 10), (8, 4)]);
        for (per_million, found, n_false) in [(0.1, 6, 0), (1.0, 6, 0), (10.0, 8, 4), (12.0, 9, 12)]
        {
            let best = ours.best_at(per_million).expect("a setting is as quiet");
            assert_eq!(
                (best.n_found, best.n_false),
                (found, n_false),
                "{per_million}"
            );
        }
    }

    #[test]
    fn the_best_rival_is_that_of_each_number_of_false_alerts() {
        let ours = curve("ours", &[(6, 0), (8, 9)]);
        let rivals = [
            curve("loud", &[(9, 300), (4, 10)]),
            curve("quiet", &[(2, 1), (3, 9)]),
            curve("blind", &[(0, 0)]),
        ];
        let at = |per_million| Comparison::at(per_million, &ours, &rivals);
        assert_eq!(at(0.1).rival.map(|(name, _)| name), Some("blind"));
        assert_eq!(at(0.1).ratio(), None, "6 against nothing has no ratio");
        assert_eq!(at(1.0).rival.map(|(name, _)| name), Some("quiet"));
        assert_eq!(at(1.0).ratio(), Some(3.0));
        assert_eq!(at(10.0).rival.map(|(name, _)| name), Some("loud"));
        assert_eq!(at(10.0).ratio(), Some(2.0));
        let nobody = curve("ours", &[(9, 50)]);
        let none = Comparison::at(1.0, &nobody, &rivals);
        assert!(none.ours.is_none());
        assert_eq!(
            none.ratio(),
            Some(0.0),
            "too loud to be asked is nothing found"
        );
    }
}
