//! Rule files of somebody who means harm: `rules check` ends, soon, in little memory, with a message and exit code 1.
//!
//! The cases are data: `tests/hostile/rules.txt`. Each is checked by a process of its own that has 2 MiB of stack, as the threads of a
//! service have, and a bounded address space; one that needs more is killed, which is no exit code 1.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::{root, tollwatch};

/// Kilobytes of address space a check may have. One of the shipped rules needs a quarter of it.
const MEMORY_KB: u64 = 2_000_000;
/// Seconds of CPU a check may take; most take a hundredth of a second.
const CPU_SECONDS: u64 = 20;
/// What a header needs, without what a case adds.
const HEADER: &str = "schema: rule/v1\nid: 6f1c2f0e-2f62-4c0c-9f0c-2a6e3b1d9f10\nname: r\nversion: 1\ntitle: t\nstatus: test\nseverity: low\ndescription: d\n";

struct Case {
    name: String,
    file: String,
    /// Part of the message; nothing when the rule is accepted.
    expect: Option<String>,
}

fn cases(text: &str) -> Vec<Case> {
    let is_case = |part: &&str| part.lines().any(|line| line.starts_with("case "));
    text.split("\n\n").filter(is_case).map(case).collect()
}

fn case(paragraph: &str) -> Case {
    let lines = |key: &str| -> Vec<String> {
        let lines = paragraph.lines().filter_map(|line| line.strip_prefix(key));
        lines.map(|line| written_out(line.trim_start())).collect()
    };
    let name = lines("case ").concat();
    let header: String = lines("header ")
        .iter()
        .map(|line| format!("{line}\n"))
        .collect();
    let file = match lines("file ").concat() {
        file if file.is_empty() => {
            format!(
                "/*---\n{HEADER}{header}---*/\n{}\n",
                lines("sql ").join("\n")
            )
        }
        file => file,
    };
    let expect = lines("expect ").into_iter().next();
    let is_accepted = paragraph.lines().any(|line| line == "accept");
    assert!(expect.is_some() != is_accepted, "{name}: expect, or accept");
    Case { name, file, expect }
}

/// The text with its repetitions and escapes written out.
fn written_out(line: &str) -> String {
    let mut text = String::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once("{{") {
        let (times, after) = after.split_once('|').expect("{{times|text}}");
        // The last of several braces ends it: the text may end with one.
        let end = after.find("}}").expect("{{times|text}} has an end");
        let end = end + after[end + 2..].bytes().take_while(|b| *b == b'}').count();
        text.push_str(before);
        text.push_str(&after[..end].repeat(times.parse().expect("a number")));
        rest = &after[end + 2..];
    }
    text.push_str(rest);
    text.replace("\\n", "\n").replace("\\e", "\u{1b}")
}

/// `rules check` of a folder under limits: exit code, what it said, how long it took.
fn check(folder: &Path) -> (Option<i32>, String, Duration) {
    let limits =
        format!("ulimit -s 2048; ulimit -v {MEMORY_KB}; ulimit -t {CPU_SECONDS}; exec \"$@\"");
    let mut command = Command::new("sh");
    command
        .args(["-c", &limits, "sh"])
        .arg(tollwatch().get_program());
    let started = Instant::now();
    let output = command.args(["rules", "check"]).arg(folder).output();
    let output = output.expect("the command starts");
    let told = [output.stdout, output.stderr].concat();
    let told = String::from_utf8_lossy(&told).into_owned();
    (output.status.code(), told, started.elapsed())
}

#[test]
fn a_hostile_rule_file_gets_a_message_in_little_time_and_memory() {
    let text = std::fs::read_to_string(root().join("tests/hostile/rules.txt")).expect("the cases");
    let dir = tempfile::tempdir().expect("a folder");
    let (mut faults, mut slowest) = (Vec::new(), (Duration::ZERO, String::new()));
    let cases = cases(&text);
    assert!(50 <= cases.len(), "{} cases", cases.len());
    for case in cases {
        std::fs::write(dir.path().join("r.sql"), &case.file).expect("a file");
        let (code, told, took) = check(dir.path());
        let is_right = match &case.expect {
            Some(wanted) => code == Some(1) && told.contains(wanted.as_str()),
            None => code == Some(0),
        };
        let is_plain = !told.contains('\u{1b}') && told.len() <= 4096;
        if !(is_right && is_plain) {
            let shown: String = told.chars().take(600).collect();
            faults.push(format!(
                "{}: exit code {code:?}, {took:?}\n  {shown:?}",
                case.name
            ));
        }
        if slowest.0 < took {
            slowest = (took, case.name);
        }
    }
    println!("slowest: {} in {:?}", slowest.1, slowest.0);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn what_is_no_plain_file_is_refused_without_reading_it() {
    let dir = tempfile::tempdir().expect("a folder");
    std::os::unix::fs::symlink("/dev/zero", dir.path().join("r.sql")).expect("a link");
    let (code, told, _) = check(dir.path());
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("r.sql:1: is no plain file"), "{told}");
}
