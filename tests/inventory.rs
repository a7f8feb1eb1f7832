//! The inventory against what is true of the traffic: which endpoints there are, who sprays, what documents say.
//!
//! Of drawn worlds everything is known: the test asks the world what each call was. Of the captures only what their OpenAPI
//! documents say; the ledger has none, so nothing is claimed of it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::Path;

use serde_json::{Value, json};
use world::world::{Options, World};

use crate::support::{bundled, json as run_json, lines, shared, succeed, tollwatch, write_lines};

/// Endpoints: those found of those that are there, and those that are there of those found.
const LEAST: f64 = 0.97;
/// The same of endpoints that no document has.
const SHADOWS_LEAST: f64 = 0.95;

fn list(log: &Path, more: &[&str]) -> Value {
    let output = tollwatch()
        .args(["inventory", "list", "--json", "--from"])
        .arg(log)
        .args(more)
        .output()
        .expect("the command starts");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code().is_some_and(|code| code < 2), "{text}");
    serde_json::from_slice(&output.stdout).expect("one JSON object")
}

fn entries(report: &Value) -> &Vec<Value> {
    report["inventory"].as_array().expect("a list")
}

fn text<'a>(entry: &'a Value, field: &str) -> &'a str {
    entry[field].as_str().expect("a text")
}

fn answered(report: &Value) -> BTreeSet<String> {
    let entries = entries(report).iter();
    let answered =
        entries.filter(|entry| entry["standing"] == "answered" && entry["kind"] == "endpoint");
    answered
        .map(|entry| text(entry, "key").to_owned())
        .collect()
}

/// What was found of what is there, over some logs.
#[derive(Default)]
struct Found {
    n_found: usize,
    n_true: usize,
    n_both: usize,
}

impl Found {
    fn add(&mut self, name: &str, found: &BTreeSet<String>, truth: &BTreeSet<String>) {
        let n_both = found.intersection(truth).count();
        let missed: Vec<_> = truth.difference(found).collect();
        let invented: Vec<_> = found.difference(truth).collect();
        eprintln!(
            "{name}: {} true, {} found, {n_both} both; missed {missed:?}, invented {invented:?}",
            truth.len(),
            found.len()
        );
        self.n_found += found.len();
        self.n_true += truth.len();
        self.n_both += n_both;
    }

    /// Precision and recall are at least this.
    fn assert(&self, what: &str, least: f64) {
        let precision = self.n_both as f64 / self.n_found.max(1) as f64;
        let recall = self.n_both as f64 / self.n_true.max(1) as f64;
        eprintln!("{what}: precision {precision:.3}, recall {recall:.3}");
        assert!(least <= precision && least <= recall, "{what}");
    }
}

/// A drawn world's log in a folder, and its endpoints that were answered with success.
fn drawn(seed: u64, folder: &Path) -> (std::path::PathBuf, BTreeSet<String>) {
    let options = Options {
        seed,
        days: 3,
        ..Options::default()
    };
    let world = World::draw(&options);
    let log = folder.join(format!("{seed}.ndjson"));
    let mut file = std::io::BufWriter::new(std::fs::File::create(&log).expect("it can be written"));
    let mut truth = BTreeSet::new();
    let (mut line, mut n) = (String::new(), 0);
    let played = world::play::play(&world, |_, call| {
        line.clear();
        world::log::write(&world, call, n, &mut line);
        n += 1;
        if matches!(call.status, 200..=299 | 304)
            && let Some(template) = world::truth::template(&world, call)
        {
            let api = world.collections[call.request.collection].api;
            let host = &world.apis[api].host;
            truth.insert(format!("{} {host} {template}", call.request.method));
        }
        file.write_all(line.as_bytes())
    });
    played.expect("played");
    file.flush().expect("written");
    (log, truth)
}

