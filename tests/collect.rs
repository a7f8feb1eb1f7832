//! Logs brought into a topic of a real Apache Kafka: files that grow, rotate and are cut while the collector is killed, standard
//! input, OTLP and JSON over HTTP; and folders and prefixes as what commands read.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rdkafka::message::Message;
use serde_json::{Value, json};

use crate::kafka::{PATIENCE, Running, free_address, one, wait};
use crate::support::{json as json_of, lines, succeed, tollwatch, tollwatch_telling, write_lines};

/// `collect` into this topic, with a name so that it knows its places again.
fn collect(topic: &str, options: &[&str]) -> Command {
    let mut command = tollwatch_telling("error");
    command
        .args(["collect", "--brokers", &one().bootstrap, "--topic", topic])
        .args(["--name", topic])
        .args(options);
    command
}

/// Collects what there is; what it counted.
fn once(topic: &str, options: &[&str]) -> Value {
    json_of(collect(topic, options).args(["--once", "--json"]))
}

/// The values of a topic, those of a partition in their order.
fn values(topic: &str) -> Vec<Vec<u8>> {
    let messages = one().read(topic);
    let value = |m: &rdkafka::message::OwnedMessage| m.payload().unwrap_or_default().to_vec();
    messages.iter().map(value).collect()
}

/// A log that somebody writes: lines that say of which file they are, which generation of it, and their number there.
struct Log<'a> {
    folder: &'a Path,
    name: &'static str,
    generation: usize,
    n: usize,
}

impl Log<'_> {
    fn write(&mut self, n: usize) {
        let path = self.folder.join(self.name);
        let mut options = OpenOptions::new();
        let mut file = options.create(true).append(true).open(path).expect("opens");
        for _ in 0..n {
            let line = json!({ "name": self.name, "generation": self.generation, "n": self.n, "text": "x".repeat(self.n % 300) });
            // In two pieces at times, as buffers are flushed.
            let line = format!("{line}\n");
            let (a, b) = line.split_at(line.len() * (self.n % 3) / 3);
            file.write_all(a.as_bytes()).expect("is written");
            file.write_all(b.as_bytes()).expect("is written");
            self.n += 1;
        }
    }

    /// What was written is another file's from now on, under a name of its own.
    fn rotate(&mut self, by: fn(&Path, &Path)) {
        let to = format!("{}.{}", self.name, self.generation);
        by(&self.folder.join(self.name), &self.folder.join(to));
        self.generation += 1;
        self.n = 0;
    }
}

fn rename(from: &Path, to: &Path) {
    std::fs::rename(from, to).expect("can be renamed");
}

fn copy_and_cut(from: &Path, to: &Path) {
    std::fs::copy(from, to).expect("can be copied");
    std::fs::write(from, b"").expect("can be cut");
}

fn compress(path: &Path) {
    let text = std::fs::read(path).expect("is there");
    let to = format!("{}.gz", path.display());
    let file = std::fs::File::create(to).expect("can be made");
    let mut encoder = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
    encoder.write_all(&text).expect("is written");
    encoder.finish().expect("is written");
    std::fs::remove_file(path).expect("can be deleted");
}

