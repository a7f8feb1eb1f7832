//! How long it takes until an endpoint is known, when several lanes tell of it.

use models::inventory::{Call, Inventory, Summary};

/// What one answered call comes to.
fn call(at_ms: i64) -> Summary {
    let mut summary = Summary::default();
    let call = Call {
        at_ms,
        status: Some(200),
        template: "/a",
        path: "/a",
        ..Call::default()
    };
    summary.add(&call, std::iter::empty());
    summary
}

#[test]
fn a_lane_that_is_behind_found_it_earlier() {
    let (mut inventory, mut told) = (Inventory::new(100), Vec::new());
    inventory.absorb("GET h /a", &call(5_000), 5_000, &mut told);
    // Its own first call, told at once: that the other lane spoke before says nothing of how long it took.
    inventory.absorb("GET h /a", &call(1_000), 1_000, &mut told);
    inventory.close(&mut told);
    let last = told.last().expect("told").entry.clone();
    assert_eq!((last.first_seen_ms, last.time_to_discovery_ms), (1_000, 0));
}
