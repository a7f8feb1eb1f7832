//! OpenAPI documents as the operations they promise.

use std::collections::{BTreeSet, HashMap};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::template::openapi::{OpenApiError, paths};
use crate::template::set::ANY_HOST;

/// Operations of all documents; further ones are refused.
const OPERATIONS_MAX: usize = 200_000;
/// References followed one after the other; documents lead in circles.
const REFERENCES_MAX: usize = 8;
/// Methods of a path item.
const METHODS: [&str; 8] = [
    "get", "put", "post", "delete", "options", "head", "patch", "trace",
];

/// One operation of a document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Operation {
    /// Name of the document.
    pub document: String,
    /// Host; `*` when the document names none.
    pub host: String,
    /// Method, in capitals.
    pub method: String,
    /// Path with its server's, as written.
    pub path: String,
    /// True when it is to be used no more.
    pub is_deprecated: bool,
    /// Names of its query parameters.
    pub parameters: BTreeSet<String>,
    /// Statuses it may answer with: `200`, `4XX`, `default`.
    pub statuses: BTreeSet<String>,
    /// Content types of requests.
    pub request_types: BTreeSet<String>,
    /// Content types of answers.
    pub response_types: BTreeSet<String>,
    /// True when nobody may call it without a credential.
    pub is_protected: bool,
    /// Who answers for it: `x-owner`, else the contact or the title.
    pub owner: Option<String>,
}

/// What of an operation is asked while calls come: whether it is promised, and who answers for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Promise {
    /// Host; `*` when the document names none.
    pub host: String,
    /// Method, in capitals.
    pub method: String,
    /// Path with its server's, as written.
    pub path: String,
    /// True when it is to be used no more.
    pub is_deprecated: bool,
    /// Who answers for it.
    pub owner: Option<String>,
}

/// The operations of some documents, to find by host and template.
#[derive(Clone, Debug, Default)]
pub struct Documents {
    operations: Vec<Operation>,
    /// Operations by how many segments their path has.
    by_length: HashMap<usize, Vec<usize>>,
    hosts: BTreeSet<String>,
}

impl Documents {
    /// Adds a document.
    ///
    /// # Errors
    /// It is none, or has more operations than are kept.
    pub fn add(&mut self, name: &str, document: &Value) -> Result<(), OpenApiError> {
        let root = document.as_object().cloned().unwrap_or_default();
        for (host, path, item) in paths(document)? {
            self.hosts.insert(host.clone());
            for method in METHODS {
                let Some(operation) = item.get(method).and_then(Value::as_object) else {
                    continue;
                };
                if OPERATIONS_MAX == self.operations.len() {
                    return Err(OpenApiError {
                        pointer: "/paths".to_owned(),
                        reason: format!("with it there are more than {OPERATIONS_MAX} operations"),
                    });
                }
                let operation = Operation {
                    document: name.to_owned(),
                    host: host.clone(),
                    method: method.to_ascii_uppercase(),
                    path: path.clone(),
                    ..read(&root, item, operation)
                };
                self.push(operation);
            }
        }
        Ok(())
    }

    fn push(&mut self, operation: Operation) {
        let length = segments(&operation.path).count();
        let of_length = self.by_length.entry(length).or_default();
        of_length.push(self.operations.len());
        self.operations.push(operation);
    }

    /// What of the operations is asked while calls come, in the order they were added.
    pub fn promises(&self) -> Vec<Promise> {
        let promise = |operation: &Operation| Promise {
            host: operation.host.clone(),
            method: operation.method.clone(),
            path: operation.path.clone(),
            is_deprecated: operation.is_deprecated,
            owner: operation.owner.clone(),
        };
        self.operations.iter().map(promise).collect()
    }

    /// Documents of which only that is known.
    pub fn of_promises(promises: &[Promise]) -> Documents {
        let mut documents = Documents::default();
        for promise in promises {
            documents.hosts.insert(promise.host.clone());
            documents.push(Operation {
                host: promise.host.clone(),
                method: promise.method.clone(),
                path: promise.path.clone(),
                is_deprecated: promise.is_deprecated,
                owner: promise.owner.clone(),
                ..Operation::default()
            });
        }
        documents
    }

    /// True when there is no operation.
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    /// Whether an endpoint (`METHOD host /template`) is to be used no more; none when no document has it. Where one document
    /// deprecates and another does not, it is promised.
    pub fn deprecates(&self, endpoint: &str) -> Option<bool> {
        let own = self.of_endpoint(endpoint);
        let is_deprecated = own.iter().all(|operation| operation.is_deprecated);
        (!own.is_empty()).then_some(is_deprecated)
    }

    /// Who answers for an endpoint.
    pub fn owner(&self, endpoint: &str) -> Option<&str> {
        let own = self.of_endpoint(endpoint);
        own.into_iter()
            .find_map(|operation| operation.owner.as_deref())
    }

