//! Draws logs and rules: the same dice give the same.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMillisecondArray, UInt64Array,
};

use super::super::Catalog;
use super::super::laws::{Dice, schema};

/// One row. Numbers are short enough (eight binary digits, quarters) for every sum and quantile of them to be exact.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) time_ms: i64,
    who: Option<u64>,
    object: Option<u64>,
    amount: Option<i64>,
    score: Option<f64>,
    ok: Option<bool>,
    path: Option<u64>,
    status: i32,
}

/// The stream the rows are of.
pub(super) fn stream() -> Catalog {
    let columns = "event_time time, who text?, object u64?, amount i64?, score f64?, ok bool?, path text?, status i32, source_offset i64";
    Catalog::new().with("calls", schema(columns), "event_time")
}

/// Rows whose times stand still, move on, jump, and come out of order by up to `back_ms`; in half seconds, so that bounds are met.
pub(super) fn calls(dice: &mut Dice, back_ms: i64) -> Vec<Call> {
    let mut now_ms = -30_000; // Across the epoch: panes are Euclidean.
    let n = dice.roll(70);
    let mut call = |_| {
        now_ms += match dice.roll(30) {
            0 => 45_000,
            1..8 => 0,
            _ => 500 * dice.roll(7) as i64,
        };
        let late_ms = match dice.roll(3) {
            0 => 500 * dice.roll(back_ms as u64 / 500 + 1) as i64,
            _ => 0,
        };
        let mut or_null =
            |one_in: u64, sides: u64| (dice.roll(one_in) != 0).then(|| dice.roll(sides));
        Call {
            time_ms: now_ms - late_ms,
            who: or_null(10, 3),
            object: or_null(6, 7),
            amount: or_null(8, 300).map(|n| n as i64 - 50),
            score: or_null(6, 400).map(|n| (n as f64 - 100.0) * 0.25),
            ok: or_null(6, 2).map(|n| n == 0),
            path: or_null(10, 5),
            status: [200, 404, 500][or_null(u64::MAX, 3).unwrap_or(0) as usize],
        }
    };
    (0..n).map(&mut call).collect()
}

/// The rows as one batch of the stream.
pub(super) fn batch(calls: &[Call]) -> RecordBatch {
    let text = |of: &str, n: Option<u64>| n.map(|n| format!("{of}{n}"));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(
            TimestampMillisecondArray::from_iter_values(calls.iter().map(|c| c.time_ms))
                .with_timezone("UTC"),
        ),
        Arc::new(StringArray::from_iter(
            calls.iter().map(|c| text("who", c.who)),
        )),
        Arc::new(UInt64Array::from_iter(calls.iter().map(|c| c.object))),
        Arc::new(Int64Array::from_iter(calls.iter().map(|c| c.amount))),
        Arc::new(Float64Array::from_iter(calls.iter().map(|c| c.score))),
        Arc::new(BooleanArray::from_iter(calls.iter().map(|c| c.ok))),
        Arc::new(StringArray::from_iter(
            calls.iter().map(|c| text("/", c.path)),
        )),
        Arc::new(Int32Array::from_iter_values(calls.iter().map(|c| c.status))),
        Arc::new(Int64Array::from_iter_values(0..calls.len() as i64)),
    ];
    let schema = stream().get("calls").unwrap().schema.clone();
    RecordBatch::try_new(schema, columns).unwrap()
}

/// A piece of SQL as the rule has it, and as a table at rest must be asked to mean the same.
#[derive(Debug, Clone)]
pub(super) struct Twin {
    streamed: String,
    at_rest: String,
}

impl Twin {
    fn of(streamed: impl Into<String>, at_rest: impl Into<String>) -> Twin {
        let (streamed, at_rest) = (streamed.into(), at_rest.into());
        Twin { streamed, at_rest }
    }

    fn same(text: impl Into<String>) -> Twin {
        let text = text.into();
        Twin::of(text.clone(), text)
    }

    fn joined(self, between: &str, other: Twin) -> Twin {
        let join = |a: String, b: String| format!("({a}) {between} ({b})");
        Twin::of(
            join(self.streamed, other.streamed),
            join(self.at_rest, other.at_rest),
        )
    }
}

/// What rows are put together by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Windowing {
    /// Windows of `size_ms` every `slide_ms`.
    Aligned { slide_ms: i64, size_ms: i64 },
    /// Sessions that end `gap_ms` after their last row, as long as the rule says or as all may be.
    Sessions {
        gap_ms: i64,
        longest_ms: Option<i64>,
    },
}

