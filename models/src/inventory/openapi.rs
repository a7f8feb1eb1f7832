//! An OpenAPI 3.1 document of what traffic shows, and no more.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::entry::{Entry, IdTypes, KINDS};
use crate::object::name::push_collection;

/// What no log can tell; it stands in the document.
const UNKNOWN: &str = "Written from an access log. It lists what was called and answered with success, not what could be called. \
What it cannot know: the meaning of operations, bodies and their schemas, headers, parameters nobody used, which parameters are \
required, which statuses nobody provoked, and the names of path parameters, which are made from the words before them.";

/// The operations of one host that were answered with success, as a document.
///
/// * `host`: `-` for a log that names none; the document then has no server.
pub fn export(entries: &[Entry], host: &str) -> Value {
    let known = entries
        .iter()
        .filter(|entry| entry.is_answered() && entry.host == host);
    let known: Vec<&Entry> = known.collect();
    let (mut paths, mut schemes) = (
        BTreeMap::<String, Map<String, Value>>::new(),
        BTreeSet::new(),
    );
    for entry in &known {
        let method = entry.method.to_ascii_lowercase();
        if ![
            "get", "put", "post", "delete", "options", "head", "patch", "trace",
        ]
        .contains(&method.as_str())
        {
            continue;
        }
        let (path, parameters) = path_of(entry);
        let item = paths.entry(path).or_default();
        item.insert(method, operation(entry, parameters));
        schemes.extend(
            entry
                .auth_schemes
                .iter()
                .filter(|_| 0 < entry.authenticated)
                .cloned(),
        );
    }
    let first = known
        .iter()
        .map(|entry| entry.first_seen_ms)
        .min()
        .unwrap_or(0);
    let last = known
        .iter()
        .map(|entry| entry.last_seen_ms)
        .max()
        .unwrap_or(0);
    let mut document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": format!("{host}, as its traffic shows it"),
            "version": format!("seen-{last}"),
            "description": UNKNOWN,
            "x-first-seen-ms": first,
            "x-last-seen-ms": last,
        },
        "paths": paths,
    });
    if let (Some(scheme), true) = (scheme_of(&known), host != "-") {
        document["servers"] = json!([{ "url": format!("{scheme}://{host}") }]);
    }
    if !schemes.is_empty() {
        let schemes: Map<String, Value> = schemes
            .into_iter()
            .map(|name| (component(&name), security_scheme(&name)))
            .collect();
        document["components"] = json!({ "securitySchemes": schemes });
    }
    document
}

/// `https` unless plaintext is all that was seen; none without any endpoint.
fn scheme_of(entries: &[&Entry]) -> Option<&'static str> {
    let sum = |of: fn(&Entry) -> u64| entries.iter().map(|entry| of(entry)).sum::<u64>();
    let is_plain = sum(|entry| entry.tls) == 0 && 0 < sum(|entry| entry.plaintext);
    (!entries.is_empty()).then_some(if is_plain { "http" } else { "https" })
}

/// A template with its variables named, and what is known of each.
fn path_of(entry: &Entry) -> (String, Vec<Value>) {
    let (mut path, mut parameters) = (String::new(), Vec::new());
    let (mut noun, mut taken) = (String::new(), BTreeSet::new());
    let mut ids = entry.ids.iter();
    for segment in entry
        .template
        .split('/')
        .filter(|segment| !segment.is_empty())
    {
        path.push('/');
        let Some((head, rest)) = segment.split_once("{id}") else {
            noun.clear();
            push_collection(segment, &mut noun);
            path.push_str(segment);
            continue;
        };
        let stem = match noun.is_empty() {
            true => "id".to_owned(),
            false => format!("{noun}_id"),
        };
        let name = (1..)
            .map(|n| match n {
                1 => stem.clone(),
                n => format!("{stem}_{n}"),
            })
            .find(|name| taken.insert(name.clone()))
            .unwrap_or(stem);
        path.push_str(&format!("{head}{{{name}}}{rest}"));
        parameters.push(path_parameter(&name, ids.next()));
    }
    if path.is_empty() {
        path.push('/');
    }
    (path, parameters)
}

fn path_parameter(name: &str, ids: Option<&IdTypes>) -> Value {
    let types: Vec<String> = ids.map(|ids| ids.types.clone()).unwrap_or_default();
    let mut parameter =
        json!({ "name": name, "in": "path", "required": true, "schema": schema(&types) });
    if let Some(ids) = ids.filter(|ids| !ids.types.is_empty()) {
        parameter["description"] = json!(format!("Seen as {}", ids.types.join(", ")));
        parameter["x-guessable"] = json!(ids.guessable);
    }
    parameter
}

/// The schema of values that looked like these kinds; any value where that is not one type.
fn schema(types: &[String]) -> Value {
    let kinds = KINDS
        .iter()
        .filter(|(_, name, ..)| types.iter().any(|seen| seen == name));
    let kinds: BTreeSet<(&str, Option<&str>)> =
        kinds.map(|(_, _, of, format, _)| (*of, *format)).collect();
    match kinds.into_iter().collect::<Vec<_>>().as_slice() {
        [] => json!({}),
        [(of, None)] => json!({ "type": of }),
        [(of, Some(format))] => json!({ "type": of, "format": format }),
        _ => json!({ "type": "string" }),
    }
}