    fn of_endpoint(&self, endpoint: &str) -> Vec<&Operation> {
        let mut words = endpoint.splitn(3, ' ');
        let (Some(method), Some(host), Some(template)) = (words.next(), words.next(), words.next())
        else {
            return Vec::new();
        };
        let of_path = self.of_template(host, template).into_iter();
        let operations = of_path.map(|at| &self.operations[at]);
        operations
            .filter(|operation| operation.method == method)
            .collect()
    }

    /// All operations, in the order they were added.
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// True when a document speaks of this host, or one speaks of any.
    pub fn has_host(&self, host: &str) -> bool {
        // Many logs name no host; whatever the document says, the call was one of its server's.
        host == "-" || self.hosts.contains(host) || self.hosts.contains(ANY_HOST)
    }

    /// Numbers of the operations whose path is this template, whatever their method: those whose literals are the template's
    /// too, else those a parameter of which stands for one.
    pub fn of_template(&self, host: &str, template: &str) -> Vec<usize> {
        let length = segments(template).count();
        let fitting: Vec<(usize, usize)> = self
            .by_length
            .get(&length)
            .into_iter()
            .flatten()
            .filter_map(|at| {
                let operation = &self.operations[*at];
                let is_host = host == "-" || [host, ANY_HOST].contains(&operation.host.as_str());
                let loose = is_host.then(|| fit(&operation.path, template))??;
                Some((loose, *at))
            })
            .collect();
        let best = fitting.iter().map(|(loose, _)| *loose).min();
        let best = fitting.iter().filter(|(loose, _)| Some(*loose) == best);
        best.map(|(_, at)| *at).collect()
    }
}

fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|segment| !segment.is_empty())
}

/// How many of a path's parameters stand for a literal of the template; none when the two don't fit.
fn fit(path: &str, template: &str) -> Option<usize> {
    let mut n_loose = 0;
    for (own, seen) in segments(path).zip(segments(template)) {
        let Some((head, rest)) = own.split_once('{') else {
            if own != seen {
                return None;
            }
            continue;
        };
        let tail = rest.rsplit_once('}').map_or("", |(_, tail)| tail);
        let middle = seen.strip_prefix(head)?.strip_suffix(tail)?;
        match middle {
            "" => return None,
            "{id}" => (),
            _ => n_loose += 1,
        }
    }
    Some(n_loose)
}

fn read(
    root: &Map<String, Value>,
    item: &Map<String, Value>,
    operation: &Map<String, Value>,
) -> Operation {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    let mut read = Operation {
        is_deprecated: operation.get("deprecated").and_then(Value::as_bool) == Some(true),
        ..Operation::default()
    };
    let lists = [item.get("parameters"), operation.get("parameters")];
    for parameter in lists
        .into_iter()
        .flatten()
        .filter_map(Value::as_array)
        .flatten()
    {
        let parameter = followed(root, parameter);
        if parameter.get("in").and_then(Value::as_str) == Some("query")
            && let Some(name) = text(parameter.get("name"))
        {
            read.parameters.insert(name);
        }
    }
    let is_swagger = root.contains_key("swagger");
    for (status, response) in operation
        .get("responses")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        read.statuses
            .insert(status.to_ascii_uppercase().replace("DEFAULT", "default"));
        read.response_types
            .extend(media_types(followed(root, response)));
    }
    if let Some(body) = operation.get("requestBody") {
        read.request_types.extend(media_types(followed(root, body)));
    }
    if is_swagger {
        let list = |name: &str| {
            let own = operation.get(name).or_else(|| root.get(name));
            let texts = own.and_then(Value::as_array).into_iter().flatten();
            texts
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        read.request_types.extend(list("consumes"));
        read.response_types.extend(list("produces"));
    }
    let security = operation.get("security").or_else(|| root.get("security"));
    let ways = security.and_then(Value::as_array);
    // An empty object among them is the way without a credential.
    let is_open = |way: &Value| way.as_object().is_none_or(Map::is_empty);
    read.is_protected = ways.is_some_and(|ways| !ways.is_empty() && !ways.iter().any(is_open));
    let info = root.get("info").and_then(Value::as_object);
    let of_info = |name: &str| info.and_then(|info| info.get(name));
    let contact = of_info("contact").and_then(Value::as_object);
    read.owner = text(operation.get("x-owner"))
        .or_else(|| text(item.get("x-owner")))
        .or_else(|| text(root.get("x-owner")))
        .or_else(|| text(of_info("x-owner")))
        .or_else(|| text(contact.and_then(|contact| contact.get("name").or(contact.get("email")))))
        .or_else(|| text(of_info("title")));
    read
}

fn media_types(of: &Value) -> impl Iterator<Item = String> {
    let content = of.get("content").and_then(Value::as_object);
    content.into_iter().flatten().map(|(name, _)| {
        let name = name.split(';').next().unwrap_or(name);
        name.trim().to_ascii_lowercase()
    })
}

