//! Routes of OpenAPI 3 and Swagger 2 documents.
//!
//! Comes in: a document as JSON values, whatever it was written in. Goes out: hosts and templates for
//! [`super::TemplateSet::new`]. `$ref` beside a path is not followed: the path itself is in the document all the same.

use serde_json::{Map, Value};

use super::set::{ANY_HOST, TEMPLATE_BYTES_MAX, TEMPLATES_MAX};
use crate::endpoint::{decode, push_host};

/// Servers of one document or path; further ones are refused. Every route is there once for each.
pub const SERVERS_MAX: usize = 32;

/// Why a value is no document of routes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OpenApiError {
    /// The place, as a JSON pointer: `/paths/~1users`.
    pub pointer: String,
    /// What is wrong there.
    pub reason: String,
}

impl std::fmt::Display for OpenApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let place = if self.pointer.is_empty() {
            "/"
        } else {
            &self.pointer
        };
        write!(f, "{place}: {}", self.reason)
    }
}

impl std::error::Error for OpenApiError {}

fn wrong(pointer: impl Into<String>, reason: impl Into<String>) -> OpenApiError {
    OpenApiError {
        pointer: pointer.into(),
        reason: reason.into(),
    }
}

/// Where an API is served: a host, [`ANY_HOST`] if the document names none, and a path before its paths.
type Server = (String, String);

/// The routes of a document: hosts and templates, a path's once for each of its servers.
pub fn routes(document: &Value) -> Result<Vec<(String, String)>, OpenApiError> {
    let paths = paths(document)?.into_iter();
    Ok(paths.map(|(host, template, _)| (host, template)).collect())
}

/// A path of a document for one of its servers: host, template and path item.
pub(crate) type PathOf<'a> = (String, String, &'a Map<String, Value>);

/// The paths of a document, each once for each of its servers.
pub(crate) fn paths(document: &Value) -> Result<Vec<PathOf<'_>>, OpenApiError> {
    let document = document
        .as_object()
        .ok_or_else(|| wrong("", "is no object"))?;
    let version = |name: &str| document.get(name).and_then(Value::as_str).unwrap_or("");
    let servers = match (version("openapi"), version("swagger")) {
        (openapi, _) if openapi.starts_with("3.") => servers(document, "")?,
        (_, "2.0") => vec![swagger_server(document)],
        _ => {
            return Err(wrong(
                "",
                "is neither OpenAPI 3 (`openapi: 3.…`) nor Swagger 2 (`swagger: \"2.0\"`)",
            ));
        }
    };
    let servers = servers_or_any(servers);
    let paths = match document.get("paths") {
        None => return Ok(Vec::new()),
        Some(paths) => paths
            .as_object()
            .ok_or_else(|| wrong("/paths", "is no object"))?,
    };
    let mut routes = Vec::new();
    for (path, item) in paths.iter().filter(|(path, _)| !path.starts_with("x-")) {
        let pointer = format!("/paths/{}", path.replace('~', "~0").replace('/', "~1"));
        let Some(item) = item.as_object() else {
            return Err(wrong(pointer, "is no object"));
        };
        let own = self::servers(item, &pointer)?;
        let servers = if own.is_empty() { &servers } else { &own };
        for (host, base) in servers {
            if routes.len() == TEMPLATES_MAX {
                return Err(wrong(
                    pointer,
                    format!("is more than the {TEMPLATES_MAX} routes a set holds"),
                ));
            }
            let template = template(base, path).map_err(|reason| wrong(&pointer, reason))?;
            routes.push((host.clone(), template, item));
        }
    }
    Ok(routes)
}

fn servers_or_any(servers: Vec<Server>) -> Vec<Server> {
    match servers.is_empty() {
        true => vec![(ANY_HOST.to_owned(), String::new())],
        false => servers,
    }
}

fn servers(of: &Map<String, Value>, pointer: &str) -> Result<Vec<Server>, OpenApiError> {
    let pointer = format!("{pointer}/servers");
    let Some(servers) = of.get("servers") else {
        return Ok(Vec::new());
    };
    let servers = servers
        .as_array()
        .ok_or_else(|| wrong(&pointer, "is no list"))?;
    if SERVERS_MAX < servers.len() {
        return Err(wrong(
            pointer,
            format!("names more than {SERVERS_MAX} servers"),
        ));
    }
    let server = |(at, server): (usize, &Value)| {
        let url = server
            .get("url")
            .and_then(Value::as_str)
            .ok_or_else(|| wrong(format!("{pointer}/{at}"), "has no `url`"))?;
        Ok(split(&filled(url, server.get("variables"))))
    };
    servers.iter().enumerate().map(server).collect()
}

