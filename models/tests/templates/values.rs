//! Values of path parameters, of the kind their documents describe.

use xxhash_rust::xxh3::xxh3_64;

use crate::traffic::{Parameter, Random};

/// A value of the parameter: each place has a pool of its own, for half of them one for each parent.
pub(crate) fn draw(place: &str, parameter: &Parameter, parent: u64, random: &mut Random) -> String {
    let own = xxh3_64(place.as_bytes());
    let mut of = Random(own);
    let nested = parent != 0 && of.below(2) == 0;
    let kind = kind(parameter, &mut of);
    let size = match kind {
        Kind::Choice => 3 + of.below(6),
        Kind::Flag => 2,
        // Between twenty and two thousand, as many small as large.
        _ => (20.0 * (100f64).powf(of.unit())) as u64,
    };
    let rank = random.zipf(size);
    let choice = kind == Kind::Choice || kind == Kind::Flag;
    let seed = own ^ if nested && !choice { parent } else { 0 };
    value(
        kind,
        of.below(4),
        rank,
        &mut Random(seed.wrapping_add(rank.wrapping_mul(0x5851_f42d_4c95_7f2d))),
    )
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Int,
    Uuid,
    Hex,
    Base62,
    Base36,
    Prefixed,
    Slug,
    Name,
    Handle,
    Choice,
    Flag,
    Date,
    Float,
    File,
    Email,
    Code,
    Arn,
    Version,
}

pub(crate) fn kind(parameter: &Parameter, of: &mut Random) -> Kind {
    let (kind, format) = (
        parameter.kind.as_str(),
        parameter.format.to_ascii_lowercase(),
    );
    match (kind, format.as_str()) {
        ("boolean", _) => return Kind::Flag,
        (_, "double" | "float") => return Kind::Float,
        ("integer" | "number" | "long", _) | (_, "int64" | "snowflake" | "asset-id") => {
            return Kind::Int;
        }
        (_, "date-time" | "date") => return Kind::Date,
        (_, "md5") => return Kind::Hex,
        _ if format.starts_with("uuid") || format == "guid" => return Kind::Uuid,
        _ => (),
    }
    let pattern = parameter.pattern.as_str();
    if pattern.contains("arn:") {
        return if of.below(2) == 0 {
            Kind::Arn
        } else {
            Kind::Name
        };
    }
    if pattern.contains("[0-9a-f]{8}-")
        || pattern.contains("[a-f0-9]{8}-")
        || pattern.contains("[0-9a-fA-F]{8}-")
    {
        return Kind::Uuid;
    }
    if pattern.contains("a-f") && !pattern.contains("a-z") {
        return Kind::Hex;
    }
    if !pattern.is_empty()
        && !pattern.contains("a-z")
        && !pattern.contains("A-Z")
        && !pattern.contains("\\w")
        && (pattern.contains("0-9") || pattern.contains("\\d"))
    {
        return Kind::Int;
    }
    if pattern.contains("[\\da-z]{")
        || pattern.contains("[a-z0-9]{")
        || pattern.contains("[0-9a-z]{")
    {
        return Kind::Base36;
    }
    let last = last_word(&parameter.name);
    match last.as_str() {
        "email" => Kind::Email,
        "date" | "day" | "month" => Kind::Date,
        "file" | "filename" | "path" => Kind::File,
        "version" => Kind::Version,
        "code" | "symbol" => Kind::Code,
        "owner" | "user" | "username" | "login" | "handle" | "member" | "author" | "assignee"
        | "org" | "organization" | "enterprise" | "nickname" => Kind::Handle,
        "type" | "types" | "status" | "state" | "format" | "language" | "lang" | "locale"
        | "region" | "currency" | "country" | "category" | "level" | "mode" | "kind" | "scope"
        | "action" | "resource" | "environment" | "platform" | "service" | "provider"
        | "direction" | "sort" | "order" | "period" | "interval" | "metric" | "container"
        | "extension" => Kind::Choice,
        "id" | "ids" | "uuid" | "guid" | "sid" | "identifier" | "key" | "token" | "hash"
        | "sha" => match of.below(20) {
            0..5 => Kind::Int,
            5..10 => Kind::Uuid,
            10..12 => Kind::Hex,
            12..15 => Kind::Base62,
            15..17 => Kind::Prefixed,
            _ => Kind::Slug,
        },
        _ => match of.below(3) {
            0 => Kind::Slug,
            _ => Kind::Name,
        },
    }
}

