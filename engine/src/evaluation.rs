//! Detection measured against labels: recall by episode, objects exposed and time gone by before the
//! alert, false alerts per million events and by who made the calls.
//!
//! Labels are a tab-separated file beside a capture, one row a line of it (line from 0): `label`
//! (`legit`, `attack`), `scenario`, `identity`, `foreign`, `object`. An alert is right when the
//! event that triggered it is an attack's; a case that was created on a legit event is false. Posture
//! findings are about an endpoint, have no identity, and are counted apart.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead};
use std::path::Path;

use connectors::file::open;

pub mod curve;
pub mod interval;
pub mod rival;
pub mod times;

use self::interval::poisson;
use self::times::Times;

/// What is known of one line.
#[derive(Clone, Debug, Default)]
pub struct Label {
    /// The episode the line belongs to; none for legit traffic.
    pub episode: Option<String>,
    /// Objects of others the line touched.
    pub foreign_objects: Vec<String>,
    /// What the caller is, where the file says: `user`, `batch`, ….
    pub role: String,
}

/// The labels of a capture, by line from 1.
#[derive(Debug, Default)]
pub struct Labels {
    lines: Vec<Label>,
}

impl Labels {
    /// Reads a label file, plain or compressed.
    ///
    /// # Errors
    /// It can't be read, or lacks a column.
    pub fn read(path: &Path) -> io::Result<Labels> {
        Labels::parse(open(path)?.reader)
    }

    /// Reads labels.
    ///
    /// # Errors
    /// They can't be read, or lack a column.
    pub fn parse(reader: impl BufRead) -> io::Result<Labels> {
        let mut rows = reader.lines();
        let header = rows.next().transpose()?.unwrap_or_default();
        let columns: Vec<&str> = header.split('\t').collect();
        let find = |name: &str| {
            let missing =
                || io::Error::new(io::ErrorKind::InvalidData, format!("no column {name}"));
            columns
                .iter()
                .position(|column| *column == name)
                .ok_or_else(missing)
        };
        let (scenario, foreign, object) = (find("scenario")?, find("foreign")?, find("object")?);
        let role = columns.iter().position(|column| *column == "role");
        let mut lines = Vec::new();
        for row in rows {
            let row = row?;
            let cells: Vec<&str> = row.split('\t').collect();
            let cell = |at: usize| cells.get(at).copied().unwrap_or_default();
            let is_foreign = cell(foreign) == "1";
            lines.push(Label {
                episode: Some(cell(scenario))
                    .filter(|s| !s.is_empty() && *s != "-")
                    .map(str::to_owned),
                foreign_objects: match cell(object) {
                    objects if is_foreign && !objects.is_empty() => {
                        objects.split('|').map(str::to_owned).collect()
                    }
                    _ => Vec::new(),
                },
                role: role.map_or("", cell).to_owned(),
            });
        }
        Ok(Labels { lines })
    }

    /// The label of a line, from 1.
    pub fn line(&self, number: i64) -> Option<&Label> {
        self.lines
            .get(usize::try_from(number).ok()?.checked_sub(1)?)
    }

    /// Lines labelled.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// True when nothing is labelled.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }
}

/// One alert as the evaluation sees it.
#[derive(Clone, Debug)]
pub struct Told {
    /// Line of the triggering event, from 1.
    pub line: i64,
    /// Name of the rule.
    pub rule: String,
    /// True when the case was created, false when updated.
    pub created: bool,
    /// True when the alert is about an identity.
    pub about_identity: bool,
    /// Title.
    pub title: String,
    /// Event time at which it was told, in milliseconds.
    pub time_ms: i64,
}

/// One episode's outcome.
#[derive(Clone, Debug, Default)]
pub struct Episode {
    /// Events of the episode.
    pub n_events: usize,
    /// Distinct objects of others it touched.
    pub n_objects: usize,
    /// Rule that told it first; none when it was missed.
    pub rule: Option<String>,
    /// Objects of others touched up to that alert.
    pub n_exposed: usize,
    /// Its events up to that alert.
    pub n_events_before: usize,
    /// From its first call to that alert, in milliseconds of event time; none when it was missed, or times are not known.
    pub detect_ms: Option<i64>,
}

/// Callers of one role, apart from their attacks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Role {
    /// Their calls that belong to no episode.
    pub n_events: usize,
    /// False alerts that such calls made.
    pub n_false: usize,
}