/// A server's URL with the defaults of its variables; one without a default stays a parameter.
fn filled(url: &str, variables: Option<&Value>) -> String {
    let defaults = variables.and_then(Value::as_object).into_iter().flatten();
    defaults.fold(url.to_owned(), |url, (name, variable)| {
        match variable.get("default").and_then(Value::as_str) {
            Some(default) => url.replace(&format!("{{{name}}}"), default),
            None => url,
        }
    })
}

fn split(url: &str) -> Server {
    let Some((_, rest)) = url.split_once("://") else {
        return (ANY_HOST.to_owned(), url.to_owned());
    };
    let (host, base) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    if host.contains('{') {
        return (ANY_HOST.to_owned(), base.to_owned());
    }
    let mut normal = String::new();
    push_host(host, &mut normal);
    (normal, base.to_owned())
}

fn swagger_server(document: &Map<String, Value>) -> Server {
    let text = |name: &str| document.get(name).and_then(Value::as_str).unwrap_or("");
    let mut host = ANY_HOST.to_owned();
    if !text("host").is_empty() {
        host.clear();
        push_host(text("host"), &mut host);
    }
    (host, text("basePath").to_owned())
}

fn template(base: &str, path: &str) -> Result<String, String> {
    if !path.starts_with('/') {
        return Err("does not begin with a slash".to_owned());
    }
    let path = path.split(['?', '#']).next().unwrap_or(path);
    let mut out = String::new();
    for segment in base
        .split('/')
        .chain(path.split('/'))
        .filter(|segment| !segment.is_empty())
    {
        let mut open = false;
        for c in segment.chars() {
            match (c, open) {
                ('{', false) => open = true,
                ('}', true) => open = false,
                ('{', true) | ('}', false) => {
                    return Err(format!("has unmatched braces in `{segment}`"));
                }
                _ => (),
            }
        }
        if open {
            return Err(format!("has unmatched braces in `{segment}`"));
        }
        out.push('/');
        out.push_str(&decode(segment));
    }
    match out.len() {
        0 => Ok("/".to_owned()),
        1..=TEMPLATE_BYTES_MAX => Ok(out),
        _ => Err(format!("is longer than {TEMPLATE_BYTES_MAX} bytes")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn documents_become_routes() {
        for (document, want) in [
            (
                json!({"openapi": "3.1.0", "paths": {"/users/{id}": {}, "x-note": 1}}),
                vec![("*", "/users/{id}")],
            ),
            (
                json!({"openapi": "3.0.0", "servers": [{"url": "https://API.example.com:443/{v}/", "variables": {"v": {"default": "v2"}}}, {"url": "/base"}],
                    "paths": {"/a%20b?x=1": {}, "/own": {"servers": [{"url": "https://{region}.example.com/r"}]}}}),
                vec![
                    ("api.example.com", "/v2/a b"),
                    ("*", "/base/a b"),
                    ("*", "/r/own"),
                ],
            ),
            (
                json!({"swagger": "2.0", "host": "h.example", "basePath": "/api", "paths": {"/x": {}}}),
                vec![("h.example", "/api/x")],
            ),
            (json!({"openapi": "3.1.0", "webhooks": {}}), vec![]),
        ] {
            let got = routes(&document).expect("routes");
            let got: Vec<_> = got
                .iter()
                .map(|(host, template)| (host.as_str(), template.as_str()))
                .collect();
            assert_eq!(got, want, "{document}");
        }
    }

    #[test]
    fn what_is_no_document_says_where() {
        for (document, pointer) in [
            (json!([]), ""),
            (json!({"openapi": "2.0"}), ""),
            (json!({"openapi": "3.0.0", "paths": []}), "/paths"),
            (
                json!({"openapi": "3.0.0", "paths": {"/a": 1}}),
                "/paths/~1a",
            ),
            (
                json!({"openapi": "3.0.0", "paths": {"/a/{b": {}}}),
                "/paths/~1a~1{b",
            ),
            (json!({"openapi": "3.0.0", "paths": {"a": {}}}), "/paths/a"),
            (
                json!({"openapi": "3.0.0", "servers": [{}], "paths": {}}),
                "/servers/0",
            ),
        ] {
            let error = routes(&document).expect_err("no document");
            assert_eq!(error.pointer, pointer, "{document}: {error}");
        }
    }
}