#[test]
fn the_endpoints_of_drawn_worlds_are_found_and_no_others() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut endpoints, mut shadows) = (Found::default(), Found::default());
    for seed in [811, 812, 813] {
        let (log, truth) = drawn(seed, folder.path());
        let learnt = folder.path().join("learnt.txt");
        let mut learn = tollwatch();
        succeed(
            learn
                .args(["templates", "learn"])
                .arg(&log)
                .arg("--out")
                .arg(&learnt),
        );
        let learnt = learnt.to_str().expect("a name");
        let report = list(&log, &["--templates", learnt]);
        endpoints.add(&format!("world {seed}"), &answered(&report), &truth);
        let p95_ms = report["discovery"]["p95_ms"].as_u64().expect("endpoints");
        assert!(p95_ms <= 60_000, "{p95_ms} ms to discovery");
        let (told, hidden) = shadows_of(&log, learnt, &truth, seed, folder.path());
        shadows.add(&format!("shadows of world {seed}"), &told, &hidden);
    }
    endpoints.assert("endpoints of drawn worlds", LEAST);
    shadows.assert("shadows of drawn worlds", SHADOWS_LEAST);
}

/// What is told as a shadow of a world with a document that has all but every fifth path, and what those paths hide.
fn shadows_of(
    log: &Path,
    learnt: &str,
    truth: &BTreeSet<String>,
    seed: u64,
    folder: &Path,
) -> (BTreeSet<String>, BTreeSet<String>) {
    let mut documents = BTreeMap::<&str, serde_json::Map<String, Value>>::new();
    let mut hidden = BTreeSet::new();
    let paths: BTreeSet<&str> = truth
        .iter()
        .filter_map(|key| key.split_once(' '))
        .map(|(_, rest)| rest)
        .collect();
    let is_hidden = |nth: usize| nth % 5 == seed as usize % 5;
    let all_paths = paths.clone();
    for (nth, rest) in paths.into_iter().enumerate() {
        let (host, path) = rest.split_once(' ').expect("a host");
        // What a documented path describes is documented: `/notes/search` is a `/notes/{id}`.
        let is_described = all_paths.iter().any(|other| {
            let (of, template) = other.split_once(' ').expect("a host");
            *other != rest && of == host && is_of(template, path)
        });
        let item: serde_json::Map<String, Value> = truth
            .iter()
            .filter_map(|key| key.split_once(' '))
            .filter(|(_, other)| *other == rest)
            .map(|(method, _)| {
                (
                    method.to_ascii_lowercase(),
                    json!({"responses": {"200": {}, "201": {}, "204": {}}}),
                )
            })
            .collect();
        match is_hidden(nth) && !is_described {
            true => hidden.extend(
                item.keys()
                    .map(|method| format!("{} {rest}", method.to_ascii_uppercase())),
            ),
            false => drop(
                documents
                    .entry(host)
                    .or_default()
                    .insert(path.to_owned(), Value::Object(item)),
            ),
        }
    }
    let apis = folder.join(format!("apis-{seed}"));
    std::fs::create_dir_all(&apis).expect("a folder");
    for (host, mut paths) in documents {
        paths.insert("/nobody/calls/this".to_owned(), json!({"get": {}}));
        let document = json!({"openapi": "3.1.0", "info": {"title": host}, "servers": [{"url": format!("https://{host}")}], "paths": paths});
        std::fs::write(apis.join(format!("{host}.json")), document.to_string()).expect("written");
    }
    let apis = apis.to_str().expect("a name");
    let report = list(log, &["--templates", learnt, "--openapi", apis]);
    let told: BTreeSet<String> = entries(&report)
        .iter()
        .filter(|entry| {
            let deviations = entry["deviations"].as_array();
            deviations.is_some_and(|all| {
                all.iter()
                    .any(|one| ["shadow", "undocumented_host"].contains(&text(one, "kind")))
            })
        })
        .map(|entry| text(entry, "key").to_owned())
        .collect();
    let orphans = report["orphans"].as_array().expect("a list");
    assert!(
        orphans
            .iter()
            .any(|orphan| text(orphan, "operation").ends_with("/nobody/calls/this"))
    );
    (told, hidden)
}