fn last_word(name: &str) -> String {
    let mut start = name.len();
    let bytes = name.as_bytes();
    while 0 < start {
        let here = bytes[start - 1];
        if !here.is_ascii_alphanumeric() {
            break;
        }
        start -= 1;
        if here.is_ascii_uppercase() && (start == 0 || bytes[start - 1].is_ascii_lowercase()) {
            break;
        }
    }
    name.get(start..).unwrap_or(name).to_ascii_lowercase()
}

const PEOPLE: &[&str] = &[
    "ada", "grace", "linus", "mary", "otto", "wei", "fatima", "jose", "ingrid", "pavel", "yuki",
    "noor", "bram", "chloe", "dmitri", "elena", "finn", "gita", "hugo", "irene", "jonas", "kofi",
    "lena", "marco", "nadia", "olga", "priya", "quentin", "rosa", "sven", "tara", "umar", "vera",
    "walter", "xenia", "yara", "zoe", "smith", "weber", "novak", "rossi", "tanaka", "silva", "kim",
    "berg", "moreau",
];
const NOUNS: &[&str] = &[
    "river",
    "mountain",
    "cloud",
    "forest",
    "engine",
    "garden",
    "harbor",
    "island",
    "junction",
    "kernel",
    "lantern",
    "market",
    "needle",
    "orchard",
    "planet",
    "quarry",
    "rocket",
    "signal",
    "tunnel",
    "umbrella",
    "valley",
    "window",
    "yellow",
    "zephyr",
    "atlas",
    "beacon",
    "copper",
    "delta",
    "ember",
    "falcon",
    "granite",
    "helium",
    "indigo",
    "jupiter",
    "kestrel",
    "lotus",
    "mango",
    "nebula",
    "onyx",
    "pepper",
    "quartz",
    "raven",
    "saffron",
    "thunder",
    "ultra",
    "velvet",
    "willow",
    "xenon",
    "yonder",
    "zenith",
    "website",
    "backend",
    "frontend",
    "docs",
    "api",
    "mobile",
    "billing",
    "payments",
    "analytics",
    "reports",
    "search",
    "users",
    "notes",
    "production",
    "staging",
    "main",
    "test",
    "default",
    "demo",
    "internal",
    "primary",
    "shop",
    "blog",
    "news",
    "summer",
    "winter",
    "paris",
    "berlin",
    "tokyo",
    "lisbon",
];
const CHOICES: &[&str] = &[
    "active",
    "pending",
    "closed",
    "open",
    "draft",
    "daily",
    "weekly",
    "monthly",
    "yearly",
    "json",
    "xml",
    "csv",
    "pdf",
    "en",
    "de",
    "fr",
    "ja",
    "usd",
    "eur",
    "gbp",
    "email",
    "sms",
    "push",
    "web",
    "ios",
    "android",
    "basic",
    "premium",
    "image",
    "video",
    "audio",
    "document",
    "public",
    "private",
    "north",
    "south",
    "asc",
    "desc",
    "small",
    "large",
    "messaging",
    "team",
    "gaming",
    "livestream",
    "invoice",
    "receipt",
    "customer",
    "vendor",
    "read",
    "write",
];

/// A made-up word, two to four syllables: no list holds it.
pub(crate) fn word(seed: u64) -> String {
    let mut random = Random(seed);
    (0..2 + random.below(3))
        .map(|_| {
            let (c, v) = (
                random.one_of(&[
                    "b", "d", "f", "g", "k", "l", "m", "n", "p", "r", "s", "t", "v", "z", "st",
                    "br",
                ]),
                random.one_of(&["a", "e", "i", "o", "u"]),
            );
            format!("{c}{v}")
        })
        .collect()
}

