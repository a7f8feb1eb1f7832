//! Addresses and networks, IPv4 and IPv6; an IPv4 address mapped into IPv6 (`::ffff:10.0.0.1`) is the IPv4 address.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Constants, Each, Function, integer_of, text_of};

pub(super) const IP_IN: Function = Function {
    name: "ip_in",
    form: "ip_in(ip, 'network' [, 'network' …])",
    gives: "bool",
    about: "True when the address is in one of the networks, written `10.0.0.0/8`, `2001:db8::/32` or as one address. NULL for what is no address.",
    example: "ip_in('10.1.2.3', '192.168.0.0/16', '10.0.0.0/8')",
    answer: "true",
    constants: Constants::Texts,
    prepare: |constants| {
        let networks = constants.iter().map(|text| Network::parse(text_of(text)));
        let networks = networks.collect::<Result<Vec<_>, _>>()?;
        Ok(Each::Flag(Box::new(move |text| {
            let ip = address(text)?;
            Some(networks.iter().any(|network| network.contains(ip)))
        })))
    },
};

pub(super) const IS_PRIVATE: Function = Function {
    name: "is_private",
    form: "is_private(ip)",
    gives: "bool",
    about: "True for an address that is not routed in public: RFC 1918, loopback, link-local, carriers' `100.64.0.0/10`, IPv6 `fc00::/7` and the unspecified address. NULL for what is no address.",
    example: "is_private('192.168.7.1')",
    answer: "true",
    constants: Constants::None,
    prepare: |_| Ok(Each::Flag(Box::new(|text| address(text).map(is_private)))),
};

pub(super) const IP_PREFIX: Function = Function {
    name: "ip_prefix",
    form: "ip_prefix(ip, bits)",
    gives: "text",
    about: "The network of so many leading bits the address is in; an IPv4 address has 32 at most. NULL for what is no address.",
    example: "ip_prefix('203.0.113.77', 24)",
    answer: "203.0.113.0/24",
    constants: Constants::Integer,
    prepare: |constants| {
        let bits = integer_of(constants);
        let Some(bits) = u8::try_from(bits).ok().filter(|bits| *bits <= 128) else {
            return Err(format!("{bits} is no number of bits from 0 to 128"));
        };
        Ok(Each::Text(Box::new(move |text, out| {
            let Some(ip) = address(text) else {
                return false;
            };
            let bits = bits.min(width(ip));
            write!(out, "{}/{bits}", masked(ip, bits)).is_ok()
        })))
    },
};

/// A run of addresses: those that share the leading bits.
struct Network {
    first: IpAddr,
    bits: u8,
}

impl Network {
    fn parse(text: &str) -> Result<Network, String> {
        let fault = || {
            format!("`{text}` is no network: write 10.0.0.0/8, 2001:db8::/32 or a single address")
        };
        let (ip, bits) = match text.split_once('/') {
            Some((ip, bits)) => (ip, Some(bits.parse::<u8>().map_err(|_| fault())?)),
            None => (text, None),
        };
        // Bits of a mapped network count from the IPv6 address, so its own form is kept.
        let first: IpAddr = ip.trim().parse().map_err(|_| fault())?;
        let bits = bits.unwrap_or(width(first));
        if width(first) < bits {
            return Err(fault());
        }
        if masked(first, bits) != first {
            let meant = masked(first, bits);
            return Err(format!(
                "`{text}` has bits behind its prefix: write {meant}/{bits}, or the address alone"
            ));
        }
        match (first, first.to_canonical()) {
            (IpAddr::V6(_), IpAddr::V4(first)) if 96 <= bits => Ok(Network {
                first: IpAddr::V4(first),
                bits: bits - 96,
            }),
            _ => Ok(Network { first, bits }),
        }
    }

    fn contains(&self, ip: IpAddr) -> bool {
        ip.is_ipv4() == self.first.is_ipv4() && masked(ip, self.bits) == self.first
    }
}

/// The address a text is.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let plain = text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
    let ip: IpAddr = plain.unwrap_or(text).parse().ok()?;
    Some(ip.to_canonical())
}

fn width(ip: IpAddr) -> u8 {
    match ip {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

/// The address with all but its leading bits zero.
fn masked(ip: IpAddr, bits: u8) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => {
            let mask = u32::MAX
                .checked_shl(32 - u32::from(bits.min(32)))
                .unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from(u32::from(ip) & mask))
        }
        IpAddr::V6(ip) => {
            let mask = u128::MAX
                .checked_shl(128 - u32::from(bits.min(128)))
                .unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from(u128::from(ip) & mask))
        }
    }
}

fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let is_shared = masked(IpAddr::V4(ip), 10) == Ipv4Addr::new(100, 64, 0, 0);
            ip.is_private()
                || ip.is_loopback()
                || ip.is_link_local()
                || ip.is_unspecified()
                || is_shared
        }
        IpAddr::V6(ip) => {
            ip.is_loopback()
                || ip.is_unspecified()
                || ip.is_unique_local()
                || ip.is_unicast_link_local()
        }
    }
}
