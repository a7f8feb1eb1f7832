//! Who calls: from the credentials of one event to a name, its kind and how far it can be trusted.
//!
//! Comes in: [`Credentials`], borrowed from the event. Goes out: an [`Identity`] and its name.
//! **Invariant**: the name never holds a credential or an address, only their keyed hash; the names a log
//! carries (`alice`) stay as they are, unless pseudonyms are asked for, they look like a key, or they are unfit
//! to be shown; then they are hashed too. Two different names never become one but by a collision of the hash.

use std::fmt;
use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::jwt::{Claims, claims_of_json, claims_of_token};
use crate::secret::{HashKey, looks_like_secret};

/// Longest identity name, in bytes: names come from callers, so a longer one is hashed.
pub const NAME_BYTES_MAX: usize = 128;
/// Longest basic-auth value that is decoded, in bytes; a longer one names nobody.
const BASIC_BYTES_MAX: usize = 1024;

/// What one event says about its caller; every field as logged, absent where the gateway logs none.
#[derive(Clone, Copy, Default)]
pub struct Credentials<'a> {
    /// The `Authorization` header.
    pub authorization: Option<&'a str>,
    /// An API key, from a header or from the gateway.
    pub api_key: Option<&'a str>,
    /// A hash of the whole credential, made by the gateway.
    pub token_hash: Option<&'a str>,
    /// The subject of a verified token, as the gateway logged it.
    pub jwt_sub: Option<&'a str>,
    /// The claims of a verified token as a JSON object.
    pub jwt_claims: Option<&'a str>,
    /// The gateway's consumer or application.
    pub consumer: Option<&'a str>,
    /// The authenticated user (`remote_user`).
    pub principal: Option<&'a str>,
    /// Subject or fingerprint of a client certificate.
    pub client_cert: Option<&'a str>,
    /// A session cookie or session id.
    pub session: Option<&'a str>,
    /// The client's address, perhaps with a port, or a forwarding list of which the first is taken.
    pub client_ip: Option<&'a str>,
    /// The `User-Agent` header.
    pub user_agent: Option<&'a str>,
    /// The gateway says the call was authenticated without saying as whom.
    pub authenticated_hint: bool,
    /// Status of the answer: 401 says that the credential sent was no good.
    pub status: Option<u16>,
}

impl fmt::Debug for Credentials<'_> {
    /// Says which fields are there, never what they hold.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields = [
            ("authorization", self.authorization),
            ("api_key", self.api_key),
            ("token_hash", self.token_hash),
            ("jwt_sub", self.jwt_sub),
            ("jwt_claims", self.jwt_claims),
            ("consumer", self.consumer),
            ("principal", self.principal),
            ("client_cert", self.client_cert),
            ("session", self.session),
            ("client_ip", self.client_ip),
            ("user_agent", self.user_agent),
        ];
        f.debug_set()
            .entries(
                fields
                    .iter()
                    .filter(|field| field.1.is_some())
                    .map(|field| field.0),
            )
            .finish()
    }
}

/// Which credential names the caller, best first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum IdentityKind {
    /// Subject of a JSON web token.
    JwtSub,
    /// Consumer of the gateway.
    Consumer,
    /// Authenticated user name.
    Principal,
    /// API key.
    ApiKey,
    /// Client certificate.
    Cert,
    /// Opaque bearer token, or the hash of a credential the gateway logged.
    Token,
    /// Session.
    Session,
    /// Address and user agent.
    IpUa,
    /// Nothing.
    Unknown,
}

impl IdentityKind {
    /// All kinds, best first.
    pub const ALL: [IdentityKind; 9] = [
        IdentityKind::JwtSub,
        IdentityKind::Consumer,
        IdentityKind::Principal,
        IdentityKind::ApiKey,
        IdentityKind::Cert,
        IdentityKind::Token,
        IdentityKind::Session,
        IdentityKind::IpUa,
        IdentityKind::Unknown,
    ];

