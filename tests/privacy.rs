//! What is kept of calls where the options of privacy say less.

use std::collections::{BTreeSet, HashSet};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use engine::config::Config;
use serde_json::Value;

use crate::support::{bundled, json, root, succeed, tollwatch};

/// Every option at its strictest that keeps detection going.
const EVERYTHING: &str = r#"
[privacy]
pseudonymise = true
truncate_addresses = {ipv4 = 16, ipv6 = 32}
drop = ["user_agent", "actor", "tenant", "object_number", "request_id", "trace_id"]
drop_query_params = ["email"]
keep_query_params = ["page"]
blank_dead_letters = true
"#;

const TEMPLATES: &str = "# tollwatch templates 1
127.0.0.1 /users/v1/{name}
127.0.0.1 /users/v1/{name}/email
127.0.0.1 /users/v1/{name}/password
127.0.0.1 /books/v1/{name}
";

/// The configuration of it.
pub(crate) fn everything() -> Config {
    Config::parse(EVERYTHING).expect("a configuration")
}

fn configured(dir: &Path, text: &str) -> PathBuf {
    let path = dir.join("tollwatch.toml");
    std::fs::write(&path, text).expect("a file");
    path
}

fn lines(path: &Path) -> Vec<Value> {
    let mut text = String::new();
    let mut file = connectors::file::open(path).expect("a capture");
    file.reader.read_to_string(&mut text).expect("text");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

/// What tells of people in a capture: words that are names, addresses, ids of requests, or values in paths and queries; and
/// the programs they use.
#[derive(Default)]
struct Personal {
    words: HashSet<String>,
    programs: BTreeSet<String>,
}

/// The words of a text, as names, addresses and ids are written.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_alphanumeric() || matches!(c, '.' | '_' | '-')))
}

impl Personal {
    fn of(capture: &Path) -> Personal {
        let mut found = Personal::default();
        let mut hosts = HashSet::new();
        for line in lines(capture) {
            let text = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
            let names = ["remote_user", "jwt_sub", "remote_addr", "request_id"];
            found.words.extend(names.map(text));
            // What stands behind these two names somebody or something; what a scanner asks for elsewhere does not.
            let target = text("request_uri");
            let mut behind = ["/users/v1/", "/books/v1/"].iter();
            let named = behind.find_map(|before| target.strip_prefix(before));
            // Words without digits are operations too.
            let has_digits = |word: &&str| word.bytes().filter(u8::is_ascii_digit).count() > 1;
            let values = words(named.unwrap_or_default()).filter(has_digits);
            found.words.extend(values.map(str::to_owned));
            found.programs.insert(text("user_agent"));
            hosts.insert(text("host"));
        }
        // Shorter ones are counts and words too.
        found
            .words
            .retain(|word| word.len() > 5 && !hosts.contains(word));
        found.programs.retain(|program| program.len() > 5);
        found
    }

    /// Those that a text holds.
    fn within<'t>(&'t self, text: &'t str) -> BTreeSet<&'t str> {
        let found = words(text).filter(|word| self.words.contains(*word));
        let programs = self.programs.iter().map(String::as_str);
        found
            .chain(programs.filter(|program| text.contains(program)))
            .collect()
    }
}

