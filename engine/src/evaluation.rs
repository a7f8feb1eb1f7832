//! Detection measured against labels: recall by episode, objects exposed before the alert, false
//! alerts per million events.
//!
//! Labels are a tab-separated file beside a capture, one row a line of it (line from 0): `label`
//! (`legit`, `attack`), `scenario`, `identity`, `foreign`, `object`. An alert is right when the
//! event that triggered it is an attack's; a case that was created on a legit event is false. Posture
//! findings are about an endpoint, have no identity, and are counted apart.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead};
use std::path::Path;

use connectors::file::open;

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
}

/// The result of an evaluation.
#[derive(Debug, Default)]
pub struct Evaluation {
    /// Every episode by name.
    pub episodes: BTreeMap<String, Episode>,
    /// Cases about an identity that were created on legit events: rule and title.
    pub false_alerts: Vec<(String, String)>,
    /// The same by the caller's role.
    pub false_by_role: BTreeMap<String, usize>,
    /// Findings about an endpoint alone.
    pub n_posture: usize,
    /// Events evaluated.
    pub n_events: usize,
}

impl Evaluation {
    /// Compares alerts, in order, with labels.
    pub fn of(labels: &Labels, told: &[Told]) -> Evaluation {
        let mut evaluation = Evaluation {
            n_events: labels.len(),
            ..Evaluation::default()
        };
        let mut first = BTreeMap::<&str, (i64, &str)>::new();
        for alert in told {
            let label = labels.line(alert.line);
            match label.and_then(|label| label.episode.as_deref()) {
                _ if !alert.about_identity => evaluation.n_posture += 1,
                Some(episode) => {
                    let entry = first.entry(episode).or_insert((alert.line, &alert.rule));
                    if alert.line < entry.0 {
                        *entry = (alert.line, &alert.rule);
                    }
                }
                None if alert.created => {
                    let role = label.map_or("", |label| label.role.as_str());
                    *evaluation.false_by_role.entry(role.to_owned()).or_default() += 1;
                    evaluation
                        .false_alerts
                        .push((alert.rule.clone(), alert.title.clone()));
                }
                None => (),
            }
        }
        let mut objects = BTreeMap::<&str, (BTreeSet<&str>, usize)>::new();
        for (line, label) in (1..).zip(&labels.lines) {
            let Some(name) = label.episode.as_deref() else {
                continue;
            };
            let episode = evaluation.episodes.entry(name.to_owned()).or_default();
            let found = first.get(name);
            let (seen, n_exposed) = objects.entry(name).or_default();
            seen.extend(label.foreign_objects.iter().map(String::as_str));
            episode.n_events += 1;
            episode.n_objects = seen.len();
            if found.is_none_or(|(at, _)| line <= *at) {
                *n_exposed = seen.len();
                episode.n_events_before += 1;
            }
            episode.n_exposed = *n_exposed;
            episode.rule = found.map(|(_, rule)| (*rule).to_owned());
        }
        evaluation
    }

    /// Episodes found.
    pub fn n_found(&self) -> usize {
        self.episodes
            .values()
            .filter(|episode| episode.rule.is_some())
            .count()
    }

    /// Adds the result of another file; its episodes are named `file/episode`.
    pub fn add(&mut self, file: &str, other: Evaluation) {
        for (name, episode) in other.episodes {
            self.episodes.insert(format!("{file}/{name}"), episode);
        }
        self.false_alerts.extend(other.false_alerts);
        for (role, n) in other.false_by_role {
            *self.false_by_role.entry(role).or_default() += n;
        }
        self.n_posture += other.n_posture;
        self.n_events += other.n_events;
    }

    /// Objects of others exposed before the alert, where there were any: median and ninth decile. What was missed
    /// exposed all it touched.
    pub fn exposed(&self) -> (usize, usize) {
        let touched = self.episodes.values().filter(|e| e.n_objects > 0);
        let mut exposed: Vec<usize> = touched.map(|e| e.n_exposed).collect();
        exposed.sort_unstable();
        let at = |share: f64| {
            let rank = (exposed.len() as f64 * share) as usize;
            exposed.get(rank).copied().unwrap_or(0)
        };
        (at(0.5), at(0.9))
    }

    /// Found and all episodes by a part of their names: that before the first dot, the kind, or the one after it,
    /// the band. None where a name has no three parts.
    ///
    /// * `part`: below three.
    pub fn by_part(&self, part: usize) -> BTreeMap<String, (usize, usize)> {
        let mut recall = BTreeMap::<String, (usize, usize)>::new();
        for (name, episode) in &self.episodes {
            let name = name.rsplit('/').next().unwrap_or(name);
            let parts: Vec<&str> = name.split('.').collect();
            if parts.len() != 3 {
                continue;
            }
            let counts = recall.entry(parts[part].to_owned()).or_default();
            counts.0 += usize::from(episode.rule.is_some());
            counts.1 += 1;
        }
        recall
    }

    /// False alerts per million events.
    pub fn false_per_million(&self) -> f64 {
        self.false_alerts.len() as f64 * 1e6 / self.n_events.max(1) as f64
    }
}

/// Wilson's 95 % interval of a share of `n`.
pub fn wilson(found: usize, n: usize) -> (f64, f64) {
    const Z: f64 = 1.96;
    let (n, share) = (n.max(1) as f64, found as f64 / n.max(1) as f64);
    let middle = share + Z * Z / (2.0 * n);
    let half = Z * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + Z * Z / n;
    ((middle - half) / scale, (middle + half) / scale)
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
        let evaluation = Evaluation::of(&labels, &alerts);
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
        assert_eq!(evaluation.false_by_role["user"], 1);
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
        assert_eq!(all.by_part(0)["walk"], (1, 2));
        assert_eq!(all.by_part(1)["b2"], (1, 2));
        assert_eq!(all.exposed(), (4, 4));
    }

    #[test]
    fn wilsons_interval_is_that_of_the_tables() {
        let (low, high) = wilson(8, 10);
        assert!(
            (low - 0.490).abs() < 0.001 && (high - 0.943).abs() < 0.001,
            "{low} {high}"
        );
        let (low, high) = wilson(0, 10);
        assert!(
            low.abs() < 1e-12 && (high - 0.278).abs() < 0.001,
            "{low} {high}"
        );
    }
}
