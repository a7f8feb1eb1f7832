//! Networks (`10.0.0.0/8`) as regular expressions over the text of an address: SQL has no type for one.

use std::net::IpAddr;

/// The regular expression that fits the addresses of a network and no others.
///
/// # Errors
/// The text is no network, or one of IPv6 whose addresses can be written with `::` in the part that is fixed.
pub(super) fn network(text: &str) -> Result<String, String> {
    let fault = || format!("`{text}` is no network such as 10.0.0.0/8");
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, Some(length.parse::<u32>().map_err(|_| fault())?)),
        None => (text, None),
    };
    match address.parse::<IpAddr>().map_err(|_| fault())? {
        IpAddr::V4(address) => match length.unwrap_or(32) {
            length @ 0..=32 => Ok(v4(address.octets(), length)),
            _ => Err(fault()),
        },
        IpAddr::V6(address) => match length.unwrap_or(128) {
            128 => Ok(format!("(?i)^{address}$")),
            length @ 0..128 => v6(address.segments(), length).ok_or_else(|| {
                format!(
                    "addresses of `{text}` can be written in several ways: SQL compares their text"
                )
            }),
            _ => Err(fault()),
        },
    }
}

fn v4(octets: [u8; 4], length: u32) -> String {
    let mut regex = "^".to_owned();
    let mut rest = length;
    for (at, octet) in octets.into_iter().enumerate() {
        let fixed = rest.min(8);
        rest -= fixed;
        let span = 1_u16 << (8 - fixed);
        let first = u16::from(octet) / span * span;
        let octets: Vec<String> = (first..first + span)
            .map(|octet| octet.to_string())
            .collect();
        match fixed {
            8 => regex.push_str(&octets[0]),
            0 => {
                regex.push_str("[0-9]");
                break;
            }
            _ => regex.push_str(&format!("({})", octets.join("|"))),
        }
        regex.push_str(if at < 3 { "\\." } else { "$" });
        if rest == 0 {
            break;
        }
    }
    regex
}

/// Groups that are fixed and not zero stand in the text as they are; `::` may swallow any other.
fn v6(groups: [u16; 8], length: u32) -> Option<String> {
    let mut regex = "(?i)^".to_owned();
    let (n_whole, rest) = (length as usize / 16, length % 16);
    for group in &groups[..n_whole] {
        if *group == 0 {
            return None;
        }
        regex.push_str(&format!("{group:x}:"));
    }
    if rest == 0 {
        return (n_whole != 0).then_some(regex);
    }
    let n_free = 16 - rest;
    let first = groups[n_whole] >> n_free << n_free;
    if first == 0 {
        return None;
    }
    // A block that does not begin at zero has one length in hexadecimal: its size divides each power of 16 above it.
    let digits = format!("{first:x}");
    let (n_any, n_some) = (n_free / 4, n_free % 4);
    let n_fixed = digits.len() - n_any as usize - usize::from(n_some != 0);
    regex.push_str(&digits[..n_fixed]);
    if n_some != 0 {
        let nibble = first >> (4 * n_any) & 0xf;
        let nibbles = nibble..nibble + (1 << n_some);
        regex.push('[');
        nibbles.for_each(|nibble| regex.push_str(&format!("{nibble:x}")));
        regex.push(']');
    }
    if n_any != 0 {
        regex.push_str(&format!("[0-9a-f]{{{n_any}}}"));
    }
    regex.push(if n_whole < 7 { ':' } else { '$' });
    Some(regex)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    fn fits(network: &str, address: &str) -> bool {
        let regex = super::network(network).expect(network);
        regex::Regex::new(&regex)
            .expect("a regular expression")
            .is_match(address)
    }

    #[test]
    fn networks_are_regular_expressions() {
        for (network, wanted) in [
            ("10.0.0.0/8", "^10\\."),
            (
                "172.16.0.0/12",
                "^172\\.(16|17|18|19|20|21|22|23|24|25|26|27|28|29|30|31)\\.",
            ),
            ("192.0.2.7", "^192\\.0\\.2\\.7$"),
            ("0.0.0.0/0", "^[0-9]"),
            ("::1/128", "(?i)^::1$"),
            ("fc00::/7", "(?i)^f[cd][0-9a-f]{2}:"),
            ("fe80::/10", "(?i)^fe[89ab][0-9a-f]{1}:"),
            ("2001:db8::/32", "(?i)^2001:db8:"),
        ] {
            assert_eq!(super::network(network).as_deref(), Ok(wanted), "{network}");
        }
        for fault in [
            "10.0.0.0/33",
            "10.0.0/8",
            "x",
            "10.0.0.0/-1",
            "::/8",
            "2001:0:1::/40",
            "::1/129",
        ] {
            assert!(super::network(fault).is_err(), "{fault}");
        }
    }

    proptest! {
        #[test]
        fn an_address_fits_when_its_bits_do(network: u32, near: u32, length in 0_u32..=32) {
            let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
            let of = |bits: u32| std::net::Ipv4Addr::from(bits).to_string();
            let text = format!("{}/{length}", of(network));
            let inside = (network & mask) | (near & !mask);
            prop_assert!(fits(&text, &of(inside)));
            prop_assert_eq!(fits(&text, &of(near)), near & mask == network & mask);
        }

        #[test]
        fn so_it_is_with_the_longer_ones(network: u128, near: u128, length in 16_u32..=128) {
            let mask = u128::MAX << (128 - length);
            let of = |bits: u128| std::net::Ipv6Addr::from(bits).to_string();
            let text = format!("{}/{length}", of(network));
            if super::network(&text).is_ok() {
                prop_assert!(fits(&text, &of((network & mask) | (near & !mask))), "{}", text);
                prop_assert_eq!(fits(&text, &of(near)), near & mask == network & mask);
            }
        }
    }
}
