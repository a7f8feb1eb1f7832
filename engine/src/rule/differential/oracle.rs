//! What must come out: rows are put into windows one by one as the contract says, then DataFusion is asked as of any table.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, TimestampMillisecondArray, UInt32Array};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion::scalar::ScalarValue;
use tokio::runtime::{Builder, Runtime};

use super::generate::{Call, Query, Windowing};

/// Ordinary DataFusion.
pub(super) struct Oracle {
    runtime: Runtime,
}

/// A row in a window, and the row at which it is looked at.
#[derive(Debug, Clone, Copy)]
struct Placed {
    at: usize,
    row: usize,
    start_ms: i64,
    end_ms: i64,
}

/// What a rule is to say early: at which row, of the window that begins there, the columns.
pub(super) struct Crossing {
    pub(super) row: usize,
    pub(super) start_ms: i64,
    pub(super) values: Vec<ScalarValue>,
}

/// The windows' answers at each of their rows: whether the condition holds, and the columns.
type Answers = HashMap<(usize, i64), (bool, Vec<ScalarValue>)>;

impl Oracle {
    pub(super) fn new() -> Oracle {
        let runtime = Builder::new_current_thread().build().unwrap();
        Oracle { runtime }
    }

    /// The rows of a query over one table, `calls`.
    pub(super) fn ask(
        &self,
        calls: RecordBatch,
        sql: &str,
    ) -> Result<Vec<Vec<ScalarValue>>, String> {
        let config = SessionConfig::new().with_target_partitions(1);
        let context = SessionContext::new_with_config(config);
        // It makes a column of `x IS NOT TRUE` that may not be null, and DataFusion 55.2 then refuses its own plan.
        context.remove_optimizer_rule("common_sub_expression_eliminate");
        let told =
            |e: datafusion::common::DataFusionError| format!("{}\n{sql}", e.strip_backtrace());
        context.register_batch("calls", calls).map_err(told)?;
        let batches = self
            .runtime
            .block_on(async { context.sql(sql).await?.collect().await })
            .map_err(told)?;
        let mut rows = Vec::new();
        for batch in &batches {
            for row in 0..batch.num_rows() {
                let values = batch.columns().iter();
                let values = values.map(|column| ScalarValue::try_from_array(column, row));
                rows.push(values.collect::<Result<_, _>>().map_err(told)?);
            }
        }
        Ok(rows)
    }

    /// The groups of rows that pass the rule's WHERE, by number of the row.
    fn groups(&self, query: &Query, log: &RecordBatch) -> Result<HashMap<usize, String>, String> {
        let rows = self.ask(log.clone(), &query.passing())?;
        let group = |row: Vec<ScalarValue>| match row[0] {
            ScalarValue::Int64(Some(offset)) => (offset as usize, format!("{:?}", &row[1..])),
            ref other => panic!("{other} is no offset"),
        };
        Ok(rows.into_iter().map(group).collect())
    }

    /// What a rule says of windows that close, and how many rows were too late for all of theirs.
    pub(super) fn closed(
        &self,
        query: &Query,
        windowing: Windowing,
        calls: &[Call],
        log: &RecordBatch,
    ) -> Result<(Vec<Vec<ScalarValue>>, u64), String> {
        let groups = self.groups(query, log)?;
        let mut n_late = 0;
        let placed = match windowing {
            Windowing::Aligned { slide_ms, size_ms } => {
                let open = open_windows(calls, slide_ms, size_ms, query.lateness_ms);
                n_late += open
                    .iter()
                    .enumerate()
                    .filter(|(row, windows)| windows.is_empty() && groups.contains_key(row))
                    .count();
                let of = |(row, windows): (usize, &Vec<i64>)| {
                    let placed = |start_ms: &i64| Placed {
                        at: 0,
                        row,
                        start_ms: *start_ms,
                        end_ms: start_ms + size_ms,
                    };
                    windows.iter().map(placed).collect::<Vec<_>>()
                };
                open.iter().enumerate().flat_map(of).collect::<Vec<_>>()
            }
            Windowing::Sessions { gap_ms, longest_ms } => {
                let (touches, late) =
                    sessions(calls, &groups, (gap_ms, longest_ms), query.lateness_ms);
                n_late += late;
                let mut last: BTreeMap<usize, &Touch> = BTreeMap::new();
                for touch in &touches {
                    last.insert(touch.session, touch);
                    touch.joined.map(|joined| last.remove(&joined));
                }
                last.values()
                    .flat_map(|touch| touch.placed(0, gap_ms))
                    .collect()
            }
        };
        let rows = self.ask(expanded(log, &placed), &query.at_rest(""))?;
        Ok((rows, n_late as u64))
    }