fn noun(random: &mut Random) -> String {
    match random.below(2) {
        0 => random.one_of(NOUNS).to_owned(),
        _ => word(random.next()),
    }
}

fn text(random: &mut Random, n: usize, of: &[u8]) -> String {
    (0..n)
        .map(|_| char::from(of[random.below(of.len() as u64) as usize]))
        .collect()
}

fn value(kind: Kind, style: u64, rank: u64, random: &mut Random) -> String {
    const DIGITS: &[u8] = b"0123456789";
    const HEX: &[u8] = b"0123456789abcdef";
    const BASE36: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    const BASE62: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    match kind {
        Kind::Int => match style {
            0 => (rank + 1).to_string(),
            1 => (1000 + random.below(900_000)).to_string(),
            _ => format!("1{}", text(random, 9 + style as usize, DIGITS)),
        },
        Kind::Uuid => [8, 4, 4, 4, 12].map(|n| text(random, n, HEX)).join("-"),
        Kind::Hex => text(random, [16, 24, 32, 40][style as usize], HEX),
        Kind::Base62 => text(random, [8, 11, 16, 22][style as usize], BASE62),
        Kind::Base36 => text(random, [10, 12, 20, 26][style as usize], BASE36),
        Kind::Prefixed => format!(
            "{}_{}",
            ["tpl", "cus", "ord", "key"][style as usize],
            text(random, 14, BASE62)
        ),
        Kind::Slug => match style {
            0 => format!("{}-{}", noun(random), noun(random)),
            1 => format!("{}-{}-{}", noun(random), noun(random), random.below(100)),
            2 => noun(random),
            _ => format!("the-{}-of-{}", noun(random), noun(random)),
        },
        Kind::Name => match style {
            0 => noun(random),
            1 => format!("{}_{}", noun(random), noun(random)),
            2 => {
                let name = noun(random);
                format!("{}{}", name[..1].to_ascii_uppercase(), &name[1..])
            }
            _ => match random.below(3) {
                0 => noun(random),
                1 => format!("{}-{}", noun(random), noun(random)),
                _ => format!("{}{}", noun(random), random.below(30)),
            },
        },
        Kind::Handle => match random.below(5) {
            0 => random.one_of(PEOPLE).to_owned(),
            1 => format!("{}.{}", random.one_of(PEOPLE), random.one_of(PEOPLE)),
            2 => format!("{}{}", random.one_of(PEOPLE), random.below(100)),
            3 => format!("{}-{}", random.one_of(PEOPLE), noun(random)),
            _ => word(random.next()),
        },
        Kind::Choice => random.one_of(CHOICES).to_owned(),
        Kind::Flag => ["true", "false"][rank as usize & 1].to_owned(),
        Kind::Date => format!(
            "20{:02}-{:02}-{:02}",
            20 + random.below(7),
            1 + random.below(12),
            1 + random.below(28)
        ),
        Kind::Float => format!("{}.{}", random.below(90), random.below(10_000)),
        Kind::File => format!(
            "{}.{}",
            noun(random),
            random.one_of(&["md", "rs", "json", "png", "pdf", "txt"])
        ),
        Kind::Email => format!(
            "{}.{}@example.org",
            random.one_of(PEOPLE),
            random.one_of(PEOPLE)
        ),
        Kind::Code => text(random, 2 + style as usize, b"ABCDEFGHIJKLMNOPQRSTUVWXYZ"),
        Kind::Arn => format!(
            "arn:aws:service:eu-west-1:123456789012:thing/{}",
            word(random.next())
        ),
        Kind::Version => format!(
            "{}.{}.{}",
            random.below(5),
            random.below(20),
            random.below(10)
        ),
    }
}
