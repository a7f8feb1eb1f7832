//! What is saved of a lane: its layout, and what becomes of it when it is not what it should be.

use std::sync::Arc;
use std::sync::mpsc::TryRecvError;

use arrow::array::RecordBatch;
use bytes::Bytes;
use connectors::format::{Format, SourceRecord};
use engine::config::ModelConfig;
use engine::lane::{Lane, Outbox};
use engine::log::{Log, LogRecord};
use engine::rule::RuleSet;
use engine::stage;
use engine::stage::decode::{Decode, DecodeConfig};
use engine::state::keeper::{Chain, Restored, Save, restore};
use engine::state::part::{self, PartWriter};
use engine::state::{Keeper, Loader, Place, StateError, Store};
use models::identity::Resolver;
use models::secret::HashKey;
use object_store::path::Path as Key;

use crate::support::flaky::Flaky;

pub(crate) fn lane(log: Log) -> Lane {
    let rules = Arc::new(RuleSet::shipped());
    let stage = stage::of(log, &ModelConfig::default(), &rules, 1).expect("sound rules");
    Lane::new(stage, log.name().into(), 0)
}

/// Names and bytes.
type Sections = Vec<(String, Vec<u8>)>;

/// These calls as records of the events log, as many calls in each.
pub(crate) fn events(calls: &[String], n_each: usize) -> Vec<LogRecord> {
    let config = DecodeConfig {
        format: Format::Combined.into(),
        resolver: Arc::new(Resolver::new(HashKey::new([7; 32]), false)),
        templates: Arc::default(),
        enrichment: Arc::default(),
        privacy: Arc::default(),
        partitions: 1,
    };
    let mut decode = Decode::new("access.log".into(), 0, config);
    let mut out = Outbox::default();
    let mut offset = 0;
    for calls in calls.chunks(n_each) {
        let record = |(offset, call)| SourceRecord {
            payload: String::as_bytes(call),
            offset,
            broker_time_ms: None,
        };
        let records: Vec<SourceRecord<'_>> = (offset..).zip(calls).map(record).collect();
        offset += calls.len() as i64;
        decode.push(&records, 0, &mut out).expect("decodes");
        decode.flush(&mut out).expect("decodes");
    }
    out.records.into_iter().map(|(_, record)| record).collect()
}

/// Lanes over these calls, and their sections.
fn saved(calls: &[String]) -> Vec<(Log, Sections)> {
    let mut records = events(calls, calls.len());
    let (mut all, mut summaries, mut raised) = (Vec::new(), Vec::new(), Vec::new());
    for log in Log::ALL {
        if log == Log::Endpoints {
            records = std::mem::take(&mut summaries);
        }
        if log == Log::Judgements {
            records.append(&mut raised);
        }
        let (mut lane, mut out) = (lane(log), Outbox::default());
        for (offset, record) in (0..).zip(&records) {
            lane.feed(offset, record, &mut out)
                .expect("rows of the log");
        }
        lane.flush(&mut out);
        records = out.records.into_iter().map(|(_, record)| record).collect();
        summaries.extend(out.summaries.into_iter().map(|(_, record)| record));
        raised.extend(out.raised.into_iter().map(|(_, record)| record));
        let (image, _) = lane.save(None).expect("encodes");
        let mut files = Vec::new();
        let mut take = |file| {
            files.push(Bytes::from(file));
            Ok(())
        };
        image
            .write(PartWriter::new(&mut take))
            .expect("memory takes it");
        let blocks = files
            .iter()
            .flat_map(|file| part::read(file).expect("sound"));
        let section = |block: part::Block| (block.name.clone(), block.bytes().expect("sound"));
        all.push((log, blocks.map(section).collect()));
    }
    all
}

pub(crate) const CALL: &str = r#"192.0.2.7 - alice [05/Jan/2026:10:00:00 +0000] "GET /orders/17 HTTP/1.1" 200 512 "-" "client/1.0""#;

/// Puts sections into a fresh lane; whether it took them.
fn put_back(log: Log, sections: &[(String, Vec<u8>)]) -> bool {
    let mut files = Vec::new();
    let mut take = |file| {
        files.push(Bytes::from(file));
        Ok(())
    };
    let mut writer = PartWriter::new(&mut take);
    for (name, bytes) in sections {
        writer.begin(name).expect("memory takes it");
        writer.push_encoded(bytes).expect("memory takes it");
    }
    writer.finish().expect("memory takes it");
    let mut loader = Loader::default();
    loader.add(
        files
            .iter()
            .flat_map(|file| part::read(file).expect("sound")),
    );
    lane(log).load(&mut loader);
    loader.finish().is_ok()
}

#[test]
fn the_layout_of_a_snapshot_has_the_version_it_says() {
    // One call, so that no table has an order: the bytes are those of one entry each.
    let sections = saved(&[CALL.to_owned()]);
    let mut text = String::new();
    for (log, sections) in &sections {
        for (name, bytes) in sections {
            // What a rule counts names its sections too, and is no layout.
            let name = match name.split_once('@') {
                Some((rule, section)) => format!("{rule} {}", section.split_once('/').unwrap().1),
                None => name.clone(),
            };
            text += &format!("{} {name} {bytes:?}\n", log.name());
        }
    }
    let layout = (part::VERSION, xxhash_rust::xxh3::xxh3_64(text.as_bytes()));
    assert_eq!(
        layout,
        (9, LAYOUT),
        "what is saved has another layout or meaning: raise engine::state::part::VERSION, so that old snapshots are not \
         taken for new ones, and then this\n{text}"
    );
}

