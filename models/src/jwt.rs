//! Claims of a JSON web token: who calls, for whom, through which client.
//!
//! Comes in: a token as logged, or the claims a gateway logged as JSON. Goes out: [`Claims`].
//! **Invariant**: nothing is verified (the gateway did that) and nothing of the signature is kept.

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use serde_json::{Map, Value};

/// Longest token or claim text that is decoded, 16 KiB: gateways refuse longer headers; a longer one has no claims.
pub const TOKEN_BYTES_MAX: usize = 16 * 1024;
/// Longest claim that is kept, in bytes; a longer one is no name.
const CLAIM_BYTES_MAX: usize = 512;

pub(crate) const URL_SAFE: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// What a token says about its bearer.
///
/// | field | claims, first that exists |
/// |---|---|
/// | `sub` | `sub`, `user_id`, `uid`, `oid`, `preferred_username`, `username`, `upn`, `email` |
/// | `iss` | `iss` |
/// | `tenant` | `tenant`, `tenant_id`, `tid`, `org_id`, `org`, `account_id` |
/// | `client_id` | `azp`, `client_id`, `cid`, `appid`, `act.sub` |
/// | `on_behalf_of` | `on_behalf_of`, `obo`, `act_as`, `may_act.sub` |
/// | `actor` | `act.sub`, `act.client_id` (RFC 8693: the one who acts for `sub`) |
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    /// Whom the token is about.
    pub sub: Option<String>,
    /// Who issued it.
    pub iss: Option<String>,
    /// The tenant the subject belongs to.
    pub tenant: Option<String>,
    /// The client the token was issued to.
    pub client_id: Option<String>,
    /// For whom the subject acts, where the issuer says so outside `act`.
    pub on_behalf_of: Option<String>,
    /// Who acts for the subject (`act.sub`): an agent or a service.
    pub actor: Option<String>,
    /// The header names `none` as its algorithm: whoever wrote the token signed nothing.
    pub alg_none: bool,
}

/// Decodes the payload of a token; `None` when it is no JSON web token or too long.
pub fn claims_of_token(token: &str) -> Option<Claims> {
    if TOKEN_BYTES_MAX < token.len() {
        return None;
    }
    let mut parts = token.trim().split('.');
    let (header, payload) = (parts.next()?, parts.next()?);
    // Header and payload begin with `{`: anything else is not worth decoding.
    if !header.starts_with('e') || !payload.starts_with('e') {
        return None;
    }
    let mut claims = claims_of_bytes(&URL_SAFE.decode(payload).ok()?)?;
    claims.alg_none = alg_is_none(header);
    Some(claims)
}

/// Reads claims a gateway logged as a JSON object; `None` when it is none or too long.
pub fn claims_of_json(json: &str) -> Option<Claims> {
    if TOKEN_BYTES_MAX < json.len() || !json.trim_start().starts_with('{') {
        return None;
    }
    claims_of_bytes(json.as_bytes())
}

fn claims_of_bytes(json: &[u8]) -> Option<Claims> {
    let Ok(Value::Object(claims)) = serde_json::from_slice(json) else {
        return None;
    };
    let within = |outer: &str, keys: &[&str]| match claims.get(outer) {
        Some(Value::Object(inner)) => first(inner, keys),
        _ => None,
    };
    let actor = within("act", &["sub", "client_id"]);
    Some(Claims {
        sub: first(
            &claims,
            &[
                "sub",
                "user_id",
                "uid",
                "oid",
                "preferred_username",
                "username",
                "upn",
                "email",
            ],
        ),
        iss: first(&claims, &["iss"]),
        tenant: first(
            &claims,
            &["tenant", "tenant_id", "tid", "org_id", "org", "account_id"],
        ),
        client_id: first(&claims, &["azp", "client_id", "cid", "appid"]).or_else(|| actor.clone()),
        on_behalf_of: first(&claims, &["on_behalf_of", "obo", "act_as"])
            .or_else(|| within("may_act", &["sub"])),
        actor,
        alg_none: false,
    })
}

fn first(claims: &Map<String, Value>, keys: &[&str]) -> Option<String> {
    keys.iter().find_map(|key| match claims.get(*key)? {
        Value::String(text) if !text.trim().is_empty() && text.len() <= CLAIM_BYTES_MAX => {
            Some(text.trim().to_owned())
        }
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    })
}

fn alg_is_none(header: &str) -> bool {
    let Ok(bytes) = URL_SAFE.decode(header) else {
        return false;
    };
    match serde_json::from_slice(&bytes) {
        Ok(Value::Object(header)) => header
            .get("alg")
            .and_then(Value::as_str)
            .is_some_and(|alg| alg.eq_ignore_ascii_case("none")),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn token(header: &str, payload: &str) -> String {
        format!(
            "{}.{}.sig",
            URL_SAFE.encode(header),
            URL_SAFE.encode(payload)
        )
    }

    #[test]
    fn claims_come_out_of_tokens_and_json() {
        let payload =
            r#"{"sub":"alice","iss":"https://i","tid":"t1","azp":"app","act":{"sub":"agent"}}"#;
        let claims = claims_of_token(&token(r#"{"alg":"RS256"}"#, payload)).expect("a token");
        assert_eq!(claims.sub.as_deref(), Some("alice"));
        assert_eq!(claims.tenant.as_deref(), Some("t1"));
        assert_eq!(claims.client_id.as_deref(), Some("app"));
        assert_eq!(claims.actor.as_deref(), Some("agent"));
        assert!(!claims.alg_none);
        assert_eq!(claims_of_json(payload), Some(claims));
        assert!(
            claims_of_token(&token(r#"{"alg":"None"}"#, "{}"))
                .expect("a token")
                .alg_none
        );
        let number = claims_of_json(r#"{"sub":42,"iss":""}"#).expect("claims");
        assert_eq!((number.sub.as_deref(), number.iss), (Some("42"), None));
    }

    #[test]
    fn what_is_no_token_has_no_claims() {
        for text in [
            "",
            ".",
            "a.b.c",
            "eyJh",
            "eyJhbGciOiJub25lIn0.e30",
            "eyJhbGciOiJub25lIn0.ey",
            "e.e.e",
        ] {
            let claims = claims_of_token(text);
            assert!(claims.is_none_or(|claims| claims.sub.is_none()), "{text}");
        }
        assert_eq!(claims_of_token(&"e".repeat(TOKEN_BYTES_MAX + 1)), None);
    }

    proptest! {
        #[test]
        fn decoding_never_panics(text in "\\PC{0,60}|e[A-Za-z0-9_.-]{0,80}") {
            let _ = (claims_of_token(&text), claims_of_json(&text));
        }
    }
}
