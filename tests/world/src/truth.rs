//! What is true of the APIs, beside the log: `truth.json`, and OpenAPI documents of what is documented.
//!
//! In: every line that was written, with its endpoint as the world made it. Out: the endpoints that were answered, which of them
//! no document has, AI agents, MCP servers and tools, and what is wrong with them as far as it was planted. What is documented is
//! drawn per path, so that one path in six is a shadow, some hosts have no document at all, and some paths lack a method.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::api::{Credential, Place};
use crate::dice::{fold, share};
use crate::people::Role;
use crate::posture::{Line, Sown};
use crate::request::Verb;
use crate::scribe::Call;
use crate::world::World;

/// Methods of a path, and whether each is deprecated; by path, by host.
type Documents<'a> = BTreeMap<&'a str, BTreeMap<&'a str, Vec<(&'a str, bool)>>>;

/// Shares of hosts without a document, of paths that are in none, of methods that are not in their path's, of deprecated ones.
const HOSTS_UNDOCUMENTED: f64 = 0.1;
const PATHS_UNDOCUMENTED: f64 = 0.17;
const METHODS_UNDOCUMENTED: f64 = 0.06;
const DEPRECATED: f64 = 0.06;
/// Documented and called by nobody, on every host that has a document.
const UNUSED: [&str; 2] = ["/nobody/calls/this", "/nor/that/{id}"];
/// Calls from which a fault that the world has by itself is told to be there for all to see.
const CALLS_CLEAR: u64 = 20;
/// User agents by which a vendor lets its agent name itself.
const AGENTS: [&str; 1] = ["claude-code/"];

/// What the lines so far come to.
#[derive(Debug, Default)]
pub struct Truth {
    /// Answered endpoints by `METHOD host /template`: calls, and when the first ended.
    answered: BTreeMap<String, (u64, i64)>,
    /// By names that the log gives them: the reason why the log can't show it, none when it can.
    agents: BTreeMap<Vec<String>, Option<&'static str>>,
    servers: BTreeSet<String>,
    tools: BTreeSet<String>,
    /// Answered calls with an e-mail address in their URL.
    personal: BTreeMap<String, u64>,
}

/// Whether a path is written as clients write it; what tricks with its form lead to is no endpoint of its own.
fn is_plain(path: &str) -> bool {
    let path = path.to_ascii_lowercase();
    !["/./", "..", "//", ";", "%2f", "%2e"]
        .iter()
        .any(|trick| path.contains(trick))
}

/// The path template of a call, as the world made it: `/api/v2/orders/{id}`; none of paths that are written with a trick.
pub fn template(world: &World, call: &Call) -> Option<String> {
    let collection = &world.collections[call.request.collection];
    let api = &world.apis[collection.api];
    let path = call.request.target.split('?').next().unwrap_or("/");
    if !is_plain(path) {
        return None;
    }
    let mut segments: Vec<&str> = path.split('/').filter(|s| !s.is_empty()).collect();
    let n_base = api.base(1).split('/').filter(|s| !s.is_empty()).count();
    let verb = call.request.verb;
    let has_id = match verb {
        Verb::Read => {
            !matches!(collection.place, Place::Query(..) | Place::Graph) && Some(path) != api.rpc
        }
        Verb::Part | Verb::Export | Verb::Update | Verb::Delete | Verb::Staff => true,
        _ => false,
    };
    let names: Vec<&str> = api
        .collections
        .iter()
        .map(|at| world.collections[*at].name.as_str())
        .collect();
    // Probes are of no collection.
    let is_nested = (collection.place == Place::Nested || verb == Verb::Probe)
        && segments.get(n_base) == Some(&api.tenant_word);
    let at = n_base + if is_nested { 2 } else { 0 };
    let mut variables = Vec::new();
    if is_nested {
        variables.push(n_base + 1);
    }
    // Probes go for objects of any collection, with methods of their own.
    let is_named = |name: &&str| match verb {
        Verb::Probe => names.contains(name),
        _ => **name == collection.name,
    };
    if (has_id || verb == Verb::Probe) && segments.get(at).is_some_and(is_named) {
        variables.push(at + 1);
    }
    if verb == Verb::Coupon {
        variables.push(segments.len() - 1);
    }
    for at in variables {
        if let Some(segment) = segments.get_mut(at) {
            *segment = match segment.ends_with(".json") {
                true => "{id}.json",
                false => "{id}",
            };
        }
    }
    Some(format!("/{}", segments.join("/")))
}

fn is_answered(status: u16) -> bool {
    matches!(status, 200..=299 | 304)
}

impl Truth {
    /// Takes a line of the world's own traffic, with the status that was written.
    pub fn see(&mut self, world: &World, call: &Call, status: u16) {
        let api = &world.apis[world.collections[call.request.collection].api];
        let Some(template) = template(world, call) else {
            return;
        };
        self.see_agent(world, call, (&template, status));
        if !is_answered(status) {
            return;
        }
        let key = format!("{} {} {template}", call.request.method, api.host);
        if call.request.target.contains('@') {
            *self.personal.entry(key.clone()).or_default() += 1;
        }
        self.note(key, call.end_ms);
    }

