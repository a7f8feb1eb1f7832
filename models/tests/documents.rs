//! Lists in the documents are those of the code. With `TOLLWATCH_WRITE_DOCS` set they are written there.

use std::path::Path;

const OPEN: &str = "<!-- generated -->\n";
const CLOSE: &str = "<!-- end -->";

/// Holds what lies between the marks of a document against `lists`, one after the other.
fn hold(document: &str, lists: &[String]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../docs")
        .join(document);
    let text = std::fs::read_to_string(&path).expect("a document");
    let mut wanted = String::new();
    let mut rest = text.as_str();
    for list in lists {
        let (head, tail) = rest
            .split_once(OPEN)
            .expect("an opening mark for each list");
        let (_, tail) = tail.split_once(CLOSE).expect("a closing mark");
        wanted.push_str(&format!("{head}{OPEN}{}\n{CLOSE}", list.trim_end()));
        rest = tail;
    }
    assert!(!rest.contains(OPEN), "{document} has more marks than lists");
    wanted.push_str(rest);
    if std::env::var_os("TOLLWATCH_WRITE_DOCS").is_some() {
        std::fs::write(&path, &wanted).expect("a document that can be written");
    }
    assert!(
        text == wanted,
        "docs/{document} is not what the code says; run the test with TOLLWATCH_WRITE_DOCS=1"
    );
}

#[test]
fn the_checks_are_documented() {
    hold("posture.md", &[models::posture::checks_page()]);
}

#[test]
fn the_findings_about_agents_and_the_signs_are_documented() {
    hold(
        "agents.md",
        &[
            models::agent::agents_page(),
            models::agent::signatures_page(),
        ],
    );
}

#[test]
fn the_map_and_the_questions_are_documented() {
    hold(
        "compliance.md",
        &[
            models::compliance::map_page(),
            models::compliance::readiness_page(),
        ],
    );
}