    /// The name in alerts, rules and hashed identity names.
    pub fn as_str(self) -> &'static str {
        match self {
            IdentityKind::JwtSub => "jwt_sub",
            IdentityKind::Consumer => "consumer",
            IdentityKind::Principal => "principal",
            IdentityKind::ApiKey => "api_key",
            IdentityKind::Cert => "cert",
            IdentityKind::Token => "token",
            IdentityKind::Session => "session",
            IdentityKind::IpUa => "ip_ua",
            IdentityKind::Unknown => "unknown",
        }
    }
}

/// How far an identity can be trusted to be one caller.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Quality {
    /// Subject, consumer or principal.
    A,
    /// Key, certificate, or a gateway's hash of the whole credential: stable, perhaps shared.
    B,
    /// Opaque token or session: changes with every login.
    C,
    /// Address and user agent, or nothing: many callers behind one, one caller behind many.
    D,
}

impl Quality {
    /// The grade of that letter; an unknown one is the weakest.
    pub fn from_name(name: &str) -> Quality {
        [Quality::A, Quality::B, Quality::C]
            .into_iter()
            .find(|q| q.as_str() == name)
            .unwrap_or(Quality::D)
    }

    /// The letter in alerts.
    pub fn as_str(self) -> &'static str {
        match self {
            Quality::A => "A",
            Quality::B => "B",
            Quality::C => "C",
            Quality::D => "D",
        }
    }

    /// Factor on log evidence: grades C and D count half, as their identities merge and split.
    pub fn weight(self) -> f64 {
        match self {
            Quality::A | Quality::B => 1.0,
            Quality::C | Quality::D => 0.5,
        }
    }
}

/// One caller, resolved; the name is written beside it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// Which credential gave the name.
    pub kind: IdentityKind,
    /// How far it can be trusted.
    pub quality: Quality,
    /// A credential was presented, or the gateway says so. Whether it was accepted is the status's to tell.
    pub authenticated: bool,
    /// How the caller authenticates: `bearer`, `basic`, `digest`, `api_key`, `mtls`, `session`, `aws4`, `other`.
    pub auth_scheme: Option<&'static str>,
    /// Who acts for the subject: the token's `act.sub`, else its client where that differs from the subject.
    pub actor: Option<String>,
    /// The tenant named by the token.
    pub tenant: Option<String>,
}

/// Resolves credentials to identities.
///
/// What the gateway vouches for comes before what a client merely sends: a forged token must not outrank the
/// consumer the gateway found. Behind a 401 nothing sent names the caller, nor does the principal, which some
/// servers log before they check the password: or `Basic alice:x` would be held against alice.
///
/// | order | kind | from | name | grade | at 401 |
/// |---|---|---|---|---|---|
/// | 1 | `jwt_sub` | `jwt_sub`, subject in `jwt_claims` | plain | A | yes |
/// | 2 | `consumer` | `consumer` | plain | A | yes |
/// | 3 | `principal` | `principal` | plain | A | no |
/// | 4 | `jwt_sub` | subject of a bearer JWT that is signed | plain | A | no |
/// | 5 | `cert` | `client_cert`: common name, else all of it | plain | B | yes |
/// | 6 | `token` | `token_hash`: first 16 hex digits as logged | as logged | B | yes |
/// | 7 | `principal` | user of a basic or digest header | plain | A | no |
/// | 8 | `api_key` | `api_key`, `ApiKey`/AWS authorization | keyed hash | B | no |
/// | 9 | `token` | opaque bearer | keyed hash | C | no |
/// | 10 | `session` | `session` | keyed hash | C | no |
/// | 11 | `ip_ua` | IPv4 /32 or IPv6 /64 with the user agent | keyed hash | D | yes |
///
/// A name that looks like a key, and a basic user without a password, are an `api_key` wherever they stand.
#[derive(Clone, Debug)]
pub struct Resolver {
    key: HashKey,
    pseudonymise: bool,
}

impl Resolver {
    /// Hashes with `key`; with `pseudonymise` plain names are hashed too.
    pub fn new(key: HashKey, pseudonymise: bool) -> Resolver {
        Resolver { key, pseudonymise }
    }

