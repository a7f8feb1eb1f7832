//! What holds of the project itself.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use engine::rule::RuleSet;
use serde_json::Value;

use crate::support::{json, root, succeed};

/// Files of the project as git knows them, those not yet committed too.
fn files() -> Vec<PathBuf> {
    let listed = succeed(
        Command::new("git")
            .args(["ls-files", "--cached", "--others", "--exclude-standard"])
            .current_dir(root()),
    );
    let names = String::from_utf8(listed.stdout).expect("names are text");
    let files: Vec<PathBuf> = names.lines().map(|name| root().join(name)).collect();
    files.into_iter().filter(|path| path.is_file()).collect()
}

fn text(path: &Path) -> String {
    let bytes = std::fs::read(path).expect("a file of the project");
    String::from_utf8(bytes).unwrap_or_default()
}

/// Names of the packages a crate depends on, for its code or for its tests.
fn dependencies(metadata: &Value, name: &str) -> BTreeSet<String> {
    let packages = metadata["packages"].as_array().expect("packages");
    let package = packages
        .iter()
        .find(|package| package["name"] == name)
        .expect("the crate");
    let dependencies = package["dependencies"].as_array().expect("dependencies");
    dependencies
        .iter()
        .map(|dependency| dependency["name"].as_str().expect("a name").to_owned())
        .collect()
}

#[test]
fn arrows_between_crates_point_one_way() {
    let metadata = json(
        Command::new(env!("CARGO"))
            .args([
                "metadata",
                "--no-deps",
                "--offline",
                "--locked",
                "--format-version",
                "1",
            ])
            .current_dir(root()),
    );
    let forbidden: [(&str, &[&str]); 2] = [
        ("connectors", &["models", "engine", "datafusion"]),
        (
            "models",
            &[
                "connectors",
                "engine",
                "datafusion",
                "arrow",
                "rdkafka",
                "tokio",
            ],
        ),
    ];
    for (name, never) in forbidden {
        let dependencies = dependencies(&metadata, name);
        let found: Vec<_> = never
            .iter()
            .filter(|never| dependencies.contains(**never))
            .collect();
        assert!(found.is_empty(), "{name} depends on {found:?}");
    }
    assert!(
        dependencies(&metadata, "engine").contains("models"),
        "the reading works"
    );
}

/// Packages with the features a build of these targets gives them.
fn features(arguments: &[&str]) -> BTreeSet<String> {
    let listed = succeed(
        Command::new(env!("CARGO"))
            .args(["tree", "--offline", "--locked", "--prefix", "none"])
            .args(["--format", "{p} {f}"])
            .args(arguments)
            .current_dir(root()),
    );
    let listed = String::from_utf8(listed.stdout).expect("names are text");
    let line = |line: &str| line.trim_end_matches(" (*)").to_owned();
    listed.lines().map(line).collect()
}

#[test]
fn program_and_tests_share_one_build_of_their_dependencies() {
    let program = features(&["-p", "engine", "-e", "normal,build"]);
    let tests = features(&["--workspace", "-e", "normal,build,dev"]);
    let apart: Vec<_> = program.difference(&tests).collect();
    assert!(
        apart.is_empty(),
        "the tests build these once more, and DataFusion with them; see engine/Cargo.toml: {apart:#?}"
    );
}

#[test]
fn nothing_tells_of_a_machine() {
    // Put together here, so that this file is no finding.
    let home = |name: &str| format!("/{name}/");
    let never = [
        home("work"),
        home("home/runner"),
        home("Users"),
        format!("index.{}", "crates.io"),
        format!("repo1.{}", "maven.org"),
        format!("registry.{}", "npmjs.org"),
    ];
    for path in files() {
        let text = text(&path);
        for word in &never {
            assert!(
                !text.contains(word.as_str()),
                "{} says {word}",
                path.display()
            );
        }
    }
}

#[test]
fn every_shipped_rule_has_three_tests() {
    let shipped = RuleSet::shipped();
    assert!(shipped.rules.len() >= 10);
    for rule in &shipped.rules {
        let (name, n_tests) = (&rule.header.name, rule.header.tests.len());
        assert!(n_tests >= 3, "{name} has {n_tests} tests");
    }
}

/// First groups of what follows `before` in a text, up to `until`.
fn words<'a>(text: &'a str, before: &str, until: char) -> Vec<&'a str> {
    text.split(before)
        .skip(1)
        .filter_map(|rest| rest.split(until).next())
        .collect()
}

#[test]
fn every_metric_is_documented() {
    let source = text(&root().join("engine/src/telemetry.rs"));
    let flat: String = source.split_whitespace().collect::<Vec<_>>().join(" ");
    let flat = flat.replace("register!( \"", "register!(\"");
    let documented = text(&root().join("docs/metrics.md"));
    let names = words(&flat, "register!(\"", '"');
    assert!(names.len() >= 15, "{names:?}");
    for name in names {
        assert!(
            documented.contains(&format!("tollwatch_{name}")),
            "docs/metrics.md lacks {name}"
        );
    }
}

#[test]
fn every_option_is_documented() {
    let source = text(&root().join("engine/src/config.rs"));
    let documented = text(&root().join("docs/configuration.md"));
    let lines: Vec<&str> = source.lines().collect();
    let fields = lines.windows(2).filter_map(|pair| {
        let [before, line] = pair else { return None };
        if before.trim() == "#[serde(skip)]" {
            return None;
        }
        let name = line.strip_prefix("    pub ")?.split_once(':')?.0;
        name.chars()
            .all(|c| c.is_ascii_lowercase() || c == '_')
            .then_some(name)
    });
    let fields: Vec<&str> = fields.collect();
    assert!(fields.len() >= 25, "{fields:?}");
    for field in fields {
        assert!(
            ["`", "[`", "`["]
                .iter()
                .any(|open| documented.contains(&format!("{open}{field}"))),
            "docs/configuration.md lacks {field}"
        );
    }
}

#[test]
fn links_between_documents_hold() {
    let mut n_links = 0;
    for path in files()
        .into_iter()
        .filter(|path| path.extension().is_some_and(|e| e == "md"))
    {
        for link in words(&text(&path), "](", ')') {
            let file = link.split('#').next().unwrap_or_default();
            if file.is_empty() || file.contains("://") {
                continue;
            }
            n_links += 1;
            let target = path.parent().expect("a file lies in a folder").join(file);
            assert!(target.exists(), "{} links to {link}", path.display());
        }
    }
    assert!(n_links >= 5, "{n_links} links");
}

#[test]
fn readme_and_continuous_integration_run_the_same_tests() {
    let (readme, ci) = (
        text(&root().join("README.md")),
        text(&root().join(".ci/run")),
    );
    assert!(ci.contains("exec tests/run"));
    let first_screen: String = readme.lines().take(40).collect::<Vec<_>>().join("\n");
    assert!(
        first_screen.contains("tests/run"),
        "the test command is on the first screen"
    );
    assert!(
        first_screen.contains("-- demo"),
        "the demo's command is on the first screen"
    );
}