    /// What a rule says as soon as a group crosses; `grown`: at which rows a group that is across was told again.
    ///
    /// # Errors
    /// A condition was true of a window and turned false again, though the rule was taken for one that cannot.
    pub(super) fn crossed(
        &self,
        query: &Query,
        windowing: Windowing,
        calls: &[Call],
        log: &RecordBatch,
        grown: &[usize],
    ) -> Result<Vec<Crossing>, String> {
        let groups = self.groups(query, log)?;
        match windowing {
            Windowing::Aligned { slide_ms, size_ms } => {
                let open = open_windows(calls, slide_ms, size_ms, query.lateness_ms);
                let mut placed = Vec::new();
                for (at, group) in (0..calls.len()).filter_map(|at| Some((at, groups.get(&at)?))) {
                    for start_ms in &open[at] {
                        let rows = (0..=at).filter(|row| {
                            groups.get(row) == Some(group) && open[*row].contains(start_ms)
                        });
                        placed.extend(rows.map(|row| Placed {
                            at,
                            row,
                            start_ms: *start_ms,
                            end_ms: start_ms + size_ms,
                        }));
                    }
                }
                let answers = self.answers(query, log, &placed)?;
                let spec = (slide_ms, size_ms);
                aligned(query, calls, &groups, &open, &answers, spec, grown)
            }
            Windowing::Sessions { gap_ms, longest_ms } => {
                let (touches, _) =
                    sessions(calls, &groups, (gap_ms, longest_ms), query.lateness_ms);
                let placed = touches.iter();
                let placed: Vec<Placed> = placed.flat_map(|t| t.placed(t.row, gap_ms)).collect();
                told_sessions(&touches, &self.answers(query, log, &placed)?)
            }
        }
    }

    fn answers(
        &self,
        query: &Query,
        log: &RecordBatch,
        placed: &[Placed],
    ) -> Result<Answers, String> {
        let rows = self.ask(expanded(log, placed), &query.judged("looked"))?;
        let answer = |mut row: Vec<ScalarValue>| {
            let holds = row.pop() == Some(ScalarValue::Boolean(Some(true)));
            let at = row.remove(0);
            let start = row[query.keys.len()].clone();
            match (at, start) {
                (
                    ScalarValue::Int64(Some(at)),
                    ScalarValue::TimestampMillisecond(Some(start_ms), _),
                ) => ((at as usize, start_ms), (holds, row)),
                other => panic!("{other:?}"),
            }
        };
        Ok(rows.into_iter().map(answer).collect())
    }
}

/// The greatest event time up to each row, less the lateness: windows that end by then are closed.
fn watermarks(calls: &[Call], lateness_ms: i64) -> Vec<i64> {
    let clock = |clock: &mut i64, call: &Call| {
        *clock = (*clock).max(call.time_ms);
        Some(*clock - lateness_ms)
    };
    calls.iter().scan(i64::MIN, clock).collect()
}

/// The starts of the windows each row is in that are open when it comes, in their order.
fn open_windows(calls: &[Call], slide_ms: i64, size_ms: i64, lateness_ms: i64) -> Vec<Vec<i64>> {
    let watermarks = watermarks(calls, lateness_ms);
    let of = |(call, watermark): (&Call, i64)| {
        let pane_ms = call.time_ms.div_euclid(slide_ms) * slide_ms;
        let starts = (0..size_ms / slide_ms)
            .rev()
            .map(|n| pane_ms - n * slide_ms);
        starts
            .filter(|start_ms| watermark < start_ms + size_ms)
            .collect()
    };
    calls.iter().zip(watermarks).map(of).collect()
}

