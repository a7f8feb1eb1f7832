use std::collections::BTreeMap;

use arrow::array::{Int64Array, TimestampMillisecondArray};
use proptest::prelude::*;

use super::super::{Catalog, Finding, Rule, RuleRunner, RuleSet};
use super::*;

fn stream() -> SchemaRef {
    let time = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
    Arc::new(Schema::new(vec![
        Field::new("event_time", time, false),
        Field::new("who", DataType::Utf8, true),
        Field::new("amount", DataType::Int64, true),
    ]))
}

/// Calls a second apart, as (who, amount).
fn calls(rows: &[(Option<&str>, i64)]) -> RecordBatch {
    let times = (0..rows.len() as i64).map(|i| i * 1000);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(TimestampMillisecondArray::from_iter_values(times).with_timezone("UTC")),
        Arc::new(StringArray::from_iter(rows.iter().map(|(who, _)| *who))),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|(_, n)| *n))),
    ];
    RecordBatch::try_new(stream(), columns).unwrap()
}

fn lookups(tables: &[(&str, &str)]) -> Lookups {
    let tables = tables.iter().map(|(name, csv)| {
        let told = |faults: Vec<RuleFault>| faults[0].to_string();
        Lookup::parse(Path::new(&format!("{name}.csv")), csv)
            .map_err(told)
            .unwrap()
    });
    Lookups::default().over(tables)
}

fn rule(sql: &str) -> Rule {
    let text = format!(
        "/*---\nschema: rule/v1\nid: 6f1c2f0e-2f62-4c0c-9f0c-2a6e3b1d9f10\nname: r\nversion: 1\ntitle: t\nstatus: test\nseverity: low\ndescription: d\n---*/\n{sql}"
    );
    Rule::parse(Path::new("r.sql"), &text).unwrap()
}

fn runner(sql: &str, lookups: &Lookups) -> Result<RuleRunner, String> {
    let catalog =
        Catalog::new()
            .with("calls", stream(), "event_time")
            .with("others", stream(), "event_time");
    let set = RuleSet::new(vec![rule(sql)])
        .unwrap()
        .with_lookups(lookups.clone());
    RuleRunner::compile(&set, &catalog, "calls").map_err(|faults| faults[0].to_string())
}

/// The findings as text, columns between spaces; rows pushed so many at a time.
fn told(sql: &str, lookups: &Lookups, rows: &RecordBatch, step: usize) -> Vec<String> {
    let mut runner = runner(sql, lookups).unwrap_or_else(|told| panic!("{sql}: {told}"));
    let mut findings = Vec::new();
    for at in (0..rows.num_rows()).step_by(step) {
        let n = step.min(rows.num_rows() - at);
        runner.push(&rows.slice(at, n), None, &mut findings);
    }
    runner.close(&mut findings);
    assert_eq!(runner.counters()[0].errors, 0, "{sql}");
    let line = |finding: &Finding| {
        let values = finding.values.iter().map(|(_, value)| value.to_string());
        values.collect::<Vec<_>>().join(" ")
    };
    findings.iter().map(line).collect()
}

const OWNERS: &str =
    "who,team,tier:int,off:bool\nann,red,1,false\nbob,blue,2,true\n\"c,d\",\"\",3,\n";

