//! What the tests share: the binary as a user runs it, captures, and a real Kafka.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

pub(crate) mod flaky;

/// The project's root.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("a crate lies in the workspace")
        .to_owned()
}

/// The command, quiet unless something is wrong.
pub(crate) fn tollwatch() -> Command {
    tollwatch_telling("warn")
}

/// The command, with its log at this level.
pub(crate) fn tollwatch_telling(level: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollwatch"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("TOLLWATCH_")) {
        command.env_remove(name);
    }
    command.args(["--log", level]);
    command
}

/// Runs a command that must succeed.
pub(crate) fn succeed(command: &mut Command) -> Output {
    let output = command.output().expect("the command starts");
    assert!(
        output.status.success(),
        "{command:?} ended with {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// Runs a command that must succeed and prints one JSON object.
pub(crate) fn json(command: &mut Command) -> Value {
    let output = succeed(command);
    serde_json::from_slice(&output.stdout).expect("one JSON object")
}

/// A capture that is part of the project.
pub(crate) fn bundled(name: &str) -> PathBuf {
    root().join("engine/demo").join(name)
}

/// A file of the captures, samples and schemas beside the project (`$TOLLWATCH_SHARED`, else
/// `../shared`), when it is there.
pub(crate) fn shared(name: &str) -> Option<PathBuf> {
    let dir = std::env::var_os("TOLLWATCH_SHARED")
        .map_or_else(|| root().join("../shared"), PathBuf::from);
    let path = dir.join("data").join(name);
    if !path.exists() {
        eprintln!("skipped: {} is not there", path.display());
        return None;
    }
    Some(path)
}

/// The first lines of a bundled capture.
pub(crate) fn lines(name: &str, n: usize) -> Vec<Vec<u8>> {
    use connectors::file::{Line, Lines, open};
    let input = open(&bundled(name)).expect("a bundled capture opens");
    let line = |line: std::io::Result<Line>| match line.expect("a bundled capture is whole") {
        Line::Bytes { bytes, .. } => bytes,
        Line::Oversized { number, .. } => panic!("line {number} is too long"),
    };
    Lines::new(input.reader).take(n).map(line).collect()
}

/// Every file below a folder; none when there is no folder, or another process deletes it meanwhile.
pub(crate) fn files_below(folder: &Path) -> Vec<PathBuf> {
    let (mut files, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(folder).into_iter().flatten();
        for path in entries.flatten().map(|entry| entry.path()) {
            match path.is_dir() {
                true => folders.push(path),
                false => files.push(path),
            }
        }
    }
    // In no folder's order: what a seed decides is the same everywhere.
    files.sort();
    files
}

/// Writes lines to a file.
pub(crate) fn write_lines(path: &Path, lines: &[Vec<u8>]) {
    let mut text = lines.join(&b'\n');
    text.push(b'\n');
    std::fs::write(path, text).expect("the file can be written");
}

/// The alerts of a file of them.
pub(crate) fn read_alerts(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).expect("alerts are there");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("an alert is JSON"))
        .collect()
}
