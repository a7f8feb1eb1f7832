//! Requests: method, target and body of every endpoint, the same whoever calls.

use crate::api::{Api, Collection, CollectionId, Place};

/// What a request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verb {
    /// Reads an object.
    Read,
    /// Reads a part of an object.
    Part,
    /// Lists a page.
    List,
    /// Searches.
    Search,
    /// Makes an object.
    Create,
    /// Changes an object.
    Update,
    /// Deletes an object.
    Delete,
    /// Fetches an object's printed form.
    Export,
    /// Reads several objects.
    Batch,
    /// Reads the caller's own account.
    Me,
    /// Logs in.
    Login,
    /// Asks whether an address is known.
    Lookup,
    /// Asks for a new password.
    Reset,
    /// Tries a code.
    Coupon,
    /// Asks whether the service is alive.
    Health,
    /// Asks for what no client asks for.
    Probe,
    /// Does what only staff does.
    Staff,
    /// Calls a tool by its name.
    Tool,
}

/// Which door of an API is used.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Door {
    /// The given version's paths.
    Version(u32),
    /// MCP, with the call's number in its session.
    Rpc(u64),
}

/// A request as the client sends it.
#[derive(Clone, Debug)]
pub struct Request {
    /// Method.
    pub method: &'static str,
    /// Path and query.
    pub target: String,
    /// Body; empty for none.
    pub body: String,
    /// What it does.
    pub verb: Verb,
    /// Collection it is about; of the API's accounts when about none.
    pub collection: CollectionId,
}

impl Request {
    fn new(method: &'static str, verb: Verb, collection: CollectionId, target: String) -> Request {
        Request {
            method,
            target,
            body: String::new(),
            verb,
            collection,
        }
    }

    fn with(mut self, body: String) -> Request {
        self.body = body;
        self
    }

    /// The endpoint as a number: requests with one number have one template.
    pub fn endpoint(&self) -> u32 {
        self.collection as u32 * 32 + self.verb as u32
    }
}

/// Writes the requests of one collection through one door.
#[derive(Clone, Copy, Debug)]
pub struct Writer<'a> {
    /// The API.
    pub api: &'a Api,
    /// The collection.
    pub collection: &'a Collection,
    /// Its index.
    pub at: CollectionId,
    /// Which door.
    pub door: Door,
}

