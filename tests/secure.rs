//! Over a real Apache Kafka that asks for a login and holds to ACLs: TLS, each SASL mechanism, what a refusal says, and that no
//! output says a password.

use std::fs::File;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Instant;

use connectors::kafka::TIMEOUT;

use crate::kafka::{Deployment, Kafka, Running, wait};
use crate::support::{lines, root, succeed, tollwatch, tollwatch_telling};

fn secure() -> &'static Kafka {
    static KAFKA: OnceLock<Kafka> = OnceLock::new();
    KAFKA.get_or_init(|| Kafka::start_with(1, &["--secure"]))
}

fn file(name: &str) -> PathBuf {
    secure().dir.path().join(name)
}

fn password() -> String {
    let text = std::fs::read_to_string(file("password")).expect("the user has a password");
    text.trim().to_owned()
}

/// A configuration file that trusts the brokers' certificate, with more lines after its `[kafka]`.
struct Config {
    dir: tempfile::TempDir,
}

impl Config {
    fn new(lines: &str) -> Config {
        let text = format!(
            "[kafka]\nsecurity.protocol = 'SASL_SSL'\nssl.ca.location = '{}'\n{lines}\n",
            file("ca.pem").display()
        );
        Self::of(&text)
    }

    fn of(text: &str) -> Config {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::write(dir.path().join("tollwatch.toml"), text).expect("writes");
        Config { dir }
    }

    fn path(&self) -> String {
        let path = self.dir.path().join("tollwatch.toml");
        path.to_str().expect("text").to_owned()
    }
}

fn login(mechanism: &str, password: &str) -> Config {
    Config::new(&format!(
        "sasl.mechanism = '{mechanism}'\nsasl.username = 'tollwatch'\nsasl.password = '{password}'"
    ))
}

/// Runs a command to its end, which must come: its exit code and all it said.
pub(crate) fn ran(command: &mut Command) -> (Option<i32>, String) {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("output");
    let output = File::create(&path).expect("opens");
    let errors = output.try_clone().expect("opens");
    let child = command.stdout(output).stderr(errors).spawn();
    let status = wait(&mut Running(child.expect("starts")));
    let text = std::fs::read(&path).expect("reads");
    (status.code(), String::from_utf8_lossy(&text).into_owned())
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(5)..].join("\n")
}

/// Kafka's tool for ACLs, as a user that may do everything.
fn acl(arguments: &[&str]) {
    let mut tool = Command::new(root().join("tests/kafka/tool"));
    tool.arg("org.apache.kafka.tools.AclCommand")
        .args(["--bootstrap-server", &secure().bootstrap])
        .args(arguments);
    succeed(&mut tool);
}

#[test]
fn each_mechanism_reads_and_writes_and_no_output_says_the_password() {
    let password = password();
    secure().produce("open", 2, &lines("vampi.ndjson.xz", 2_000));
    let by_file = format!(
        "sasl.mechanism = 'PLAIN'\nsasl.username = 'tollwatch'\n[kafka_files]\nsasl.password = '{}'",
        file("password").display()
    );
    let by_variable = "sasl.mechanism = 'SCRAM-SHA-256'\nsasl.username = 'tollwatch'".to_owned();
    let by_token = "sasl.mechanism = 'OAUTHBEARER'\nenable.sasl.oauthbearer.unsecure.jwt = true\n\
        sasl.oauthbearer.config = 'principal=tollwatch'"
        .to_owned();
    for (name, config) in [
        ("plain-service", by_file),
        ("scram-service", by_variable),
        ("oauth-service", by_token),
    ] {
        // librdkafka tells its properties when it is asked for everything.
        let config = Config::new(&format!("debug = 'all'\n{config}"));
        let path = config.path();
        let mut service = Deployment::new(secure(), name, &["open"], &["--config", &path]);
        service.log = "trace";
        let mut is_told = false;
        for command in ["run --exit-when-caught-up", "check", "verify --json"] {
            let mut command = service.command(command);
            if name == "scram-service" {
                command.env("TOLLWATCH_KAFKA_SASL_PASSWORD", &password);
            }
            let (code, told) = ran(&mut command);
            let tail = tail(&told);
            assert_eq!(code, Some(0), "{name}: {tail}");
            is_told |= told.contains("sasl.mechanisms = ");
            assert!(!told.contains(&password), "{name} says the password");
        }
        assert!(is_told, "{name} tells its properties");
        let n_events = secure().n_records(&service.topic("events"));
        assert!(n_events > 0, "{name} wrote events");
    }
}

