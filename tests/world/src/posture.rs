//! Misconfigurations that are sown into a world (`--posture`), and their healthy twins: the same callers ask for the same, and a
//! service that is in order answers.
//!
//! In: a world. Out: lines that are laid between its own, and what is wrong by them. Each API draws for each kind whether it has
//! the fault, its twin or neither. Beside them lies what is open by intent everywhere: health checks, logins, preflights, documents.
//! What a service of such a world answers to attackers' probes is decided by what is sown, not drawn ([`Sown::decide`]).

mod kinds;
mod sower;

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::dice::{Dice, fold};
use crate::labels;
use crate::log;
use crate::request::Verb;
use crate::scribe::Call;
use crate::truth::{list, text};
use crate::world::World;
use sower::Sower;

/// Shares of APIs that have a fault, and its healthy twin.
const FAULTY: f64 = 0.45;
const HEALTHY: f64 = 0.4;
/// Share of calls whose status a gateway that loses them does not log; and what clients who leave make of it elsewhere.
const STATUS_LOST: f64 = 0.09;
const STATUS_LEFT: f64 = 0.01;

/// A kind of fault.
#[derive(Clone, Copy)]
struct Kind {
    /// Id of the check that tells it, as `docs/posture.md` of the program lists them.
    check: &'static str,
    /// Checks that are true of the same calls, too.
    also: &'static [&'static str],
    /// Sows the calls; what has the fault comes back, none when the API has no room for it.
    sow: fn(&mut Sower<'_>, is_faulty: bool) -> Option<String>,
}

/// A line that was sown; texts are empty where the log has nothing.
#[derive(Clone, Debug, Default)]
pub struct Line {
    /// When the call ended.
    pub end_ms: i64,
    /// API whose gateway wrote it.
    pub api: usize,
    /// Method.
    pub method: &'static str,
    /// Host.
    pub host: String,
    /// Path and query.
    pub target: String,
    /// The endpoint's path template; none where the path is a trick.
    pub template: Option<String>,
    /// Status; 0 for none.
    pub status: u16,
    /// Scheme.
    pub scheme: &'static str,
    /// Who calls, by a credential as the API's gateway logs it; none for strangers.
    pub actor: Option<u32>,
    /// Address of the client.
    pub address: u32,
    /// Address of the socket's peer.
    pub peer: String,
    /// User agent.
    pub agent: &'static str,
    /// Authorization header, where this route's log has it.
    pub authorization: String,
    /// Origin.
    pub origin: String,
    /// `origin|credentials` of the answer.
    pub cors: String,
    /// Method override.
    pub method_override: &'static str,
    /// Subject of the client's certificate.
    pub certificate: String,
    /// Version of TLS.
    pub tls: &'static str,
    /// Content type of the request.
    pub content_type: &'static str,
    /// Content type of the answer.
    pub sent_type: &'static str,
    /// Bytes of the answer.
    pub bytes: u64,
    /// Body of the request, where it is logged.
    pub body: String,
    /// Tool that an MCP call names in its header.
    pub tool: Option<String>,
}

/// A fault, or its twin.
#[derive(Clone, Debug)]
struct Case {
    kind: &'static str,
    also: &'static [&'static str],
    subject: String,
    /// Of which checks of hosts may be true, too; `*` where there is none.
    host: String,
    is_faulty: bool,
}

/// What was sown into a world.
#[derive(Clone, Debug)]
pub struct Sown {
    /// Lines, by time.
    pub lines: Vec<Line>,
    cases: Vec<Case>,
    /// Header of answers that names the software, by API.
    servers: Vec<&'static str>,
    /// Hosts that answer a path however it is spelled.
    respelling: Vec<bool>,
    /// Share of statuses that are not logged.
    lost: f64,
    /// Paths that are in no document.
    hidden: BTreeSet<String>,
    seed: u64,
}