/// The rows of a log as often as they are placed, with the windows' bounds and the row they are looked at from.
fn expanded(log: &RecordBatch, placed: &[Placed]) -> RecordBatch {
    let rows = UInt32Array::from_iter_values(placed.iter().map(|p| p.row as u32));
    let rows = arrow::compute::take_record_batch(log, &rows).unwrap();
    let time = |ms: fn(&Placed) -> i64| -> ArrayRef {
        let times = TimestampMillisecondArray::from_iter_values(placed.iter().map(ms));
        Arc::new(times.with_timezone("UTC"))
    };
    let at = Int64Array::from_iter_values(placed.iter().map(|p| p.at as i64));
    let mut columns = rows.columns().to_vec();
    columns.extend([
        time(|p| p.start_ms),
        time(|p| p.end_ms),
        Arc::new(at) as ArrayRef,
    ]);
    let of_time = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
    let more = [
        Field::new("window_start", of_time.clone(), false),
        Field::new("window_end", of_time, false),
        Field::new("looked", DataType::Int64, false),
    ];
    let fields = log.schema().fields().iter().cloned().collect::<Vec<_>>();
    let fields = fields.into_iter().chain(more.map(Arc::new));
    let schema = Schema::new(fields.collect::<Vec<_>>());
    RecordBatch::try_new(Arc::new(schema), columns).unwrap()
}

/// A row that came to a session, and what that is with it.
struct Touch {
    row: usize,
    session: usize,
    /// The session that it joined to this one.
    joined: Option<usize>,
    rows: Vec<usize>,
    first_ms: i64,
    last_ms: i64,
}

impl Touch {
    fn placed(&self, at: usize, gap_ms: i64) -> Vec<Placed> {
        let placed = |row: &usize| Placed {
            at,
            row: *row,
            start_ms: self.first_ms,
            end_ms: self.last_ms + gap_ms,
        };
        self.rows.iter().map(placed).collect()
    }
}

/// Puts rows into sessions in the order of the log; and how many are late.
fn sessions(
    calls: &[Call],
    groups: &HashMap<usize, String>,
    (gap_ms, longest_ms): (i64, Option<i64>),
    lateness_ms: i64,
) -> (Vec<Touch>, usize) {
    struct Live<'a> {
        group: &'a str,
        session: usize,
        rows: Vec<usize>,
        first_ms: i64,
        last_ms: i64,
    }
    let fits = |first_ms: i64, last_ms: i64| longest_ms.is_none_or(|max| last_ms - first_ms <= max);
    let (mut live, mut touches, mut n_late): (Vec<Live<'_>>, _, _) = (Vec::new(), Vec::new(), 0);
    for (row, watermark) in watermarks(calls, lateness_ms).into_iter().enumerate() {
        live.retain(|s| watermark < s.last_ms + gap_ms);
        let (Some(group), at_ms) = (groups.get(&row), calls[row].time_ms) else {
            continue;
        };
        // Sessions of the group in their order; those the row is near to are neighbours in it.
        live.sort_by_key(|s| s.first_ms);
        let near: Vec<usize> = (0..live.len())
            .filter(|at| {
                let s = &live[*at];
                s.group == group && s.first_ms - gap_ms < at_ms && at_ms < s.last_ms + gap_ms
            })
            .collect();
        let before = near
            .iter()
            .rfind(|at| live[**at].first_ms <= at_ms)
            .copied();
        let after = near.iter().find(|at| at_ms < live[**at].first_ms).copied();
        let mut joined = None;
        let at = match (before, after) {
            (Some(before), _) if at_ms <= live[before].last_ms => before,
            (Some(before), Some(after)) if fits(live[before].first_ms, live[after].last_ms) => {
                let other = live.remove(after);
                let session = &mut live[before];
                session.rows.extend(other.rows);
                session.last_ms = other.last_ms;
                joined = Some(other.session);
                before
            }
            (Some(before), _) if fits(live[before].first_ms, at_ms) => before,
            (_, Some(after)) if fits(at_ms, live[after].last_ms) => after,
            _ if at_ms + gap_ms <= watermark => {
                n_late += 1;
                continue;
            }
            _ => {
                live.push(Live {
                    group,
                    session: row,
                    rows: Vec::new(),
                    first_ms: at_ms,
                    last_ms: at_ms,
                });
                live.len() - 1
            }
        };
        let session = &mut live[at];
        session.rows.push(row);
        session.rows.sort_unstable();
        session.first_ms = session.first_ms.min(at_ms);
        session.last_ms = session.last_ms.max(at_ms);
        touches.push(Touch {
            row,
            session: session.session,
            joined,
            rows: session.rows.clone(),
            first_ms: session.first_ms,
            last_ms: session.last_ms,
        });
    }
    (touches, n_late)
}