fn operation(entry: &Entry, mut parameters: Vec<Value>) -> Value {
    for parameter in entry
        .parameters
        .iter()
        .filter(|parameter| parameter.name != "*")
    {
        let n = parameter.calls;
        parameters.push(json!({
            "name": parameter.name, "in": "query", "required": false, "schema": schema(&parameter.types),
            "description": format!("Seen in {n} of {} calls", entry.calls),
        }));
    }
    let content = |types: &[String]| -> Map<String, Value> {
        let types = types.iter().filter(|name| name.contains('/'));
        types.map(|name| (name.clone(), json!({}))).collect()
    };
    let mut responses = Map::new();
    for (status, n) in entry
        .statuses
        .iter()
        .filter(|(status, _)| *status != "none")
    {
        let mut response = json!({ "description": format!("Seen {n} times") });
        // The log has the types of all answers together; a body of success is what readers look for.
        if status.starts_with('2') && status != "204" && !entry.response_types.is_empty() {
            response["content"] = Value::Object(content(&entry.response_types));
        }
        responses.insert(status.clone(), response);
    }
    let mut operation = json!({
        "parameters": parameters,
        "responses": responses,
        "x-calls": entry.calls,
        "x-first-seen-ms": entry.first_seen_ms,
        "x-last-seen-ms": entry.last_seen_ms,
    });
    let bodies = content(&entry.request_types);
    if entry.is_write() && entry.method != "DELETE" && !bodies.is_empty() {
        operation["requestBody"] = json!({ "content": bodies });
    }
    if 0 < entry.authenticated && !entry.auth_schemes.is_empty() {
        let ways = entry
            .auth_schemes
            .iter()
            .map(|name| json!({ component(name): [] }));
        let open = (0 < entry.anonymous_answered).then(|| json!({}));
        operation["security"] = ways.chain(open).collect();
    }
    if !entry.sensitive.is_empty() {
        operation["x-sensitive-hints"] = json!(entry.sensitive);
    }
    if !entry.cut.is_empty() {
        operation["x-incomplete"] = json!(entry.cut);
    }
    operation
}

/// A name that a component may have.
fn component(name: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || "._-".contains(c) {
            c
        } else {
            '_'
        }
    };
    name.chars().map(plain).collect()
}

fn security_scheme(name: &str) -> Value {
    match name {
        "bearer" | "basic" | "digest" => json!({ "type": "http", "scheme": name }),
        "mtls" => json!({ "type": "mutualTLS" }),
        "api_key" => json!({
            "type": "apiKey", "in": "header", "name": "unknown",
            "description": "The log does not say where the key stands.",
        }),
        other => json!({
            "type": "http", "scheme": other,
            "description": "What the gateway calls it; the log does not say more.",
        }),
    }
}

/// Hosts with endpoints that were answered, with how many.
pub fn hosts(entries: &[Entry]) -> BTreeMap<String, usize> {
    let mut hosts = BTreeMap::new();
    for entry in entries.iter().filter(|entry| entry.is_answered()) {
        *hosts.entry(entry.host.clone()).or_default() += 1;
    }
    hosts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::{Call, CallObject, Documents, Summary, compare};

    fn entry(name: &str, path: &str, query: Option<&str>, scheme: Option<&str>) -> Entry {
        let mut summary = Summary::default();
        let template = name.rsplit(' ').next().unwrap_or("/");
        let call = Call {
            status: Some(200),
            is_authenticated: scheme.is_some(),
            auth_scheme: scheme,
            template,
            path,
            query,
            request_type: Some("application/json"),
            response_type: Some("application/json"),
            ..Call::default()
        };
        summary.add(&call, std::iter::empty::<CallObject<'_>>());
        Entry::of(name, &summary, 0)
    }

    #[test]
    fn what_is_written_from_traffic_describes_all_of_it() {
        let mut entries = vec![
            entry(
                "GET h /v1/orders/{id}",
                "/v1/orders/17",
                Some("page=2"),
                Some("bearer"),
            ),
            entry(
                "PUT h /v1/orders/{id}",
                "/v1/orders/17",
                None,
                Some("api_key"),
            ),
            entry(
                "GET h /orgs/{id}/{id}/files/{id}.json",
                "/orgs/acme-17/3/files/x1.json",
                None,
                None,
            ),
            entry("GET h /", "/", None, None),
            entry("GET other /x", "/x", None, None),
        ];
        let document = export(&entries, "h");
        let paths: Vec<&str> = document["paths"]
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        assert_eq!(
            paths,
            [
                "/",
                "/orgs/{org_id}/{org_id_2}/files/{file_id}.json",
                "/v1/orders/{order_id}"
            ]
        );
        let get = &document["paths"]["/v1/orders/{order_id}"]["get"];
        assert_eq!(get["parameters"][0]["schema"], json!({"type": "integer"}));
        assert_eq!(get["parameters"][1]["name"], "page");
        assert_eq!(get["security"], json!([{"bearer": []}]));
        assert_eq!(
            get["responses"]["200"]["content"],
            json!({"application/json": {}})
        );
        assert!(
            document["info"]["description"]
                .as_str()
                .unwrap()
                .contains("cannot know")
        );
        // Read again it is what the traffic was.
        let mut documents = Documents::default();
        documents.add("own.json", &document).unwrap();
        entries.pop();
        let orphans = compare(&mut entries, &documents);
        assert_eq!(orphans, []);
        for entry in &entries {
            assert_eq!(
                (entry.documented, entry.deviations.len()),
                (Some(true), 0),
                "{entry:?}"
            );
        }
    }
}
