//! Alerts as Avro: in a file, and delivered to a topic of a real Apache Kafka by the schema of a registry that is away, has another, or
//! takes none.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};

use connectors::render::{Alert, avro};
use rdkafka::message::Message;
use serde_json::{Value, json};

use crate::deliver::{deliver, produce, until};
use crate::kafka::{Running, free_address, get, one, wait};
use crate::support::{succeed, tollwatch, write_lines};
use crate::values::alerts::{ID, check_value, reader};
use crate::values::registry::Registry;

#[test]
fn render_writes_a_file_and_the_schema() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("alerts");
    let alerts: Vec<Vec<u8>> = (0..30)
        .map(|i| crate::deliver::alert(i).to_string().into_bytes())
        .collect();
    write_lines(&file, &alerts);
    let mut command = tollwatch();
    let avro = succeed(command.arg("render").arg(&file).args(["--as", "avro"])).stdout;
    assert!(avro.starts_with(b"Obj\x01"));
    for alert in &alerts {
        let alert = Alert::parse(alert).expect("an alert");
        let record = &avro::value(&alert, 0)[5..];
        let found = avro.windows(record.len()).filter(|part| part == &record);
        assert_eq!(found.count(), 1, "{}", alert.uid);
    }
    let schema = succeed(tollwatch().args(["render", "--avro-schema"])).stdout;
    assert_eq!(schema, avro::SCHEMA.as_bytes());
}

/// `deliver --as avro` with this registry.
fn to_avro(topic: &str, to: &str, registry: &Registry, dir: &Path, options: &[&str]) -> Command {
    let file = dir.join(format!("{topic}.toml"));
    std::fs::write(&file, format!("[registry]\nurl = '{}'\n", registry.url)).expect("writes");
    let mut command = deliver(topic, to, &["--as", "avro"]);
    command.arg("-c").arg(file).args(options);
    command
}

#[test]
fn while_the_registry_is_away_nothing_is_read_and_then_each_alert_is_there_once() {
    let ids = produce("registered", 200);
    let (registry, dir) = (Registry::start(), tempfile::tempdir().expect("a folder"));
    let lookup = "/subjects/registered-avro-value";
    registry.says(lookup, 503, &json!({}));
    let listen = free_address();
    let to = "topic:registered-avro";
    let options = ["--once", "--json", "--listen", &listen];
    let mut command = to_avro("registered", to, &registry, dir.path(), &options);
    let mut running = Running(command.stdout(Stdio::null()).spawn().expect("starts"));
    until("another question", || 2 <= registry.asked().len());
    let ready = get(&listen, "/readyz").expect("answers");
    assert!(!ready.contains("200 OK"), "{ready}");
    let committed = || {
        let cluster = one().cluster();
        let group = cluster.group("registered.deliver.sink", "registered");
        group.expect("answers").0
    };
    assert!(committed().iter().all(Option::is_none), "{:?}", committed());
    // It is back, and does not know the schema yet.
    registry.says(&format!("{lookup}/versions"), 200, &json!({ "id": ID }));
    registry.says(lookup, 404, &json!({ "error_code": 40401 }));
    assert!(wait(&mut running).success());
    let sent: Value = serde_json::from_str(registry.bodies().last().expect("one")).expect("JSON");
    assert_eq!(sent["schema"], avro::SCHEMA);

    let (values, found) = (reader(), one().read("registered-avro"));
    let alerts = one().read("registered");
    let mut seen = BTreeSet::new();
    for message in &found {
        let value = message.payload().expect("a value");
        let opened = values.open(value, None).expect("opens");
        let got: Value = serde_json::from_slice(opened.text(value)).expect("JSON");
        let id = got["id"].as_str().expect("an id").to_owned();
        let alert = alerts
            .iter()
            .map(|m| Alert::parse(m.payload().unwrap_or_default()).expect("an alert"))
            .find(|alert| alert.uid == id);
        check_value(&values, &alert.expect("of the topic"), value);
        seen.insert(id);
    }
    assert_eq!((found.len(), seen), (ids.len(), ids));
    // Its place is kept, and a schema that is there is not registered again.
    registry.says(lookup, 200, &json!({ "id": ID }));
    let n_asked = registry.asked().len();
    let options = ["--once", "--no-register"];
    succeed(&mut to_avro(
        "registered",
        to,
        &registry,
        dir.path(),
        &options,
    ));
    assert_eq!(registry.asked()[n_asked..], [lookup]);
    assert_eq!(one().read("registered-avro").len(), 200);
}

#[test]
fn a_registry_that_does_not_take_the_schema_ends_it_with_what_to_do() {
    produce("unregistered", 4);
    let (registry, dir) = (Registry::start(), tempfile::tempdir().expect("a folder"));
    let says = |options: &[&str]| {
        let to = "topic:unregistered-avro";
        let mut command = to_avro("unregistered", to, &registry, dir.path(), options);
        let output = command.arg("--once").output().expect("starts");
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let said = says(&["--no-register", "--subject", "soc"]);
    assert!(
        said.contains("\"soc\"") && said.contains("--avro-schema"),
        "{said}"
    );
    let incompatible = json!({ "error_code": 409, "message": "a field without a default" });
    registry.says("/subjects/soc/versions", 409, &incompatible);
    let said = says(&["--subject", "soc"]);
    assert!(
        said.contains("a field without a default") && said.contains("--subject another name"),
        "{said}"
    );
    registry.says("/subjects/soc", 403, &json!({ "error_code": 40301 }));
    let said = says(&["--subject", "soc"]);
    assert!(said.contains("what they may do"), "{said}");
    assert_eq!(one().n_records("unregistered-avro"), 0);
}

#[test]
fn where_avro_can_not_go_is_told_before_anything_is_read() {
    for (options, said) in [
        (
            vec!["--to", "stdout", "--as", "avro"],
            "--as avro goes to topic:NAME",
        ),
        (
            vec!["--to", "topic:a", "--as", "avro"],
            "registry.url is empty",
        ),
        (
            vec!["--to", "topic:a", "--subject", "b"],
            "are for --as avro",
        ),
        (
            vec!["--to", "topic:a", "--no-register"],
            "are for --as avro",
        ),
    ] {
        let mut command = tollwatch();
        command.args(["deliver", "--brokers", "127.0.0.1:1", "--name", "x"]);
        let output = command.args(&options).output();
        let output = output.expect("starts");
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{options:?}: {told}");
        assert!(told.contains(said), "{options:?}: {told}");
    }
}