#[test]
fn rows_find_what_is_known_of_them() {
    let tables = lookups(&[
        ("owners", OWNERS),
        ("allowed", "who,team\nann,red\nann,green\n,blue\n"),
        ("listed", "who\nann\nann\nbob\n"),
        ("empty", "who\n"),
    ]);
    let rows = calls(&[
        (Some("ann"), 1),
        (Some("eve"), 2),
        (Some("bob"), 3),
        (None, 4),
        (Some("c,d"), 5),
    ]);
    let rows_of: &[(&str, &[&str])] = &[
        (
            "SELECT c.who, team, tier FROM calls c JOIN owners o ON c.who = o.who",
            &["ann red 1", "bob blue 2", "c,d  3"],
        ),
        (
            "SELECT c.who, team FROM calls c LEFT JOIN owners o ON c.who = o.who",
            &["ann red", "eve NULL", "bob blue", "NULL NULL", "c,d "],
        ),
        (
            "SELECT c.who, team FROM owners o RIGHT JOIN calls c ON c.who = o.who AND o.off",
            &["ann NULL", "eve NULL", "bob blue", "NULL NULL", "c,d NULL"],
        ),
        (
            "SELECT calls.who FROM calls LEFT JOIN owners ON calls.who = owners.who WHERE owners.who IS NULL",
            &["eve", "NULL"],
        ),
        (
            "SELECT tier, amount FROM owners JOIN calls ON calls.who = owners.who AND amount > tier",
            &["2 3", "3 5"],
        ),
        (
            "SELECT who, amount FROM calls JOIN owners USING (who) WHERE NOT off",
            &["ann 1"],
        ),
        (
            "SELECT c.who FROM calls c JOIN owners o ON c.amount = o.tier AND c.who = o.who",
            &["ann"],
        ),
        (
            "SELECT c.who FROM calls c JOIN owners o ON lower(c.who) = o.who WHERE o.tier + 1 = 3",
            &["bob"],
        ),
        (
            "SELECT amount FROM calls WHERE who IN (SELECT who FROM listed)",
            &["1", "3"],
        ),
        (
            "SELECT amount FROM calls WHERE who NOT IN (SELECT who FROM listed)",
            &["2", "5"],
        ),
        (
            "SELECT amount FROM calls WHERE who NOT IN (SELECT who FROM empty)",
            &["1", "2", "3", "4", "5"],
        ),
        (
            "SELECT amount FROM calls WHERE who IN (SELECT who FROM allowed WHERE team = 'green')",
            &["1"],
        ),
        (
            "SELECT amount FROM calls WHERE NOT EXISTS (SELECT 1 FROM listed l WHERE l.who = calls.who)",
            &["2", "4", "5"],
        ),
        (
            "SELECT amount, team FROM calls c JOIN owners o ON c.who = o.who WHERE c.who NOT IN (SELECT who FROM listed)",
            &["5 "],
        ),
        (
            "SELECT team, count(*) AS n FROM TUMBLE(calls, event_time, INTERVAL '1 minute') c JOIN owners o ON c.who = o.who GROUP BY team, window_start, window_end",
            &["red 1", "blue 1", " 1"],
        ),
        (
            "SELECT who, count(*) AS n FROM TUMBLE(calls, event_time, INTERVAL '1 minute') WHERE who IN (SELECT who FROM owners) GROUP BY who, window_start, window_end HAVING count(*) >= 1",
            &["ann 1", "bob 1", "c,d 1"],
        ),
    ];
    for (sql, wanted) in rows_of {
        for step in [1, 2, 5] {
            assert_eq!(
                &told(sql, &tables, &rows, step),
                wanted,
                "{sql}, {step} at a time"
            );
        }
    }
}

