//! Which identity a device had before: tokens are renewed, devices stay.
//!
//! A log that has nothing but a token's hash makes a new identity of every renewal. The same address and user agent
//! that had *one* identity until now, and has another, is the same caller under a new name: who is told of it can
//! go on with what was usual. A device is shared, and says nothing any more, once an identity speaks again after
//! another has taken its place: an office behind one address, a fleet of one agent.
//!
//! What is kept is by device and collection, with the longest sitting of the device's identities there.
//! 80 bytes each; beyond `devices_max` the least recently seen are forgotten.

use serde::{Deserialize, Serialize};

use crate::generations::Generations;
use crate::judge::SITTING_GAP_MS;
use crate::walk::Walk;

/// Event time after which a device has no identity before, in milliseconds.
const FORGET_MS: i64 = 48 * 3_600_000;
/// Earlier identities remembered, to see one come back.
const EARLIER_MAX: usize = 3;

/// The identity a device had before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Before {
    /// Its hash.
    pub identity: u64,
    /// Objects of its longest sitting, or of one before it; 0 where that may still go on.
    pub longest: u32,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Device {
    identity: u64,
    earlier: [u64; EARLIER_MAX],
    shared: bool,
    longest: u32,
    seen_ms: i64,
}

/// The devices of one lane.
#[derive(Debug)]
pub struct Devices {
    devices: Generations<u64, Device>,
}

impl Devices {
    /// Bytes a device takes at most.
    pub const DEVICE_BYTES: usize = Generations::<u64, Device>::ENTRY_BYTES;

    /// A table of at most `devices_max` devices.
    pub fn new(devices_max: usize) -> Self {
        Self {
            devices: Generations::new(devices_max),
        }
    }

    /// Notes that `identity`, whose longest sitting had so many objects, was seen; its predecessor comes back, once.
    ///
    /// * `device`: hash of address, user agent and collection.
    pub fn sight(
        &mut self,
        device: u64,
        identity: u64,
        longest: u32,
        at_ms: i64,
    ) -> Option<Before> {
        let device = self.devices.entry(device);
        if device.identity == 0 || FORGET_MS < at_ms - device.seen_ms {
            *device = Device {
                identity,
                ..Device::default()
            };
        }
        // A sitting that goes on under a new name is one: what it has come to excuses nothing.
        let ended = SITTING_GAP_MS < at_ms - device.seen_ms;
        let before = (device.identity != identity).then_some(Before {
            identity: device.identity,
            longest: if ended { device.longest } else { 0 },
        });
        device.seen_ms = device.seen_ms.max(at_ms);
        if before.is_some() {
            device.shared |= device.earlier.contains(&identity);
            device.earlier.rotate_right(1);
            device.earlier[0] = device.identity;
            device.identity = identity;
        }
        device.longest = device.longest.max(longest);
        before.filter(|_| !device.shared)
    }

    /// Goes over the state.
    pub fn walk(&mut self, walk: &mut impl Walk) {
        walk.table("device.devices", &mut self.devices);
    }

    /// Devices held.
    pub fn len(&self) -> usize {
        self.devices.len()
    }

    /// True when nothing was seen.
    pub fn is_empty(&self) -> bool {
        self.devices.is_empty()
    }

    /// Bytes held.
    pub fn state_bytes(&self) -> usize {
        self.devices.table_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: i64 = 3_600_000;

    #[test]
    fn a_renewed_token_is_told_of_the_one_before_and_of_their_longest_sitting() {
        let mut devices = Devices::new(100);
        assert_eq!(devices.sight(1, 10, 5, 0), None);
        assert_eq!(devices.sight(1, 10, 4000, HOUR_MS), None);
        let before = |identity| {
            Some(Before {
                identity,
                longest: 4000,
            })
        };
        assert_eq!(devices.sight(1, 11, 1, 24 * HOUR_MS), before(10));
        assert_eq!(devices.sight(1, 11, 2, 25 * HOUR_MS), None, "told once");
        assert_eq!(devices.sight(1, 12, 1, 48 * HOUR_MS), before(11));
        assert_eq!(
            devices.sight(2, 13, 1, 48 * HOUR_MS),
            None,
            "another device"
        );
        assert_eq!(
            devices.sight(1, 14, 1, 97 * HOUR_MS),
            None,
            "forgotten after two days"
        );
    }

    #[test]
    fn a_device_of_several_callers_links_nobody() {
        let mut devices = Devices::new(100);
        devices.sight(1, 10, 5, 0);
        assert!(devices.sight(1, 11, 5, 1).is_some(), "nothing tells yet");
        assert_eq!(devices.sight(1, 10, 5, 2), None, "it speaks again");
        assert_eq!(devices.sight(1, 12, 5, 3), None, "shared from now on");
    }
}
