//! The access log: nginx with a flat JSON `log_format`, one line a call.
//!
//! Fields: `msec` (end, s), `request_id`, `remote_addr`, `jwt_sub` or `jwt_claims` or neither by the API's [`Credential`],
//! `auth_sha256_16`, `scheme`, `method`, `host`, `request_uri`, `status`, `request_length`, `body_bytes_sent`, `request_time`,
//! `upstream_addr`, `referer`, `origin`, `user_agent`, `content_type`, `sent_content_type`, `mcp_session`, `request_body`.

use std::fmt::Write as _;

use crate::api::Credential;
use crate::dice::fold;
use crate::ids;
use crate::scribe::Call;
use crate::world::World;

/// A dotted address.
pub fn address(number: u32) -> String {
    let [a, b, c, d] = number.to_be_bytes();
    format!("{a}.{b}.{c}.{d}")
}

/// Appends the line of a call, the `n`-th of the log.
pub fn write(world: &World, call: &Call, n: u64, out: &mut String) {
    let collection = &world.collections[call.request.collection];
    let api = &world.apis[collection.api];
    let person = &world.actors[call.by.actor as usize];
    let device = &world.actors[call.by.machine as usize].devices[usize::from(call.by.device)];
    let is_anonymous = person.role.is_anonymous();
    let (request, end_ms) = (&call.request, call.end_ms);
    let (subject, claims, token) = match is_anonymous {
        true => Default::default(),
        false => credential(world, call.by.actor, call.by.token),
    };
    let (referer, origin) = match device.is_browser {
        true => (
            format!("https://app.{}/", api.host),
            if request.method == "GET" {
                String::new()
            } else {
                format!("https://app.{}", api.host)
            },
        ),
        false => (String::new(), String::new()),
    };
    let content_type = if request.body.is_empty() {
        ""
    } else {
        "application/json"
    };
    let length = 180
        + request.target.len()
        + device.agent.len()
        + 2 * referer.len()
        + request.body.len()
        + if is_anonymous {
            0
        } else {
            640 + (person.salt % 90) as usize
        };
    let session = match call.by.session {
        0 => String::new(),
        session => ids::uuid(session >> 16, 4, session & 0xfff, fold(&[session])),
    };
    let body = if api.has_bodies {
        quote(&request.body)
    } else {
        String::new()
    };
    let sent = if call.status == 204 {
        ""
    } else {
        "application/json"
    };
    let _ = writeln!(
        out,
        concat!(
            r#"{{"msec":"{}.{:03}","request_id":"{:012x}","remote_addr":"{}","jwt_sub":"{}","jwt_claims":"{}","auth_sha256_16":"{}","#,
            r#""scheme":"https","method":"{}","host":"{}","request_uri":"{}","status":{},"request_length":{},"body_bytes_sent":{},"#,
            r#""request_time":{:.3},"upstream_addr":"{}","referer":"{}","origin":"{}","user_agent":"{}","content_type":"{}","#,
            r#""sent_content_type":"{}","mcp_session":"{}","request_body":"{}"}}"#
        ),
        end_ms.div_euclid(1000),
        end_ms.rem_euclid(1000),
        fold(&[world.options.seed, n]) >> 16,
        address(call.by.address),
        subject,
        claims,
        token,
        request.method,
        api.host,
        request.target,
        call.status,
        length,
        call.bytes,
        call.latency_ms / 1000.0,
        api.upstream,
        referer,
        origin,
        device.agent,
        content_type,
        sent,
        session,
        body
    );
}

/// What the log says of an actor's credential: `jwt_sub`, `jwt_claims`, `auth_sha256_16`.
pub(crate) fn credential(world: &World, actor: u32, token: u64) -> (String, String, String) {
    let person = &world.actors[actor as usize];
    let token = format!("{token:016x}");
    match world.apis[person.api].credential {
        Credential::Subject => (person.name.clone(), String::new(), token),
        Credential::Claims => (String::new(), claims_of(world, actor), token),
        Credential::Hash => (String::new(), String::new(), token),
    }
}

fn claims_of(world: &World, actor: u32) -> String {
    let person = &world.actors[actor as usize];
    let api = &world.apis[person.api];
    let tenant = &world.tenants[person.tenant].id;
    let client = match person.patron {
        Some(_) => format!("agent-{}", person.salt % 7),
        None => "web".to_owned(),
    };
    // An agent's token has its patron's subject and names the agent as the actor (RFC 8693, section 4.1).
    let claims = match person.patron {
        Some(patron) => format!(
            r#"{{"iss":"https://id.{}","sub":"{}","tenant":"{tenant}","client_id":"{client}","act":{{"sub":"{}"}}}}"#,
            api.host, world.actors[patron as usize].name, person.name
        ),
        None => format!(
            r#"{{"iss":"https://id.{}","sub":"{}","tenant":"{tenant}","client_id":"{client}"}}"#,
            api.host, person.name
        ),
    };
    quote(&claims)
}

/// Writes a text as the inside of a JSON string; control characters do not occur.
pub(crate) fn quote(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}
