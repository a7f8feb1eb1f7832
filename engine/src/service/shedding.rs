//! Rules that are too slow for their lane: measured by the clock, which a lane does not know, and shed through its log.
//!
//! Comes in: what each rule of a lane has cost, how long the lane worked, and how long its rows had waited. Goes out: an act for
//! the lane's own log, at most one a window: once the costliest rule is gone, the others are measured anew.
//!
//! A rule is too slow when, over a whole window, its lane's thread had hardly anything else to do, the lane's rows waited longer
//! than they may and ever longer, and the rule took more than it may both of the lane's time and for each row. A lane that
//! catches up, waits for others, or is behind for the sake of many cheap rules sheds none.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::config::SheddingConfig;
use crate::lane::Lane;
use crate::rule::shed::{Act, Cost, Shed};
use crate::rule::{RuleCounters, Stopwatch};

/// After this long, an act that was written and not read is written again.
const AGAIN: Duration = Duration::from_secs(600);

/// Share of a window, in percent, for which a thread fed its lanes, from which on it is short of time. The rest is polls, commits
/// and the writing of what was made.
const BUSY_PERCENT: u128 = 75;

/// The clock of a thread: how long it has run, and for how long of that it fed its lanes.
pub(super) struct Clock {
    began: Instant,
    fed: Duration,
}

impl Clock {
    pub(super) fn start() -> Clock {
        Clock {
            began: Instant::now(),
            fed: Duration::ZERO,
        }
    }

    /// Measures the rules of the thread's lanes.
    pub(super) fn stopwatch(&self) -> Stopwatch {
        let began = self.began;
        Arc::new(move || u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }
}

/// What a lane's owner keeps in order to shed its rules.
#[derive(Default)]
pub(super) struct Shedding {
    meter: Meter,
    fed: Duration,
    /// How long the last record had waited in the log, ms.
    behind_ms: u64,
    /// The act that was written into the lane's log, until it is read there.
    told: Option<(Act, Instant)>,
}

impl Shedding {
    /// Notes that a record took so long, and had waited so long in the log.
    pub(super) fn fed(&mut self, took: Duration, behind_ms: u64, clock: &mut Clock) {
        self.fed += took;
        self.behind_ms = behind_ms;
        clock.fed += took;
    }

    /// What is to be written into the log of this lane, which runs the rules that are wanted and is not on its way back.
    pub(super) fn due(
        &mut self,
        config: &SheddingConfig,
        lane: &Lane,
        clock: &Clock,
    ) -> Option<Act> {
        let told = self.told.as_ref();
        if told.is_some_and(|(_, at)| at.elapsed() < AGAIN) {
            return None;
        }
        let mut shed = lane.shed().keys();
        let lifted = shed.find(|rule| config.is_exempt(rule));
        let act = match lifted {
            Some(rule) => Act::Lift(rule.clone()),
            None => self.meter.look(
                config,
                &Sight {
                    at: clock.began.elapsed(),
                    thread_fed: clock.fed,
                    lane_fed: self.fed,
                    behind_ms: self.behind_ms,
                    rules: &|| lane.stage().rules(),
                },
            )?,
        };
        self.told = Some((act.clone(), Instant::now()));
        Some(act)
    }

    /// Notes that an act was read in the lane's log.
    pub(super) fn read(&mut self, act: &Act) {
        self.told.take_if(|(told, _)| told == act);
        // The rules that are left are measured anew.
        self.meter = Meter::default();
    }
}

/// What a lane's owner sees of it at one moment.
struct Sight<'a> {
    /// Since the thread began.
    at: Duration,
    /// Time for which the thread has fed its lanes.
    thread_fed: Duration,
    /// Time for which it has fed this one.
    lane_fed: Duration,
    /// How long the last record had waited in the log, ms.
    behind_ms: u64,
    /// What its rules did; asked at the end of a window only.
    rules: &'a dyn Fn() -> Vec<RuleCounters>,
}

/// Where one window began.
struct Mark {
    at: Duration,
    thread_fed: Duration,
    lane_fed: Duration,
    behind_ms: u64,
    /// Rows and nanoseconds of each rule.
    spent: HashMap<String, (u64, u64)>,
}

/// Measures the rules of one lane.
#[derive(Default)]
struct Meter {
    mark: Option<Mark>,
}

impl Meter {
    /// Looks at the lane; at the end of a window in which a rule was too slow, comes out what to do.
    fn look(&mut self, config: &SheddingConfig, sight: &Sight<'_>) -> Option<Act> {
        let window = Duration::from_secs(config.window_seconds);
        let mark = self.mark.as_ref();
        if mark.is_some_and(|mark| sight.at.saturating_sub(mark.at) < window) {
            return None;
        }
        let rules = (sight.rules)();
        let before = self.mark.replace(Mark::of(sight, &rules))?;
        let took = sight.at.saturating_sub(before.at);
        let fed = sight.thread_fed.saturating_sub(before.thread_fed);
        let is_busy = BUSY_PERCENT * took.as_nanos() <= 100 * fed.as_nanos();
        let falls_behind = config.behind_seconds.saturating_mul(1000) <= before.behind_ms
            && before.behind_ms <= sight.behind_ms;
        if !is_busy || !falls_behind {
            return None;
        }
        let lane_ns = sight.lane_fed.saturating_sub(before.lane_fed).as_nanos();
        let cost = |of: &RuleCounters| {
            let name = &of.rule.header.name;
            let (rows, spent_ns) = before.spent.get(name).copied().unwrap_or_default();
            let spent_ns = of.spent_ns.saturating_sub(spent_ns);
            let percent = 100 * u128::from(spent_ns) / lane_ns.max(1);
            Cost {
                row_ns: spent_ns / of.rows.saturating_sub(rows).max(1),
                percent: u64::try_from(percent).unwrap_or(u64::MAX),
                behind_ms: sight.behind_ms,
                row_ns_max: config.row_ns,
                percent_max: config.percent,
            }
        };
        let may_be_shed = |of: &&RuleCounters| !config.is_exempt(&of.rule.header.name);
        let costs = rules.iter().filter(may_be_shed).map(|of| (of, cost(of)));
        let (of, cost) = costs.max_by_key(|(_, cost)| cost.percent)?;
        let is_slow = config.percent <= cost.percent && config.row_ns <= cost.row_ns;
        is_slow.then(|| {
            let hash = of.rule.hash;
            Act::Shed(of.rule.header.name.clone(), Shed { hash, cost })
        })
    }
}