#[test]
fn of_files_that_grow_and_rotate_each_line_is_there_once_however_often_it_is_killed() {
    let dir = tempfile::tempdir().expect("a folder");
    let pattern = dir.path().join("*.log*").display().to_string();
    let of = |name| Log {
        folder: dir.path(),
        name,
        generation: 0,
        n: 0,
    };
    let (mut renamed, mut cut) = (of("renamed.log"), of("cut.log"));
    let mut written: BTreeMap<(String, usize), usize> = BTreeMap::new();
    let started = Instant::now();
    for round in 0..8_usize {
        let mut running = Running(
            collect("files", &["--file", &pattern])
                .spawn()
                .expect("starts"),
        );
        let patience = Duration::from_millis(300 + 450 * (round as u64 * 7 % 5));
        let began = Instant::now();
        while began.elapsed() < patience {
            renamed.write(40 + round);
            cut.write(25);
            std::thread::sleep(Duration::from_millis(7));
        }
        running.kill().expect("it runs");
        running.wait().expect("it ends");
        for log in [&mut renamed, &mut cut] {
            log.write(10);
            written.insert((log.name.to_owned(), log.generation), log.n);
        }
        if round % 2 == 1 {
            renamed.rotate(rename);
        }
        if round % 3 == 2 {
            cut.rotate(copy_and_cut);
        }
        if round == 5 {
            compress(&dir.path().join("renamed.log.0"));
        }
    }
    eprintln!("written and killed in {:?}", started.elapsed());
    once("files", &["--file", &pattern]);
    let mut found: BTreeMap<(String, usize), Vec<usize>> = BTreeMap::new();
    for value in values("files") {
        let line: Value = serde_json::from_slice(&value).expect("a whole line");
        let number = |field: &str| line[field].as_u64().expect("a number") as usize;
        let name = line["name"].as_str().expect("a name").to_owned();
        let of = found.entry((name, number("generation"))).or_default();
        of.push(number("n"));
    }
    let found_n: BTreeMap<_, _> = found.iter().map(|(of, n)| (of.clone(), n.len())).collect();
    assert_eq!(found_n, written);
    for (of, numbers) in found {
        assert!(numbers.iter().copied().eq(0..numbers.len()), "{of:?}");
    }
    assert_eq!(
        once("files", &["--file", &pattern])["records"],
        0,
        "its places are kept"
    );
}

#[test]
fn a_second_collector_of_a_name_replaces_the_first() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("access.log");
    let line = |i: usize| format!("{{\"n\":{i}}}").into_bytes();
    let append = |from: usize, to: usize| {
        let mut options = OpenOptions::new();
        let mut file = options
            .create(true)
            .append(true)
            .open(&path)
            .expect("opens");
        for i in from..to {
            file.write_all(&line(i)).expect("is written");
            file.write_all(b"\n").expect("is written");
        }
    };
    append(0, 1000);
    let options = ["--file", path.to_str().expect("a text")];
    let first = collect("replaced", &options).stderr(Stdio::piped()).spawn();
    let mut first = Running(first.expect("starts"));
    until("the first", || 1000 <= one().n_records("replaced"));
    let metrics = free_address();
    let second = collect(
        "replaced",
        &[&options[..], &["--metrics", &metrics]].concat(),
    )
    .spawn();
    let second = Running(second.expect("starts"));
    until("the second", || {
        let ready = crate::kafka::get(&metrics, "/readyz").unwrap_or_default();
        ready.contains("200 OK")
    });
    append(1000, 3000);
    assert_eq!(wait(&mut first).code(), Some(1));
    let mut said = String::new();
    let stderr = first.stderr.as_mut().expect("a pipe");
    stderr.read_to_string(&mut said).expect("text");
    assert!(
        said.contains("another collector of the name replaced"),
        "{said}"
    );
    until("the rest", || 3000 <= values("replaced").len());
    drop(second);
    let found = values("replaced");
    assert_eq!(found, (0..3000).map(line).collect::<Vec<_>>());
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "{what} does not come");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn standard_input_is_written_to_its_end() {
    let mut command = collect("piped", &["-", "--json"]);
    let mut running = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut stdin = running.stdin.take().expect("a pipe");
    let long = "x".repeat(3 << 20);
    for i in 0..5000 {
        writeln!(stdin, "{{\"n\":{i}}}").expect("is read");
    }
    write!(stdin, "{long}\n\nlast, without an end").expect("is read");
    drop(stdin);
    let output = running.wait_with_output().expect("ends");
    let counts: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(counts["records"], 5002);
    let mut lengths: Vec<usize> = values("piped").iter().map(Vec::len).collect();
    lengths.sort();
    assert_eq!(lengths[5000..], [20, (1 << 20) + 1]);
}

/// Posts a body; the status and the answer's body.
pub(crate) fn post(
    address: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> (u16, Vec<u8>) {
    let mut stream = TcpStream::connect(address).expect("listens");
    let mut request = format!("POST {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n");
    if !headers.iter().any(|(name, _)| *name == "content-length") {
        request.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    let request = [request.as_bytes(), b"\r\n", body].concat();
    stream.write_all(&request).expect("is taken");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("is answered");
    let end = answer
        .windows(4)
        .position(|w| w == b"\r\n\r\n")
        .expect("a head");
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let status = head.split(' ').nth(1).and_then(|text| text.parse().ok());
    (status.expect("a status"), answer[end + 4..].to_vec())
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("is taken");
    encoder.finish().expect("is taken")
}

/// A field of protobuf below 128 bytes.
fn field(number: u8, value: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2, value.len() as u8], value].concat()
}