/// Of the version above.
const LAYOUT: u64 = 13_118_561_564_814_244_613;

#[test]
fn sections_that_are_not_what_they_should_be_are_told_and_end_nothing() {
    let calls: Vec<String> = (0..300)
        .map(|i| CALL.replace("/17", &format!("/{i}")))
        .collect();
    let mut dice = 0x9e37_79b9_7f4a_7c15_u64;
    let mut roll = |below: usize| {
        dice ^= dice >> 12;
        dice ^= dice << 25;
        dice ^= dice >> 27;
        (dice.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % below.max(1)
    };
    let (mut n_taken, mut n_told) = (0, 0);
    for (log, sections) in saved(&calls) {
        assert!(put_back(log, &sections));
        for missing in 0..sections.len() {
            let mut fewer = sections.clone();
            fewer.remove(missing);
            assert!(!put_back(log, &fewer), "{} is missed", sections[missing].0);
        }
        for _ in 0..150 {
            let mut changed = sections.clone();
            let at = roll(changed.len());
            let bytes = &mut changed[at].1;
            match roll(4) {
                0 => bytes.truncate(roll(bytes.len())),
                1 => bytes.extend((0..roll(20)).map(|i| i as u8)),
                _ => {
                    for _ in 0..=roll(4) {
                        let at = roll(bytes.len());
                        bytes[at] = [0, 1, 0x7f, 0x80, 0xff, roll(256) as u8][roll(6)];
                    }
                }
            }
            match put_back(log, &changed) {
                // Another number is a number too: the file's checksum is what tells it.
                true => n_taken += 1,
                false => n_told += 1,
            }
        }
    }
    assert!(
        n_told > 50 && n_taken > 10,
        "{n_told} told, {n_taken} taken"
    );
}

/// Calls of one user on some objects again and again, and at last on as many others.
pub(crate) fn some_calls() -> Vec<String> {
    let object = |i: usize| match i {
        0..3000 => i % 700,
        _ => i % 1400,
    };
    (0..4000)
        .map(|i| CALL.replace("/17", &format!("/{}", object(i))))
        .collect()
}

/// Feeds a lane the records from an offset on, and writes what it gathered.
pub(crate) fn feed(lane: &mut Lane, from: usize, records: &[LogRecord]) -> Vec<RecordBatch> {
    let mut out = Outbox::default();
    for (offset, record) in (from as i64..).zip(records) {
        lane.feed(offset, record, &mut out)
            .expect("rows of the log");
    }
    lane.flush(&mut out);
    let records = out.records.into_iter();
    records.map(|(_, record)| record.batch).collect()
}

/// What a lane is to be saved as, after the record before `offset`.
pub(crate) fn frozen(lane: &mut Lane, chain: Chain, offset: usize) -> Save {
    let since = chain.since();
    let (image, epoch) = lane.save(since).expect("encodes");
    Save {
        chain,
        image,
        is_full: since.is_none(),
        epoch,
        offset: offset as i64,
        committed: 0,
        now_ms: offset as i64,
    }
}

/// Puts a lane back from a store, as one that has committed all before `committed`.
pub(crate) fn restored(
    store: &Store,
    place: &Place,
    committed: usize,
) -> Result<Restored<Lane>, StateError> {
    let fresh = || Ok(lane(Log::Events));
    let committed = Some(committed as i64);
    restore(store, place, "f", committed, 0, fresh, Lane::load)
}

/// A lane that was put back writes what one writes that has read everything, and that depends on what was before.
pub(crate) fn goes_on_as_if_it_had_read_all(mut lane: Lane, records: &[LogRecord], from: usize) {
    let mut fresh = self::lane(Log::Events);
    feed(&mut fresh, 0, &records[..from]);
    let expected = feed(&mut fresh, from, &records[from..]);
    assert_eq!(feed(&mut lane, from, &records[from..]), expected);
    let mut forgetful = self::lane(Log::Events);
    assert_ne!(feed(&mut forgetful, from, &records[from..]), expected);
}

#[test]
fn a_store_that_does_not_answer_holds_up_no_lane() {
    let records = events(&some_calls(), 100);
    let flaky = Arc::new(Flaky::new(1));
    flaky.rest();
    let store = Store::over(flaky.clone(), Key::default()).expect("threads");
    let keeper = Keeper::start(Arc::new(store), 3).expect("a thread");
    let place = Place::new("g.profile", "events", 0);
    let Restored {
        lane: mut owned,
        chain,
        ..
    } = restored(&keeper.store, &place, 0).expect("it answers");
    feed(&mut owned, 0, &records[..10]);
    flaky.hold(true);
    let saving = keeper.save(frozen(&mut owned, chain, 10)).expect("room");
    // The lane goes on while nobody takes what it was.
    feed(&mut owned, 10, &records[10..20]);
    assert!(matches!(saving.try_recv(), Err(TryRecvError::Empty)));
    flaky.hold(false);
    let saved = saving.recv().expect("the keeper lives");
    assert!(saved.done.is_ok(), "{:?}", saved.done);
    // The next one holds what changed meanwhile.
    assert!(saved.chain.since().is_some());
    let next = frozen(&mut owned, saved.chain, 20);
    let saved = keeper.save(next).expect("room").recv();
    let saved = saved.expect("the keeper lives");
    assert!(saved.done.is_ok(), "{:?}", saved.done);
    for end in [10, 20] {
        let restored = restored(&keeper.store, &place, end).expect("it answers");
        assert_eq!(restored.chain.offset(), Some(end as i64));
        goes_on_as_if_it_had_read_all(restored.lane, &records, end);
    }
}
