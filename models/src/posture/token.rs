//! What a JSON web token says of itself that it should not, or does not say that it should.
//!
//! Read where the token still is, at decode; only these bits go on. Nothing is verified.

use base64::Engine as _;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::jwt::{TOKEN_BYTES_MAX, URL_SAFE};

/// Clocks of issuer and gateway may differ by this, in seconds.
const LEEWAY_S: i64 = 300;
/// A token that is good for longer than this is long-lived: a day, in seconds. Ours; issuers of access tokens give minutes to hours.
const LIFETIME_S_MAX: i64 = 86_400;

/// Traits of one token, as bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token(u16);

impl Token {
    /// Past its `exp` when it was used.
    pub const EXPIRED: Token = Token(1);
    /// Before its `nbf` when it was used.
    pub const TOO_EARLY: Token = Token(1 << 1);
    /// The header names no algorithm, or `none`.
    pub const UNSIGNED: Token = Token(1 << 2);
    /// The algorithm is none of those recommended today.
    pub const WEAK_ALGORITHM: Token = Token(1 << 3);
    /// Without `exp`.
    pub const ENDLESS: Token = Token(1 << 4);
    /// Good for more than a day.
    pub const LONG_LIVED: Token = Token(1 << 5);
    /// Without `aud`.
    pub const NO_AUDIENCE: Token = Token(1 << 6);
    /// Without `iss`.
    pub const NO_ISSUER: Token = Token(1 << 7);
    /// A scope or permission that is `*` or ends in it.
    pub const WILDCARD: Token = Token(1 << 8);
    /// A claim that is named after a password, a key or a card.
    pub const CARRIES_SECRET: Token = Token(1 << 9);
    /// The header was there to be read: without it nothing is known of the algorithm.
    pub const HAS_HEADER: Token = Token(1 << 10);

    /// True when any of these traits holds.
    pub fn is(self, traits: Token) -> bool {
        self.0 & traits.0 != 0
    }

    /// The bits, as a column holds them.
    pub fn bits(self) -> u16 {
        self.0
    }

    /// The traits of these bits.
    pub fn from_bits(bits: u16) -> Token {
        Token(bits)
    }

    fn set(&mut self, traits: Token, holds: bool) {
        if holds {
            self.0 |= traits.0;
        }
    }

    /// Reads a whole token as sent; `None` when it is none. `at_s`: when it was used, seconds since 1970.
    pub fn read(token: &str, at_s: i64) -> Option<Token> {
        if TOKEN_BYTES_MAX < token.len() {
            return None;
        }
        let mut parts = token.trim().split('.');
        let header = object(&URL_SAFE.decode(parts.next()?).ok()?)?;
        let mut token = Token::read_claims(&object(&URL_SAFE.decode(parts.next()?).ok()?)?, at_s);
        let algorithm = header.get("alg").and_then(Value::as_str).unwrap_or("none");
        token.set(Token::HAS_HEADER, true);
        token.set(Token::UNSIGNED, algorithm.eq_ignore_ascii_case("none"));
        token.set(Token::WEAK_ALGORITHM, !is_recommended(algorithm));
        Some(token)
    }

    /// Reads the claims of a verified token that a gateway logged as a JSON object.
    pub fn read_json(claims: &str, at_s: i64) -> Option<Token> {
        if TOKEN_BYTES_MAX < claims.len() {
            return None;
        }
        Some(Token::read_claims(&object(claims.as_bytes())?, at_s))
    }