#[test]
fn what_is_posted_is_in_the_topic_when_it_is_answered() {
    let (address, metrics) = (free_address(), free_address());
    let mut command = collect("posted", &["--listen", &address, "--metrics", &metrics]);
    command.env("TOLLWATCH_COLLECT_TOKEN", "right");
    let mut running = Running(command.spawn().expect("starts"));
    until("the receiver", || TcpStream::connect(&address).is_ok());
    let json_type = ("content-type", "application/json");
    let right = ("authorization", "Bearer right");
    for wrong in [
        &[json_type][..],
        &[json_type, ("authorization", "Bearer wrong")],
    ] {
        assert_eq!(post(&address, "/v1/logs/raw", wrong, b"{}").0, 401);
    }
    let raw = |headers: &[(&str, &str)], body: &[u8]| {
        post(
            &address,
            "/v1/logs/raw",
            &[headers, &[right]].concat(),
            body,
        )
        .0
    };
    assert_eq!(raw(&[json_type], b"[{\"n\":1},{\"n\":2}]"), 200);
    let zipped = ("content-encoding", "gzip");
    assert_eq!(raw(&[zipped], &gzip(b"{\"n\":3}\n{\"n\":4}\n")), 200);
    assert_eq!(
        one().read("posted").len(),
        4,
        "they are there when it is answered"
    );
    // What is wrong is refused, and none of it is there.
    assert_eq!(raw(&[json_type], b"[{\"n\":1}"), 400);
    assert_eq!(raw(&[zipped], b"no gzip"), 400);
    assert_eq!(raw(&[zipped], &gzip(b"{\"n\":3}\n")[..12]), 400);
    assert_eq!(raw(&[zipped], &gzip(&vec![b'x'; 9 << 20])), 413);
    assert_eq!(raw(&[("content-encoding", "br")], b"x"), 415);
    assert_eq!(raw(&[("content-length", "9000000")], b""), 413);
    assert_eq!(post(&address, "/v1/metrics", &[right], b"{}").0, 404);

    let otlp = |headers: &[(&str, &str)], body: &[u8]| {
        post(&address, "/v1/traces", &[headers, &[right]].concat(), body)
    };
    let span = json!({ "kind": 2, "startTimeUnixNano": "1767601459146000000", "attributes": [
        { "key": "http.request.method", "value": { "stringValue": "GET" } },
        { "key": "url.path", "value": { "stringValue": "/accounts/42" } },
        { "key": "http.response.status_code", "value": { "intValue": "200" } },
    ] });
    let request =
        json!({ "resourceSpans": [ { "scopeSpans": [ { "spans": [ span, { "kind": 3 } ] } ] } ] });
    assert_eq!(
        otlp(&[json_type], request.to_string().as_bytes()),
        (200, b"{}".to_vec())
    );
    let of = |key: &str, value: &str| {
        field(
            9,
            &[
                field(1, key.as_bytes()),
                field(2, &field(1, value.as_bytes())),
            ]
            .concat(),
        )
    };
    let time = [
        &[7 << 3 | 1][..],
        &1_767_601_459_146_000_000_u64.to_le_bytes(),
    ]
    .concat();
    let span = [
        vec![6 << 3, 2],
        time,
        of("http.method", "GET"),
        of("http.target", "/a/7"),
    ]
    .concat();
    let request = field(1, &field(2, &field(2, &span)));
    let protobuf = ("content-type", "application/x-protobuf");
    assert_eq!(
        otlp(&[protobuf, zipped], &gzip(&request)),
        (200, Vec::new())
    );
    let (status, body) = otlp(&[protobuf], &request[..9]);
    assert_eq!(
        (status, body[0]),
        (400, 2 << 3 | 2),
        "a status, whose message says why"
    );
    assert_eq!(otlp(&[json_type], b"{\"resourceSpans\":[").0, 400);
    assert_eq!(otlp(&[("content-type", "text/plain")], b"x").0, 415);
    let said = crate::kafka::get(&metrics, "/metrics").expect("metrics");
    assert!(
        said.contains("tollwatch_collected_records_total{origin=\"otlp\"} 2"),
        "{said}"
    );
    assert!(
        said.contains("tollwatch_collect_requests_total{outcome=\"refused\"}"),
        "{said}"
    );
    let ready = crate::kafka::get(&metrics, "/readyz").expect("answers");
    assert!(ready.contains("200 OK"), "{ready}");
    let pid = running.id().to_string();
    succeed(Command::new("kill").args(["-TERM", &pid]));
    assert!(wait(&mut running).success());
    let found = values("posted");
    assert_eq!(found.len(), 4 + 2);
    let spans = found
        .iter()
        .filter(|value| value.starts_with(b"{\"resourceSpans\""));
    let spans: Vec<Vec<u8>> = spans.cloned().collect();
    let dir = tempfile::tempdir().expect("a folder");
    let log = dir.path().join("spans.ndjson");
    write_lines(&log, &spans);
    let replayed = json_of(tollwatch().args(["replay", "--json"]).arg(&log));
    assert_eq!(replayed["events"], 2, "{replayed}");
}