    /// Takes a line that was sown.
    pub fn see_sown(&mut self, world: &World, line: &Line) {
        if is_answered(line.status)
            && let Some(template) = &line.template
        {
            self.note(
                format!("{} {} {template}", line.method, line.host),
                line.end_ms,
            );
            if let Some(tool) = &line.tool {
                let server = format!("{}{template}", line.host);
                self.tools.insert(format!("{server} {tool}"));
                self.servers.insert(server);
                if let Some(actor) = line.actor {
                    let token = world.actors[actor as usize].token(0, line.end_ms);
                    self.agents.insert(names(world, actor, token), None);
                }
            }
        }
    }

    fn note(&mut self, key: String, end_ms: i64) {
        self.answered.entry(key).or_insert((0, end_ms)).0 += 1;
    }

    fn see_agent(&mut self, world: &World, call: &Call, (path, status): (&str, u16)) {
        let actor = &world.actors[call.by.actor as usize];
        let api = &world.apis[actor.api];
        // Who is not answered has shown nothing of the protocol.
        let is_rpc = api.rpc == Some(path) && is_answered(status);
        if is_rpc && api.has_bodies {
            let server = format!("{}{path}", api.host);
            if let Some(tool) = tool_of(&call.request.body) {
                self.tools.insert(format!("{server} {tool}"));
            }
            self.servers.insert(server);
        }
        if actor.role != Role::Agent {
            return;
        }
        let names = names(world, call.by.actor, call.by.token);
        let agent = &actor.devices[0].agent;
        let hidden = match (is_rpc && api.has_bodies, api.credential) {
            (true, _) | (_, Credential::Claims) => None,
            _ if AGENTS.iter().any(|mark| agent.starts_with(mark)) => None,
            _ if is_rpc => {
                Some("what it says to the MCP server is in bodies, which are not logged")
            }
            _ => Some("it calls as any program does"),
        };
        let known = self.agents.entry(names).or_insert(hidden);
        if hidden.is_none() {
            *known = None;
        }
    }

    /// The documents, by host, and the truth as JSON.
    ///
    /// * `sown`: what was planted; none when nothing was.
    pub fn finish(&self, world: &World, sown: Option<&Sown>) -> (BTreeMap<String, String>, String) {
        let seed = world.options.seed;
        let mut paths = BTreeMap::<(&str, &str), Vec<&str>>::new();
        for key in self.answered.keys() {
            let mut parts = key.splitn(3, ' ');
            let mut next = || parts.next().unwrap_or_default();
            let (method, host, path) = (next(), next(), next());
            paths.entry((host, path)).or_default().push(method);
        }
        let never: BTreeSet<&str> = sown.map(Sown::undocumented).unwrap_or_default();
        let mut documents = Documents::new();
        for ((host, path), methods) in &paths {
            let keys = |name: &str, salt| [seed, of_text(host), of_text(name), salt];
            let is_hidden = share(&keys("", 71)) < HOSTS_UNDOCUMENTED
                || share(&keys(path, 72)) < PATHS_UNDOCUMENTED
                || never.contains(path);
            if is_hidden {
                continue;
            }
            let has_several = methods.len() > 1;
            // Browsers ask with it by themselves: it is seldom in a document.
            let asked = methods.iter().filter(|method| **method != "OPTIONS");
            let own = asked.filter_map(|method| {
                let name = format!("{method} {path}");
                let is_left_out = has_several && share(&keys(&name, 73)) < METHODS_UNDOCUMENTED;
                (!is_left_out).then(|| (*method, share(&keys(&name, 74)) < DEPRECATED))
            });
            let own: Vec<_> = own.collect();
            if !own.is_empty() {
                documents.entry(host).or_default().insert(path, own);
            }
        }
        for paths in documents.values_mut() {
            paths.extend(UNUSED.map(|path| (path, vec![("GET", false)])));
        }
        let truth = self.json(&documents, sown);
        let documents = documents
            .iter()
            .map(|(host, paths)| ((*host).to_owned(), document(host, paths)))
            .collect();
        (documents, truth)
    }