#[test]
fn a_wrong_password_ends_with_what_to_look_at() {
    secure().produce("closed", 1, &lines("vampi.ndjson.xz", 10));
    for (mechanism, name) in [("PLAIN", "closed-plain"), ("SCRAM-SHA-256", "closed-scram")] {
        let config = login(mechanism, "hunter2");
        let path = config.path();
        let service = Deployment::new(secure(), name, &["closed"], &["--config", &path]);
        for command in ["run", "check", "verify"] {
            let began = Instant::now();
            let (code, told) = ran(&mut service.command(command));
            assert_eq!(code, Some(1), "{mechanism}: {told}");
            assert!(
                told.contains("refuse the login") && told.contains("sasl.password"),
                "{mechanism}: {told}"
            );
            assert!(!told.contains("hunter2"), "{mechanism}: {told}");
            assert!(began.elapsed() < TIMEOUT, "{mechanism}: told too late");
        }
    }
}

#[test]
fn a_certificate_nobody_vouches_for_is_told() {
    let text = "[kafka]\nsecurity.protocol = 'SASL_SSL'\nsasl.mechanism = 'PLAIN'\n\
        sasl.username = 'tollwatch'\nsasl.password = 'hunter2'\n";
    let config = Config::of(text);
    let path = config.path();
    let service = Deployment::new(secure(), "untrusted", &["any"], &["--config", &path]);
    let (code, told) = ran(&mut service.command("run"));
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("ssl.ca.location"), "{told}");
    assert!(!told.contains("hunter2"), "{told}");
}

#[test]
fn a_property_that_is_wrong_is_told_by_its_name_alone() {
    for (line, names) in [
        ("sasl.passwrd = 'hunter2'", "sasl.passwrd"),
        ("security.protocol = 'hunter2'", "security.protocol"),
        ("sasl.password = \"hunter2\\u0000\"", "NUL"),
    ] {
        let config = Config::of(&format!("[kafka]\n{line}\n"));
        for command in ["run", "check"] {
            let mut command_line = tollwatch_telling("trace");
            command_line
                .args([command, "--config", &config.path()])
                .args(["--brokers", "127.0.0.1:1", "--source-topic", "any"])
                .arg("--state")
                .arg(config.dir.path());
            let (code, told) = ran(&mut command_line);
            assert_eq!(code, Some(1), "{told}");
            assert!(told.contains(names), "{told}");
            assert!(!told.contains("hunter2"), "{told}");
        }
    }
}

