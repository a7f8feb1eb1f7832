//! Copies of snapshots beside a process: a lane is put back from them when the store's files are away, and from no copy that
//! is not what the manifest means.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use engine::state::keeper::{Restored, write};
use engine::state::standby::Followed;
use engine::state::{Place, Standby, StateError, Store};
use object_store::path::Path as Key;

use crate::snapshots::{events, feed, frozen, goes_on_as_if_it_had_read_all, restored, some_calls};
use crate::support::files_below;
use crate::support::flaky::Flaky;

const ROOM: u64 = 1 << 30;

fn flaky() -> Arc<Flaky> {
    let flaky = Arc::new(Flaky::new(1));
    flaky.rest();
    flaky
}

/// The store as two see it: its owner, and another process with copies in a folder.
fn stores(flaky: &Arc<Flaky>, folder: &Path, bytes_max: u64) -> (Store, Store) {
    let store = || Store::over(flaky.clone(), Key::default()).expect("threads");
    let standby = Standby::open(folder, bytes_max).expect("a folder");
    (store(), store().with_standby(standby))
}

fn follow(store: &Store) -> Followed {
    let standby = store.standby().expect("a standby");
    standby
        .follow(store, &["g.profile".to_owned()])
        .expect("it answers")
}

/// The copies.
fn copies(folder: &Path) -> BTreeSet<PathBuf> {
    files_below(folder).into_iter().collect()
}

fn n_bytes(folder: &Path) -> u64 {
    let copies = copies(folder);
    copies
        .iter()
        .map(|path| path.metadata().expect("there").len())
        .sum()
}

/// Saves a lane of `place` after each of these offsets.
fn save(store: &Store, place: &Place, offsets: &[usize]) {
    let records = events(&some_calls(), 100);
    let Restored {
        mut lane,
        mut chain,
        ..
    } = restored(store, place, 0).expect("it answers");
    let mut from = 0;
    for offset in offsets {
        feed(&mut lane, from, &records[from..*offset]);
        from = *offset;
        let saved = write(store, frozen(&mut lane, chain, from), 3);
        assert!(saved.done.is_ok(), "{:?}", saved.done);
        chain = saved.chain;
    }
}

#[test]
fn a_lane_is_put_back_from_copies_when_the_stores_files_are_away() {
    let (flaky, dir) = (flaky(), tempfile::tempdir().expect("a folder"));
    let (owner, other) = stores(&flaky, dir.path(), ROOM);
    let place = Place::new("g.profile", "events", 0);
    save(&owner, &place, &[10, 14, 18]);
    let followed = follow(&other);
    assert_eq!((followed.n_lanes, followed.n_behind), (1, 0));
    assert_eq!(followed.n_bytes, n_bytes(dir.path()));
    flaky.lose_parts(true);
    let without = restored(&owner, &place, 18);
    assert!(
        matches!(without, Err(StateError::Store { .. })),
        "it needs the files"
    );
    let back = restored(&other, &place, 18).expect("it has copies");
    assert_eq!(back.chain.offset(), Some(18));
    let standby = other.standby().expect("a standby");
    assert_eq!(standby.n_read(), (3, 0));
    goes_on_as_if_it_had_read_all(back.lane, &events(&some_calls(), 100), 18);
}

#[test]
fn of_a_lane_that_moves_only_what_is_not_copied_yet_is_read_from_the_store() {
    let (flaky, dir) = (flaky(), tempfile::tempdir().expect("a folder"));
    let (owner, other) = stores(&flaky, dir.path(), ROOM);
    let place = Place::new("g.profile", "events", 0);
    let records = events(&some_calls(), 100);
    let first = restored(&owner, &place, 0).expect("it answers");
    let (mut lane, mut chain) = (first.lane, first.chain);
    for (from, end) in [(0, 10), (10, 14), (14, 18)] {
        feed(&mut lane, from, &records[from..end]);
        chain = write(&owner, frozen(&mut lane, chain, end), 3).chain;
        if end == 14 {
            follow(&other);
        }
    }
    let back = restored(&other, &place, 18).expect("it answers");
    assert_eq!(back.chain.offset(), Some(18));
    let standby = other.standby().expect("a standby");
    assert_eq!(standby.n_read(), (2, 0), "the third is in the store alone");
    goes_on_as_if_it_had_read_all(back.lane, &records, 18);
}