/// What a command prints, findings or not.
fn output(command: &mut Command) -> String {
    let output = command.output().expect("starts");
    let told = output.status.code().is_some_and(|code| code <= 1);
    assert!(
        told,
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn nothing_raw_of_a_capture_is_in_any_output() {
    let dir = tempfile::tempdir().expect("a folder");
    let capture = bundled("vampi.ndjson.xz");
    let personal = Personal::of(&capture);
    assert!(personal.words.len() > 10_000 && personal.programs.len() > 5);
    // Names that look like words are told to be names, as docs/privacy.md says.
    let templates = dir.path().join("templates.txt");
    std::fs::write(&templates, TEMPLATES).expect("a file");
    let (alerts, lake) = (dir.path().join("alerts"), dir.path().join("lake"));
    let replay = |config: Option<&Path>| {
        let mut replay = tollwatch();
        replay.arg("replay").arg(&capture).args(["--lanes", "1"]);
        replay.arg("--alerts").arg(&alerts).arg("--lake").arg(&lake);
        replay.arg("--templates").arg(&templates);
        if let Some(config) = config {
            replay.arg("--config").arg(config);
        }
        succeed(&mut replay);
        let mut query = tollwatch();
        query.args(["query", "SELECT * FROM events", "--csv", "--lake"]);
        let events = output(query.arg(&lake));
        std::fs::remove_dir_all(&lake).expect("a lake");
        let alerts = std::fs::read_to_string(&alerts).expect("alerts");
        vec![("events", events), ("alerts", alerts)]
    };
    // The values are there to be found where nothing is said.
    for (name, text) in replay(None) {
        let n = personal.within(&text).len();
        assert!(n > 50, "{name} has {n}");
    }
    let config = configured(dir.path(), EVERYTHING);
    let mut told = replay(Some(&config));
    for command in ["inventory", "posture", "agents"] {
        let mut list = tollwatch();
        list.args([command, "list", "--json", "--lanes", "1", "--config"]);
        list.arg(&config).arg("--templates").arg(&templates);
        list.arg("--from").arg(&capture);
        told.push((command, output(&mut list)));
    }
    for (name, text) in told {
        assert!(!text.is_empty(), "{name} says nothing");
        let found: Vec<&str> = personal.within(&text).into_iter().take(9).collect();
        assert!(found.is_empty(), "{name} has {found:?}");
    }
}

/// What was found and missed, without the names that titles begin with.
fn evaluated(config: Option<&Path>) -> Value {
    let mut eval = tollwatch();
    eval.arg("eval")
        .arg(bundled("vampi.ndjson.xz"))
        .arg("--json");
    eval.arg("--labels").arg(bundled("vampi.labels.tsv.xz"));
    if let Some(config) = config {
        eval.arg("--config").arg(config);
    }
    let mut evaluated = json(&mut eval);
    let told = evaluated["false_alerts"].as_array_mut().expect("a list");
    for alert in told {
        let title = alert[1].as_str().expect("a title").split_once(' ');
        alert[1] = title.expect("a name and what it did").1.into();
    }
    evaluated
}

#[test]
fn pseudonyms_leave_detection_as_it_is() {
    let dir = tempfile::tempdir().expect("a folder");
    let config = configured(dir.path(), "[privacy]\npseudonymise = true\n");
    let (plain, hidden) = (evaluated(None), evaluated(Some(&config)));
    assert_eq!(plain, hidden);
}

#[test]
fn a_wrong_option_is_told_with_what_would_be_right() {
    let dir = tempfile::tempdir().expect("a folder");
    for (text, told) in [
        (
            "[privacy]\ndrop = ['path', 'query']\n",
            "`path`, which is no column that can be left out; these can: query,",
        ),
        (
            "[privacy]\ntruncate_addresses = {ipv4 = 33, ipv6 = 48}\n",
            "privacy.truncate_addresses.ipv4 is 33; it must be at most 32",
        ),
        (
            "[privacy]\ntruncate_addresses = {ipv4 = 24}\n",
            "missing field `ipv6`",
        ),
        (
            "[enrich]\nfiles = ['absent.mmdb']\n",
            "absent.mmdb cannot be read",
        ),
    ] {
        let config = configured(dir.path(), text);
        let mut replay = tollwatch();
        replay.arg("replay").arg(bundled("vampi.ndjson.xz"));
        let output = replay
            .arg("--config")
            .arg(&config)
            .output()
            .expect("starts");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && error.contains(told),
            "{text}: {error}"
        );
    }
}

#[test]
fn the_documentation_has_the_columns_that_can_be_left_out() {
    let text = std::fs::read_to_string(root().join("docs/privacy.md")).expect("docs/privacy.md");
    let section = text
        .split("\n## ")
        .find(|part| part.starts_with("Columns that can be left out"));
    let rows = section
        .expect("a section of its own")
        .lines()
        .filter_map(|row| row.strip_prefix("| `")?.split_once("` | "));
    let told: BTreeSet<&str> = rows.map(|(name, _)| name).collect();
    let columns: BTreeSet<&str> = engine::stage::privacy::droppable().collect();
    assert_eq!(told, columns);
}