#[test]
fn what_cannot_be_looked_up_is_refused_with_what_to_write() {
    let tables = lookups(&[
        ("owners", OWNERS),
        ("twice", "who,team\nann,red\nbob,red\nann,green\n"),
        ("gaps", "who,team\nann,red\n,blue\n"),
        ("times", "since:time\n2026-01-01T00:00:00Z\n"),
    ]);
    let rows = [
        (
            "SELECT c.who FROM calls c JOIN others o ON c.who = o.who",
            "streams can't be joined",
        ),
        (
            "SELECT who FROM calls WHERE who IN (SELECT who FROM others)",
            "streams can't be joined",
        ),
        (
            "SELECT c.who FROM calls c JOIN twice t ON c.who = t.who",
            "lines 2 and 4 of `twice` have the same key",
        ),
        (
            "SELECT who FROM calls WHERE who NOT IN (SELECT who FROM gaps)",
            "line 3 of `gaps` has no value",
        ),
        (
            "SELECT o.who FROM owners o LEFT JOIN calls c ON c.who = o.who",
            "a stream has no end",
        ),
        (
            "SELECT o.who FROM owners o FULL JOIN calls c ON c.who = o.who",
            "a stream has no end",
        ),
        (
            "SELECT c.who FROM calls c JOIN owners o ON c.amount < o.tier",
            "joined by equal columns",
        ),
        (
            "SELECT c.who FROM calls c LEFT JOIN owners o ON c.who = o.who AND c.amount < o.tier",
            "joined by equal columns",
        ),
        (
            "SELECT c.who FROM calls c, owners o",
            "joined by equal columns",
        ),
        (
            "SELECT who FROM calls WHERE amount = 1 OR who IN (SELECT who FROM owners)",
            "beside OR",
        ),
        (
            "SELECT who FROM calls WHERE amount > (SELECT max(tier) FROM owners)",
            "a subquery stands in WHERE",
        ),
        (
            "SELECT who FROM calls WHERE who IN (SELECT who FROM owners ORDER BY tier LIMIT 1)",
            "a subquery stands in WHERE",
        ),
        (
            "SELECT who FROM calls WHERE who IN (SELECT who FROM owners GROUP BY who)",
            "a subquery stands in WHERE",
        ),
        ("SELECT who FROM owners", "the SELECT reads no stream"),
        (
            "SELECT count(*) AS n FROM TUMBLE(owners, event_time, INTERVAL '1 minute')",
            "`owners` is a lookup table, which has no windows",
        ),
        (
            "SELECT who FROM calls JOIN nobody USING (who)",
            "there is no table `nobody`, there are: calls, others, gaps, owners, times, twice",
        ),
        (
            "SELECT who, count(*) AS n FROM TUMBLE(calls, event_time, INTERVAL '1 minute') GROUP BY who, window_start, window_end HAVING who IN (SELECT who FROM owners)",
            "joined below the GROUP BY",
        ),
        (
            "SELECT t.since, count(*) AS n FROM TUMBLE(calls, event_time, INTERVAL '1 minute') c JOIN times t ON c.window_start = t.since GROUP BY t.since, window_start, window_end",
            "a row may be in more than one window",
        ),
    ];
    for (sql, wanted) in rows {
        let told = runner(sql, &tables).map(|_| ()).expect_err(sql);
        assert!(told.contains(wanted), "{sql}: {told}");
    }
}

#[test]
fn a_table_that_is_wrong_is_refused_with_its_line() {
    let long = format!("who\n{}\n", "x".repeat(VALUE_BYTES_MAX + 1));
    let many = format!("who\n{}", "x\n".repeat(ROWS_MAX + 1));
    let wide = (0..=COLUMNS_MAX).map(|at| format!("c{at}"));
    let wide = wide.collect::<Vec<_>>().join(",");
    let rows = [
        ("owners", "", "owners.csv:1: is empty"),
        (
            "owners",
            "who,who\n",
            "owners.csv:1: two columns are called `who`",
        ),
        (
            "owners",
            "Who\n",
            "owners.csv:1: `Who` can't be the name of a column",
        ),
        ("owners", "who:number\n", "`number` is no type of a column"),
        (
            "owners",
            "who,tier:int\na,1\n\nb,one\n",
            "owners.csv:4: tier: the value is no int",
        ),
        (
            "owners",
            "who,at:time\na,2026-01-31\nb,soon\n",
            "owners.csv:3: at: the value is no time",
        ),
        (
            "owners",
            "who,tier\na\n",
            "owners.csv:2: 1 fields under 2 columns",
        ),
        (
            "owners",
            "who\n\"a\nb\"\n\"c\n",
            "owners.csv:4: a quote that begins here has no end",
        ),
        (
            "owners",
            "who\na\"b\n",
            "owners.csv:2: a quote within a field",
        ),
        (
            "owners",
            "who\n\"a\"b\n",
            "owners.csv:2: text behind a field's last quote",
        ),
        (
            "owners",
            long.as_str(),
            "owners.csv:2: a value is longer than 16384 bytes",
        ),
        (
            "owners",
            many.as_str(),
            "owners.csv:100002: more than 100000 rows",
        ),
        ("owners", wide.as_str(), "33 columns, at most 32"),
        ("events", "who\n", "`events` is a table of the logs"),
        ("Owners", "who\n", "`Owners` can't be the name of a table"),
    ];
    for (name, csv, wanted) in rows {
        let faults = Lookup::parse(Path::new(&format!("{name}.csv")), csv).expect_err(wanted);
        let told = faults[0].to_string();
        assert!(told.contains(wanted), "{told}, not {wanted}");
    }
}

