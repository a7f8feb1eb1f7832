//! Ranges of tables and databases. The databases are written here, by the format's specification.

use proptest::prelude::*;

use super::*;

/// Writes MMDB files.
struct Writer {
    record_bits: usize,
    width: u8,
    /// Halves: nothing, a node, or a value's place.
    nodes: Vec<[Half; 2]>,
    values: Vec<u8>,
}

#[derive(Clone, Copy)]
enum Half {
    Nothing,
    Node(usize),
    Value(usize),
}

fn text(text: &str) -> Vec<u8> {
    match text.len() {
        n @ ..29 => [vec![0x40 | n as u8], text.as_bytes().to_vec()].concat(),
        n => [vec![0x5d, (n - 29) as u8], text.as_bytes().to_vec()].concat(),
    }
}

fn number(number: u32) -> Vec<u8> {
    [vec![0xc4], number.to_be_bytes().to_vec()].concat()
}

fn map(pairs: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let head = vec![0xe0 | pairs.len() as u8];
    let pairs = pairs
        .iter()
        .flat_map(|(key, value)| [text(key), value.clone()]);
    [head].into_iter().chain(pairs).flatten().collect()
}

/// A pointer of the second width, which reaches from 2048 on.
fn pointer(to: usize) -> Vec<u8> {
    let to = to - 2048;
    vec![
        0x20 | 0x08 | (to >> 16) as u8 & 7,
        (to >> 8) as u8,
        to as u8,
    ]
}

impl Writer {
    fn new(record_bits: usize, width: u8) -> Writer {
        Writer {
            record_bits,
            width,
            nodes: vec![[Half::Nothing; 2]],
            values: Vec::new(),
        }
    }

    fn value(&mut self, value: &[u8]) -> usize {
        let at = self.values.len();
        self.values.extend(value);
        at
    }

    /// Leads the addresses with these leading bits of 128 (or 32) somewhere.
    fn lead(&mut self, bits: u128, n_bits: u8, to: Half) {
        let mut node = 0;
        for depth in 0..n_bits {
            let side = usize::from(bits >> (self.width - 1 - depth) & 1 == 1);
            if depth + 1 == n_bits {
                self.nodes[node][side] = to;
                return;
            }
            node = match self.nodes[node][side] {
                Half::Node(next) => next,
                _ => {
                    self.nodes.push([Half::Nothing; 2]);
                    let next = self.nodes.len() - 1;
                    self.nodes[node][side] = Half::Node(next);
                    next
                }
            };
        }
    }

    fn network(&mut self, network: &str, value: usize) {
        let (ip, bits) = network.split_once('/').unwrap();
        let bits: u8 = bits.parse().unwrap();
        let (ip, bits) = match ip.parse().unwrap() {
            IpAddr::V4(ip) => (u128::from(u32::from(ip)), bits + self.width - 32),
            IpAddr::V6(ip) => (u128::from(ip), bits),
        };
        self.lead(ip, bits, Half::Value(value));
    }

    fn ipv4(&self) -> usize {
        (0..96).fold(0, |node, _| match self.nodes[node][0] {
            Half::Node(next) => next,
            _ => panic!("no IPv4"),
        })
    }

    fn finish(&self) -> Vec<u8> {
        let n = self.nodes.len();
        let record = |half: &Half| match half {
            Half::Nothing => n as u32,
            Half::Node(node) => *node as u32,
            Half::Value(at) => (n + 16 + at) as u32,
        };
        let mut file = Vec::new();
        for [left, right] in self
            .nodes
            .iter()
            .map(|halves| halves.each_ref().map(record))
        {
            let (l, r) = (left.to_be_bytes(), right.to_be_bytes());
            match self.record_bits {
                24 => file.extend([&l[1..], &r[1..]].concat()),
                28 => file.extend([&l[1..], &[l[0] << 4 | r[0]], &r[1..]].concat()),
                _ => file.extend([l, r].concat()),
            }
        }
        file.extend([0; 16]);
        file.extend(&self.values);
        file.extend(b"\xab\xcd\xefMaxMind.com");
        file.extend(map(&[
            ("node_count", number(n as u32)),
            ("record_size", number(self.record_bits as u32)),
            ("ip_version", number(if self.width == 32 { 4 } else { 6 })),
            ("binary_format_major_version", number(2)),
            ("languages", vec![0x01, 0x04, 0x42, b'e', b'n']),
        ]));
        file
    }
}

