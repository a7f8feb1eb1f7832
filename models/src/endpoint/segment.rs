//! The kind of one path segment, byte by byte, without expressions.

/// What a segment looks like; everything but words and versions is a variable.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum SegmentKind {
    /// A literal, as far as one request can tell.
    Word,
    /// `v1`, `v2.1`, `v1beta2`.
    Version,
    /// Decimal digits, perhaps signed.
    Int,
    /// `8-4-4-4-12` hex digits.
    Uuid,
    /// 26 characters of Crockford's base 32.
    Ulid,
    /// 24 hex digits.
    ObjectId,
    /// At least eight hex digits with a decimal digit among them.
    Hex,
    /// `name@host.tld`.
    Email,
    /// `2026-01-31`, `2026-01`, or a date with a time.
    Date,
    /// Letters and digits that make no word (`bookTitle301`, `ORD-2024-0042`), or anything too odd to be one.
    Mixed,
}

/// Longest segment that can be a word, in bytes: longer ones are free text or tokens.
const WORD_BYTES_MAX: usize = 40;

/// Finds the kind of one percent-decoded segment.
///
/// A number with letters is a word when it is a term of the trade (`oauth2`, `sha256`, `ipv6`), else, from
/// six characters on, a variable when it ends in a digit or holds three (five characters when three digits end it),
/// and, from eight on, when it mixes cases and digits as no camel case does (`dQw4w9WgXcQ`).
pub fn segment_kind(segment: &str) -> SegmentKind {
    let bytes = segment.as_bytes();
    let shape = Shape::of(bytes);
    if shape.n_digits == 0 {
        return match () {
            () if shape.odd || WORD_BYTES_MAX < bytes.len() => odd_kind(bytes, &shape),
            () if shape.n_at != 0 => odd_kind(bytes, &shape),
            () => SegmentKind::Word,
        };
    }
    if shape.n_digits == bytes.len()
        || (shape.n_digits + 1 == bytes.len() && matches!(bytes, [b'-' | b'+', ..]))
    {
        return SegmentKind::Int;
    }
    if is_version(bytes) {
        return SegmentKind::Version;
    }
    if shape.hex_only {
        match bytes.len() {
            24 => return SegmentKind::ObjectId,
            8.. => return SegmentKind::Hex,
            _ => (),
        }
    }
    if is_uuid(bytes) {
        return SegmentKind::Uuid;
    }
    if is_date(bytes) {
        return SegmentKind::Date;
    }
    if is_ulid(bytes) {
        return SegmentKind::Ulid;
    }
    if shape.odd || shape.n_at != 0 || WORD_BYTES_MAX < bytes.len() {
        return odd_kind(bytes, &shape);
    }
    let ends_in = bytes
        .iter()
        .rev()
        .take_while(|b| b.is_ascii_digit())
        .count();
    let mixed = match bytes.len() {
        0..5 => shape.n_letters == 0,
        5 => ends_in == shape.n_digits && 3 <= ends_in || shape.n_letters == 0,
        _ => 0 < ends_in || 3 <= shape.n_digits || shape.n_letters == 0,
    };
    let mixed = mixed || (8 <= bytes.len() && is_scrambled(bytes));
    if mixed && !is_term(bytes) && !ends_in_version(bytes) {
        SegmentKind::Mixed
    } else {
        SegmentKind::Word
    }
}

/// Both cases and a digit between letters, in humps too short for words: fewer than 2.3 letters each, where
/// `E2ETests` has 2.33 and the letters of a random base-62 id 1.7 on average.
fn is_scrambled(bytes: &[u8]) -> bool {
    let (mut n_letters, mut n_humps) = (0usize, 0usize);
    let (mut upper, mut lower, mut between) = (false, false, false);
    let mut previous = b'-';
    for &byte in bytes {
        match byte {
            b'a'..=b'z' => lower = true,
            b'A'..=b'Z' => upper = true,
            b'0'..=b'9' => (),
            b'-' | b'_' => (),
            _ => return false,
        }
        if byte.is_ascii_alphabetic() {
            n_letters += 1;
            between |= previous.is_ascii_digit() && 1 < n_letters;
            // A hump begins at a capital, and behind a digit or a mark.
            n_humps += usize::from(byte.is_ascii_uppercase() || !previous.is_ascii_alphabetic());
        }
        previous = byte;
    }
    upper && lower && between && 10 * n_letters < 23 * n_humps
}

/// `getUserV2`: a version behind a word, with a capital.
fn ends_in_version(bytes: &[u8]) -> bool {
    let n_end = bytes
        .iter()
        .rev()
        .take_while(|b| b.is_ascii_digit())
        .count();
    let head = bytes.get(..bytes.len() - n_end).unwrap_or(&[]);
    (1..=2).contains(&n_end)
        && matches!(head, [.., b'a'..=b'z', b'V'])
        && !head.iter().any(u8::is_ascii_digit)
}

/// What one pass over the bytes tells.
struct Shape {
    n_digits: usize,
    n_letters: usize,
    n_at: usize,
    hex_only: bool,
    /// Holds a byte no plain path word has.
    odd: bool,
}

impl Shape {
    fn of(bytes: &[u8]) -> Shape {
        let mut shape = Shape {
            n_digits: 0,
            n_letters: 0,
            n_at: 0,
            hex_only: true,
            odd: false,
        };
        for &byte in bytes {
            match byte {
                b'0'..=b'9' => shape.n_digits += 1,
                b'a'..=b'f' | b'A'..=b'F' => shape.n_letters += 1,
                b'g'..=b'z' | b'G'..=b'Z' => {
                    shape.n_letters += 1;
                    shape.hex_only = false;
                }
                b'-' | b'_' | b'.' | b'~' | b':' | b'$' | b'!' | b'*' | b'+' => {
                    shape.hex_only = false
                }
                b'@' => {
                    shape.n_at += 1;
                    shape.hex_only = false;
                }
                0x80.. => {
                    shape.n_letters += 1;
                    shape.hex_only = false;
                }
                _ => {
                    shape.odd = true;
                    shape.hex_only = false;
                }
            }
        }
        shape
    }
}

