//! How fast callers are, and from how many networks a credential comes: what no call says by itself.
//!
//! Comes in: each call of an identity, in the lane's order. Goes out: the calls of this minute, the networks of this day, by event
//! time. What is late counts as of the latest minute and day seen, so the figures never fall within one. 40 bytes a caller and
//! endpoint, 104 a credential; the least recently used are forgotten and begin anew.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::text::address;
use crate::generations::Generations;
use crate::walk::Walk;

/// Networks of one credential that are told apart in a day: as many as make it shared.
pub(super) const NETWORKS_MAX: usize = 20;
const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 86_400_000;

/// Networks of one day.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Networks {
    day: i64,
    /// Hashes, cut to 32 bits: of twenty networks two are taken for one once in twenty million.
    of: [u32; NETWORKS_MAX],
    n: u8,
    /// Was ever used from so many: its calls are told from then on, or nothing could resolve it.
    is_told: bool,
}

/// What credentials came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spread {
    /// Networks today, this one included; 20 for more.
    pub networks: u32,
    /// Whether the credential was ever shared.
    pub was_shared: bool,
}

/// The paces of one lane.
#[derive(Debug)]
pub struct Pace {
    minutes: Generations<u64, (i64, u32)>,
    networks: Generations<u64, Networks>,
}

impl Pace {
    /// Bytes of a caller on an endpoint.
    pub const MINUTE_BYTES: usize = Generations::<u64, (i64, u32)>::ENTRY_BYTES;
    /// Bytes of a credential.
    pub const CREDENTIAL_BYTES: usize = Generations::<u64, Networks>::ENTRY_BYTES;

    /// Knows so many callers on endpoints, and so many credentials.
    pub fn new(minutes_max: usize, credentials_max: usize) -> Pace {
        Pace {
            minutes: Generations::new(minutes_max),
            networks: Generations::new(credentials_max),
        }
    }

    /// Notes a call; the calls of this caller on this endpoint in this minute come back, this one included.
    pub fn call(&mut self, identity: u64, endpoint: u64, at_ms: i64) -> u32 {
        let (minute, n) = self.minutes.entry(identity ^ endpoint.rotate_left(31));
        let now = at_ms.div_euclid(MINUTE_MS);
        if *minute < now {
            (*minute, *n) = (now, 0);
        }
        *n = n.saturating_add(1);
        *n
    }

    /// Notes where a credential is used from; `None` for what is no address.
    pub fn place(&mut self, identity: u64, ip: &str, at_ms: i64) -> Option<Spread> {
        let network = network(address(ip)?);
        let networks = self.networks.entry(identity);
        let day = at_ms.div_euclid(DAY_MS);
        if networks.day < day {
            (networks.day, networks.n) = (day, 0);
        }
        let n = usize::from(networks.n);
        if n < NETWORKS_MAX && !networks.of[..n].contains(&network) {
            networks.of[n] = network;
            networks.n += 1;
        }
        networks.is_told |= usize::from(networks.n) == NETWORKS_MAX;
        Some(Spread {
            networks: u32::from(networks.n),
            was_shared: networks.is_told,
        })
    }

    /// Callers on endpoints and credentials held.
    pub fn n_entries(&self) -> usize {
        self.minutes.len() + self.networks.len()
    }

    /// Bytes held.
    pub fn state_bytes(&self) -> usize {
        self.minutes.table_bytes() + self.networks.table_bytes()
    }

    /// Goes over the state.
    pub fn walk(&mut self, walk: &mut impl Walk) {
        walk.table("posture.minutes", &mut self.minutes);
        walk.table("posture.networks", &mut self.networks);
    }
}

/// Hash of the network an address is in: IPv4 /24, IPv6 /48.
fn network(address: IpAddr) -> u32 {
    let hash = match address {
        IpAddr::V4(v4) => xxh3_64(&v4.octets()[..3]),
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => xxh3_64(&v4.octets()[..3]),
            None => xxh3_64(&v6.octets()[..6]),
        },
    };
    hash as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_of_a_minute_are_counted_and_a_late_one_does_not_begin_it_anew() {
        let mut pace = Pace::new(100, 100);
        assert_eq!(
            [0, 1, 59_999].map(|at_ms| pace.call(1, 2, at_ms)),
            [1, 2, 3]
        );
        assert_eq!(pace.call(1, 3, 59_999), 1, "another endpoint");
        assert_eq!(pace.call(2, 2, 59_999), 1, "another caller");
        assert_eq!(
            [60_000, 59_999, 60_001].map(|at_ms| pace.call(1, 2, at_ms)),
            [1, 2, 3]
        );
        assert_eq!(pace.call(1, 2, -1), 4);
    }

    #[test]
    fn networks_of_a_day_are_told_apart_and_once_shared_is_remembered() {
        let mut pace = Pace::new(100, 100);
        let mut of = |ip: &str, at_ms| {
            let spread = pace.place(1, ip, at_ms);
            spread.map(|spread| (spread.networks, spread.was_shared))
        };
        assert_eq!(of("198.51.100.7", 0), Some((1, false)));
        assert_eq!(of("198.51.100.200:4711", 0), Some((1, false)));
        assert_eq!(of("::ffff:198.51.100.1", 0), Some((1, false)));
        assert_eq!(of("2001:db8:1::1", 0), Some((2, false)));
        assert_eq!(of("2001:db8:1:ffff::2", 0), Some((2, false)));
        assert_eq!(of("unknown", 0), None);
        for n in 0..17 {
            assert_eq!(of(&format!("203.0.{n}.1"), 0), Some((3 + n, false)));
        }
        assert_eq!(of("192.0.2.1", DAY_MS - 1), Some((20, true)));
        assert_eq!(
            of("192.0.3.1", DAY_MS - 1),
            Some((20, true)),
            "no more are kept"
        );
        assert_eq!(of("192.0.2.1", DAY_MS), Some((1, true)));
    }

    #[test]
    fn a_million_callers_stay_within_the_bounds() {
        let mut pace = Pace::new(1000, 100);
        for n in 0..1_000_000_u64 {
            pace.call(n, n, n as i64);
            if n % 10 == 0 {
                pace.place(n, "192.0.2.1", n as i64);
            }
        }
        assert!(pace.minutes.len() <= 1000 && pace.networks.len() <= 100);
    }
}