    /// The key of pseudonyms; none when names stay as they are.
    pub fn pseudonyms(&self) -> Option<&HashKey> {
        self.pseudonymise.then_some(&self.key)
    }

    /// Resolves one event's credentials and appends the identity's name to `name`.
    pub fn resolve(&self, c: &Credentials<'_>, name: &mut String) -> Identity {
        let authorization = Authorization::parse(present(c.authorization).unwrap_or(""));
        let asserted = present(c.jwt_claims).and_then(claims_of_json);
        // Whoever writes `"alg":"none"` signed nothing, and may write any subject.
        let sent = authorization
            .token()
            .filter(|_| !is_rejected(c))
            .and_then(claims_of_token)
            .filter(|claims| !claims.alg_none);
        let mut identity = Identity {
            kind: IdentityKind::Unknown,
            quality: Quality::D,
            authenticated: true,
            auth_scheme: scheme(c, &authorization),
            actor: None,
            tenant: None,
        };
        let sub = |claims: &Option<Claims>| claims.as_ref().and_then(|claims| claims.sub.clone());
        (identity.kind, identity.quality) = self
            .asserted(c, sub(&asserted).as_deref(), name)
            // A mesh logs its own certificate on every call, and a hash changes with every token: who
            // the token is for says more than either.
            .or_else(|| self.plain(IdentityKind::JwtSub, sub(&sent).as_deref(), name))
            .or_else(|| self.plain(IdentityKind::Cert, c.client_cert.map(common_name), name))
            .or_else(|| self.logged_hash(c.token_hash, name))
            .or_else(|| self.sent(c, &authorization, name))
            .unwrap_or_else(|| self.place(c, name));
        if matches!(identity.kind, IdentityKind::IpUa | IdentityKind::Unknown) {
            identity.authenticated = c.authenticated_hint || identity.auth_scheme.is_some();
        }
        let claims = asserted.or(sent).unwrap_or_default();
        let actor = claims.actor.or_else(|| {
            claims
                .client_id
                .filter(|id| claims.sub.as_ref() != Some(id))
        });
        identity.actor = actor.and_then(|actor| self.other_name("client", &actor));
        identity.tenant = claims
            .tenant
            .and_then(|tenant| self.other_name("tenant", &tenant));
        identity
    }

    /// What the gateway says of the caller. Every step either writes a name and ends it, or writes nothing.
    fn asserted(&self, c: &Credentials<'_>, sub: Option<&str>, out: &mut String) -> Option<Named> {
        let principal = c.principal.filter(|_| !is_rejected(c));
        self.plain(IdentityKind::JwtSub, present(c.jwt_sub).or(sub), out)
            .or_else(|| self.plain(IdentityKind::Consumer, c.consumer, out))
            .or_else(|| self.plain(IdentityKind::Principal, principal, out))
    }

    /// What the client says of itself, unless the gateway refused to believe it.
    fn sent(
        &self,
        c: &Credentials<'_>,
        authorization: &Authorization<'_>,
        out: &mut String,
    ) -> Option<Named> {
        if is_rejected(c) {
            return None;
        }
        let key = present(c.api_key)
            .or(authorization.api_key())
            .filter(|key| key.bytes().any(|b| b != b'0'));
        self.user(authorization, out)
            .or_else(|| self.hashed(IdentityKind::ApiKey, Quality::B, key, out))
            .or_else(|| self.hashed(IdentityKind::Token, Quality::C, authorization.token(), out))
            .or_else(|| self.hashed(IdentityKind::Session, Quality::C, c.session, out))
    }

    /// Where the call came from, when nobody says who made it.
    fn place(&self, c: &Credentials<'_>, out: &mut String) -> Named {
        if self.address(c, out) {
            return (IdentityKind::IpUa, Quality::D);
        }
        out.push_str("unknown");
        (IdentityKind::Unknown, Quality::D)
    }