/// A generated rule.
#[derive(Debug, Clone)]
pub(super) struct Query {
    /// None for a rule that fires at each row.
    pub(super) windowing: Option<Windowing>,
    pub(super) lateness_ms: i64,
    pub(super) is_early: bool,
    filters: Vec<String>,
    /// Whether the first filter and a computed column stand in a query below.
    is_nested: bool,
    pub(super) keys: Vec<String>,
    by_end_too: bool,
    columns: Vec<Twin>,
    having: Option<Twin>,
    /// Whether every condition on the aggregates is known to stay true once it is.
    pub(super) is_monotone: bool,
}

const CONDITIONS: [&str; 13] = [
    "amount > 10",
    "amount >= 0",
    "ok",
    "ok IS NOT TRUE",
    "path LIKE '/%1' OR path IS NULL",
    "object IS NOT NULL",
    "status < 400 OR who = 'who1'",
    "amount % 7 <> 3",
    "coalesce(score, 0) < 40.5",
    "upper(path) <> '/1'",
    "score BETWEEN -3 AND 50",
    "who IN ('who0', 'who2')",
    "NOT (status = 404 AND ok)",
];

const KEYS: [&str; 7] = [
    "who",
    "path",
    "ok",
    "status",
    "upper(path)",
    "amount % 3",
    "object",
];

const NUMBERS: [&str; 5] = ["amount", "score", "amount * 2 - 3", "status", "object"];

impl Query {
    pub(super) fn draw(dice: &mut Dice) -> Query {
        let windowing = match dice.roll(8) {
            0 => None,
            _ => Some(windowing(dice)),
        };
        let lateness_ms = [0, 3_000, 7_000, 20_000][dice.roll(4) as usize];
        let is_early = windowing.is_some() && dice.roll(2) == 0;
        let mut filters: Vec<String> = (0..dice.roll(3))
            .map(|_| pick(dice, &CONDITIONS).to_owned())
            .collect();
        filters.dedup();
        let is_nested = dice.roll(4) == 0;
        let mut keys: Vec<String> = match windowing {
            None => Vec::new(),
            Some(_) => (0..dice.roll(3))
                .map(|_| pick(dice, &KEYS).to_owned())
                .collect(),
        };
        keys.sort();
        keys.dedup();
        // One for all aggregates: DataFusion refuses orders that contradict each other.
        let order = order(dice);
        let n_columns = 1 + dice.roll(4);
        let columns = (0..n_columns).map(|_| match windowing {
            None => Twin::same(row_column(dice, is_nested)),
            Some(_) => aggregate(dice, is_nested, &order),
        });
        let columns = columns.collect();
        let (mut having, mut is_monotone) = (None, true);
        if windowing.is_some() && dice.roll(4) != 0 {
            // What is told early is mostly of the kind that can be.
            let only_monotone = is_early && dice.roll(4) != 0;
            for _ in 0..1 + dice.roll(2) {
                let monotone = only_monotone || dice.roll(2) == 0;
                is_monotone &= monotone;
                let term = if monotone {
                    grows(dice)
                } else {
                    wavers(dice, &order)
                };
                let between = pick(dice, &["AND", "OR"]);
                having = Some(match having {
                    None => term,
                    Some(all) => Twin::joined(all, between, term),
                });
            }
        }
        Query {
            windowing,
            lateness_ms,
            is_early,
            filters,
            is_nested,
            keys,
            by_end_too: dice.roll(2) == 0,
            columns,
            having,
            is_monotone,
        }
    }

    /// How far out of order rows are to come: within the lateness and past it, for sessions often just so that they join two.
    pub(super) fn back_ms(&self, dice: &mut Dice) -> i64 {
        match self.windowing {
            Some(Windowing::Sessions { gap_ms, .. }) if dice.roll(3) != 0 => 2 * gap_ms,
            _ => 2 * self.lateness_ms + 1_000,
        }
    }