/// Some of the episodes.
#[derive(Debug, Default)]
pub struct Group<'a>(Vec<&'a Episode>);

/// The result of an evaluation.
#[derive(Debug, Default)]
pub struct Evaluation {
    /// Every episode by name.
    pub episodes: BTreeMap<String, Episode>,
    /// Cases about an identity that were created on legit events: rule and title.
    pub false_alerts: Vec<(String, String)>,
    /// Benign calls, and the false alerts they made, by the caller's role.
    pub by_role: BTreeMap<String, Role>,
    /// Findings about an endpoint alone.
    pub n_posture: usize,
    /// Events evaluated.
    pub n_events: usize,
    /// Event time from the first call to the last, in milliseconds, of all files together; 0 when not known.
    pub span_ms: i64,
}

impl Evaluation {
    /// Compares alerts, in order, with labels; `times` may be empty, and then how long it took is not known.
    pub fn of(labels: &Labels, told: &[Told], times: &Times) -> Evaluation {
        let mut evaluation = Evaluation {
            n_events: labels.len(),
            span_ms: times.span_ms(),
            ..Evaluation::default()
        };
        let mut first = BTreeMap::<&str, &Told>::new();
        for alert in told {
            let label = labels.line(alert.line);
            match label.and_then(|label| label.episode.as_deref()) {
                _ if !alert.about_identity => evaluation.n_posture += 1,
                Some(episode) => {
                    let entry = first.entry(episode).or_insert(alert);
                    if alert.line < entry.line {
                        *entry = alert;
                    }
                }
                None if alert.created => {
                    let role = label.map_or("", |label| label.role.as_str());
                    evaluation.role(role).n_false += 1;
                    evaluation
                        .false_alerts
                        .push((alert.rule.clone(), alert.title.clone()));
                }
                None => (),
            }
        }
        let mut progress = BTreeMap::<&str, Progress<'_>>::new();
        for (line, label) in (1..).zip(&labels.lines) {
            let Some(name) = label.episode.as_deref() else {
                evaluation.role(&label.role).n_events += 1;
                continue;
            };
            let episode = evaluation.episodes.entry(name.to_owned()).or_default();
            let found = first.get(name);
            let so_far = progress.entry(name).or_default();
            let seen = &mut so_far.seen;
            seen.extend(label.foreign_objects.iter().map(String::as_str));
            episode.n_events += 1;
            episode.n_objects = seen.len();
            if found.is_none_or(|alert| line <= alert.line) {
                episode.n_exposed = seen.len();
                episode.n_events_before += 1;
            }
            let at = [so_far.first_ms, times.line(line)].into_iter().flatten();
            so_far.first_ms = at.min();
            let told_ms = found.map(|alert| alert.time_ms);
            let took = so_far.first_ms.zip(told_ms);
            episode.detect_ms = took.map(|(first, told)| told.saturating_sub(first).max(0));
            episode.rule = found.map(|alert| alert.rule.clone());
        }
        evaluation
    }

    fn role(&mut self, role: &str) -> &mut Role {
        self.by_role.entry(role.to_owned()).or_default()
    }

    /// All episodes.
    pub fn all(&self) -> Group<'_> {
        Group(self.episodes.values().collect())
    }

    /// Episodes found.
    pub fn n_found(&self) -> usize {
        self.all().n_found()
    }

    /// Adds the result of another file; its episodes are named `file/episode`.
    pub fn add(&mut self, file: &str, other: Evaluation) {
        for (name, episode) in other.episodes {
            self.episodes.insert(format!("{file}/{name}"), episode);
        }
        self.false_alerts.extend(other.false_alerts);
        for (name, of) in other.by_role {
            let role = self.role(&name);
            role.n_events += of.n_events;
            role.n_false += of.n_false;
        }
        self.n_posture += other.n_posture;
        self.n_events += other.n_events;
        self.span_ms += other.span_ms;
    }

    /// Episodes by a part of their names: that before the first dot, the kind, or the one after it, the band. None
    /// where a name has no three parts.
    ///
    /// * `part`: below three.
    pub fn by_part(&self, part: usize) -> BTreeMap<&str, Group<'_>> {
        let mut groups = BTreeMap::<&str, Group<'_>>::new();
        for (name, episode) in &self.episodes {
            let name = name.rsplit('/').next().unwrap_or(name);
            let parts: Vec<&str> = name.split('.').collect();
            if parts.len() == 3 {
                groups.entry(parts[part]).or_default().0.push(episode);
            }
        }
        groups
    }

    /// Event time in days; none when not known.
    pub fn days(&self) -> Option<f64> {
        const DAY_MS: f64 = 86_400_000.0;
        (0 < self.span_ms).then(|| self.span_ms as f64 / DAY_MS)
    }

    /// What was promised against what was counted.
    ///
    /// * `knob`: false alerts promised per million events.
    pub fn promise(&self, knob: f64) -> Promise {
        let n_false = self.false_alerts.len();
        let promised = knob * self.n_events as f64 / 1e6;
        let (low, high) = poisson(n_false);
        Promise {
            promised,
            n_false,
            interval: (low, high),
            ratio: [n_false as f64, low, high].map(|n| n / promised),
        }
    }

    /// False alerts per million events.
    pub fn false_per_million(&self) -> f64 {
        self.false_alerts.len() as f64 * 1e6 / self.n_events.max(1) as f64
    }
}