/// Method, path and status of a line of a capture.
fn request(line: &[u8]) -> Option<(String, String, u64)> {
    let line: Value = serde_json::from_slice(line).ok()?;
    let (of, target) = match line.get("http") {
        Some(http) => (http, http.get("target")?),
        None => (&line, line.get("request_uri")?),
    };
    let path = target.as_str()?.split('?').next()?;
    // `/ui/` is `/ui`.
    let path = match path.trim_end_matches('/') {
        "" => "/".to_owned(),
        path => path.to_owned(),
    };
    Some((
        of.get("method")?.as_str()?.to_owned(),
        path,
        of.get("status")?.as_u64()?,
    ))
}

/// Whether a path of a document, `/users/{name}`, is a path that was called.
fn is_of(documented: &str, path: &str) -> bool {
    let (a, b): (Vec<&str>, Vec<&str>) =
        (documented.split('/').collect(), path.split('/').collect());
    a.len() == b.len()
        && a.iter()
            .zip(&b)
            .all(|(a, b)| a == b || (a.starts_with('{') && !b.is_empty()))
}

#[test]
fn the_documented_endpoints_of_the_captures_are_found() {
    use connectors::file::{Line, Lines, open};
    for (capture, document) in [
        ("dev-board-nginx", "openapi.json"),
        ("dev-vampi-nginx", "openapi.yml"),
    ] {
        let file = |name: &str| shared(&format!("captures/{capture}/{name}"));
        let (Some(log), Some(document)) = (file("access.ndjson.xz"), file(document)) else {
            return;
        };
        // The capture's gateway was elsewhere than the document's servers.
        let mut document = read(&document);
        document
            .as_object_mut()
            .expect("an object")
            .remove("servers");
        let folder = tempfile::tempdir().expect("a folder");
        let api = folder.path().join("api.json");
        std::fs::write(&api, document.to_string()).expect("written");
        let report = list(&log, &["--openapi", api.to_str().expect("a name")]);
        let documented: BTreeSet<String> = entries(&report)
            .iter()
            .filter(|entry| entry["documented"] == true && entry["standing"] == "answered")
            // Browsers ask with it by themselves: no news, and seldom in a document.
            .filter(|entry| entry["method"] != "OPTIONS")
            .map(|entry| text(entry, "key").to_owned())
            .collect();
        let undocumented: BTreeSet<String> =
            answered(&report).difference(&documented).cloned().collect();
        // What was called with success, by the lines themselves and by nothing of ours.
        let operations: Vec<(String, String)> = operations(&document);
        let (mut truth, mut others) = (BTreeSet::new(), BTreeSet::new());
        let input = open(&log).expect("opens");
        for line in Lines::new(input.reader) {
            let Line::Bytes { bytes, .. } = line.expect("readable") else {
                continue;
            };
            let Some((method, path, status)) = request(&bytes) else {
                continue;
            };
            if !matches!(status, 200..=299 | 304) {
                continue;
            }
            let of_path = operations
                .iter()
                .filter(|(_, documented)| is_of(documented, &path));
            // A literal wins over a parameter.
            let best = of_path
                .min_by_key(|(of, documented)| (documented.matches('{').count(), *of != method));
            match best.filter(|(of, _)| *of == method) {
                Some((of, documented)) => drop(truth.insert((of.clone(), documented.clone()))),
                None => drop(others.insert((method, path))),
            }
        }
        let n_orphans = report["orphans"].as_array().map_or(0, Vec::len);
        eprintln!(
            "{capture}: {} documented operations were answered, {} found; {n_orphans} of {} orphans; undocumented {undocumented:?} of {others:?}",
            truth.len(),
            documented.len(),
            operations.len()
        );
        assert_eq!(
            documented.len(),
            truth.len(),
            "{capture}: {truth:?} {documented:?}"
        );
        // Every undocumented one was called with success.
        for key in &undocumented {
            let (method, rest) = key.split_once(' ').expect("a method");
            let template = rest.split_once(' ').expect("a host").1;
            let is_there = others
                .iter()
                .any(|(of, path)| of == method && (path == template || is_of(template, path)));
            assert!(
                is_there || ["HEAD", "OPTIONS"].contains(&method),
                "{capture}: {key} was never answered"
            );
        }
    }
}