#[test]
fn streams_have_no_names_of_lookup_tables() {
    let catalog = crate::stage::catalog();
    for table in RESERVED.iter().filter(|table| catalog.get(table).is_some()) {
        assert!(Lookup::parse(Path::new(&format!("{table}.csv")), "a\n").is_err());
    }
    assert!(catalog.get("events").is_some() && catalog.get("touches").is_some());
}

#[test]
fn a_folder_is_read_with_all_its_faults() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    assert!(
        Lookups::load(dir.path()).unwrap_err()[0]
            .message
            .contains("no lookup tables")
    );
    std::fs::write(at("owners.csv"), OWNERS).unwrap();
    std::fs::write(at("notes.txt"), "none of it").unwrap();
    let names = |lookups: &Lookups| lookups.tables().map(|t| t.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&Lookups::load(dir.path()).unwrap()), ["owners"]);
    std::fs::write(at("a.csv"), "a,a\n").unwrap();
    std::fs::write(at("b.csv"), [b'a', 0xff]).unwrap();
    std::fs::write(at("c.parquet"), "PAR1, perhaps").unwrap();
    std::fs::create_dir(at("d.csv")).unwrap();
    let told = Lookups::load(dir.path()).unwrap_err();
    let told: Vec<String> = told.iter().map(ToString::to_string).collect();
    let wanted = [
        "two columns are called",
        "is no UTF-8",
        "is no Parquet that can be read",
        "is no plain file",
    ];
    assert_eq!(told.len(), wanted.len(), "{told:?}");
    assert!(
        told.iter()
            .zip(wanted)
            .all(|(told, wanted)| told.contains(wanted)),
        "{told:?}"
    );
}

#[test]
fn a_parquet_file_is_the_table_its_csv_is() {
    let columns: Vec<(&str, ArrayRef)> = vec![
        (
            "who",
            Arc::new(StringArray::from(vec![
                Some("ann"),
                None,
                Some(""),
                Some("a \"b\",\n"),
            ])),
        ),
        (
            "tier",
            Arc::new(arrow::array::UInt16Array::from(vec![
                Some(1),
                Some(2),
                None,
                Some(4),
            ])),
        ),
        (
            "share",
            Arc::new(arrow::array::Float32Array::from(vec![0.5, 1.0, -2.0, 1e9])),
        ),
        (
            "off",
            Arc::new(arrow::array::BooleanArray::from(vec![
                Some(true),
                None,
                Some(false),
                None,
            ])),
        ),
        (
            "since",
            Arc::new(arrow::array::Date32Array::from(vec![
                Some(0),
                None,
                Some(20_000),
                Some(1),
            ])),
        ),
    ];
    let batch =
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true)))
            .unwrap();
    let mut bytes = Vec::new();
    let mut writer =
        parquet::arrow::ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let csv = columnar::as_csv(bytes.clone()).unwrap();
    let table = parsed(Path::new("t.csv"), "t", &csv, 0)
        .map_err(|f| f[0].to_string())
        .unwrap();
    assert_eq!(table.schema.field(1).data_type(), &DataType::Int64);
    for (made, given) in table.batch.columns().iter().zip(batch.columns()) {
        assert_eq!(made, &cast(given, made.data_type()).unwrap(), "{csv}");
    }
    for cut in (0..bytes.len()).step_by(7) {
        assert!(
            columnar::as_csv(bytes[..cut].to_vec()).is_err(),
            "cut at {cut}"
        );
    }
}

#[test]
fn equal_tables_are_one_and_other_contents_have_another_hash() {
    let one = lookups(&[("owners", OWNERS)]);
    let again = lookups(&[("owners", OWNERS)]);
    let other = lookups(&[("owners", &OWNERS.replace("red", "green"))]);
    let of = |lookups: &Lookups| lookups.get("owners").unwrap().clone();
    assert!(Arc::ptr_eq(&of(&one), &of(&again)));
    assert_ne!(of(&one).hash, of(&other).hash);
    let rules = |lookups: &Lookups| RuleSet::shipped().with_lookups(lookups.clone());
    let print = |lookups: &Lookups| crate::rule::RuleTexts::of(&rules(lookups)).hash();
    assert_eq!(print(&one), print(&again));
    assert_ne!(print(&one), print(&other));
    assert_ne!(print(&one), print(&Lookups::default()));
}