    /// The header's lines and the SELECT of the rule.
    pub(super) fn rule(&self) -> (String, String) {
        let mut header = format!("lateness: {}s", self.lateness_ms / 1_000);
        if self.windowing.is_some() {
            header += match self.is_early {
                true => "\nemit: first_crossing",
                false => "\nemit: window_close",
            };
        }
        let secs = |ms: i64| format!("INTERVAL '{} seconds'", ms / 1_000);
        let source = match self.windowing {
            None => "calls".to_owned(),
            Some(Windowing::Aligned { slide_ms, size_ms }) if slide_ms == size_ms => {
                format!("TUMBLE(calls, event_time, {})", secs(size_ms))
            }
            Some(Windowing::Aligned { slide_ms, size_ms }) => format!(
                "HOP(calls, event_time, {}, {})",
                secs(slide_ms),
                secs(size_ms)
            ),
            Some(Windowing::Sessions { gap_ms, longest_ms }) => {
                let longest = longest_ms.map(|ms| format!(", {}", secs(ms)));
                let longest = longest.unwrap_or_default();
                format!("SESSION(calls, event_time, {}{longest})", secs(gap_ms))
            }
        };
        (header, self.select(&source, "", true, false))
    }

    /// The same asked of a table with the windows expanded; `more` goes before the columns and into GROUP BY.
    pub(super) fn at_rest(&self, more: &str) -> String {
        self.select("calls", more, false, false)
    }

    /// As at rest, for every group whether the condition holds rather than those on which it does.
    pub(super) fn judged(&self, more: &str) -> String {
        self.select("calls", more, false, true)
    }

    /// Rows that pass, with their keys.
    pub(super) fn passing(&self) -> String {
        let mut sql = "SELECT source_offset".to_owned();
        for key in &self.keys {
            let _ = write!(sql, ", {key}");
        }
        sql + " " + &self.source("calls")
    }

    fn source(&self, table: &str) -> String {
        let conditions = |filters: &[String]| match filters {
            [] => String::new(),
            filters => format!(" WHERE ({})", filters.join(") AND (")),
        };
        match self.is_nested {
            true => {
                let (below, above) = self.filters.split_at(self.filters.len().min(1));
                format!(
                    "FROM (SELECT *, amount + 1 AS more FROM {table}{}) t{}",
                    conditions(below),
                    conditions(above)
                )
            }
            false => format!("FROM {table}{}", conditions(&self.filters)),
        }
    }

    fn select(&self, table: &str, more: &str, streamed: bool, judged: bool) -> String {
        let side = |twin: &Twin| match streamed {
            true => twin.streamed.clone(),
            false => twin.at_rest.clone(),
        };
        let mut selected: Vec<String> = Vec::new();
        let mut grouped = Vec::new();
        if !more.is_empty() {
            selected.push(more.to_owned());
            grouped.push(more.to_owned());
        }
        for (at, key) in self.keys.iter().enumerate() {
            selected.push(format!("{key} AS k{at}"));
            grouped.push(key.clone());
        }
        if self.windowing.is_some() {
            selected.push("window_start".to_owned());
            grouped.push("window_start".to_owned());
            if self.by_end_too {
                selected.push("window_end".to_owned());
                grouped.push("window_end".to_owned());
            }
        }
        for (at, column) in self.columns.iter().enumerate() {
            selected.push(format!("{} AS a{at}", side(column)));
        }
        let having = self.having.as_ref().map(side);
        if judged {
            let having = having.clone().unwrap_or_else(|| "true".to_owned());
            selected.push(format!("{having} AS holds"));
        }
        let mut sql = format!("SELECT {} {}", selected.join(", "), self.source(table));
        if self.windowing.is_some() {
            let _ = write!(sql, " GROUP BY {}", grouped.join(", "));
        }
        match having {
            Some(having) if !judged => sql + " HAVING " + &having,
            _ => sql,
        }
    }

    /// Columns before those that are computed: the group's name.
    pub(super) fn n_names(&self) -> usize {
        self.keys.len()
            + match self.windowing {
                None => 0,
                Some(_) if self.by_end_too => 2,
                Some(_) => 1,
            }
    }
}

fn pick<'a>(dice: &mut Dice, of: &[&'a str]) -> &'a str {
    of[dice.roll(of.len() as u64) as usize]
}

fn windowing(dice: &mut Dice) -> Windowing {
    if dice.roll(3) == 0 {
        return Windowing::Sessions {
            gap_ms: [1_000, 3_000, 10_000][dice.roll(3) as usize],
            longest_ms: [None, Some(10_000), Some(25_000)][dice.roll(3) as usize],
        };
    }
    let slide_ms = [1_000, 5_000, 10_000][dice.roll(3) as usize];
    let n_panes = [1, 1, 2, 3, 5][dice.roll(5) as usize];
    Windowing::Aligned {
        slide_ms,
        size_ms: slide_ms * n_panes,
    }
}