/// What a value's reference leads to within the document; the value itself where there is none.
fn followed<'a>(root: &'a Map<String, Value>, mut value: &'a Value) -> &'a Value {
    for _ in 0..REFERENCES_MAX {
        let Some(pointer) = value.get("$ref").and_then(Value::as_str) else {
            break;
        };
        let mut steps = pointer
            .strip_prefix("#/")
            .into_iter()
            .flat_map(|rest| rest.split('/'));
        let first = steps.next().and_then(|step| root.get(step));
        let found = steps.try_fold(first, |at, step| {
            Some(at?.get(step.replace("~1", "/").replace("~0", "~")))
        });
        match found.flatten() {
            Some(next) => value = next,
            None => break,
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn documents(document: Value) -> Documents {
        let mut documents = Documents::default();
        documents.add("a.json", &document).expect("a document");
        documents
    }

    #[test]
    fn an_operation_is_read_with_what_it_refers_to() {
        let documents = documents(json!({
            "openapi": "3.0.0", "info": {"title": "Shop", "contact": {"name": "team shop"}},
            "servers": [{"url": "https://shop.example/api"}], "security": [{"key": []}],
            "components": {
                "parameters": {"page": {"name": "page", "in": "query"}, "round": {"$ref": "#/components/parameters/round"}},
                "responses": {"ok": {"content": {"application/json; charset=utf-8": {}}}},
            },
            "paths": {"/orders/{orderId}": {
                "parameters": [{"$ref": "#/components/parameters/page"}, {"$ref": "#/components/parameters/round"}],
                "get": {"deprecated": true, "responses": {"200": {"$ref": "#/components/responses/ok"}, "4xx": {}}},
                "post": {"security": [{"key": []}, {}], "requestBody": {"content": {"text/csv": {}}}, "x-owner": "team csv"},
            }},
        }));
        let [get, post] = documents.operations() else {
            panic!("{documents:?}");
        };
        assert_eq!(
            (get.host.as_str(), get.path.as_str()),
            ("shop.example", "/api/orders/{orderId}")
        );
        assert!(get.is_deprecated && get.is_protected && !post.is_protected);
        let texts = |set: &BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>().join(" ");
        assert_eq!(texts(&get.parameters), "page");
        assert_eq!(texts(&get.statuses), "200 4XX");
        assert_eq!(texts(&get.response_types), "application/json");
        assert_eq!(texts(&post.request_types), "text/csv");
        assert_eq!(get.owner.as_deref(), Some("team shop"));
        assert_eq!(post.owner.as_deref(), Some("team csv"));
    }

    #[test]
    fn what_is_asked_while_calls_come_survives_as_promises() {
        let all = documents(
            json!({"openapi": "3.0.0", "info": {"title": "Shop"}, "paths": {
                "/v1/orders/{id}": {"get": {"deprecated": true, "x-owner": "team orders"}, "put": {}},
                "/v2/orders/{id}": {"get": {}},
            }}),
        );
        let few = Documents::of_promises(&all.promises());
        assert_eq!(few.promises(), all.promises());
        assert!(few.has_host("shop.example") && !few.is_empty());
        for documents in [&all, &few] {
            for (endpoint, deprecated, owner) in [
                ("GET h /v1/orders/{id}", Some(true), Some("team orders")),
                ("PUT h /v1/orders/{id}", Some(false), Some("Shop")),
                ("GET - /v2/orders/{id}", Some(false), Some("Shop")),
                ("DELETE h /v1/orders/{id}", None, None),
                ("GET h /v3/orders/{id}", None, None),
                ("GET", None, None),
            ] {
                assert_eq!(documents.deprecates(endpoint), deprecated, "{endpoint}");
                assert_eq!(documents.owner(endpoint), owner, "{endpoint}");
            }
        }
    }

    #[test]
    fn templates_find_their_paths() {
        let documents = documents(json!({"openapi": "3.1.0", "paths": {
            "/users/{id}": {"get": {}}, "/users/me": {"get": {}, "put": {}}, "/files/{name}.json": {"get": {}},
            "/{tenant}/users": {"get": {}},
        }}));
        for (template, want) in [
            ("/users/{id}", vec!["GET /users/{id}"]),
            ("/users/me", vec!["GET /users/me", "PUT /users/me"]),
            ("/users/ada", vec!["GET /users/{id}"]),
            ("/files/{id}.json", vec!["GET /files/{name}.json"]),
            ("/acme/users", vec!["GET /{tenant}/users"]),
            ("/users", vec![]),
            ("/users/{id}/orders", vec![]),
        ] {
            let mut found: Vec<String> = documents
                .of_template("h", template)
                .into_iter()
                .map(|at| {
                    format!(
                        "{} {}",
                        documents.operations()[at].method,
                        documents.operations()[at].path
                    )
                })
                .collect();
            found.sort();
            assert_eq!(found, want, "{template}");
        }
    }
}