#[test]
fn folders_prefixes_and_standard_input_are_read_as_their_files_are() {
    let all = lines("vampi.ndjson.xz", 3_000);
    let dir = tempfile::tempdir().expect("a folder");
    let (whole, logs) = (dir.path().join("whole.ndjson"), dir.path().join("logs"));
    write_lines(&whole, &all);
    for (name, lines) in [
        ("2026/01/a.log", &all[..1000]),
        ("2026/01/b.log", &all[1000..2500]),
    ] {
        let path = logs.join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("can be made");
        write_lines(&path, lines);
    }
    write_lines(&logs.join("2026/z.log"), &all[2500..]);
    compress(&logs.join("2026/01/b.log"));
    let replay = |input: &Path, told: &str| {
        let rejects = dir.path().join(told);
        let mut command = tollwatch();
        command
            .args(["replay", "--lanes", "1", "--json", "--rejects"])
            .arg(&rejects)
            .arg(input);
        (command, rejects)
    };
    let wanted = json_of(&mut replay(&whole, "whole").0);
    assert_eq!(wanted["events"], 3_000);
    let prefix = format!("file://{}/", logs.display());
    for input in [logs.as_path(), Path::new(&prefix)] {
        let mut found = json_of(&mut replay(input, "folder").0);
        let formats = found["formats"].as_object().expect("files").clone();
        assert_eq!(formats.len(), 3, "{formats:?}");
        for field in ["seconds", "formats"] {
            found[field] = wanted[field].clone();
        }
        assert_eq!(found, wanted);
    }
    let (mut piped, _) = replay(Path::new("-"), "piped");
    let file = std::fs::File::open(logs.join("2026/01/b.log.gz")).expect("is there");
    let found = json_of(piped.stdin(file));
    let wanted_format = &wanted["formats"][whole.to_str().expect("a text")];
    assert_eq!(
        (&found["events"], &found["formats"]["-"]),
        (&json!(1500), wanted_format)
    );
    let mut nothing = replay(&dir.path().join("none"), "nothing").0;
    std::fs::create_dir(dir.path().join("none")).expect("can be made");
    let output = nothing.output().expect("starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("nothing to read in"), "{said}");
}

#[test]
fn wrong_options_are_told_before_anything_is_opened() {
    let table: [(&[&str], &str); 5] = [
        (&["--topic", "t"], "nothing to collect"),
        (&["--topic", "tollwatch.events", "-"], "tollwatch's own"),
        (
            &["--topic", "t", "--file", "x", "--name", "a b"],
            "--name takes",
        ),
        (
            &["--topic", "t", "--listen", "127.0.0.1:1", "--once"],
            "--once ends",
        ),
        (&["--topic", "t", "-"], "brokers is empty"),
    ];
    for (options, wanted) in table {
        let output = tollwatch()
            .arg("collect")
            .args(options)
            .output()
            .expect("starts");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains(wanted), "{said}");
        assert_eq!(output.status.code(), Some(1), "{said}");
    }
}