#[test]
fn a_copy_that_is_not_what_the_manifest_means_is_not_used() {
    let (flaky, dir) = (flaky(), tempfile::tempdir().expect("a folder"));
    let (owner, other) = stores(&flaky, dir.path(), ROOM);
    let place = Place::new("g.profile", "events", 0);
    save(&owner, &place, &[10, 14]);
    let standby = other.standby().expect("a standby");
    follow(&other);
    let copies: Vec<PathBuf> = copies(dir.path()).into_iter().collect();
    assert_eq!(copies.len(), 2);
    let (whole, sound) = (
        std::fs::read(&copies[0]).expect("there"),
        std::fs::read(&copies[1]).expect("there"),
    );
    let newest = other.sequences(&place).expect("it answers")[0];
    let manifest = other.manifest(&place, newest).expect("sound");
    let mut n_refused = 0;
    let mut refuse = |copy: &[u8], what: &str| {
        std::fs::write(&copies[0], copy).expect("writes");
        // The store has the file, so nothing is lost but time.
        other.load(&place, &manifest).expect("it answers");
        n_refused += 1;
        assert_eq!(standby.n_read().1, n_refused, "{what} was used");
        assert!(!copies[0].exists(), "{what} is still there");
    };
    for at in (0..whole.len()).step_by(whole.len() / 64) {
        let mut changed = whole.clone();
        changed[at] ^= 0x10;
        refuse(&changed, &format!("a copy with another byte {at}"));
        refuse(&whole[..at], &format!("a copy cut at {at}"));
    }
    // One of another store, it may be: sound, and named as ours.
    refuse(&sound, "another sound file");
    follow(&other);
    assert_eq!(std::fs::read(&copies[0]).expect("copied again"), whole);
    let back = restored(&other, &place, 14).expect("it answers");
    goes_on_as_if_it_had_read_all(back.lane, &events(&some_calls(), 100), 14);
}

#[test]
fn copies_keep_to_their_bytes_and_go_with_their_snapshots() {
    let (flaky, dir) = (flaky(), tempfile::tempdir().expect("a folder"));
    let (owner, other) = stores(&flaky, dir.path(), ROOM);
    let places: Vec<Place> = (0..3)
        .map(|at| Place::new("g.profile", "events", at))
        .collect();
    for place in &places {
        save(&owner, place, &[10, 14]);
    }
    assert_eq!(follow(&other).n_behind, 0);
    let all = n_bytes(dir.path());
    let before = copies(dir.path());
    assert_eq!(before.len(), 6);

    // Room for two of the three, and a file that is not ours.
    let foreign = dir.path().join("g.profile/events-0/notes.txt");
    std::fs::write(&foreign, "mine").expect("writes");
    let (_, small) = stores(&flaky, dir.path(), all * 3 / 4);
    let followed = follow(&small);
    assert_eq!((followed.n_lanes, followed.n_behind), (3, 1));
    assert!(followed.n_bytes <= all * 3 / 4, "{followed:?} of {all}");
    assert!(foreign.exists());
    std::fs::remove_file(&foreign).expect("there");
    assert_eq!(n_bytes(dir.path()), followed.n_bytes);

    // A lane that begins anew and is saved twice: its old files are deleted, and so are their copies.
    assert_eq!(follow(&other).n_behind, 0);
    let Restored {
        mut lane, chain, ..
    } = restored(&owner, &places[0], 0).expect("it answers");
    let records = events(&some_calls(), 100);
    feed(&mut lane, 0, &records[..20]);
    let chain = write(&owner, frozen(&mut lane, chain, 20), 2).chain;
    feed(&mut lane, 20, &records[20..22]);
    let saved = write(&owner, frozen(&mut lane, chain, 22), 2);
    assert!(saved.done.is_ok(), "{:?}", saved.done);
    let followed = follow(&other);
    assert_eq!((followed.n_lanes, followed.n_behind), (3, 0));
    let after = copies(dir.path());
    assert_eq!(after.len(), 6);
    assert_eq!(
        before.intersection(&after).count(),
        4,
        "the first lane's are others"
    );
}

#[test]
fn a_folder_that_takes_nothing_costs_the_copies_alone() {
    let (flaky, dir) = (flaky(), tempfile::tempdir().expect("a folder"));
    let (owner, other) = stores(&flaky, dir.path(), ROOM);
    let place = Place::new("g.profile", "events", 0);
    save(&owner, &place, &[10, 14]);
    std::fs::write(dir.path().join("g.profile"), "no folder").expect("writes");
    let followed = follow(&other);
    assert_eq!((followed.n_bytes, followed.n_behind), (0, 1));
    let back = restored(&other, &place, 14).expect("the store has it");
    assert_eq!(back.chain.offset(), Some(14));
    assert_eq!(other.standby().expect("a standby").n_read(), (0, 0));
}
