//! Learnt templates and OpenAPI documents: what they name is an object, and what is wrong with a file is told with its place.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{json, read_alerts, succeed, tollwatch, write_lines};

const OWNERS: [&str; 16] = [
    "ada", "grace", "linus", "mary", "otto", "wei", "fatima", "jose", "ingrid", "pavel", "yuki",
    "noor", "bram", "chloe", "dmitri", "elena",
];
const PAGES: [&str; 5] = [
    "winter-sun",
    "river-stone",
    "old-lantern",
    "the-quarry",
    "green-meadow",
];

/// A call of the combined log, so many minutes after midnight of the first day.
fn call(minute: usize, caller: &str, path: &str) -> Vec<u8> {
    let (day, hour, minute) = (1 + minute / 1440, minute / 60 % 24, minute % 60);
    format!(
        "192.0.2.1 - {caller} [{day:02}/Mar/2026:{hour:02}:{minute:02}:00 +0000] \"GET {path} HTTP/1.1\" 200 512 \"-\" \"app/1\""
    )
    .into_bytes()
}

/// A page of somebody's.
fn page(owner: &str, page: &str) -> String {
    format!("/pages/{owner}-{page}")
}

/// Three days of people who read their own pages, and at their end one of them who reads everybody's.
fn log(path: &Path) {
    let mut calls = Vec::new();
    for round in 0..72 {
        for (at, owner) in OWNERS.iter().enumerate() {
            let minute = round * 60 + at * 3;
            calls.push(call(minute, owner, &page(owner, PAGES[round % 5])));
            calls.push(call(minute + 1, owner, "/pages/search"));
            calls.push(call(minute + 2, owner, "/health/ready"));
        }
    }
    let everybody = OWNERS
        .iter()
        .flat_map(|owner| PAGES.map(|name| page(owner, name)));
    calls.extend(
        everybody
            .enumerate()
            .map(|(at, page)| call(72 * 60 + at, "otto", &page)),
    );
    write_lines(path, &calls);
}

fn learn(log: &Path, set: &Path) -> Value {
    json(
        tollwatch()
            .args(["templates", "learn", "--json", "--out"])
            .args([set, log]),
    )
}

/// What one line says, with these options.
fn line(log: &Path, number: usize, options: &[&str]) -> (String, usize) {
    let told = json(
        tollwatch()
            .args(["explain", "--json", "--line"])
            .arg(format!("{}:{number}", log.display()))
            .args(options),
    );
    let call = &told["calls"][0];
    let endpoint = call["event"]["endpoint"].as_str().expect("an endpoint");
    let n_objects = call["objects"].as_array().expect("objects").len();
    (endpoint.to_owned(), n_objects)
}

/// Callers that rules about objects tell of, with these options.
fn walkers(log: &Path, options: &[&str]) -> Vec<String> {
    let alerts = log.with_extension("alerts");
    let mut command = tollwatch();
    command
        .arg("replay")
        .arg(log)
        .args(["--lanes", "1", "--alerts"]);
    succeed(command.arg(&alerts).args(options));
    let of_objects = |alert: &&Value| {
        let rule = alert["finding_info"]["analytic"]["uid"].as_str();
        rule.is_some_and(|rule| rule.starts_with("bola_"))
    };
    let alerts = read_alerts(&alerts);
    let mut callers: Vec<String> = alerts
        .iter()
        .filter(of_objects)
        .map(|alert| {
            let title = alert["finding_info"]["title"].as_str().expect("a title");
            let (caller, _) = title.split_once(' ').expect("begins with the caller");
            caller.to_owned()
        })
        .collect();
    callers.dedup();
    callers
}

#[test]
fn names_are_objects_after_learning_and_a_walk_through_them_is_told() {
    let dir = tempfile::tempdir().expect("a folder");
    let (file, set) = (
        dir.path().join("access.log"),
        dir.path().join("templates.txt"),
    );
    log(&file);
    let told = learn(&file, &set);
    assert_eq!(told["variables"][0]["template"], "/pages/{name}", "{told}");
    assert_eq!(told["variables"][0]["values"], 80, "{told}");
    let shown = json(tollwatch().args(["templates", "show", "--json"]).arg(&set));
    assert_eq!(shown["templates"], told["templates"]);

    let set = set.to_str().expect("a name");
    let learnt = ["--templates", set];
    assert_eq!(line(&file, 1, &[]).1, 0, "a word is a word at first");
    assert_eq!(line(&file, 1, &learnt), ("GET - /pages/{id}".to_owned(), 1));
    assert_eq!(
        line(&file, 2, &learnt),
        ("GET - /pages/search".to_owned(), 0)
    );
    assert_eq!(
        line(&file, 3, &learnt),
        ("GET - /health/ready".to_owned(), 0)
    );

    assert_eq!(walkers(&file, &[]), Vec::<String>::new());
    assert_eq!(walkers(&file, &learnt), ["otto"]);
}