/// A database of countries and networks with what real ones have: shared texts behind pointers, flags, numbers of all kinds.
fn database(record_bits: usize) -> Vec<u8> {
    let mut file = Writer::new(record_bits, 128);
    let filler = vec![0_u8; 2048];
    file.value(&filler);
    let org = file.value(&text("Example Networks, of a name longer than 29 bytes"));
    let names = map(&[("en", text("Germany"))]);
    let flag = vec![0x01, 0x07];
    let double = [vec![0x68], 1.5_f64.to_be_bytes().to_vec()].concat();
    let country = map(&[
        ("geoname_id", number(7)),
        ("names", names),
        ("iso_code", text("DE")),
    ]);
    let german = file.value(&map(&[
        ("is_anycast", flag),
        ("location", map(&[("latitude", double)])),
        ("country", country),
        ("autonomous_system_number", number(64_500)),
        ("autonomous_system_organization", pointer(org)),
    ]));
    let french = file.value(&map(&[("country", map(&[("iso_code", text("FR"))]))]));
    let nothing = file.value(&map(&[]));
    // A value that is a pointer itself.
    let again = file.value(&pointer(german));
    for (network, value) in [
        ("203.0.113.0/25", german),
        ("203.0.113.128/25", again),
        ("198.51.100.0/24", french),
        ("192.0.2.0/24", nothing),
        ("2001:db8::/32", french),
        ("2001:db9:8000::/33", german),
    ] {
        file.network(network, value);
    }
    let ipv4 = file.ipv4();
    file.lead(0xffff << 32, 96, Half::Node(ipv4));
    file.lead(0x2002 << 112, 16, Half::Node(ipv4));
    file.finish()
}

fn enrichment(ranges: Ranges) -> Enrichment {
    Enrichment {
        tables: vec![Arc::new(ranges)],
    }
}

fn place<'a>(enrichment: &'a Enrichment, ip: &str) -> Place<'a> {
    enrichment.place(ip.parse().unwrap())
}

#[test]
fn a_database_says_where_addresses_are() {
    let org = "Example Networks, of a name longer than 29 bytes";
    let german = (Some("DE"), Some(64_500), Some(org));
    for record_bits in [24, 28, 32] {
        let ranges = mmdb::read(&database(record_bits)).unwrap();
        // The halves of 203.0.113.0/24 say the same.
        assert_eq!(ranges.len(), (2, 2), "{record_bits}");
        let enrichment = enrichment(ranges);
        for (ip, (country, asn, as_org)) in [
            ("203.0.113.0", german),
            ("203.0.113.255", german),
            ("::ffff:203.0.113.9", german),
            ("203.0.112.255", (None, None, None)),
            ("203.0.114.0", (None, None, None)),
            ("198.51.100.7", (Some("FR"), None, None)),
            ("192.0.2.1", (None, None, None)),
            ("2001:db8:ffff::1", (Some("FR"), None, None)),
            ("2001:db9::1", (None, None, None)),
            ("2001:db9:ffff::1", german),
        ] {
            let want = Place {
                country,
                asn,
                as_org,
            };
            assert_eq!(place(&enrichment, ip), want, "{record_bits}: {ip}");
        }
    }
    let mut file = Writer::new(24, 32);
    let french = file.value(&map(&[("country", map(&[("iso_code", text("fr"))]))]));
    file.network("128.0.0.0/1", french);
    let enrichment = enrichment(mmdb::read(&file.finish()).unwrap());
    assert_eq!(place(&enrichment, "255.255.255.255").country, Some("FR"));
    assert_eq!(place(&enrichment, "127.255.255.255").country, None);
}

#[test]
fn a_damaged_database_is_refused_with_what_is_wrong() {
    let good = database(28);
    let refused = |bytes: &[u8], why: &str| {
        let told = mmdb::read(bytes).expect_err(why);
        assert!(told.contains(why), "{told}, not {why}");
    };
    refused(b"", "no MMDB file");
    refused(&good[..good.len() / 2], "no MMDB file");
    // Everything before the values is cut away.
    refused(&good[good.len() - 400..], "does not fit");
    let mut file = Writer::new(24, 32);
    file.nodes[0] = [Half::Node(0), Half::Node(0)];
    refused(&file.finish(), "two ways of its tree meet");
    file.width = 128;
    refused(&file.finish(), "two ways of its tree meet");
    file.width = 32;
    let chain = (1..=33).map(|next| [Half::Node(next), Half::Nothing]);
    file.nodes = chain.chain([[Half::Nothing; 2]]).collect();
    refused(&file.finish(), "deeper");
    file.nodes = vec![[Half::Value(0), Half::Nothing]];
    refused(&file.finish(), "beyond the values");
    file.values = pointer(2048);
    refused(&file.finish(), "a value leads beyond");
    // A map that says it has 16 million entries.
    file.values = [vec![0xff, 0xff, 0xff, 0xff], vec![0xe0; 20_000]].concat();
    refused(&file.finish(), "a key is no text");
    let pairs = [text("a"), vec![0xe0]].concat();
    file.values = [vec![0xff, 0xff, 0xff, 0xff], pairs.repeat(20_000)].concat();
    refused(&file.finish(), "too many fields");
}