    fn json(&self, documents: &Documents<'_>, sown: Option<&Sown>) -> String {
        let endpoints = self.answered.iter().map(|(key, (n_calls, first_ms))| {
            format!(
                r#"{{"key": {}, "calls": {n_calls}, "first_ms": {first_ms}, "document": "{}"}}"#,
                text(key),
                standing(documents, key)
            )
        });
        let orphans = documents
            .keys()
            .flat_map(|host| UNUSED.map(|path| text(&format!("GET {host} {path}"))));
        let agents = self.agents.iter().map(|(names, hidden)| {
            let names: Vec<String> = names.iter().map(|name| text(name)).collect();
            let hidden = hidden.map_or("null".to_owned(), text);
            format!(r#"{{"names": [{}], "hidden": {hidden}}}"#, names.join(", "))
        });
        let mut out = "{\n".to_owned();
        list(&mut out, "endpoints", endpoints);
        list(&mut out, "orphans", orphans);
        list(&mut out, "agents", agents);
        list(
            &mut out,
            "servers",
            self.servers.iter().map(|name| text(name)),
        );
        list(&mut out, "tools", self.tools.iter().map(|name| text(name)));
        if let Some(sown) = sown {
            let personal = self.personal.iter().map(|(key, n_calls)| {
                let is_clear = CALLS_CLEAR <= *n_calls;
                (key.as_str(), "personal_data_in_url", is_clear)
            });
            sown.json(personal, &mut out);
        }
        // The last list's comma.
        out.truncate(out.trim_end().trim_end_matches(',').len());
        out.push_str("\n}\n");
        out
    }
}

/// By what the log can call an agent.
fn names(world: &World, actor: u32, token: u64) -> Vec<String> {
    let agent = &world.actors[actor as usize];
    match world.apis[agent.api].credential {
        Credential::Subject => vec![agent.name.clone()],
        Credential::Claims => vec![format!("agent-{}", agent.salt % 7), agent.name.clone()],
        Credential::Hash => vec![format!("token:{token:016x}")],
    }
}

/// What the documents say of an endpoint: `documented`, `deprecated`, `path` when it lacks the method, `host` when it lacks the path,
/// `none` when there is none of the host.
fn standing(documents: &Documents<'_>, key: &str) -> &'static str {
    let mut parts = key.splitn(3, ' ');
    let mut next = || parts.next().unwrap_or_default();
    let (method, host, path) = (next(), next(), next());
    let Some(paths) = documents.get(host) else {
        return "none";
    };
    // What a documented path describes is documented: `/notes/search` is a `/notes/{id}`.
    let own = paths.get(path).map(|own| vec![own]);
    let own = own.unwrap_or_else(|| {
        let described = paths.iter().filter(|(other, _)| is_of(other, path));
        described.map(|(_, own)| own).collect()
    });
    let named: Vec<bool> = own
        .iter()
        .flat_map(|own| own.iter())
        .filter(|(name, _)| *name == method)
        .map(|(_, is_deprecated)| *is_deprecated)
        .collect();
    match (own.is_empty(), named.is_empty()) {
        (true, _) => "host",
        (_, true) if method == "OPTIONS" => "documented",
        (_, true) => "path",
        _ if named.iter().all(|is_deprecated| *is_deprecated) => "deprecated",
        _ => "documented",
    }
}

/// Whether a template describes a path.
fn is_of(template: &str, path: &str) -> bool {
    let (a, b): (Vec<&str>, Vec<&str>) = (template.split('/').collect(), path.split('/').collect());
    a.len() == b.len() && a.iter().zip(&b).all(|(a, b)| a == b || *a == "{id}")
}

/// An OpenAPI document of a host.
fn document(host: &str, paths: &BTreeMap<&str, Vec<(&str, bool)>>) -> String {
    let item = |(path, methods): (&&str, &Vec<(&str, bool)>)| {
        let operations: Vec<String> = methods
            .iter()
            .map(|(method, is_deprecated)| {
                format!(
                    r#""{}": {{"deprecated": {is_deprecated}, "responses": {{"200": {{}}, "201": {{}}, "204": {{}}}}}}"#,
                    method.to_ascii_lowercase()
                )
            })
            .collect();
        format!("  {}: {{{}}}", text(&named(path)), operations.join(", "))
    };
    let items: Vec<String> = paths.iter().map(item).collect();
    format!(
        "{{\"openapi\": \"3.1.0\", \"info\": {{\"title\": {0}, \"version\": \"1\"}}, \"servers\": [{{\"url\": {1}}}], \"paths\": {{\n{2}\n}}}}\n",
        text(host),
        text(&format!("https://{host}")),
        items.join(",\n")
    )
}

/// A template whose variables have names of their own, as OpenAPI wants it.
fn named(path: &str) -> String {
    let mut out = String::new();
    for (nth, part) in path.split("{id}").enumerate() {
        if nth > 0 {
            let _ = write!(out, "{{id{nth}}}");
        }
        out.push_str(part);
    }
    out
}

/// The tool that a JSON-RPC body calls, as the world writes such bodies.
fn tool_of(body: &str) -> Option<&str> {
    let (_, rest) = body.split_once(r#""params":{"name":""#)?;
    rest.split('"').next()
}

fn of_text(text: &str) -> u64 {
    text.bytes()
        .fold(11, |sum, byte| fold(&[sum, u64::from(byte)]))
}

/// A text as JSON.
pub(crate) fn text(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Appends a list, and a comma.
pub(crate) fn list(out: &mut String, name: &str, items: impl Iterator<Item = String>) {
    let items: Vec<String> = items.map(|item| format!("  {item}")).collect();
    let _ = writeln!(out, " \"{name}\": [\n{}\n ],", items.join(",\n"));
}