#[test]
fn documented_routes_win_and_hold_where_no_host_is_logged() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("access.log");
    write_lines(
        &file,
        &[
            call(0, "ada", "/v1/shops/corner/hours"),
            call(1, "ada", "/v1/shops/all/hours"),
            call(2, "ada", "/pages/search"),
        ],
    );
    let set = dir.path().join("templates.txt");
    std::fs::write(&set, "# tollwatch templates 1\n- /pages/search\n").expect("writes");
    let documents = dir.path().join("documents");
    std::fs::create_dir(&documents).expect("a folder");
    let yaml = "openapi: 3.1.0\nservers: [{url: 'https://shop.example/v1'}]\npaths:\n  /shops/{shop}/hours:\n    get: {responses: {200: {description: OK}}}\n  /shops/all/hours: {}\n";
    std::fs::write(documents.join("shops.yaml"), yaml).expect("writes");
    let json = r#"{"swagger": "2.0", "paths": {"/pages/{page}": {}}}"#;
    std::fs::write(documents.join("pages.json"), json).expect("writes");
    std::fs::write(documents.join("README.md"), "no document").expect("writes");
    let [set, documents] = [&set, &documents].map(|path| path.to_str().expect("a name"));
    let options = ["--templates", set, "--openapi", documents];
    for (number, want, n_objects) in [
        (1, "GET - /v1/shops/{id}/hours", 1),
        (2, "GET - /v1/shops/all/hours", 0),
        (3, "GET - /pages/{id}", 1),
    ] {
        assert_eq!(line(&file, number, &options), (want.to_owned(), n_objects));
    }
    assert_eq!(
        line(&file, 3, &options[..2]),
        ("GET - /pages/search".to_owned(), 0)
    );
}

#[test]
fn a_broken_file_is_told_with_its_place() {
    let dir = tempfile::tempdir().expect("a folder");
    let log = dir.path().join("access.log");
    write_lines(&log, &[call(0, "ada", "/a")]);
    let empty = dir.path().join("empty");
    std::fs::create_dir(&empty).expect("a folder");
    for (option, name, text, place) in [
        (
            "--openapi",
            "cut.json",
            "{\"openapi\": \"3.0.0\",\n",
            "line 2",
        ),
        (
            "--openapi",
            "tabs.yaml",
            "openapi: 3.0.0\npaths:\n\t/a: {}\n",
            "line 3",
        ),
        (
            "--openapi",
            "list.yml",
            "openapi: 3.0.0\npaths: []\n",
            "/paths: is no object",
        ),
        (
            "--openapi",
            "braces.json",
            r#"{"openapi": "3.0.0", "paths": {"/a/{b": {}}}"#,
            "/paths/~1a~1{b",
        ),
        (
            "--openapi",
            "other.yaml",
            "title: none\n",
            "neither OpenAPI 3",
        ),
        ("--openapi", "empty", "", "name an OpenAPI document"),
        ("--openapi", "absent.yaml", "", "cannot be read"),
        (
            "--templates",
            "wrong.txt",
            "# tollwatch templates 1\nh a\n",
            "line 2",
        ),
        ("--templates", "no.txt", "h /a\n", "line 1"),
    ] {
        let path = dir.path().join(name);
        if !text.is_empty() {
            std::fs::write(&path, text).expect("writes");
        }
        let mut command = tollwatch();
        let output = command
            .arg("replay")
            .arg(&log)
            .arg(option)
            .arg(&path)
            .output();
        let output = output.expect("the command starts");
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{name}: {told}");
        assert!(
            told.contains(name) && told.contains(place),
            "{name}: {told}"
        );
    }
}

#[test]
fn documents_that_grow_as_they_are_read_are_refused_at_once() {
    let dir = tempfile::tempdir().expect("a folder");
    let log = dir.path().join("access.log");
    write_lines(&log, &[call(0, "ada", "/a")]);
    let levels: String = ('b'..='j')
        .zip('a'..)
        .map(|(next, last)| {
            format!(
                "{next}: &{next} [{}]\n",
                vec![format!("*{last}"); 9].join(", ")
            )
        })
        .collect();
    // Ten thousand times a text of a million bytes, with anchors enough not to look odd.
    let anchors: String = (0..1000).map(|i| format!("- &n{i} 0\n")).collect();
    let text = format!(
        "long: &long '{}'\nn:\n{anchors}all:\n{}",
        "x".repeat(1 << 20),
        "- *long\n".repeat(9000)
    );
    for (name, bomb) in [
        (
            "levels.yaml",
            format!("openapi: 3.0.0\na: &a [x]\n{levels}"),
        ),
        ("text.yaml", format!("openapi: 3.0.0\n{text}")),
        ("deep.yaml", format!("openapi: {}\n", "[".repeat(100_000))),
        (
            "deep.json",
            format!("{{\"openapi\": {}\n", "[".repeat(100_000)),
        ),
    ] {
        let path = dir.path().join(name);
        std::fs::write(&path, bomb).expect("writes");
        let started = Instant::now();
        let mut command = tollwatch();
        let output = command
            .arg("replay")
            .arg(&log)
            .arg("--openapi")
            .arg(&path)
            .output();
        let output = output.expect("the command starts");
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{name}: {told}");
        assert!(
            told.contains(name) && told.contains("line "),
            "{name}: {told}"
        );
        assert!(
            started.elapsed() < Duration::from_secs(20),
            "{name}: {:?}",
            started.elapsed()
        );
    }
}