/// A column of a rule that fires at each row.
fn row_column(dice: &mut Dice, is_nested: bool) -> String {
    let columns = [
        "who",
        "amount + status",
        "upper(path)",
        "CASE WHEN ok THEN score ELSE -1 END",
        "event_time",
        "object IS NULL",
        "concat(who, path)",
    ];
    match (is_nested, dice.roll(4)) {
        (true, 0) => "more".to_owned(),
        _ => pick(dice, &columns).to_owned(),
    }
}

/// An aggregate, or something made of one or two.
fn aggregate(dice: &mut Dice, is_nested: bool, order: &Order) -> Twin {
    let one = plain_aggregate(dice, is_nested, order);
    let filtered = match dice.roll(4) {
        0 => {
            let filter = format!(" FILTER (WHERE {})", pick(dice, &CONDITIONS));
            let filtered = |text: String| match text.strip_suffix(" IGNORE NULLS") {
                Some(text) => format!("{text}{filter} IGNORE NULLS"),
                None => text + &filter,
            };
            Twin::of(filtered(one.streamed), filtered(one.at_rest))
        }
        _ => one,
    };
    match dice.roll(8) {
        0 => Twin::joined(filtered, "IS NOT NULL AND", Twin::same("count(*) > 1")),
        _ => filtered,
    }
}

fn plain_aggregate(dice: &mut Dice, is_nested: bool, order: &Order) -> Twin {
    let arg = match (is_nested, dice.roll(5)) {
        (true, 0) => "more",
        _ => pick(dice, &NUMBERS),
    };
    let any = pick(dice, &["who", "path", "object", "ok", "event_time", arg]);
    match dice.roll(17) {
        0 => Twin::same("count(*)"),
        1 => Twin::same(format!("count({any})")),
        2 => Twin::same(format!("count(DISTINCT {any})")),
        3 => Twin::same(format!("sum({arg})")),
        4 => Twin::same(format!("min({any})")),
        5 => Twin::same(format!("max({any})")),
        6 => Twin::same(format!("avg({arg})")),
        7 => Twin::of(
            format!("approx_distinct({any})"),
            format!("count(DISTINCT {any})"),
        ),
        8 | 9 => {
            let name = pick(
                dice,
                &["stddev", "stddev_pop", "var", "var_pop", "var_samp"],
            );
            Twin::same(format!("{name}({arg})"))
        }
        10 => Twin::same(format!("bool_and({})", pick(dice, &["ok", "status < 450"]))),
        11 => Twin::same(format!("bool_or({})", pick(dice, &["ok", "amount > 150"]))),
        12 => quantile(dice, arg),
        13 | 14 => picked(dice, any, order),
        _ => listed(dice, any, order),
    }
}

fn quantile(dice: &mut Dice, arg: &str) -> Twin {
    // DataFusion cuts the way between two values to millionths: these shares need none.
    let share = pick(dice, &["0.25", "0.5", "0.75", "1.0"]);
    let fall = pick(dice, &["", " DESC"]);
    let exact = |fall: &str| {
        format!("percentile_cont({share}) WITHIN GROUP (ORDER BY CAST({arg} AS DOUBLE){fall})")
    };
    match dice.roll(4) {
        0 => Twin::of(format!("approx_percentile_cont({arg}, {share})"), exact("")),
        1 => Twin::of(
            format!("percentile_cont({share}) WITHIN GROUP (ORDER BY {arg}{fall})"),
            exact(fall),
        ),
        2 => Twin::same(format!("median(CAST({arg} AS DOUBLE))")),
        _ => Twin::of(
            format!("approx_median({arg})"),
            format!("median(CAST({arg} AS DOUBLE))"),
        ),
    }
}

/// The first or last value.
fn picked(dice: &mut Dice, any: &str, order: &Order) -> Twin {
    let name = pick(dice, &["first_value", "last_value"]);
    let nulls = pick(dice, &["", " IGNORE NULLS"]);
    let Order { streamed, at_rest } = order;
    Twin::of(
        format!("{name}({any}{streamed}){nulls}"),
        format!("{name}({any} ORDER BY {at_rest}){nulls}"),
    )
}