/// What an episode came to so far.
#[derive(Default)]
struct Progress<'a> {
    seen: BTreeSet<&'a str>,
    first_ms: Option<i64>,
}

/// False alerts promised and counted.
#[derive(Debug)]
pub struct Promise {
    /// How many the knob allows for so many events.
    pub promised: f64,
    /// Counted.
    pub n_false: usize,
    /// The exact 95 % interval of what was counted.
    pub interval: (f64, f64),
    /// Counted over promised, and its interval.
    pub ratio: [f64; 3],
}

impl Group<'_> {
    /// Episodes in it.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those found.
    pub fn n_found(&self) -> usize {
        self.0.iter().filter(|e| e.rule.is_some()).count()
    }

    /// Objects of others exposed before the alert, where there were any: median and ninth decile. What was missed
    /// exposed all it touched.
    pub fn exposed(&self) -> (usize, usize) {
        let touched = self.0.iter().filter(|e| e.n_objects > 0);
        let mut exposed: Vec<usize> = touched.map(|e| e.n_exposed).collect();
        exposed.sort_unstable();
        let at = |share| quantile(&exposed, share).unwrap_or(0);
        (at(0.5), at(0.9))
    }

    /// From an episode's first call to the alert, in milliseconds: median and ninth decile of all episodes. A miss is
    /// censored: it took longer than the log lasts, and a quantile that falls among the misses is none.
    pub fn detected(&self) -> (Option<i64>, Option<i64>) {
        let mut took: Vec<i64> = self
            .0
            .iter()
            .map(|e| e.detect_ms.unwrap_or(i64::MAX))
            .collect();
        took.sort_unstable();
        let at = |share| quantile(&took, share).filter(|ms| *ms < i64::MAX);
        (at(0.5), at(0.9))
    }
}