impl Mark {
    fn of(sight: &Sight<'_>, rules: &[RuleCounters]) -> Mark {
        let spent = |of: &RuleCounters| (of.rule.header.name.clone(), (of.rows, of.spent_ns));
        Mark {
            at: sight.at,
            thread_fed: sight.thread_fed,
            lane_fed: sight.lane_fed,
            behind_ms: sight.behind_ms,
            spent: rules.iter().map(spent).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::rule::Rule;

    fn rule(name: &str) -> Arc<Rule> {
        let text = format!(
            "/*---\nschema: rule/v1\nid: 6f1c2f0e-2f62-4c0c-9f0c-2a6e3b1d9f10\nname: {name}\nversion: 1\ntitle: t\nstatus: stable\nseverity: low\ndescription: d\n---*/\nSELECT 1"
        );
        Arc::new(Rule::parse(Path::new(&format!("{name}.sql")), &text).unwrap())
    }

    /// One window: what went on in it, and whether `slow` is shed at its end.
    struct Case {
        what: &'static str,
        /// Percent of the window in which the thread fed its lanes, and this lane.
        fed: (u64, u64),
        /// Seconds behind at the window's begin and end.
        behind: (u64, u64),
        /// Percent of the window that `slow` and `quick` took.
        took: (u64, u64),
        rows: u64,
        is_shed: bool,
    }

    #[test]
    fn a_rule_is_too_slow_only_where_its_lane_falls_behind_for_its_sake() {
        let config = SheddingConfig {
            exempt: vec!["quick".to_owned()],
            ..SheddingConfig::default()
        };
        let slow = Case {
            what: "slow",
            fed: (95, 95),
            behind: (12, 15),
            took: (60, 1),
            rows: 1_000,
            is_shed: true,
        };
        let quiet = |what| Case {
            what,
            is_shed: false,
            ..slow
        };
        let cases = [
            Case { ..slow },
            Case {
                took: (60, 90),
                what: "another one costs more and is exempt",
                ..slow
            },
            Case {
                fed: (90, 40),
                took: (11, 0),
                what: "of one of several lanes it has more than its share",
                ..slow
            },
            Case {
                behind: (15, 12),
                ..quiet("the lane catches up")
            },
            Case {
                behind: (9, 20),
                ..quiet("the lane was not behind all the time")
            },
            Case {
                fed: (60, 60),
                ..quiet("the thread waits for something else")
            },
            Case {
                took: (20, 1),
                ..quiet("it has a fair share")
            },
            Case {
                rows: 10_000_000,
                ..quiet("it is cheap, and there are very many rows")
            },
        ];
        for case in cases {
            let mut meter = Meter::default();
            let mut rules = [
                RuleCounters::new(rule("slow")),
                RuleCounters::new(rule("quick")),
            ];
            // What was before the window does not count.
            (rules[0].rows, rules[0].spent_ns) = (5, 77_000_000_000);
            let look =
                |meter: &mut Meter, at_ms: u64, done: u64, behind, rules: &[RuleCounters]| {
                    let part = |percent: u64| Duration::from_millis(500 + percent * 100 * done);
                    let sight = Sight {
                        at: Duration::from_millis(at_ms),
                        thread_fed: part(case.fed.0),
                        lane_fed: part(case.fed.1),
                        behind_ms: behind * 1_000,
                        rules: &|| rules.to_vec(),
                    };
                    meter.look(&config, &sight)
                };
            assert_eq!(look(&mut meter, 1_000, 0, case.behind.0, &rules), None);
            for (of, percent) in rules.iter_mut().zip([case.took.0, case.took.1]) {
                of.rows += case.rows;
                of.spent_ns += percent * 100_000_000;
            }
            assert_eq!(
                look(&mut meter, 10_900, 1, case.behind.1, &rules),
                None,
                "too early"
            );
            let act = look(&mut meter, 11_000, 1, case.behind.1, &rules);
            let shed = act.map(|act| match act {
                Act::Shed(name, shed) => (name, shed.cost.row_ns, shed.cost.percent),
                Act::Lift(name) => panic!("{name} is lifted"),
            });
            let row_ns = case.took.0 * 100_000_000 / case.rows;
            let percent = 100 * case.took.0 / case.fed.1;
            let want = case.is_shed.then(|| ("slow".to_owned(), row_ns, percent));
            assert_eq!(shed, want, "{}", case.what);
        }
    }
}