fn odd_kind(bytes: &[u8], shape: &Shape) -> SegmentKind {
    let email = shape.n_at == 1
        && bytes.iter().all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'<' | b'>' | b'(' | b')' | b'/' | b'='))
        && bytes.iter().position(|&b| b == b'@').is_some_and(|at| {
            0 < at && bytes.get(at + 1..).is_some_and(|host| matches!(host.iter().rposition(|&b| b == b'.'), Some(dot) if 0 < dot && dot + 1 < host.len()))
        });
    if email {
        SegmentKind::Email
    } else {
        SegmentKind::Mixed
    }
}

/// `v`, up to three digits, then `.digits`, `alpha`, `beta` and such.
fn is_version(bytes: &[u8]) -> bool {
    let Some((b'v' | b'V', rest)) = bytes.split_first() else {
        return false;
    };
    let n_digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    let tail = rest.get(n_digits..).unwrap_or(b"");
    (1..=3).contains(&n_digits)
        && bytes.len() <= 12
        && match tail {
            [] => true,
            [b'.', more @ ..] => {
                !more.is_empty() && more.iter().all(|b| b.is_ascii_digit() || *b == b'.')
            }
            _ => [&b"alpha"[..], b"beta", b"rc", b"preview", b"p"]
                .iter()
                .any(|word| {
                    tail.strip_prefix(*word)
                        .is_some_and(|rest| rest.iter().all(|b| b.is_ascii_digit() || *b == b'p'))
                }),
        }
}

fn is_uuid(bytes: &[u8]) -> bool {
    bytes.len() == 36
        && bytes.iter().enumerate().all(|(i, b)| match i {
            8 | 13 | 18 | 23 => *b == b'-',
            _ => b.is_ascii_hexdigit(),
        })
}

fn is_ulid(bytes: &[u8]) -> bool {
    bytes.len() == 26
        && matches!(bytes.first(), Some(b'0'..=b'7'))
        && bytes.iter().all(|b| {
            b.is_ascii_alphanumeric()
                && !matches!(b, b'I' | b'L' | b'O' | b'U' | b'i' | b'l' | b'o' | b'u')
        })
        && (bytes.iter().all(|b| !b.is_ascii_lowercase())
            || bytes.iter().all(|b| !b.is_ascii_uppercase()))
}

/// `yyyy-mm`, `yyyy-mm-dd`, `yyyy-mm-ddT…`, year 19xx or 20xx.
fn is_date(bytes: &[u8]) -> bool {
    let digits = |range: std::ops::Range<usize>| {
        bytes
            .get(range)
            .is_some_and(|part| part.iter().all(u8::is_ascii_digit))
    };
    let month = matches!(
        bytes.get(5..7),
        Some([b'0', b'1'..=b'9'] | [b'1', b'0'..=b'2'])
    );
    let day = digits(8..10) && bytes.get(7) == Some(&b'-');
    matches!(bytes, [b'1', b'9', ..] | [b'2', b'0', ..])
        && digits(0..4)
        && bytes.get(4) == Some(&b'-')
        && month
        && match bytes.len() {
            7 => true,
            10 => day,
            11.. => day && matches!(bytes.get(10), Some(b'T' | b't' | b' ' | b'_')),
            _ => false,
        }
}

/// Terms that hold digits and are words all the same, and stems whose number counts places, not things.
fn is_term(bytes: &[u8]) -> bool {
    let mut lower = [0u8; 16];
    let Some(slot) = lower.get_mut(..bytes.len()) else {
        return false;
    };
    slot.copy_from_slice(bytes);
    slot.make_ascii_lowercase();
    let slot: &[u8] = slot;
    let n_end = slot.iter().rev().take_while(|b| b.is_ascii_digit()).count();
    let (stem, digits) = slot.split_at(slot.len() - n_end);
    matches!(
        (stem, digits.len()),
        (
            b"oauth"
                | b"auth"
                | b"saml"
                | b"http"
                | b"html"
                | b"python"
                | b"route"
                | b"schema"
                | b"draft",
            1
        ) | (b"oauth" | b"oauth2." | b"python", 2)
            | (
                b"base" | b"utf-" | b"utf" | b"win" | b"linux" | b"arm" | b"x86_" | b"latin",
                1..=2
            )
            | (
                b"sha"
                    | b"sha3-"
                    | b"sha-"
                    | b"aes"
                    | b"aes-"
                    | b"blake"
                    | b"argon"
                    | b"office"
                    | b"dynamics"
                    | b"ripemd",
                1..=3
            )
            | (
                b"rsa" | b"ed" | b"iso" | b"iso-" | b"rfc" | b"cp" | b"windows-",
                3..=5
            )
            | (b"hs" | b"rs" | b"es" | b"ps", 3)
            | (
                b"step"
                    | b"phase"
                    | b"level"
                    | b"tier"
                    | b"stage"
                    | b"part"
                    | b"address"
                    | b"line"
                    | b"option"
                    | b"schema-v"
                    | b"geoip",
                1
            )
            | (b"i18n" | b"l10n" | b"a11y" | b"k8s" | b"ip2location", _)
    )
}