/// The value below which a share of the sorted values is; none of none.
fn quantile<T: Copy>(sorted: &[T], share: f64) -> Option<T> {
    sorted.get((sorted.len() as f64 * share) as usize).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(episode: Option<&str>, object: &str) -> Label {
        let foreign_objects = if object.is_empty() {
            vec![]
        } else {
            vec![object.to_owned()]
        };
        Label {
            episode: episode.map(str::to_owned),
            foreign_objects,
            role: "user".into(),
        }
    }

    fn told(line: i64, created: bool, about_identity: bool) -> Told {
        Told {
            line,
            rule: "r".into(),
            created,
            about_identity,
            title: "t".into(),
            time_ms: line * 1_000,
        }
    }

    #[test]
    fn found_missed_false_and_posture_are_told_apart() {
        let labels = Labels {
            lines: vec![
                label(None, ""),
                label(Some("A"), "1"),
                label(Some("A"), "2"),
                label(Some("B"), "9"),
                label(Some("A"), "3"),
            ],
        };
        let alerts = [
            told(3, true, true),
            told(1, true, true),
            told(1, false, true),
            told(1, true, false),
            told(4, true, false),
        ];
        let evaluation = Evaluation::of(&labels, &alerts, &Times::default());
        assert_eq!((evaluation.n_found(), evaluation.episodes.len()), (1, 2));
        let a = &evaluation.episodes["A"];
        assert_eq!((a.n_exposed, a.n_objects, a.n_events_before), (2, 3, 2));
        assert_eq!(
            evaluation.episodes["B"].n_exposed, 1,
            "a miss exposes everything"
        );
        assert_eq!(
            evaluation.false_alerts.len(),
            1,
            "an update is no second false alert"
        );
        let user = Role {
            n_events: 1,
            n_false: 1,
        };
        assert_eq!(evaluation.by_role["user"], user);
        assert_eq!(evaluation.days(), None, "no times, no days");
        assert_eq!(
            evaluation.n_posture, 2,
            "an endpoint's finding on an attacker's call finds no attacker"
        );
    }

    #[test]
    fn several_files_are_one_result_by_kind_and_band() {
        let mut all = Evaluation::default();
        for (file, rule) in [("one", Some("r")), ("two", None)] {
            let mut evaluation = Evaluation {
                n_events: 10,
                ..Evaluation::default()
            };
            let episode = Episode {
                n_objects: 9,
                n_exposed: 4,
                rule: rule.map(str::to_owned),
                ..Episode::default()
            };
            evaluation.episodes.insert("walk.b2.001".into(), episode);
            all.add(file, evaluation);
        }
        assert_eq!((all.n_events, all.n_found()), (20, 1));
        for (part, name) in [(0, "walk"), (1, "b2")] {
            let groups = all.by_part(part);
            assert_eq!((groups[name].n_found(), groups[name].len()), (1, 2));
        }
        assert_eq!(all.all().exposed(), (4, 4));
    }

    /// Lines a minute apart: one benign call, then two of A, one of B, one of A, a benign one.
    fn minutes() -> (Labels, Times) {
        let labels = Labels {
            lines: [None, Some("A"), Some("A"), Some("B"), Some("A"), None]
                .map(|episode| label(episode, ""))
                .into(),
        };
        let mut times = Times::default();
        (1..=6).for_each(|line| times.note(line, line * 60_000));
        (labels, times)
    }

    #[test]
    fn the_time_to_detect_is_from_the_first_call_to_the_alert() {
        let (labels, times) = minutes();
        let alert = Told {
            time_ms: 330_000,
            ..told(5, true, true)
        };
        let evaluation = Evaluation::of(&labels, &[alert], &times);
        // From minute 2 to 5.5; B is missed, and so half of the episodes took longer than the log lasts.
        assert_eq!(evaluation.episodes["A"].detect_ms, Some(210_000));
        assert_eq!(evaluation.episodes["B"].detect_ms, None);
        assert_eq!(evaluation.all().detected(), (None, None));
        assert_eq!(evaluation.span_ms, 300_000);
    }

    #[test]
    fn misses_are_censored_at_the_end_of_the_quantiles() {
        let episodes: Vec<Episode> = [Some(1), Some(2), Some(3), None, Some(9)]
            .map(|detect_ms| Episode {
                detect_ms,
                ..Episode::default()
            })
            .into();
        // In order: 1, 2, 3, 9, never. The middle one is the third, and nine of ten reach into the miss.
        let group = Group(episodes.iter().collect());
        assert_eq!(group.detected(), (Some(3), None));
        let found = Group(episodes.iter().filter(|e| e.detect_ms.is_some()).collect());
        assert_eq!(found.detected(), (Some(3), Some(9)));
    }

    #[test]
    fn what_was_promised_is_the_knob_times_the_events() {
        let evaluation = Evaluation {
            n_events: 2_000_000,
            false_alerts: vec![Default::default(); 5],
            ..Evaluation::default()
        };
        let promise = evaluation.promise(1.0);
        assert_eq!((promise.promised, promise.n_false), (2.0, 5));
        // Garwood's interval of 5 is 1.62 to 11.67.
        let expected = [2.5, 0.81, 5.83];
        for (ratio, expected) in promise.ratio.iter().zip(expected) {
            assert!((ratio - expected).abs() < 0.01, "{ratio} for {expected}");
        }
    }

    #[test]
    fn calls_and_false_alerts_of_files_add_up_by_role() {
        let (labels, times) = minutes();
        let mut all = Evaluation::default();
        for alerts in [vec![told(6, true, true)], vec![]] {
            all.add("file", Evaluation::of(&labels, &alerts, &times));
        }
        let user = Role {
            n_events: 4,
            n_false: 1,
        };
        assert_eq!(all.by_role["user"], user);
        // Twice five minutes.
        assert!((all.days().expect("known") - 600.0 / 86_400.0).abs() < 1e-9);
    }
}