/// Sessions speak once, at the row that takes them across.
fn told_sessions(touches: &[Touch], answers: &Answers) -> Result<Vec<Crossing>, String> {
    let mut held: HashMap<usize, bool> = HashMap::new();
    let mut crossings = Vec::new();
    for touch in touches {
        let mut of = |session: &usize| held.remove(session).unwrap_or(false);
        let was_held = of(&touch.session) | touch.joined.as_ref().is_some_and(of);
        let (holds, values) = &answers[&(touch.row, touch.first_ms)];
        if was_held && !holds {
            return Err(format!(
                "row {} turned the condition false in its session, which was true",
                touch.row
            ));
        }
        if *holds && !was_held {
            crossings.push(Crossing {
                row: touch.row,
                start_ms: touch.first_ms,
                values: values.clone(),
            });
        }
        held.insert(touch.session, *holds);
    }
    Ok(crossings)
}

/// A group with the windows that slide over it.
struct Sliding {
    /// Start of the newest window.
    current_ms: i64,
    /// Whether that one is across.
    fired: bool,
    /// Start of the newest window that was told.
    told_ms: i64,
    /// Whether each window is across.
    holds: HashMap<i64, bool>,
}

/// Groups speak at the row that takes a window across, in the first such window newer than the last they spoke in, and then
/// not until their newest window is below.
fn aligned(
    query: &Query,
    calls: &[Call],
    groups: &HashMap<usize, String>,
    open: &[Vec<i64>],
    answers: &Answers,
    (slide_ms, size_ms): (i64, i64),
    grown: &[usize],
) -> Result<Vec<Crossing>, String> {
    let watermarks = watermarks(calls, query.lateness_ms);
    let mut states: HashMap<&str, Sliding> = HashMap::new();
    let mut crossings = Vec::new();
    for row in 0..calls.len() {
        let Some(group) = groups.get(&row) else {
            continue;
        };
        if open[row].is_empty() {
            continue;
        }
        // The window that ends with the row's pane, or the first that is open where that is newer.
        let newest_ms = calls[row].time_ms.max(watermarks[row]);
        let newest_ms = newest_ms.div_euclid(slide_ms) * slide_ms + slide_ms - size_ms;
        let state = states.entry(group).or_insert(Sliding {
            current_ms: newest_ms,
            fired: false,
            told_ms: i64::MIN,
            holds: HashMap::new(),
        });
        let held = |holds: &HashMap<i64, bool>, start_ms: i64| {
            holds.get(&start_ms).copied().unwrap_or(false)
        };
        if state.current_ms < newest_ms {
            state.current_ms = newest_ms;
            state.fired = state.fired && held(&state.holds, newest_ms);
        }
        for start_ms in &open[row] {
            let (holds, _) = answers[&(row, *start_ms)];
            if state.holds.insert(*start_ms, holds) == Some(true) && !holds {
                return Err(format!(
                    "row {row} turned the condition false in the window from {start_ms}, which was true"
                ));
            }
        }
        if state.fired {
            if grown.contains(&row) {
                state.told_ms = state.current_ms;
            }
            continue;
        }
        let mut newer = open[row].iter().filter(|start| state.told_ms < **start);
        if let Some(start_ms) = newer.find(|start| state.holds[start]) {
            state.told_ms = *start_ms;
            state.fired = *start_ms == state.current_ms || held(&state.holds, state.current_ms);
            crossings.push(Crossing {
                row,
                start_ms: *start_ms,
                values: answers[&(row, *start_ms)].1.clone(),
            });
        }
    }
    Ok(crossings)
}