/// A document, as JSON or YAML.
fn read(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).expect("readable");
    serde_json::from_str(&text).unwrap_or_else(|_| serde_saphyr::from_str(&text).expect("YAML"))
}

/// Methods and paths of a document.
fn operations(document: &Value) -> Vec<(String, String)> {
    let methods = ["get", "put", "post", "delete", "patch", "options", "head"];
    let paths = document["paths"].as_object().expect("paths").iter();
    paths
        .flat_map(|(path, item)| {
            let item = item.as_object().expect("an object").keys();
            let own = item.filter(|name| methods.contains(&name.as_str()));
            own.map(|method| (method.to_ascii_uppercase(), path.clone()))
                .collect::<Vec<_>>()
        })
        .collect()
}

#[test]
fn lanes_and_rounds_change_nothing_of_what_is_counted() {
    let log = bundled("vampi.ndjson.xz");
    let counted = |lanes: &str| -> Vec<Value> {
        let mut report = list(&log, &["--lanes", lanes]);
        let entries = report["inventory"].as_array_mut().expect("a list");
        entries.retain(|entry| entry["kind"] == "endpoint" && entry["standing"] == "answered");
        for entry in entries.iter_mut().filter_map(Value::as_object_mut) {
            // When it was told depends on which lane saw it first, and of many values the first are looked at closely.
            for field in ["discovered_ms", "time_to_discovery_ms", "ids"] {
                entry.remove(field);
            }
            for parameter in entry["parameters"].as_array_mut().expect("a list") {
                parameter["types"] = Value::Null;
            }
        }
        std::mem::take(entries)
    };
    let one = counted("1");
    assert!(10 < one.len(), "{}", one.len());
    assert_eq!(counted("3"), one);
}

/// A call in the combined format.
fn call(second: usize, method: &str, path: &str, status: u16) -> Vec<u8> {
    let (hour, minute) = (second / 3600, second / 60 % 60);
    format!(
        "192.0.2.{} - alice [05/Jan/2026:{hour:02}:{minute:02}:{:02} +0000] \"{method} {path} HTTP/1.1\" {status} 512 \"-\" \"client/1.0\"",
        second % 3,
        second % 60
    )
    .into_bytes()
}

#[test]
fn a_scanner_makes_no_endpoints_and_hides_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("log");
    let mut all: Vec<Vec<u8>> = (0..40)
        .map(|i| call(i, "GET", &format!("/real{}/{i}", "x".repeat(i % 4)), 200))
        .collect();
    all.extend((0..100_000).map(|i| call(100 + i / 50, "GET", &format!("/guess/w{i}x/{i}"), 404)));
    all.push(call(3000, "POST", "/real", 201));
    write_lines(&log, &all);
    let report = list(&log, &["--lanes", "2"]);
    let keys: Vec<(&str, &str)> = entries(&report)
        .iter()
        .map(|e| (text(e, "kind"), text(e, "key")))
        .collect();
    let endpoints = keys.iter().filter(|(kind, _)| *kind == "endpoint").count();
    assert!(endpoints <= 6, "{keys:?}");
    assert_eq!(keys.len() - endpoints, 1, "{keys:?}");
    let unknown = entries(&report)
        .iter()
        .find(|entry| entry["kind"] == "unknown_paths")
        .expect("one");
    assert_eq!(unknown["calls"], 100_000);
    assert!(keys.contains(&("endpoint", "POST - /real")), "{keys:?}");
}