#[test]
fn check_warns_of_metrics_that_others_can_read() {
    let told = |options: &[&str]| {
        let mut check = tollwatch();
        let output = check.arg("check").args(options).output().expect("starts");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert!(told(&["--listen", "0.0.0.0:1"]).contains("warning: listen is 0.0.0.0:1"));
    assert!(!told(&[]).contains("warning"), "loopback is the default");
}

#[test]
fn what_an_acl_refuses_is_told_with_its_topic() {
    secure().produce("unseen", 1, &lines("vampi.ndjson.xz", 10));
    secure().produce("unread", 1, &lines("vampi.ndjson.xz", 10));
    secure().produce("written", 1, &lines("vampi.ndjson.xz", 10));
    secure().produce("unwritten.events", 4, &[]);
    let allow = |user: &str, operations: &[&str], topic: &str| {
        let mut arguments = vec!["--add", "--allow-principal", user, "--topic", topic];
        operations
            .iter()
            .for_each(|operation| arguments.extend(["--operation", operation]));
        acl(&arguments);
    };
    // Where somebody is allowed something, everything else is refused.
    allow("User:other", &["Read"], "unseen");
    allow("User:tollwatch", &["Describe"], "unread");
    allow("User:tollwatch", &["Describe", "Read"], "unwritten.events");
    acl(&[
        "--add",
        "--allow-principal",
        "User:other",
        "--operation",
        "Read",
        "--group",
        "ungrouped.decode",
    ]);
    let config = login("PLAIN", &password());
    let path = config.path();
    for (name, source, refused) in [
        ("unseen", "unseen", "refuse to let this user see unseen"),
        ("unread", "unread", "refuse to let this user read unread"),
        (
            "unwritten",
            "written",
            "refuse to let this user write unwritten.events",
        ),
        (
            "ungrouped",
            "written",
            "refuse to let this user join group ungrouped.decode",
        ),
    ] {
        let service = Deployment::new(secure(), name, &[source], &["--config", &path]);
        let (code, told) = ran(&mut service.command("run"));
        assert_eq!(code, Some(1), "{name}: {told}");
        assert!(
            told.contains(refused) && told.contains("ACL"),
            "{name}: {told}"
        );
    }
}

#[test]
fn a_transaction_that_is_refused_is_told_with_the_way_without() {
    secure().produce("untransacted", 1, &lines("vampi.ndjson.xz", 10));
    // Where somebody is allowed something, everything else is refused.
    let other = ["--allow-principal", "User:other", "--operation", "Write"];
    let ids = ["--resource-pattern-type", "prefixed", "--transactional-id"];
    acl(&[&["--add"], &other[..], &ids, &["untransacted-service."]].concat());
    let config = login("PLAIN", &password());
    let path = config.path();
    let options = ["--config", path.as_str(), "--instance", "a"];
    let mut service = Deployment::new(
        secure(),
        "untransacted-service",
        &["untransacted"],
        &options,
    );
    let (code, told) = ran(&mut service.command("run"));
    assert_eq!(code, Some(1), "{told}");
    let id = |stage: &str| format!("transaction untransacted-service.{stage}.a.0");
    let mut stages = ["profile", "judge", "govern"].into_iter();
    assert!(stages.any(|stage| told.contains(&id(stage))), "{told}");
    assert!(told.contains("delivery = \"at_least_once\""), "{told}");
    // What it says is a way.
    let without = ["--delivery", "at_least_once"].map(str::to_owned);
    service.options.extend(without);
    service.catch_up();
    service.verify();
}

#[test]
fn a_permission_that_is_taken_away_stops_the_service_and_given_back_lets_it_go_on() {
    let all = lines("vampi.ndjson.xz", 3_000);
    let (first, second) = all.split_at(2_000);
    secure().produce("revoked", 2, first);
    // A fetch that is refused is told once, and may be told to nobody while partitions move; the next look at the topics
    // tells it again, by default after five minutes.
    let config = Config::new(&format!(
        "sasl.mechanism = 'SCRAM-SHA-256'\nsasl.username = 'tollwatch'\nsasl.password = '{}'\ntopic.metadata.refresh.interval.ms = 20000",
        password()
    ));
    let path = config.path();
    let service = Deployment::new(
        secure(),
        "revoked-service",
        &["revoked"],
        &["--config", &path],
    );
    let mut run = service.run_until("events", 4);
    let other = ["--allow-principal", "User:other", "--operation", "Read"];
    let of_topic = [&other[..], &["--topic", "revoked"]].concat();
    acl(&[&["--add"], &of_topic[..]].concat());
    assert_eq!(wait(&mut run).code(), Some(1));
    secure().produce("revoked", 2, second);
    acl(&[&["--remove", "--force"], &of_topic[..]].concat());
    service.catch_up();
    let report = service.verify();
    assert_eq!(report["stages"]["decode"]["expected"], all.len());
}