    /// A name as it stands; one that looks like a key is a key somebody put in the wrong field.
    fn plain(&self, kind: IdentityKind, name: Option<&str>, out: &mut String) -> Option<Named> {
        let name = present(name)?;
        if looks_like_secret(name) {
            return self.hashed(IdentityKind::ApiKey, Quality::B, Some(name), out);
        }
        let quality = match kind {
            IdentityKind::Cert => Quality::B,
            _ => Quality::A,
        };
        if self.pseudonymise || !is_fit(name) {
            return self.hashed(kind, quality, Some(name), out);
        }
        out.push_str(name);
        Some((kind, quality))
    }

    fn hashed(
        &self,
        kind: IdentityKind,
        quality: Quality,
        secret: Option<&str>,
        out: &mut String,
    ) -> Option<Named> {
        push_tag(kind.as_str(), self.key.tag(present(secret)?), out);
        Some((kind, quality))
    }

    /// The user of a basic header (decoded) or of a digest header.
    ///
    /// Payment and code-hosting APIs take a key as the user: with no password, or with one that says so.
    fn user(&self, authorization: &Authorization<'_>, out: &mut String) -> Option<Named> {
        match authorization {
            Authorization::Basic(value) if value.len() <= BASIC_BYTES_MAX => {
                let bytes = STANDARD.decode(value).ok()?;
                let text = String::from_utf8_lossy(&bytes);
                let (user, password) = text.split_once(':').unwrap_or((&text, ""));
                match password {
                    "" | "x-oauth-basic" => {
                        self.hashed(IdentityKind::ApiKey, Quality::B, Some(user), out)
                    }
                    _ => self.plain(IdentityKind::Principal, Some(user), out),
                }
            }
            Authorization::Digest(fields) => {
                let user = fields
                    .split("username=\"")
                    .nth(1)
                    .and_then(|rest| rest.split('"').next());
                self.plain(IdentityKind::Principal, user, out)
            }
            _ => None,
        }
    }

    /// A hash the gateway made needs no second one; anything that isn't one is hashed.
    fn logged_hash(&self, hash: Option<&str>, out: &mut String) -> Option<Named> {
        let hash = present(hash)?;
        let is_hash = (8..=64).contains(&hash.len()) && hash.bytes().all(|b| b.is_ascii_hexdigit());
        if !is_hash || self.pseudonymise {
            return self.hashed(IdentityKind::Token, Quality::B, Some(hash), out);
        }
        out.push_str("token:");
        out.extend(hash.chars().take(16).map(|c| c.to_ascii_lowercase()));
        Some((IdentityKind::Token, Quality::B))
    }

    fn address(&self, c: &Credentials<'_>, out: &mut String) -> bool {
        let Some(network) = present(c.client_ip).and_then(network) else {
            return false;
        };
        let agent = c.user_agent.unwrap_or("");
        push_tag(
            IdentityKind::IpUa.as_str(),
            self.key.tag(&format!("{network:032x} {agent}")),
            out,
        );
        true
    }

    fn other_name(&self, kind: &str, name: &str) -> Option<String> {
        let name = present(Some(name))?;
        let mut out = String::new();
        match self.pseudonymise || looks_like_secret(name) || !is_fit(name) {
            true => push_tag(kind, self.key.tag(name), &mut out),
            false => out.push_str(name),
        }
        Some(out)
    }
}

/// Which credential wrote a name, and what it is worth.
type Named = (IdentityKind, Quality);

/// The answer says that no credential sent with the call was good.
fn is_rejected(c: &Credentials<'_>) -> bool {
    c.status == Some(401)
}