#[test]
fn lanes_share_an_index_and_rules_that_ask_otherwise_have_their_own() {
    let tables = lookups(&[("shared", "who,team\nann,red\nbob,blue\n")]);
    let sql = "SELECT c.who FROM calls c JOIN shared s ON c.who = s.who";
    let filtered = format!("{sql} WHERE s.team = 'red'");
    for _ in 0..3 {
        runner(sql, &tables).unwrap();
        runner(&filtered, &tables).unwrap();
    }
    let table = tables.get("shared").unwrap();
    assert_eq!(table.indexes.len(), 2);
    assert_eq!(
        told(
            &filtered,
            &tables,
            &calls(&[(Some("ann"), 1), (Some("bob"), 2)]),
            2
        ),
        ["ann"]
    );
}

proptest! {
    /// What is written into quotes comes out again.
    #[test]
    fn any_text_is_read_as_it_was_written(rows in prop::collection::vec(prop::collection::vec("[a\",\r\n é]{0,6}", 3), 0..6)) {
        let mut csv = "a,b,c\n".to_owned();
        for row in &rows {
            let fields: Vec<String> = row.iter().map(|t| format!("\"{}\"", t.replace('"', "\"\""))).collect();
            csv.push_str(&fields.join(","));
            csv.push('\n');
        }
        let table = parsed(Path::new("t.csv"), "t", &csv, 0).map_err(|f| f[0].to_string()).unwrap();
        prop_assert_eq!(table.batch.num_rows(), rows.len());
        for (at, row) in rows.iter().enumerate() {
            for (column, text) in table.batch.columns().iter().zip(row) {
                use arrow::array::AsArray;
                prop_assert_eq!(column.as_string::<i32>().value(at), text);
            }
        }
    }

    /// Bytes of anybody's choosing.
    #[test]
    fn no_text_makes_the_reader_panic(text in "[ab:,\"\r\nint]{0,60}|\\PC{0,40}") {
        drop(parsed(Path::new("t.csv"), "t", &text, 0));
    }

    /// The join by a map, and the same however the log is cut.
    #[test]
    fn a_join_is_what_a_map_would_find(
        known in prop::collection::btree_map("[a-d]{1,2}", 0i64..5, 0..8),
        rows in prop::collection::vec((prop::option::of("[a-d]{1,2}"), 0i64..5), 1..30),
        step in 1usize..9,
    ) {
        let known: BTreeMap<String, i64> = known;
        let mut csv = "who,tier:int\n".to_owned();
        known.iter().for_each(|(who, tier)| csv.push_str(&format!("{who},{tier}\n")));
        let tables = lookups(&[("known", &csv)]);
        let rows: Vec<(Option<&str>, i64)> = rows.iter().map(|(who, n)| (who.as_deref(), *n)).collect();
        let batch = calls(&rows);
        let tier = |who: &Option<&str>| who.and_then(|who| known.get(who)).copied();
        let inner: Vec<String> = rows.iter().filter(|(who, n)| tier(who).is_some_and(|tier| tier < *n))
            .map(|(who, n)| format!("{} {n}", who.unwrap_or_default())).collect();
        prop_assert_eq!(told("SELECT c.who, amount FROM calls c JOIN known k ON c.who = k.who WHERE tier < amount", &tables, &batch, step), inner);
        let left: Vec<String> = rows.iter()
            .map(|(who, _)| tier(who).map_or("NULL".to_owned(), |tier| tier.to_string())).collect();
        prop_assert_eq!(told("SELECT tier FROM calls c LEFT JOIN known k ON c.who = k.who", &tables, &batch, step), left);
        let unlisted: Vec<String> = rows.iter().filter(|(who, _)| tier(who).is_none() && (who.is_some() || known.is_empty()))
            .map(|(_, n)| n.to_string()).collect();
        prop_assert_eq!(told("SELECT amount FROM calls WHERE who NOT IN (SELECT who FROM known)", &tables, &batch, step), unlisted);
        let sql = "SELECT tier, count(*) AS n, sum(amount) AS total FROM HOP(calls, event_time, INTERVAL '5 seconds', INTERVAL '10 seconds') c JOIN known k ON c.who = k.who GROUP BY tier, window_start, window_end";
        let whole = told(sql, &tables, &batch, rows.len());
        prop_assert_eq!(told(sql, &tables, &batch, step), whole);
    }
}