fn listed(dice: &mut Dice, any: &str, order: &Order) -> Twin {
    let Order { streamed, at_rest } = order;
    match dice.roll(4) {
        0 => Twin::of(
            format!("string_agg(path, '; '{streamed})"),
            format!("string_agg(path, '; ' ORDER BY {at_rest})"),
        ),
        // In the order of first sight, which a table at rest has no word for.
        1 => Twin::of(
            format!("array_sort(array_agg(DISTINCT {any}))"),
            format!("array_sort(array_agg(DISTINCT {any}))"),
        ),
        _ => Twin::of(
            format!("array_agg({any}{streamed})"),
            format!("array_agg({any} ORDER BY {at_rest})"),
        ),
    }
}

/// ORDER BY inside aggregates. Rows that are equal in it come in the order of the log, which a table at rest is told.
struct Order {
    streamed: String,
    at_rest: String,
}

fn order(dice: &mut Dice) -> Order {
    let orders = [
        "",
        "event_time",
        "event_time DESC",
        "amount",
        "score DESC NULLS LAST",
        "path NULLS FIRST",
    ];
    match pick(dice, &orders) {
        "" => Order {
            streamed: String::new(),
            at_rest: "source_offset".to_owned(),
        },
        order => Order {
            streamed: format!(" ORDER BY {order}"),
            at_rest: format!("{order}, source_offset"),
        },
    }
}

/// A condition on an aggregate that stays true once it is.
fn grows(dice: &mut Dice) -> Twin {
    let n = 1 + dice.roll(5);
    match dice.roll(15) {
        12 => Twin::of(
            format!("approx_distinct(object) >= {n}"),
            format!("count(DISTINCT object) >= {n}"),
        ),
        13 => Twin::same("bool_or(amount > 200)"),
        14 => Twin::same("NOT bool_and(ok)"),
        0 => Twin::same(format!("count(*) >= {n}")),
        1 => Twin::same(format!("{n} < count(amount)")),
        2 => Twin::same(format!("count(DISTINCT object) > {n}")),
        3 => Twin::same(format!("count(DISTINCT who) >= {}", 1 + n % 3)),
        4 => Twin::same(format!("max(amount) > {}", 40 * n)),
        5 => Twin::same(format!("min(amount) <= {}", 20 - 10 * n as i64)),
        6 => Twin::same(format!("sum(abs(amount)) >= {}", 150 * n)),
        7 => Twin::same(format!("count(*) FILTER (WHERE ok) >= {n}")),
        8 => Twin::same(format!(
            "count(DISTINCT path) FILTER (WHERE status < 500) >= {n}"
        )),
        9 => Twin::same(format!("sum(CASE WHEN ok THEN 1 ELSE 0 END) >= {n}")),
        10 => Twin::same(format!("max(score) >= {}.3", 10 * n)),
        _ => Twin::same(format!("min(score) < -{}.1", 5 * n)),
    }
}

/// A condition that may turn false again, or that is not proved never to.
fn wavers(dice: &mut Dice, order: &Order) -> Twin {
    let n = 1 + dice.roll(5);
    match dice.roll(15) {
        8 => Twin::same(format!("stddev(amount) > {}.7", 20 * n)),
        9 => Twin::same(format!("var_pop(score) < {}.9", 200 * n)),
        10 => Twin::same("bool_and(ok)"),
        11 => Twin::same("NOT bool_or(ok)"),
        12 => Twin::same(format!("median(CAST(amount AS DOUBLE)) > {}.1", 30 * n)),
        13 => Twin::of(
            format!("last_value(status{}) = 200", order.streamed),
            format!("last_value(status ORDER BY {}) = 200", order.at_rest),
        ),
        14 => Twin::same(format!("array_length(array_agg(path)) > {n}")),
        0 => Twin::same(format!("avg(amount) > {}.3", 20 * n)),
        1 => Twin::same(format!("count(*) <> {n}")),
        2 => Twin::same(format!("sum(amount) > {}", 50 * n)),
        3 => Twin::same(format!("count(*) < {}", n + 2)),
        4 => Twin::same(format!("max(amount) < {}", 60 * n)),
        5 => Twin::same(format!("min(score) >= -{n}")),
        6 => Twin::same("count(*) > min(amount)"),
        7 => Twin::same("avg(score) IS NULL"),
        _ => Twin::same(format!("sum(status) >= {}", 400 * n)),
    }
}