#[test]
fn inventories_are_shown_written_and_compared() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let before: Vec<Vec<u8>> = (0..30)
        .map(|i| call(i, "GET", &format!("/orders/{}?page=1", 100 + i), 200))
        .collect();
    let mut after = before.clone();
    after.push(call(31, "DELETE", "/orders/7", 204));
    write_lines(&path("before.log"), &before);
    write_lines(&path("after.log"), &after);
    let run = |arguments: &[&str], code: i32| -> String {
        let output = tollwatch()
            .current_dir(folder.path())
            .arg("inventory")
            .args(arguments)
            .output()
            .expect("starts");
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {told}");
        String::from_utf8(output.stdout).expect("text")
    };
    std::fs::write(
        path("before.json"),
        run(&["list", "--from", "before.log", "--json"], 0),
    )
    .expect("written");
    std::fs::write(
        path("after.ndjson"),
        run(&["export", "--from", "after.log"], 0),
    )
    .expect("written");
    // The table, Markdown and one endpoint.
    let table = run(&["list", "--inventory", "after.ndjson"], 0);
    assert!(
        table.contains("DELETE - /orders/{id}") && table.contains("2 endpoints"),
        "{table}"
    );
    let markdown = run(&["list", "--from", "after.log", "--markdown"], 0);
    assert!(
        markdown.starts_with("| endpoint | standing |"),
        "{markdown}"
    );
    let shown = run(
        &["show", "GET - /orders/{id}", "--inventory", "before.json"],
        0,
    );
    assert!(
        shown.contains("page") && shown.contains("integer"),
        "{shown}"
    );
    run(&["show", "/nothing", "--inventory", "before.json"], 1);
    // What changed.
    assert!(run(&["diff", "before.json", "before.json"], 0).contains("no changes"));
    let changes = run(&["diff", "before.json", "after.ndjson", "--json"], 1);
    let changes: Value = serde_json::from_str(&changes).expect("JSON");
    assert_eq!(
        changes["changes"],
        json!([{"kind": "added", "key": "DELETE - /orders/{id}", "details": []}])
    );
    // A document of the traffic is what the traffic is, and without one of its paths the rest is a shadow.
    let document = run(&["export", "--openapi", "--inventory", "after.ndjson"], 0);
    let mut document: Value = serde_json::from_str(&document).expect("JSON");
    std::fs::write(path("api.json"), document.to_string()).expect("written");
    run(&["list", "--from", "after.log", "--openapi", "api.json"], 0);
    let paths = document["paths"].as_object_mut().expect("paths");
    assert!(paths.remove("/orders/{order_id}").is_some(), "{paths:?}");
    paths.insert("/other".to_owned(), json!({"get": {}}));
    std::fs::write(path("api.json"), document.to_string()).expect("written");
    let told = run(
        &[
            "list",
            "--from",
            "after.log",
            "--openapi",
            "api.json",
            "--deviating",
        ],
        1,
    );
    assert!(
        told.contains("shadow") && told.contains("GET * /other"),
        "{told}"
    );
    // Wrong usage says what to do.
    run(&["list"], 1);
    run(
        &["list", "--from", "after.log", "--inventory", "before.json"],
        2,
    );
    run(&["diff", "before.log", "before.json"], 1);
}

#[test]
fn a_report_of_a_capture_says_how_long_discovery_took() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("log");
    write_lines(&log, &lines("ledger.log.xz", 20_000));
    let report = run_json(
        tollwatch()
            .args(["inventory", "list", "--json", "--from"])
            .arg(&log),
    );
    assert!(report["discovery"]["p95_ms"].as_u64().expect("endpoints") <= 60_000);
    assert!(report.get("orphans").is_none(), "no document was given");
}
