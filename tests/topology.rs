//! What changes on the cluster under a running service: a topic that is deleted, a coordinator that moves.

use std::fs::File;
use std::process::{Command, Output};
use std::time::Instant;

use connectors::kafka::{Membership, StartAt, TIMEOUT};
use rdkafka::consumer::Consumer;
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::{Offset, TopicPartitionList};

use crate::kafka::{Deployment, Kafka, PATIENCE, Running, alone, one, wait};
use crate::support::{lines, root, succeed};

/// One of Kafka's own tools.
fn tool(kafka: &Kafka, class: &str, arguments: &[&str]) -> Output {
    let mut tool = Command::new(root().join("tests/kafka/tool"));
    tool.arg(format!("org.apache.kafka.tools.{class}"))
        .args(["--bootstrap-server", &kafka.bootstrap])
        .args(arguments);
    succeed(&mut tool)
}

/// Records of a topic that a group has committed.
pub(crate) fn committed(kafka: &Kafka, group: &str, topic: &str, partitions: i32) -> i64 {
    let consumer = kafka
        .cluster()
        .consumer(group, StartAt::Committed, Membership::Classic, None);
    let mut asked = TopicPartitionList::new();
    asked.add_partition_range(topic, 0, partitions - 1);
    let answer = consumer
        .expect("a consumer")
        .committed_offsets(asked, TIMEOUT);
    // Where a coordinator is looked for there is no answer yet.
    let answer = answer.unwrap_or_default();
    let offset = |element: TopicPartitionListElem<'_>| match element.offset() {
        Offset::Offset(offset) => offset,
        _ => 0,
    };
    answer.elements().into_iter().map(offset).sum()
}

#[test]
fn a_topic_that_is_deleted_stops_the_service_which_names_it() {
    let kafka = one();
    kafka.produce("deleted", 2, &lines("vampi.ndjson.xz", 1_000));
    let service = Deployment::new(kafka, "deleted-service", &["deleted"], &[]);
    // Whatever it reads has been read once.
    service.catch_up();
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("errors");
    let mut run = service.command("run");
    let run = run.stderr(File::create(&path).expect("opens")).spawn();
    let mut run = Running(run.expect("starts"));
    let group = [
        "--describe",
        "--members",
        "--group",
        "deleted-service.decode",
    ];
    let began = Instant::now();
    loop {
        let told = tool(kafka, "consumer.group.ConsumerGroupCommand", &group);
        if String::from_utf8_lossy(&told.stdout).contains("deleted-service.decode") {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "it does not join its group");
    }
    tool(kafka, "TopicCommand", &["--delete", "--topic", "deleted"]);
    let code = wait(&mut run).code();
    let told = std::fs::read_to_string(&path).expect("reads");
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("topic deleted is gone"), "{told}");
}

#[test]
fn a_coordinator_that_ends_is_not_the_services_end() {
    let _alone = alone();
    let kafka = Kafka::start(3);
    let all = lines("vampi.ndjson.xz", 20_000);
    let (first, second) = all.split_at(10_000);
    kafka.produce("moved", 4, first);
    let options = ["--replication", "3", "--min-insync-replicas", "2"];
    let service = Deployment::new(&kafka, "moved-service", &["moved"], &options);
    let mut run = service.run_until("judgements", 4);
    let group = ["--describe", "--state", "--group", "moved-service.decode"];
    let told = tool(&kafka, "consumer.group.ConsumerGroupCommand", &group);
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    // GROUP COORDINATOR (ID) …: moved-service.decode 127.0.0.1:20002 (2) …
    let id = told.split(['(', ')']).nth(3).expect("a coordinator");
    let pid = kafka.dir.path().join(format!("broker-{id}.pid"));
    let pid = std::fs::read_to_string(pid).expect("the broker runs");
    succeed(Command::new("kill").args(["-9", pid.trim()]));

    // What comes after it is read, and committed to the new one.
    kafka.produce("moved", 4, second);
    let began = Instant::now();
    while committed(&kafka, "moved-service.decode", "moved", 4) < all.len() as i64 {
        let ended = run.try_wait().expect("a child");
        assert!(ended.is_none(), "run ended by itself: {ended:?}");
        assert!(
            began.elapsed() < PATIENCE,
            "what came later is not committed"
        );
    }
    succeed(Command::new("kill").arg(run.id().to_string()));
    assert_eq!(wait(&mut run).code(), Some(0));
    service.catch_up();
    let report = service.verify();
    assert_eq!(report["stages"]["decode"]["expected"], all.len());
}
