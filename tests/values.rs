//! Values of a schema registry, over a real Kafka.

#[path = "../connectors/tests/values/alerts.rs"]
pub(crate) mod alerts;
#[path = "../connectors/tests/values/registry.rs"]
pub(crate) mod registry;

use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::message::{Headers, Message};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use registry::Registry;
use serde_json::json;

use crate::kafka::{Deployment, PATIENCE, free_address, get, one};
use crate::poison;

/// The first value of a metric's line that begins so.
fn metric(address: &str, line: &str) -> Option<f64> {
    let page = get(address, "/metrics")?;
    let value = page.lines().find_map(|at| at.strip_prefix(line))?;
    value.trim().parse().ok()
}

fn wait_for(what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "{what} does not come");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A value as a serializer for JSON Schema writes it.
fn framed(id: u32, json: &[u8]) -> Vec<u8> {
    [&[0][..], &id.to_be_bytes(), json].concat()
}

#[test]
fn nothing_is_skipped_while_the_registry_is_away() {
    const UNKNOWN: u32 = 404;
    let registry = Registry::written_by_others();
    let calls = poison::good("kong", 400);
    let (ours, others) = calls.split_at(300);
    one().produce("values", 2, &[]);
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", &one().bootstrap)
        .create()
        .expect("a producer");
    let send = |partition: i32, value: Option<&[u8]>| {
        let record = BaseRecord::<[u8], [u8]>::to("values").partition(partition);
        let record = match value {
            Some(value) => record.payload(value),
            None => record,
        };
        producer
            .send(record)
            .map_err(|(error, _)| error)
            .expect("sent");
    };
    // Offsets 0 to 99 need no schema, 100 is a tombstone, 101 of no known schema, and then all are of one that is away.
    let (plain, schemed) = ours.split_at(100);
    plain.iter().for_each(|call| send(0, Some(call)));
    send(0, None);
    send(0, Some(&framed(UNKNOWN, b"{}")));
    schemed
        .iter()
        .for_each(|call| send(0, Some(&framed(7, call))));
    others.iter().for_each(|call| send(1, Some(call)));
    // Avro, Protobuf, and what is packed, as others write it.
    let by_others = registry::values_by_others();
    for name in [
        "avro: a record",
        "protobuf: the first message",
        "avro: packed by gzip",
        "zstd, level 19",
    ] {
        let (_, value) = by_others.iter().find(|(of, _)| of == name).expect(name);
        send(0, Some(value));
    }
    producer.flush(PATIENCE).expect("acknowledged");
    registry.says("/schemas/ids/7", 503, &json!({"error_code": 50301}));

    let address = free_address();
    let service = |name| {
        let service = Deployment::new(
            one(),
            name,
            &["values"],
            &["--listen", &address, "--instance", "values-0"],
        );
        let file = service.state.path().join("tollwatch.toml");
        let text = format!("[registry]\nurl = '{}'\n", registry.url);
        std::fs::write(&file, text).expect("writes");
        let mut service = service;
        service
            .options
            .extend(["-c".to_owned(), file.display().to_string()]);
        service
    };
    let service = service("values-service");
    let mut run = service.run_until("events", 1);
    wait_for("the end of what needs no schema", || {
        metric(&address, "tollwatch_events_total") == Some(200.0)
            && metric(&address, "tollwatch_partitions_held") == Some(1.0)
    });
    let committed = || {
        one()
            .cluster()
            .group("values-service.decode", "values")
            .expect("answers")
            .0
    };
    wait_for("the commit", || committed() == [Some(102), Some(100)]);
    // A process that ends meanwhile leaves nothing behind.
    run.kill().expect("a child");
    run.wait().expect("a child");
    let mut run = service
        .command("run")
        .spawn()
        .map(crate::kafka::Running)
        .expect("starts");
    wait_for("the same again", || {
        metric(&address, "tollwatch_partitions_held") == Some(1.0)
    });
    assert_eq!(committed(), [Some(102), Some(100)]);
    let n_asked = || {
        let asked = registry.asked();
        asked
            .iter()
            .filter(|path| *path == "/schemas/ids/7")
            .count()
    };
    wait_for("another question", || 3 <= n_asked());

    registry.says(
        "/schemas/ids/7",
        200,
        &json!({"schema": "true", "schemaType": "JSON"}),
    );
    wait_for("the rest", || committed() == [Some(306), Some(100)]);
    assert_eq!(metric(&address, "tollwatch_events_total"), Some(204.0));
    assert_eq!(metric(&address, "tollwatch_partitions_held"), Some(0.0));
    run.kill().expect("a child");
    run.wait().expect("a child");

    service.catch_up();
    let report = service.verify();
    assert_eq!(
        report["stages"]["decode"]["expected"], 405,
        "404 calls and a dead letter"
    );
    let letters = one().read(&service.topic("dead-letters"));
    let [letter] = &letters[..] else {
        panic!("{} dead letters", letters.len());
    };
    let headers = letter.headers().expect("headers");
    let reason = headers
        .iter()
        .find(|header| header.key == "tollwatch.reason");
    assert_eq!(
        reason.and_then(|header| header.value),
        Some(&b"unknown_schema"[..])
    );
    assert_eq!(letter.payload(), Some(&framed(UNKNOWN, b"{}")[..]));
}