impl Sown {
    /// Sows into a world.
    pub fn draw(world: &World) -> Sown {
        let mut dice = Dice::of(&[world.options.seed, 81]);
        let mut sown = Sown {
            lines: Vec::new(),
            cases: Vec::new(),
            servers: Vec::new(),
            respelling: Vec::new(),
            lost: STATUS_LEFT,
            hidden: BTreeSet::new(),
            seed: world.options.seed,
        };
        if dice.chance(FAULTY / 2.0) {
            sown.lost = STATUS_LOST;
        }
        sown.case(
            &kinds::LOG_GAP,
            "*".to_owned(),
            "*",
            sown.lost == STATUS_LOST,
        );
        for at in 0..world.apis.len() {
            let is_verbose = dice.chance(FAULTY);
            let host = world.apis[at].host.clone();
            sown.servers
                .push(if is_verbose { "nginx/1.22.1" } else { "nginx" });
            sown.respelling.push(false);
            for kind in &kinds::KINDS {
                let draw = dice.unit();
                let is_faulty = draw < FAULTY;
                let mut sower = Sower::new(world, at, dice.bits());
                if draw < FAULTY + HEALTHY
                    && let Some(subject) = (kind.sow)(&mut sower, is_faulty)
                {
                    sown.respelling[at] |= is_faulty && kind.check == "respelled_path";
                    sown.take(sower);
                    sown.case(kind, subject, &host, is_faulty);
                }
            }
            sown.versions(world, at);
            let mut sower = Sower::new(world, at, dice.bits());
            kinds::innocents(&mut sower);
            sown.take(sower);
            // A rehearsal's host has the same server.
            let of_api = sown.lines.iter().filter(|line| line.api == at);
            let mut hosts: BTreeSet<String> = of_api.map(|line| line.host.clone()).collect();
            hosts.insert(host);
            for host in hosts {
                sown.case(&kinds::VERSION, host.clone(), &host, is_verbose);
            }
        }
        sown.lines
            .sort_by(|a, b| (a.end_ms, &a.target).cmp(&(b.end_ms, &b.target)));
        sown
    }

    /// Sows two versions of a route, by dice of their own: shorter worlds are what they were without.
    fn versions(&mut self, world: &World, at: usize) {
        if world.options.days < kinds::SUPERSEDED_DAYS {
            return;
        }
        let mut dice = Dice::of(&[self.seed, at as u64, 84]);
        let (kind, is_faulty) = (&kinds::SUPERSEDED, dice.chance(0.5));
        let mut sower = Sower::new(world, at, dice.bits());
        if let Some(subject) = (kind.sow)(&mut sower, is_faulty) {
            self.take(sower);
            self.case(kind, subject, &world.apis[at].host, is_faulty);
        }
    }

    fn take(&mut self, sower: Sower<'_>) {
        self.lines.extend(sower.lines);
        self.hidden.extend(sower.hidden);
    }

    fn case(&mut self, kind: &Kind, subject: String, host: &str, is_faulty: bool) {
        self.cases.push(Case {
            kind: kind.check,
            also: kind.also,
            subject,
            host: host.to_owned(),
            is_faulty,
        });
    }

    /// Paths that no document has.
    pub fn undocumented(&self) -> BTreeSet<&str> {
        self.hidden.iter().map(String::as_str).collect()
    }

    /// The status that is written of a call of the world's own, the `n`-th line; 0 for none.
    pub fn decide(&self, world: &World, call: &Call, n: u64) -> u16 {
        if crate::dice::share(&[self.seed, n, 82]) < self.lost {
            return 0;
        }
        if call.request.verb != Verb::Probe || call.status != 200 {
            return call.status;
        }
        let api = world.collections[call.request.collection].api;
        let is_trick = crate::truth::template(world, call).is_none();
        match call.request.method {
            // There is no such file, no such path.
            "GET" if !is_trick => 404,
            "GET" if !self.respelling[api] => 404,
            "TRACE" | "PROPFIND" => 405,
            _ => 200,
        }
    }