impl Writer<'_> {
    /// The id of its collection's n-th object.
    pub fn id(&self, n: i64) -> String {
        self.collection.id(n, self.api.release_ms)
    }

    fn base(&self) -> String {
        match self.door {
            Door::Version(version) => self.api.base(version),
            Door::Rpc(_) => self.api.base(self.api.version),
        }
    }

    /// `/api/v2/orders`, or nested below the tenant.
    fn stem(&self, tenant: &str) -> String {
        let (base, name) = (self.base(), &self.collection.name);
        match self.collection.place {
            Place::Nested => format!("{base}/{}/{tenant}/{name}", self.api.tenant_word),
            _ => format!("{base}/{name}"),
        }
    }

    fn tool(&self, verb: Verb, name: &str, arguments: &str) -> Request {
        let Door::Rpc(n) = self.door else {
            unreachable!("only the MCP door has tools")
        };
        let path = self.api.rpc.unwrap_or("/mcp").to_owned();
        Request::new("POST", verb, self.at, path).with(format!(
            r#"{{"jsonrpc":"2.0","id":{n},"method":"tools/call","params":{{"name":"{name}","arguments":{{{arguments}}}}}}}"#
        ))
    }

    /// Reads an object.
    pub fn read(&self, id: &str, tenant: &str) -> Request {
        let noun = &self.collection.noun;
        if let Door::Rpc(_) = self.door {
            return self.tool(
                Verb::Read,
                &format!("get_{noun}"),
                &format!(r#""id":"{id}""#),
            );
        }
        match &self.collection.place {
            Place::Query(path, parameter) => {
                let target = format!("{}/{path}?{parameter}={}", self.base(), escape(id));
                Request::new("GET", Verb::Read, self.at, target)
            }
            Place::Graph => {
                let path = self.api.graph.unwrap_or("/graphql").to_owned();
                Request::new("POST", Verb::Read, self.at, path).with(format!(
                    r#"{{"operationName":"{noun}","query":"query {noun}($id: ID!) {{ {noun}(id: $id) {{ id state }} }}","variables":{{"id":"{id}"}}}}"#
                ))
            }
            _ => Request::new(
                "GET",
                Verb::Read,
                self.at,
                format!("{}/{}", self.stem(tenant), escape(id)),
            ),
        }
    }

    /// Reads a part of an object; after a release without versions in its paths, through a new endpoint.
    pub fn part(&self, id: &str, tenant: &str) -> Request {
        let is_new = matches!(self.door, Door::Version(version) if version > self.api.version);
        let part = match is_new && !self.api.base.contains("{v}") {
            true => "overview",
            false => self.collection.part,
        };
        let target = format!("{}/{}/{part}", self.stem(tenant), escape(id));
        Request::new("GET", Verb::Part, self.at, target)
    }

    /// Fetches an object's printed form.
    pub fn export(&self, id: &str, tenant: &str) -> Request {
        let target = format!("{}/{}/export?format=pdf", self.stem(tenant), escape(id));
        Request::new("GET", Verb::Export, self.at, target)
    }

    /// Lists a page.
    pub fn list(&self, tenant: &str, page: usize, size: usize) -> Request {
        if let Door::Rpc(_) = self.door {
            return self.tool(
                Verb::List,
                &format!("list_{}", self.collection.name),
                &format!(r#""page":{page}"#),
            );
        }
        let (number, limit) = self.api.paging;
        let page = if number == "offset" {
            page * size
        } else {
            page
        };
        let target = format!("{}?{number}={page}&{limit}={size}", self.stem(tenant));
        Request::new("GET", Verb::List, self.at, target)
    }

    /// Searches for a word.
    pub fn search(&self, tenant: &str, word: &str) -> Request {
        let target = format!("{}/search?q={word}", self.stem(tenant));
        Request::new("GET", Verb::Search, self.at, target)
    }

    /// Reads several objects at once.
    pub fn batch(&self, ids: &[String], tenant: &str) -> Request {
        let target = format!("{}?ids={}", self.stem(tenant), escape(&ids.join(",")));
        Request::new("GET", Verb::Batch, self.at, target)
    }

    /// Makes an object.
    pub fn create(&self, tenant: &str, size: usize) -> Request {
        let body = format!(r#"{{"title":"{}"}}"#, "x".repeat(size));
        Request::new("POST", Verb::Create, self.at, self.stem(tenant)).with(body)
    }

    /// Changes an object.
    pub fn update(&self, id: &str, tenant: &str, size: usize) -> Request {
        let body = format!(r#"{{"title":"{}"}}"#, "x".repeat(size));
        let method = if self.collection.salt.is_multiple_of(3) {
            "PUT"
        } else {
            "PATCH"
        };
        Request::new(
            method,
            Verb::Update,
            self.at,
            format!("{}/{}", self.stem(tenant), escape(id)),
        )
        .with(body)
    }

    /// Deletes an object.
    pub fn delete(&self, id: &str, tenant: &str) -> Request {
        let target = format!("{}/{}", self.stem(tenant), escape(id));
        Request::new("DELETE", Verb::Delete, self.at, target)
    }

    /// Does what only staff does, the n-th of such deeds.
    pub fn staff(&self, id: &str, nth: usize) -> Request {
        let stem = format!("{}/{}/{}", self.base(), self.collection.name, escape(id));
        let (method, target) = match nth % 5 {
            0 => ("POST", format!("{stem}/suspend")),
            1 => ("PUT", format!("{stem}/role")),
            2 => ("POST", format!("{stem}/impersonate")),
            3 => ("GET", format!("{stem}/audit")),
            _ => ("POST", format!("{stem}/refund")),
        };
        Request::new(method, Verb::Staff, self.at, target)
    }

    /// Calls a tool that has no object.
    pub fn named_tool(&self, name: &str) -> Request {
        self.tool(Verb::Tool, name, "")
    }
}

/// Reads the caller's own account.
pub fn me(api: &Api, version: u32) -> Request {
    Request::new(
        "GET",
        Verb::Me,
        api.accounts,
        format!("{}{}", api.base(version), api.me),
    )
}

/// Logs in.
pub fn login(api: &Api, version: u32) -> Request {
    Request::new(
        "POST",
        Verb::Login,
        api.accounts,
        format!("{}/login", api.base(version)),
    )
}

/// Asks an oracle: is this address known, send it a new password, is this code good.
pub fn oracle(api: &Api, version: u32, verb: Verb, value: &str) -> Request {
    let base = api.base(version);
    let [lookup, reset, coupon] = api.oracles;
    let (method, target) = match verb {
        Verb::Lookup => ("GET", format!("{base}{lookup}?email={}", escape(value))),
        Verb::Reset => ("POST", format!("{base}{reset}?email={}", escape(value))),
        _ => ("GET", format!("{base}{coupon}/{}", escape(value))),
    };
    Request::new(method, verb, api.accounts, target)
}

/// Asks for any path.
pub fn any(api: &Api, method: &'static str, verb: Verb, target: String) -> Request {
    Request::new(method, verb, api.accounts, target)
}

/// Percent-encodes what may not stand in a path or a query.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b',' | b'@' => {
                out.push(byte as char);
            }
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}