/// An `Authorization` header, taken apart.
enum Authorization<'a> {
    Absent,
    /// A gateway blanked it: somebody authenticated, nobody knows who.
    Blanked,
    Bearer(&'a str),
    Basic(&'a str),
    Digest(&'a str),
    ApiKey(&'a str),
    Aws4(&'a str),
    Other(&'a str),
}

impl<'a> Authorization<'a> {
    fn parse(header: &'a str) -> Authorization<'a> {
        let (scheme, rest) = header.split_once(' ').unwrap_or(("", header));
        let rest = rest.trim();
        let is = |name: &str| scheme.eq_ignore_ascii_case(name);
        if rest.is_empty() {
            return Authorization::Absent;
        }
        if is_blanked(rest) {
            return Authorization::Blanked;
        }
        if is("bearer") || is("dpop") {
            Authorization::Bearer(rest)
        } else if is("basic") {
            Authorization::Basic(rest)
        } else if is("digest") {
            Authorization::Digest(rest)
        } else if is("apikey") || is("api-key") || is("key") {
            Authorization::ApiKey(rest)
        } else if scheme
            .get(..4)
            .is_some_and(|head| head.eq_ignore_ascii_case("AWS4"))
        {
            let credential = rest.split("Credential=").nth(1).unwrap_or("");
            Authorization::Aws4(credential.split(['/', ',']).next().unwrap_or(""))
        } else if scheme.is_empty() || is("token") {
            Authorization::Bearer(rest)
        } else {
            Authorization::Other(rest)
        }
    }

    fn token(&self) -> Option<&'a str> {
        match self {
            Authorization::Bearer(token) | Authorization::Other(token) => Some(token),
            _ => None,
        }
    }

    fn api_key(&self) -> Option<&'a str> {
        match self {
            Authorization::ApiKey(key) | Authorization::Aws4(key) => Some(key),
            _ => None,
        }
    }
}

fn scheme(c: &Credentials<'_>, authorization: &Authorization<'_>) -> Option<&'static str> {
    match authorization {
        Authorization::Bearer(_) => Some("bearer"),
        Authorization::Basic(_) => Some("basic"),
        Authorization::Digest(_) => Some("digest"),
        Authorization::ApiKey(_) => Some("api_key"),
        Authorization::Aws4(_) => Some("aws4"),
        Authorization::Blanked | Authorization::Other(_) => Some("other"),
        Authorization::Absent if present(c.jwt_sub.or(c.jwt_claims)).is_some() => Some("bearer"),
        Authorization::Absent if present(c.api_key).is_some() => Some("api_key"),
        Authorization::Absent if present(c.client_cert).is_some() => Some("mtls"),
        Authorization::Absent if present(c.session).is_some() => Some("session"),
        Authorization::Absent => None,
    }
}

/// What gateways write for "nobody"; such a value is no identity.
fn present(value: Option<&str>) -> Option<&str> {
    let value = value?.trim();
    let nobody = [
        "",
        "-",
        "anonymous",
        "null",
        "(null)",
        "<nil>",
        "nil",
        "undefined",
        "unauthenticated",
    ];
    let short = value.len() <= 15;
    (!(short && nobody.iter().any(|word| value.eq_ignore_ascii_case(word)))).then_some(value)
}

fn is_blanked(value: &str) -> bool {
    value.bytes().all(|b| matches!(b, b'*' | b'x' | b'X'))
        || [
            "redacted",
            "[redacted]",
            "<redacted>",
            "masked",
            "[masked]",
            "[filtered]",
        ]
        .iter()
        .any(|word| value.eq_ignore_ascii_case(word))
}

/// The common name of a distinguished name (`CN=…` in either order of writing), else all of it.
fn common_name(subject: &str) -> &str {
    subject
        .split([',', '/'])
        .find_map(|part| {
            part.trim()
                .strip_prefix("CN=")
                .or_else(|| part.trim().strip_prefix("cn="))
        })
        .filter(|name| !name.trim().is_empty())
        .unwrap_or(subject)
}

/// The address as 128 bits, IPv6 cut to its /64; `[v6]:port`, `v4:port`, lists and mapped addresses are understood.
fn network(text: &str) -> Option<u128> {
    match address(text)? {
        IpAddr::V4(v4) => Some(u128::from(v4.to_bits())),
        IpAddr::V6(v6) => Some(v6.to_bits() >> 64 << 64),
    }
}

/// The address that a log calls the client's: the first of a list, without port, brackets and zone. One of IPv4 within IPv6 is
/// the IPv4 address.
pub fn address(text: &str) -> Option<IpAddr> {
    let first = text.split(',').next().unwrap_or("").trim();
    let bare = match first.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(""),
        None if first.matches(':').count() == 1 => first.split(':').next().unwrap_or(""),
        None => first.split('%').next().unwrap_or(""),
    };
    Some(bare.parse::<IpAddr>().ok()?.to_canonical())
}

/// Names are the caller's to choose. One that is too long, that holds what no terminal should see, or that
/// reads like a name made here (`token:10d619bd8b00a105`, `unknown`) is hashed whole: cleaned or cut it could be
/// made equal to another caller's.
fn is_fit(name: &str) -> bool {
    name.len() <= NAME_BYTES_MAX && !name.contains(is_unprintable) && !is_made_here(name)
}

/// `unknown`, or one of our prefixes and the digits of a hash; a gateway's hash may have as few as eight.
fn is_made_here(name: &str) -> bool {
    if name == IdentityKind::Unknown.as_str() {
        return true;
    }
    let Some((head, tail)) = name.split_once(':') else {
        return false;
    };
    (8..=16).contains(&tail.len())
        && tail.bytes().all(|b| b.is_ascii_hexdigit())
        && (matches!(head, "client" | "tenant")
            || IdentityKind::ALL.iter().any(|kind| kind.as_str() == head))
}

/// Control characters, and the marks that reorder or hide text on a terminal.
pub fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

fn push_tag(kind: &str, tag: u64, out: &mut String) {
    out.push_str(kind);
    out.push(':');
    for shift in (0..16).rev() {
        let digit = (tag >> (4 * shift)) & 0xf;
        out.push(char::from_digit(digit as u32, 16).unwrap_or('0'));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn resolve(c: &Credentials<'_>, pseudonymise: bool) -> (Identity, String) {
        let mut name = String::new();
        let identity = Resolver::new(HashKey::new([7; 32]), pseudonymise).resolve(c, &mut name);
        (identity, name)
    }

    #[test]
    fn the_best_credential_names_the_caller() {
        let all = Credentials {
            authorization: Some("Bearer opaque-token"),
            api_key: Some("k-1"),
            token_hash: Some("10D619BD8B00A105ffff"),
            jwt_sub: Some("alice"),
            consumer: Some("shop"),
            principal: Some("bob"),
            client_cert: Some("CN=svc-a,O=Acme"),
            session: Some("s-1"),
            client_ip: Some("203.0.113.5:4711"),
            user_agent: Some("curl/8"),
            ..Credentials::default()
        };
        let mut c = all;
        let check = |c: &Credentials<'_>, kind: IdentityKind, quality: Quality, name: &str| {
            let (identity, got) = resolve(c, false);
            assert_eq!(
                (identity.kind, identity.quality),
                (kind, quality),
                "{kind:?}"
            );
            assert!(
                got == name
                    || (name.ends_with(':')
                        && got.starts_with(name)
                        && got.len() == name.len() + 16),
                "{kind:?}: {got}"
            );
        };
        check(&c, IdentityKind::JwtSub, Quality::A, "alice");
        c.jwt_sub = Some("-");
        check(&c, IdentityKind::Consumer, Quality::A, "shop");
        c.consumer = Some("anonymous");
        check(&c, IdentityKind::Principal, Quality::A, "bob");
        c.principal = None;
        check(&c, IdentityKind::Cert, Quality::B, "svc-a");
        c.client_cert = Some("");
        check(
            &c,
            IdentityKind::Token,
            Quality::B,
            "token:10d619bd8b00a105",
        );
        c.token_hash = None;
        check(&c, IdentityKind::ApiKey, Quality::B, "api_key:");
        c.api_key = Some("00000000");
        check(&c, IdentityKind::Token, Quality::C, "token:");
        c.authorization = None;
        check(&c, IdentityKind::Session, Quality::C, "session:");
        c.session = None;
        check(&c, IdentityKind::IpUa, Quality::D, "ip_ua:");
        c.client_ip = Some("somewhere");
        check(&c, IdentityKind::Unknown, Quality::D, "unknown");
        let (_, hidden) = resolve(&all, true);
        assert!(
            hidden.starts_with("jwt_sub:") && hidden.len() == 24,
            "{hidden}"
        );
    }

    #[test]
    fn headers_name_their_scheme_and_user() {
        for (header, scheme, name) in [
            ("Basic Ym9iOnB3", Some("basic"), "bob"),
            (
                "Digest username=\"carol\", realm=\"x\"",
                Some("digest"),
                "carol",
            ),
            (
                "bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJkYXZlIn0.x",
                Some("bearer"),
                "dave",
            ),
            ("REDACTED", Some("other"), "unknown"),
            ("Bearer ***", Some("other"), "unknown"),
            ("-", None, "unknown"),
        ] {
            let (identity, got) = resolve(
                &Credentials {
                    authorization: Some(header),
                    ..Credentials::default()
                },
                false,
            );
            assert_eq!(
                (identity.auth_scheme, got.as_str()),
                (scheme, name),
                "{header}"
            );
            assert_eq!(identity.authenticated, scheme.is_some(), "{header}");
        }
    }

    #[test]
    fn a_name_a_client_sends_comes_after_what_the_gateway_says() {
        let dave = "Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJkYXZlIn0.x";
        let nobody = "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJkYXZlIn0.";
        let bob = "Basic Ym9iOnB3";
        let none = Credentials {
            client_ip: Some("203.0.113.5"),
            api_key: Some("k-1"),
            ..Credentials::default()
        };
        let of = |authorization| Credentials {
            authorization: Some(authorization),
            ..none
        };
        let at_401 = |c: Credentials<'static>| Credentials {
            status: Some(401),
            ..c
        };
        #[rustfmt::skip]
        let table = [
            ("consumer, token", Credentials { consumer: Some("shop"), ..of(dave) }, "shop"),
            ("consumer, basic", Credentials { consumer: Some("shop"), ..of(bob) }, "shop"),
            ("principal, token", Credentials { principal: Some("carol"), ..of(dave) }, "carol"),
            ("certificate, token", Credentials { client_cert: Some("CN=svc-a"), ..of(dave) }, "dave"),
            ("certificate, basic", Credentials { client_cert: Some("CN=svc-a"), ..of(bob) }, "svc-a"),
            ("hash, token", Credentials { token_hash: Some("10d619bd8b00a105"), ..of(dave) }, "dave"),
            ("hash, basic", Credentials { token_hash: Some("10d619bd8b00a105"), ..of(bob) }, "token:10d619bd8b00a105"),
            ("claims, token", Credentials { jwt_claims: Some(r#"{"sub":"erin"}"#), ..of(dave) }, "erin"),
            ("token", of(dave), "dave"),
            ("unsigned token", Credentials { api_key: None, ..of(nobody) }, "token:"),
            ("refused token", at_401(of(dave)), "ip_ua:"),
            ("refused password", at_401(of(bob)), "ip_ua:"),
            ("refused principal", at_401(Credentials { principal: Some("alice"), ..none }), "ip_ua:"),
            ("refused key", at_401(none), "ip_ua:"),
            ("refused, but known", at_401(Credentials { consumer: Some("shop"), ..of(dave) }), "shop"),
        ];
        for (row, c, want) in table {
            let (identity, name) = resolve(&c, false);
            let matches = match want.strip_suffix(':') {
                Some(kind) => name.split_once(':').is_some_and(|(head, _)| head == kind),
                None => name == want,
            };
            assert!(matches, "{row}: {name}");
            let forged = want == "ip_ua:" || want == "token:";
            assert!(!forged || identity.tenant.is_none(), "{row}");
        }
        let (identity, _) = resolve(&at_401(of(bob)), false);
        assert_eq!(
            (identity.auth_scheme, identity.authenticated),
            (Some("basic"), true),
            "a credential was presented"
        );
    }

    #[test]
    fn a_key_in_the_place_of_a_name_is_hashed_as_a_key() {
        let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
        for (authorization, principal, kind) in [
            (basic("sk_live_51H8abcdefgh:"), None, IdentityKind::ApiKey),
            (basic("9f86d081884c7d659a2f:"), None, IdentityKind::ApiKey),
            (basic("9f86d081884c7d659a2f"), None, IdentityKind::ApiKey),
            (
                basic("ghp_16C7e42F292c6912E7710c838347Ae178B4a:x-oauth-basic"),
                None,
                IdentityKind::ApiKey,
            ),
            (basic("sk_live_51H8abcdefgh:pw"), None, IdentityKind::ApiKey),
            (basic("bob:pw"), None, IdentityKind::Principal),
            (
                "-".to_owned(),
                Some("sk_live_51H8abcdefgh"),
                IdentityKind::ApiKey,
            ),
            ("-".to_owned(), Some("bob"), IdentityKind::Principal),
        ] {
            let (identity, name) = resolve(
                &Credentials {
                    authorization: Some(&authorization),
                    principal,
                    ..Credentials::default()
                },
                false,
            );
            assert_eq!(identity.kind, kind, "{authorization} {principal:?}");
            let is_key = kind == IdentityKind::ApiKey;
            let quality = if is_key { Quality::B } else { Quality::A };
            assert_eq!(identity.quality, quality, "{authorization} {principal:?}");
            assert_eq!(name.starts_with("api_key:"), is_key, "{name}");
        }
    }

    #[test]
    fn addresses_fall_into_networks() {
        for (address, other, same) in [
            ("203.0.113.5", "203.0.113.5:80", true),
            ("203.0.113.5", "::ffff:203.0.113.5", true),
            ("203.0.113.5", "203.0.113.5, 10.0.0.1", true),
            ("203.0.113.5", "203.0.113.6", false),
            ("2001:db8::1", "[2001:db8::2]:443", true),
            ("2001:db8::1", "2001:db8:0:1::1", false),
        ] {
            assert_eq!(
                network(address) == network(other),
                same,
                "{address} {other}"
            );
        }
    }

    #[test]
    fn names_that_could_be_taken_for_another_are_hashed() {
        let name_of = |sub: &str| {
            let c = Credentials {
                jwt_sub: Some(sub),
                ..Credentials::default()
            };
            resolve(&c, false).1
        };
        let long = "é".repeat(NAME_BYTES_MAX / 2);
        for (sub, stays) in [
            ("alice", true),
            ("auth0|5f7c8ec7c33c6c004bbafe82", true),
            ("user:10d619bd8b00a105", true),
            ("token:alice", true),
            (long.as_str(), true),
            ("token:10d619bd8b00a105", false),
            ("token:10d619bd", false),
            ("ip_ua:10D619BD8B00A105", false),
            ("unknown", false),
            ("ali\u{200b}ce", false),
            ("a\u{1b}[31m", false),
            (&format!("{long}x"), false),
        ] {
            let name = name_of(sub);
            assert_eq!(name == sub, stays, "{sub}: {name}");
            assert!(stays || name.starts_with("jwt_sub:"), "{sub}: {name}");
        }
        assert_ne!(
            name_of(&format!("{long}x")),
            name_of(&format!("{long}y")),
            "long names stay apart"
        );
    }

    proptest! {
        #[test]
        fn resolving_never_panics(text in "\\PC{0,40}|(Basic|Bearer|AWS4-HMAC|Digest) [ -~]{0,40}", ip in "[0-9a-f:.\\[\\], %]{0,30}") {
            let c = Credentials { authorization: Some(&text), client_cert: Some(&text), token_hash: Some(&text), client_ip: Some(&ip), ..Credentials::default() };
            let (_, name) = resolve(&c, false);
            prop_assert!(!name.is_empty() && name.len() <= NAME_BYTES_MAX);
            prop_assert!(!name.chars().any(char::is_control));
        }
    }
}