    fn read_claims(claims: &Map<String, Value>, at_s: i64) -> Token {
        let seconds = |name: &str| {
            claims
                .get(name)
                .and_then(Value::as_f64)
                .map(|seconds| seconds as i64)
        };
        let (exp, nbf, iat) = (seconds("exp"), seconds("nbf"), seconds("iat"));
        let mut token = Token::default();
        token.set(
            Token::EXPIRED,
            exp.is_some_and(|exp| exp.saturating_add(LEEWAY_S) < at_s),
        );
        token.set(
            Token::TOO_EARLY,
            nbf.is_some_and(|nbf| at_s < nbf.saturating_sub(LEEWAY_S)),
        );
        token.set(Token::ENDLESS, exp.is_none());
        let start = iat.or(nbf).unwrap_or(at_s);
        token.set(
            Token::LONG_LIVED,
            exp.is_some_and(|exp| LIFETIME_S_MAX < exp.saturating_sub(start)),
        );
        token.set(Token::NO_AUDIENCE, !claims.contains_key("aud"));
        token.set(Token::NO_ISSUER, !claims.contains_key("iss"));
        token.set(
            Token::WILDCARD,
            ["scope", "scp", "scopes", "permissions"]
                .iter()
                .any(|name| claims.get(*name).is_some_and(is_wild)),
        );
        token.set(
            Token::CARRIES_SECRET,
            claims.keys().any(|name| is_secret_claim(name)),
        );
        token
    }
}

/// Reads tokens that come again and again: a call of the same minute is answered from memory.
///
/// What it says is a function of token and minute alone. 128 KiB.
#[derive(Debug)]
pub struct TokenReader(Box<[(u64, i64, Option<Token>)]>);

/// Tokens remembered; two that share a place are read anew each time.
const SLOTS: usize = 4096;
const MINUTE_S: i64 = 60;

impl Default for TokenReader {
    fn default() -> TokenReader {
        TokenReader(vec![(0, i64::MIN, None); SLOTS].into())
    }
}

impl TokenReader {
    /// The traits of the bearer's token in an `Authorization` header, used in the minute of `at_ms`; `None` when there is no such
    /// token, or not the whole of it.
    pub fn read(&mut self, authorization: &str, at_ms: i64) -> Option<Token> {
        let (scheme, token) = authorization.split_once(' ')?;
        let is_bearer = ["bearer", "dpop"]
            .iter()
            .any(|of| scheme.eq_ignore_ascii_case(of));
        let token = token.trim();
        if !is_bearer || !token.contains('.') {
            return None;
        }
        let key = xxhash_rust::xxh3::xxh3_64(token.as_bytes());
        let minute = at_ms.div_euclid(1000 * MINUTE_S);
        let slot = &mut self.0[key as usize % SLOTS];
        if (slot.0, slot.1) != (key, minute) {
            *slot = (key, minute, Token::read(token, minute * MINUTE_S));
        }
        slot.2
    }
}

fn object(json: &[u8]) -> Option<Map<String, Value>> {
    match serde_json::from_slice(json) {
        Ok(Value::Object(object)) => Some(object),
        _ => None,
    }
}

/// What RFC 7518 and RFC 8037 register as still sound; HS256 is among them where one party signs and reads.
fn is_recommended(algorithm: &str) -> bool {
    matches!(
        algorithm,
        "ES256"
            | "ES384"
            | "ES512"
            | "EdDSA"
            | "Ed25519"
            | "PS256"
            | "PS384"
            | "PS512"
            | "RS256"
            | "RS384"
            | "RS512"
            | "HS256"
            | "HS384"
            | "HS512"
    )
}

fn is_wild(scopes: &Value) -> bool {
    let wild = |scope: &str| {
        scope == "*" || scope.ends_with(":*") || scope.ends_with(".*") || scope.ends_with("/*")
    };
    match scopes {
        Value::String(text) => text.split([' ', ',']).any(wild),
        Value::Array(list) => list.iter().filter_map(Value::as_str).any(wild),
        _ => false,
    }
}