#[test]
fn a_table_says_where_addresses_are() {
    let table = "network,country,asn,as_org,more\n203.0.113.0/24,de,AS64500,\"Example, of names\",x\n2001:db8::/32,FR,,,\n\
                 192.0.2.7,US,64501,One\n10.0.0.0/8,,,,\n";
    let enrichment = enrichment(csv::read(table).unwrap());
    let of = |ip| {
        let Place {
            country,
            asn,
            as_org,
        } = place(&enrichment, ip);
        (country, asn, as_org)
    };
    assert_eq!(
        of("203.0.113.255"),
        (Some("DE"), Some(64_500), Some("Example, of names"))
    );
    assert_eq!(of("2001:db8::7"), (Some("FR"), None, None));
    assert_eq!(of("192.0.2.7"), (Some("US"), Some(64_501), Some("One")));
    assert_eq!(of("192.0.2.8"), (None, None, None));
    assert_eq!(of("10.0.0.1"), (None, None, None));
    // Ends belong to their range, and neighbours that say the same are one.
    let ranges = csv::read(
        "start,end,country\n::8,::9,FR\n0.0.0.0,0.0.0.9,FR\n0.0.0.10,255.255.255.255,FR\n",
    );
    assert_eq!(ranges.unwrap().len(), (1, 1));
    for (table, told) in [
        ("", "is empty"),
        ("network,name\n", "has no header"),
        ("start,country\n", "has no header"),
        (
            "network,country\n203.0.113.0/33,DE\n",
            "line 2: `203.0.113.0/33` is no network",
        ),
        (
            "network,country\n\n\nx\u{7},DE\n",
            "line 4: `x\\u{7}` is no address",
        ),
        (
            "network,country\n10.0.0.0/8,DEU\n",
            "line 2: `DEU` is no country",
        ),
        (
            "network,asn\n10.0.0.0/8,ASX\n",
            "line 2: `ASX` is no number",
        ),
        (
            "start,end,country\n1.1.1.2,1.1.1.1,DE\n",
            "line 2: has a range that ends before",
        ),
        (
            "start,end,country\n1.1.1.2,::1,DE\n",
            "line 2: has a range that begins in IPv4",
        ),
        (
            "network,country\n10.0.0.0/8,DE\n10.1.0.0/16,FR\n",
            "says two things of 10.1.0.0",
        ),
        ("network,country\n\"10.0.0.0/8,DE\n", "line 2: a quote"),
    ] {
        let fault = csv::read(table).expect_err(table);
        assert!(fault.starts_with(told), "{table}: {fault}");
    }
}

#[test]
fn of_several_files_the_first_that_says_something_counts() {
    let table = |text: &str| Arc::new(csv::read(text).unwrap());
    let enrichment = Enrichment {
        tables: vec![
            table("network,country\n10.1.0.0/16,DE\n"),
            table("network,country,asn,as_org\n10.0.0.0/8,FR,1,one\n"),
            table("network,asn,as_org\n10.0.0.0/8,2,two\n"),
        ],
    };
    let all = place(&enrichment, "10.1.0.1");
    assert_eq!(
        (all.country, all.asn, all.as_org),
        (Some("DE"), Some(1), Some("one"))
    );
    assert_eq!(place(&enrichment, "10.2.0.1").country, Some("FR"));
}

proptest! {
    #[test]
    fn no_bytes_of_a_database_make_a_panic(
        record_bits in prop_oneof![Just(24_usize), Just(28), Just(32)],
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = database(record_bits);
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.drain(..cut.index(bytes.len()));
        }
        if let Ok(ranges) = mmdb::read(&bytes) {
            let _ = place(&enrichment(ranges), "203.0.113.9");
        }
    }

    #[test]
    fn a_value_of_any_bytes_makes_no_panic(value in proptest::collection::vec(any::<u8>(), 1..64)) {
        let mut file = Writer::new(24, 32);
        file.values = value;
        file.nodes = vec![[Half::Value(0), Half::Nothing]];
        let _ = mmdb::read(&file.finish());
    }

    #[test]
    fn a_database_and_a_table_of_the_same_networks_say_the_same(
        networks in proptest::collection::btree_map(any::<u8>(), 0_u32..3, 0..40), asked in any::<u32>(),
    ) {
        let mut file = Writer::new(28, 32);
        let values: Vec<usize> = (0..3)
            .map(|asn| file.value(&map(&[("autonomous_system_number", number(asn))])))
            .collect();
        let mut table = String::from("network,asn\n");
        for (first, asn) in networks {
            file.network(&format!("{first}.0.0.0/8"), values[asn as usize]);
            table += &format!("{first}.0.0.0/8,{asn}\n");
        }
        let (database, table) = (mmdb::read(&file.finish()).unwrap(), csv::read(&table).unwrap());
        prop_assert_eq!(&database.v4.len(), &table.v4.len());
        let (database, table) = (enrichment(database), enrichment(table));
        let ip = IpAddr::from(std::net::Ipv4Addr::from(asked));
        prop_assert_eq!(database.place(ip), table.place(ip));
    }
}
