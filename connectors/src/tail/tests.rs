use std::fs::OpenOptions;
use std::io::Write;

use super::*;

/// A file in a folder of its own.
struct Log {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl Log {
    fn new(bytes: &[u8]) -> Log {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        std::fs::write(&path, bytes).unwrap();
        Log {
            _folder: folder,
            path,
        }
    }

    fn append(&self, bytes: &[u8]) {
        let mut file = OpenOptions::new().append(true).open(&self.path).unwrap();
        file.write_all(bytes).unwrap();
    }
}

fn read(tail: &mut Tail) -> (Vec<String>, Found) {
    let mut lines = Vec::new();
    loop {
        let mut each = |line: &[u8]| lines.push(String::from_utf8_lossy(line).into_owned());
        match tail.read(64, &mut each).unwrap() {
            Found::More => (),
            found => return (lines, found),
        }
    }
}

fn open(log: &Log) -> Tail {
    Tail::open(&log.path, "test:access.log".to_owned()).unwrap()
}

#[test]
fn whole_lines_come_once_and_the_last_waits_for_its_end() {
    let log = Log::new(b"one\r\n\ntwo\nthr");
    let mut tail = open(&log);
    let lines = |texts: &[&str]| texts.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>();
    assert_eq!(read(&mut tail), (lines(&["one", "two"]), Found::End));
    assert_eq!(read(&mut tail), (lines(&[]), Found::End));
    assert_eq!(tail.n_waiting().unwrap(), 3);
    log.append(b"ee\nfour\n");
    assert_eq!(read(&mut tail), (lines(&["three", "four"]), Found::End));
    let place = tail.place().unwrap();
    assert_eq!((place.bytes, place.lines), (21, 5));
    log.append(b"end");
    let mut rest = Vec::new();
    assert!(
        tail.take_rest(&mut |line| rest.extend_from_slice(line))
            .unwrap()
    );
    assert_eq!(
        (rest.as_slice(), tail.n_waiting().unwrap()),
        (&b"end"[..], 0)
    );
}

#[test]
fn a_file_that_was_cut_is_noticed_however_long_it_is_by_now() {
    for again in [
        &b""[..],
        b"x\n",
        b"another\nlines\n",
        b"another text, longer than before\n",
    ] {
        let log = Log::new(b"some text\nof lines\n");
        let mut tail = open(&log);
        assert_eq!(read(&mut tail).0.len(), 2);
        std::fs::write(&log.path, again).unwrap();
        assert_eq!(read(&mut tail).1, Found::Cut, "{again:?}");
        tail.restart();
        assert_eq!(
            read(&mut tail).0.len(),
            again.iter().filter(|b| **b == b'\n').count()
        );
    }
}

#[test]
fn a_place_is_found_again_in_its_file_and_in_no_other() {
    let text: Vec<u8> = (0..500)
        .flat_map(|i| format!("line {i}\n").into_bytes())
        .collect();
    let log = Log::new(&text);
    let mut tail = open(&log);
    tail.read(1, &mut |_| ()).unwrap();
    log.append(b"more\n");
    let place = tail.place().unwrap();
    let resumed = |log: &Log| match Tail::resume(&log.path, &place).unwrap() {
        Resumed::Here(mut tail) => read(&mut tail).0.join(","),
        Resumed::Short => "short".to_owned(),
        Resumed::Other => "other".to_owned(),
    };
    assert_eq!(resumed(&log), "more");
    assert_eq!(resumed(&Log::new(&text[..2000])), "short");
    assert_eq!(resumed(&Log::new(b"another\n")), "other");
    // The same beginning, and another text before the place.
    let mut other = text.clone();
    *other.last_mut().unwrap() = b' ';
    assert_eq!(resumed(&Log::new(&other)), "other");
    // Compressed since, and by whatever.
    let whole = [text.as_slice(), b"more\nlast"].concat();
    let gzip = gzipped(&whole);
    assert_eq!(resumed(&Log::new(&gzip)), "more,last");
    let zst = zstd::encode_all(whole.as_slice(), 1).unwrap();
    assert_eq!(resumed(&Log::new(&zst)), "more,last");
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn a_compressed_file_is_read_once_it_is_whole() {
    let text: Vec<String> = (0..20_000).map(|i| format!("line {i}")).collect();
    let gzip = gzipped(text.join("\n").as_bytes());
    let log = Log::new(&gzip[..1]);
    let mut tail = open(&log);
    let mut found = Vec::new();
    for end in [1, 2, 100, gzip.len() / 2, gzip.len() - 1, gzip.len()] {
        std::fs::write(&log.path, &gzip[..end]).unwrap();
        let (lines, ended) = read(&mut tail);
        assert_eq!(ended, Found::End);
        found.extend(lines);
    }
    assert_eq!(found, text);
    assert_eq!(tail.place().unwrap().finished, Some(gzip.len() as u64));
    assert_eq!(read(&mut tail), (vec![], Found::End));
}

#[test]
fn a_damaged_file_is_told_once_and_read_again_when_it_changes() {
    let mut gzip = gzipped(&b"line\n".repeat(100_000));
    let middle = gzip.len() / 2;
    gzip[middle] ^= 0xff;
    let log = Log::new(&gzip);
    let mut tail = open(&log);
    let mut n_errors = 0;
    for _ in 0..1000 {
        n_errors += usize::from(tail.read(1 << 20, &mut |_| ()).is_err());
    }
    assert_eq!(n_errors, 1);
}

#[test]
fn a_line_that_is_too_long_becomes_one_record_that_decoders_reject() {
    let long = "x".repeat(3 * RECORD_BYTES_MAX);
    let fits = "y".repeat(RECORD_BYTES_MAX);
    let text = format!("a\n{long}\n{fits}\r\nb\n");
    for compress in [false, true] {
        let bytes = text.clone().into_bytes();
        let log = Log::new(&if compress { gzipped(&bytes) } else { bytes });
        let mut tail = open(&log);
        let mut lines: Vec<Vec<u8>> = Vec::new();
        // A place inside the long line is kept, too.
        loop {
            let found = tail.read(1, &mut |line| lines.push(line.to_vec())).unwrap();
            let place = tail.place().unwrap();
            if found == Found::End {
                break;
            }
            let Resumed::Here(again) = Tail::resume(&log.path, &place).unwrap() else {
                panic!("{place:?}");
            };
            tail = *again;
        }
        let lengths: Vec<usize> = lines.iter().map(Vec::len).collect();
        assert_eq!(lengths, [1, RECORD_BYTES_MAX + 1, RECORD_BYTES_MAX, 1]);
        assert!(lines[1].starts_with(b"xxxx") && lines[1].ends_with(b"  "));
    }
}
