//! What is saved of a lane: its layout, and what becomes of it when it is not what it should be.

use std::sync::Arc;

use bytes::Bytes;
use connectors::format::{Format, SourceRecord};
use engine::config::ModelConfig;
use engine::lane::{Lane, Outbox};
use engine::log::Log;
use engine::rule::RuleSet;
use engine::stage;
use engine::stage::decode::{Decode, DecodeConfig};
use engine::state::Loader;
use engine::state::part::{self, PartWriter};
use models::identity::Resolver;
use models::secret::HashKey;

fn lane(log: Log) -> Lane {
    let rules = Arc::new(RuleSet::shipped());
    let stage = stage::of(log, &ModelConfig::default(), &rules, 1).expect("sound rules");
    Lane::new(stage, log.name().into(), 0)
}

/// Names and bytes.
type Sections = Vec<(String, Vec<u8>)>;

/// Lanes over these calls, and their sections.
fn saved(calls: &[&str]) -> Vec<(Log, Sections)> {
    let config = DecodeConfig {
        format: Format::Combined,
        resolver: Arc::new(Resolver::new(HashKey::new([7; 32]), false)),
        partitions: 1,
    };
    let mut decode = Decode::new("access.log".into(), 0, config);
    let records: Vec<SourceRecord<'_>> = (0..)
        .zip(calls)
        .map(|(offset, call)| SourceRecord {
            payload: call.as_bytes(),
            offset,
            broker_time_ms: None,
        })
        .collect();
    let mut out = Outbox::default();
    decode.push(&records, 0, &mut out).expect("decodes");
    decode.flush(&mut out).expect("decodes");
    let mut records = out.records;
    let mut all = Vec::new();
    for log in Log::ALL {
        let (mut lane, mut out) = (lane(log), Outbox::default());
        for (offset, (_, record)) in (0..).zip(&records) {
            lane.feed(offset, record, &mut out)
                .expect("rows of the log");
        }
        lane.flush(&mut out);
        records = out.records;
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

const CALL: &str = r#"192.0.2.7 - alice [05/Jan/2026:10:00:00 +0000] "GET /orders/17 HTTP/1.1" 200 512 "-" "client/1.0""#;

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
    let sections = saved(&[CALL]);
    let mut text = String::new();
    for (log, sections) in &sections {
        for (name, bytes) in sections {
            text += &format!("{} {name} {bytes:?}\n", log.name());
        }
    }
    let layout = (part::VERSION, xxhash_rust::xxh3::xxh3_64(text.as_bytes()));
    assert_eq!(
        layout,
        (2, LAYOUT),
        "what is saved has another layout or meaning: raise engine::state::part::VERSION, so that old snapshots are not \
         taken for new ones, and then this\n{text}"
    );
}

/// Of the version above.
const LAYOUT: u64 = 2_357_286_779_275_543_055;

#[test]
fn sections_that_are_not_what_they_should_be_are_told_and_end_nothing() {
    let calls: Vec<String> = (0..300)
        .map(|i| CALL.replace("/17", &format!("/{i}")))
        .collect();
    let calls: Vec<&str> = calls.iter().map(String::as_str).collect();
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