    /// What a line of the world's own has beside its fields.
    pub fn extend(&self, world: &World, call: &Call, status: u16, out: &mut String) {
        let collection = &world.collections[call.request.collection];
        let api = &world.apis[collection.api];
        out.truncate(out.trim_end().len().saturating_sub(1));
        let with_status = format!(r#""status":{},"#, call.status);
        *out = out.replacen(&with_status, &format!(r#""status":{status},"#), 1);
        if Some(call.request.target.as_str()) != api.rpc {
            // Sessions are of the MCP server.
            if let Some(at) = out.find(r#""mcp_session":""#) {
                let from = at + r#""mcp_session":""#.len();
                let end = out[from..].find('"').map_or(from, |n| from + n);
                out.replace_range(from..end, "");
            }
        }
        let _ = writeln!(
            out,
            r#","ssl_protocol":"TLSv1.3","sent_http_server":"{}"}}"#,
            self.servers[collection.api]
        );
    }

    /// Appends a sown line, the `n`-th of the log.
    pub fn write(&self, world: &World, line: &Line, n: u64, out: &mut String) {
        let (subject, claims, token) = match line.actor {
            Some(actor) => log::credential(
                world,
                actor,
                world.actors[actor as usize].token(0, line.end_ms),
            ),
            None => Default::default(),
        };
        let mcp = match &line.tool {
            Some(tool) => format!(r#","mcp_method":"tools/call","mcp_name":{}"#, text(tool)),
            None => String::new(),
        };
        let _ = writeln!(
            out,
            concat!(
                r#"{{"msec":"{}.{:03}","request_id":"{:012x}","remote_addr":"{}","realip_remote_addr":"{}","jwt_sub":"{}","jwt_claims":"{}","auth_sha256_16":"{}","#,
                r#""http_authorization":"{}","ssl_client_s_dn":"{}","scheme":"{}","method":"{}","host":"{}","request_uri":"{}","status":{},"request_length":{},"#,
                r#""body_bytes_sent":{},"request_time":0.0{}{},"upstream_addr":"{}","referer":"","origin":"{}","cors":"{}","user_agent":"{}","content_type":"{}","#,
                r#""sent_content_type":"{}","method_override":"{}","mcp_session":"","request_body":"{}","ssl_protocol":"{}","sent_http_server":"{}"{}}}"#
            ),
            line.end_ms.div_euclid(1000),
            line.end_ms.rem_euclid(1000),
            fold(&[self.seed, n, 83]) >> 16,
            log::address(line.address),
            line.peer,
            subject,
            claims,
            token,
            line.authorization,
            line.certificate,
            line.scheme,
            line.method,
            line.host,
            line.target,
            line.status,
            220 + line.target.len() + line.body.len(),
            line.bytes,
            1 + n % 9,
            n % 10,
            world.apis[line.api].upstream,
            line.origin,
            line.cors,
            line.agent,
            line.content_type,
            line.sent_type,
            line.method_override,
            log::quote(&line.body),
            line.tls,
            self.servers[line.api],
            mcp,
        );
    }

    /// Appends the label of a sown line.
    pub fn label(world: &World, line: &Line, n: u64, out: &mut String) {
        let name = line
            .actor
            .map_or("anonymous-sown", |actor| &world.actors[actor as usize].name);
        let _ = writeln!(out, "{n}\tlegit\t-\t{name}\t{}\t\t", labels::SOWN);
    }

    /// Appends what is wrong, and what is not.
    ///
    /// * `own`: faults that the world has by itself: subject, check, and whether many calls show them.
    pub(crate) fn json<'a>(
        &self,
        own: impl Iterator<Item = (&'a str, &'a str, bool)>,
        out: &mut String,
    ) {
        let fault = |(subject, host): (&str, &str), check: &str, also: &[&str], is_clear: bool| {
            let also: Vec<String> = also.iter().map(|check| text(check)).collect();
            format!(
                r#"{{"check": {}, "subject": {}, "host": {}, "also": [{}], "clear": {is_clear}}}"#,
                text(check),
                text(subject),
                text(host),
                also.join(", ")
            )
        };
        let faulty = self.cases.iter().filter(|case| case.is_faulty);
        let faulty =
            faulty.map(|case| fault((&case.subject, &case.host), case.kind, case.also, true));
        let own = own.map(|(subject, check, is_clear)| fault((subject, "*"), check, &[], is_clear));
        list(out, "faults", faulty.chain(own));
        let healthy = self.cases.iter().filter(|case| !case.is_faulty);
        let healthy = healthy.map(|case| {
            format!(
                r#"{{"check": {}, "subject": {}}}"#,
                text(case.kind),
                text(&case.subject)
            )
        });
        list(out, "healthy", healthy);
        list(
            out,
            "true_elsewhere",
            kinds::TRUE_ELSEWHERE.iter().map(|check| text(check)),
        );
    }
}
