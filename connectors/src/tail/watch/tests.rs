use std::fs::OpenOptions;
use std::io::Write;
use std::time::SystemTime;

use super::*;

/// A folder of logs and who reads them, with a clock of its own.
struct World {
    folder: tempfile::TempDir,
    watch: Watch,
    places: BTreeMap<String, Place>,
    lines: Vec<String>,
    ahead_ms: i64,
    n: usize,
}

fn watch(folder: &Path, places: BTreeMap<String, Place>) -> Watch {
    let pattern = folder.join("*.log*").display().to_string();
    Watch::new("test", &[pattern], &[], places).unwrap()
}

impl World {
    fn new() -> World {
        let folder = tempfile::tempdir().unwrap();
        World {
            watch: watch(folder.path(), BTreeMap::new()),
            folder,
            places: BTreeMap::new(),
            lines: Vec::new(),
            ahead_ms: 0,
            n: 0,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Appends so many lines, each with a number of its own.
    fn write(&mut self, name: &str, n: usize) {
        let mut text = String::new();
        for _ in 0..n {
            text.push_str(&format!("line {} of those that are long enough\n", self.n));
            self.n += 1;
        }
        self.append(name, &text);
    }

    fn append(&self, name: &str, text: &str) {
        let mut options = OpenOptions::new();
        let mut file = options
            .create(true)
            .append(true)
            .open(self.path(name))
            .unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn gzip(&self, from: &str, to: &str) {
        let text = std::fs::read(self.path(from)).unwrap();
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&text).unwrap();
        std::fs::write(self.path(to), encoder.finish().unwrap()).unwrap();
        std::fs::remove_file(self.path(from)).unwrap();
    }

    fn now_ms(&self) -> i64 {
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap();
        now.as_millis() as i64 + self.ahead_ms
    }

    fn read(&mut self) {
        let now_ms = self.now_ms();
        let lines = &mut self.lines;
        let mut each = |key: &str, line: &[u8]| {
            assert!(key.starts_with("test:/"));
            lines.push(String::from_utf8_lossy(line).into_owned());
        };
        while self.watch.read(64 << 10, now_ms, false, &mut each) {}
        self.places.extend(self.watch.changed());
    }

    /// Looks and reads as a collector does, for so many seconds.
    fn pass(&mut self, seconds: i64) {
        for _ in 0..2 {
            self.read();
            self.watch.scan(self.now_ms()).unwrap();
            self.read();
            self.ahead_ms += seconds * 500;
        }
    }

    /// Begins anew with the places that were kept.
    fn restart(&mut self) {
        self.watch = watch(self.folder.path(), self.places.clone());
    }

    fn assert_all_once(&self) {
        let number = |line: &String| line.split(' ').nth(1).unwrap().parse().unwrap();
        let mut numbers: Vec<usize> = self.lines.iter().map(number).collect();
        numbers.sort();
        assert_eq!(numbers, (0..self.n).collect::<Vec<_>>());
    }
}

#[test]
fn rotation_by_renaming_and_compressing_loses_and_doubles_nothing() {
    for is_restarted in [false, true] {
        let mut world = World::new();
        for round in 0..4 {
            world.write("a.log", 100);
            world.pass(4);
            world.write("a.log", 50);
            if is_restarted {
                world.restart();
            }
            // Renamed with lines that were not read, and written to after it.
            std::fs::rename(world.path("a.log"), world.path("a.log.1")).unwrap();
            world.write("a.log.1", 10);
            world.write("a.log", 30);
            world.pass(4);
            world.write("a.log.1", 5);
            world.pass(4);
            world.gzip("a.log.1", &format!("a.log.{}.gz", round + 2));
            if is_restarted {
                world.restart();
            }
            world.pass(200);
            world.pass(4);
        }
        world.assert_all_once();
    }
}

#[test]
fn a_copy_and_a_cut_lose_and_double_nothing_while_the_copy_is_seen() {
    for is_restarted in [false, true] {
        let mut world = World::new();
        for round in 0..4 {
            world.write("a.log", 100);
            world.pass(4);
            world.write("a.log", 50);
            let copy = world.path(&format!("a.log.{round}"));
            std::fs::copy(world.path("a.log"), &copy).unwrap();
            if round % 2 == 0 {
                world.pass(1);
            }
            std::fs::write(world.path("a.log"), b"").unwrap();
            if is_restarted {
                world.restart();
            }
            // At times more than there was before.
            world.write("a.log", 10 + 100 * round);
            world.pass(4);
            world.pass(4);
        }
        world.assert_all_once();
    }
}

#[test]
fn a_backup_beside_its_file_is_the_same_lines() {
    let mut world = World::new();
    world.write("a.log", 100);
    world.pass(4);
    std::fs::copy(world.path("a.log"), world.path("b.log")).unwrap();
    world.pass(4);
    world.write("a.log", 50);
    world.pass(4);
    std::fs::remove_file(world.path("a.log")).unwrap();
    world.pass(300);
    world.pass(4);
    world.assert_all_once();
    assert_eq!(world.watch.n_later(), 0);
}

#[test]
fn two_logs_that_begin_with_the_same_words_are_two() {
    let mut world = World::new();
    let banner = format!("line 0 {}\n", "#".repeat(400));
    world.append("a.log", &banner);
    world.pass(4);
    world.append("b.log", &banner);
    world.append("c.log", &format!("{banner}line 1 of c\n"));
    world.n = 2;
    world.pass(4);
    world.write("a.log", 10);
    world.write("b.log", 10);
    world.pass(4);
    world
        .lines
        .retain(|line| !line.contains('#') || line.starts_with("line 00"));
    world.lines.push("line 0".to_owned());
    world.assert_all_once();
}

#[test]
fn a_number_that_another_file_has_now_is_no_reason_to_skip_its_lines() {
    let mut world = World::new();
    world.write("a.log", 100);
    world.pass(4);
    // Written anew in place, longer than before, while nobody looked: as a file that got the inode of a deleted one.
    std::fs::write(world.path("a.log"), b"").unwrap();
    world.write("a.log", 300);
    world.restart();
    world.pass(4);
    world.assert_all_once();
}

#[test]
fn the_last_line_of_a_file_that_is_left_is_taken_without_an_end() {
    let mut world = World::new();
    world.write("a.log", 10);
    world.append("a.log", "line 10 has no end");
    world.n += 1;
    world.pass(300);
    assert_eq!(world.lines.len(), 10, "somebody may still write it");
    std::fs::rename(world.path("a.log"), world.path("a.log.1")).unwrap();
    world.pass(4);
    world.assert_all_once();
    world.write("b.log", 10);
    world.append("b.log", "line 21 has no end");
    world.n += 1;
    world.pass(4);
    std::fs::remove_file(world.path("b.log")).unwrap();
    world.pass(300);
    world.assert_all_once();
}

#[test]
fn more_files_than_may_be_open_are_read_and_followed() {
    let mut world = World::new();
    for i in 0..OPEN_MAX + 100 {
        world.write(&format!("{i}.log"), 1);
    }
    (0..4).for_each(|_| world.pass(4));
    assert!(world.watch.n_open() <= OPEN_MAX);
    for i in 0..OPEN_MAX + 100 {
        world.write(&format!("{i}.log"), 1);
    }
    (0..4).for_each(|_| world.pass(4));
    world.assert_all_once();
}

#[test]
fn what_is_gone_is_forgotten_after_a_day() {
    let mut world = World::new();
    world.write("a.log", 100);
    world.pass(4);
    std::fs::remove_file(world.path("a.log")).unwrap();
    world.pass(4);
    world.pass(3600);
    assert!(world.watch.forgotten().is_empty());
    world.ahead_ms += 25 * 3600 * 1000;
    world.pass(4);
    assert_eq!(world.watch.forgotten().len(), 1);
    assert!(world.watch.known.is_empty());
}

#[test]
fn a_pattern_that_is_none_is_refused_and_hidden_files_are_passed_over() {
    assert!(Watch::new("test", &["a**b/[".to_owned()], &[], BTreeMap::new()).is_err());
    let mut world = World::new();
    world.write(".hidden.log", 3);
    std::fs::create_dir(world.path("below")).unwrap();
    world.n = 0;
    world.write("below/a.log", 2);
    let folder = world.folder.path().to_owned();
    world.watch = Watch::new("test", &[], &[folder], BTreeMap::new()).unwrap();
    world.pass(4);
    world.assert_all_once();
}