fn is_secret_claim(name: &str) -> bool {
    [
        "password",
        "passwd",
        "pwd",
        "secret",
        "client_secret",
        "api_key",
        "apikey",
        "private_key",
        "ssn",
        "card_number",
        "credit_card",
        "pan",
    ]
    .iter()
    .any(|word| name.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn token(header: &str, claims: &str) -> String {
        format!(
            "{}.{}.c2ln",
            URL_SAFE.encode(header),
            URL_SAFE.encode(claims)
        )
    }

    #[test]
    fn a_token_tells_its_traits() {
        let good = r#"{"iss":"i","aud":"a","iat":1000,"exp":4600,"scope":"read write"}"#;
        let read = |header: &str, claims: &str, at| {
            Token::read(&token(header, claims), at).expect("a token")
        };
        assert_eq!(read(r#"{"alg":"ES256"}"#, good, 2000), Token::HAS_HEADER);
        assert!(read(r#"{"alg":"ES256"}"#, good, 4901).is(Token::EXPIRED));
        assert!(
            !read(r#"{"alg":"ES256"}"#, good, 4900).is(Token::EXPIRED),
            "clocks differ"
        );
        assert!(read(r#"{"alg":"None"}"#, good, 2000).is(Token::UNSIGNED));
        assert!(read(r#"{"typ":"JWT"}"#, good, 2000).is(Token::UNSIGNED));
        assert!(read(r#"{"alg":"HS1"}"#, good, 2000).is(Token::WEAK_ALGORITHM));
        let bare = read(
            r#"{"alg":"RS256"}"#,
            r#"{"sub":"x","scope":["orders:*"],"password":"p"}"#,
            0,
        );
        for traits in [
            Token::ENDLESS,
            Token::NO_AUDIENCE,
            Token::NO_ISSUER,
            Token::WILDCARD,
            Token::CARRIES_SECRET,
        ] {
            assert!(bare.is(traits), "{traits:?}");
        }
        let long = r#"{"iss":"i","aud":"a","iat":0,"exp":86401}"#;
        assert!(
            Token::read_json(long, 0)
                .is_some_and(|token| token.is(Token::LONG_LIVED) && !token.is(Token::HAS_HEADER))
        );
        assert!(
            Token::read_json(r#"{"iss":"i","aud":"a","iat":0,"exp":86400}"#, 0)
                .is_some_and(|token| !token.is(Token::LONG_LIVED))
        );
        assert!(
            Token::read_json(r#"{"nbf":301,"exp":400}"#, 0)
                .is_some_and(|token| token.is(Token::TOO_EARLY))
        );
        assert_eq!(Token::read("opaque", 0), None);
    }

    proptest! {
        #[test]
        fn reading_never_panics(text in "\\PC{0,60}", at in any::<i64>(), exp in any::<f64>()) {
            let _ = Token::read(&text, at);
            let _ = Token::read_json(&format!(r#"{{"exp":{exp},"nbf":{exp},"iat":{}}}"#, -exp), at);
        }
    }

    #[test]
    fn a_token_is_read_once_a_minute_and_anew_in_the_next() {
        let claims = r#"{"sub":"a","iss":"i","aud":"x","iat":0,"exp":3600}"#;
        let token = [r#"{"alg":"RS256"}"#, claims].map(|part| URL_SAFE.encode(part));
        let header = format!("Bearer {}.{}.sig", token[0], token[1]);
        let mut reader = TokenReader::default();
        let mut is_expired = |at_s: i64| {
            let token = reader.read(&header, at_s * 1000);
            token.map(|token| token.is(Token::EXPIRED))
        };
        let last_s = 3600 + LEEWAY_S;
        assert_eq!(
            [0, 30, last_s, last_s + 60].map(&mut is_expired),
            [false, false, false, true].map(Some)
        );
        assert_eq!(is_expired(30), Some(false), "whatever was asked before");
        for other in [
            "Basic YTpi",
            "Bearer opaque",
            "Bearer a.b.c",
            "Bearer ***",
            "Bearer",
            "",
        ] {
            assert_eq!(TokenReader::default().read(other, 0), None, "{other}");
        }
    }
}
