//! Objects: the things one request names, wherever it names them.
//!
//! Comes in: a request's path variables, query and body. Goes out: [`Object`]s, each with one collection name
//! and one key, so `/tasks/7`, `?taskId=7`, `{"task_id": "07"}`, `task(id: "7")`, `get_task {"id": 7}` and the
//! relay id `VGFzazo3` are the same object; and an [`Rpc`] where the body is a call.
//! **Invariant**: at most [`OBJECTS_MAX`] objects per request, and no key twice.

mod graphql;
pub(crate) mod name;

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use hashbrown::HashSet;
use serde_json::{Map, Value};
use xxhash_rust::xxh3::xxh3_64;

use crate::endpoint::{SegmentKind, Variable, decode_query, path_noun, segment_kind};
use crate::generations::FixedHasher;
use graphql::Argument;
use name::Named;

/// Objects kept of one request; further ones are dropped. A screen loads fewer, an enumerator is seen by then.
pub const OBJECTS_MAX: usize = 256;
/// Longest body that is read, 64 KiB; a longer one names no objects.
pub const BODY_BYTES_MAX: usize = 64 * 1024;
/// Deepest JSON that is walked; what lies deeper names no objects.
const DEPTH_MAX: usize = 8;
/// Longest value that is an id, in bytes.
const VALUE_BYTES_MAX: usize = 128;
/// Values looked at in one request, as many as a body of [`BODY_BYTES_MAX`] holds (a digit and a comma each), so
/// that no padding hides an id in it. What is looked at again, a variable used twice, counts again; what comes
/// after the last names no objects.
const VALUES_MAX: usize = BODY_BYTES_MAX / 2;

/// What an object id looks like.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ObjectKind {
    /// Decimal number: enumerable.
    Int,
    /// UUID.
    Uuid,
    /// ULID.
    Ulid,
    /// 24 hex digits: enumerable in part.
    ObjectId,
    /// Hex digits.
    Hex,
    /// Mail address.
    Email,
    /// Date.
    Date,
    /// Letters and digits.
    Mixed,
    /// A word.
    Text,
}

impl ObjectKind {
    /// The name in alerts.
    pub fn as_str(self) -> &'static str {
        match self {
            ObjectKind::Int => "int",
            ObjectKind::Uuid => "uuid",
            ObjectKind::Ulid => "ulid",
            ObjectKind::ObjectId => "object_id",
            ObjectKind::Hex => "hex",
            ObjectKind::Email => "email",
            ObjectKind::Date => "date",
            ObjectKind::Mixed => "mixed",
            ObjectKind::Text => "text",
        }
    }
}

impl From<SegmentKind> for ObjectKind {
    fn from(kind: SegmentKind) -> ObjectKind {
        match kind {
            SegmentKind::Int => ObjectKind::Int,
            SegmentKind::Uuid => ObjectKind::Uuid,
            SegmentKind::Ulid => ObjectKind::Ulid,
            SegmentKind::ObjectId => ObjectKind::ObjectId,
            SegmentKind::Hex => ObjectKind::Hex,
            SegmentKind::Email => ObjectKind::Email,
            SegmentKind::Date => ObjectKind::Date,
            SegmentKind::Mixed => ObjectKind::Mixed,
            SegmentKind::Word | SegmentKind::Version => ObjectKind::Text,
        }
    }
}

/// One thing a request names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Object {
    /// What it is one of: lower-case, singular, one word; empty where nothing says.
    pub collection: String,
    /// XXH3 of collection, a zero byte and the canonical id.
    pub key: u64,
    /// The id as a number, where it is one and fits: neighbours are near.
    pub number: Option<i64>,
    /// What the id looks like.
    pub kind: ObjectKind,
    /// It only leads to the object (`/boards/{parent}/tasks/{object}`).
    pub parent: bool,
}

/// One request, as far as objects are concerned.
#[derive(Clone, Copy, Debug, Default)]
pub struct Request<'a> {
    /// The method.
    pub method: &'a str,
    /// The path as logged: its last noun names what a lone `id` in query or body is one of.
    pub path: &'a str,
    /// What `endpoint` found in the path.
    pub path_variables: &'a [Variable],
    /// The query string as logged, without `?`.
    pub query: Option<&'a str>,
    /// The request body as logged: JSON or a form.
    pub body: Option<&'a str>,
}

/// The call a body makes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rpc {
    /// JSON-RPC method (`tools/call`), `graphql.query` or `graphql.mutation`.
    pub rpc_method: Option<String>,
    /// MCP tool, or the first field of a GraphQL operation.
    pub tool: Option<String>,
    /// Whether it changes something, where its name says so.
    pub writes: Option<bool>,
}

impl Rpc {
    /// The call that a request without a logged body makes, as its MCP headers name it.
    pub fn of_headers(method: &str, name: Option<&str>) -> Rpc {
        let (method, tool) = crate::agent::protocol::of_headers(method, name);
        Rpc {
            writes: first_writes(tool.as_deref().unwrap_or(&method)),
            rpc_method: Some(method),
            tool,
        }
    }

    /// Adds another call of the same request: the first one names it, and it writes if any of them does.
    fn join(&mut self, other: Rpc) {
        let writes = match (self.writes, other.writes) {
            (Some(true), _) | (_, Some(true)) => Some(true),
            (first, second) => first.or(second),
        };
        if self.rpc_method.is_none() {
            *self = other;
        }
        self.writes = writes;
    }
}

/// Longest RPC method or tool name that is kept, in bytes: callers choose them.
const RPC_NAME_BYTES_MAX: usize = 64;

/// Appends the objects a request names to `out`, and says which call its body makes.
///
/// The last path variable comes first, then the earlier ones as parents, then query, then body.
///
/// | where | counts | collection |
/// |---|---|---|
/// | path | every [`Variable`] | nearest noun before it |
/// | query, form | `id`, `taskId`, `task_ids`, `account=42`; lists one by one | the noun in the name, else of the path |
/// | JSON body | keys named like ids, eight levels deep | the noun in the key, else of the key around it, else of the path |
/// | GraphQL | the same for arguments, aliases and variables | the noun in the name, else of the field |
/// | JSON-RPC, MCP | the same for arguments; `scheme://noun/id` resources | the noun in the name, else of tool or method |
pub fn objects(request: &Request<'_>, out: &mut Vec<Object>) -> Rpc {
    let start = out.len();
    let mut sink = Sink {
        out,
        start,
        keys: HashSet::default(),
        n_left: VALUES_MAX,
    };
    for (i, variable) in request.path_variables.iter().rev().enumerate() {
        sink.push(&variable.collection, &variable.value, 0 < i);
    }
    let mut rpc = Rpc::default();
    if let Some(query) = request.query.filter(|query| !query.is_empty()) {
        rpc = parameters(query, request.path, &mut sink);
    }
    if let Some(body) = request.body {
        let mut found = body_objects(body, request.path, &mut sink);
        found.join(rpc);
        rpc = found;
    }
    rpc
}

/// Takes values, makes objects of those that are ids.
struct Sink<'o> {
    out: &'o mut Vec<Object>,
    start: usize,
    keys: HashSet<u64, FixedHasher>,
    n_left: usize,
}

impl Sink<'_> {
    /// Counts one value; false when the request has named enough, or made enough work.
    fn visit(&mut self) -> bool {
        let goes_on = self.n_left != 0 && self.out.len() - self.start < OBJECTS_MAX;
        self.n_left = self.n_left.saturating_sub(1);
        goes_on
    }

    /// Takes a value under a name; `in_call` also lets bare nouns (`board: 7`) and typed values count.
    fn named(&mut self, name: &str, context: &str, value: &str, in_call: bool) {
        let noun = match name::named(name) {
            Named::Alone => context,
            Named::Of(noun) => noun,
            Named::Noun(noun) if is_idlike(segment_kind(value)) => noun,
            _ if in_call && is_unmistakable(segment_kind(value)) => name,
            _ => return,
        };
        let mut collection = String::new();
        if !noun.is_empty() {
            name::push_collection(noun, &mut collection);
        }
        self.push(&collection, value, false);
    }

    fn push(&mut self, collection: &str, value: &str, parent: bool) {
        let value = value.trim();
        if self.out.len() - self.start == OBJECTS_MAX
            || value.len() > VALUE_BYTES_MAX
            || is_nothing(value)
        {
            return;
        }
        let kind = segment_kind(value);
        if matches!(kind, SegmentKind::Word | SegmentKind::Mixed) {
            if let Some((noun, id)) = address_of(value) {
                return self.typed(noun, id, parent);
            }
            let mut buffer = [0; VALUE_BYTES_MAX];
            if let Some((noun, id)) = node_of(value, &mut buffer) {
                return self.typed(noun, id, parent);
            }
        }
        self.put(collection.to_owned(), value, kind, parent);
    }

    fn typed(&mut self, noun: &str, id: &str, parent: bool) {
        let mut collection = String::new();
        name::push_collection(noun, &mut collection);
        self.put(collection, id, segment_kind(id), parent);
    }

    fn is_new(&mut self, key: u64) -> bool {
        let found = self.out.get(self.start..).unwrap_or_default();
        if found.len() < FEW {
            return found.iter().all(|object| object.key != key);
        }
        if self.keys.is_empty() {
            self.keys.extend(found.iter().map(|object| object.key));
        }
        self.keys.insert(key)
    }

    fn put(&mut self, collection: String, value: &str, kind: SegmentKind, parent: bool) {
        let mut buffer = [0; name::COLLECTION_BYTES_MAX + 2 + VALUE_BYTES_MAX];
        let key = xxh3_64(canonical(&collection, value, kind, &mut buffer));
        if !self.is_new(key) {
            return;
        }
        let number = place(value, kind);
        self.out.push(Object {
            collection,
            key,
            number,
            kind: kind.into(),
            parent,
        });
    }
}

/// Where an id stands among those of its scheme: those a counter gave one after the other differ by little.
///
/// * A number is its own place; letters before digits (`INV-0042`) move the digits to a place of their own.
/// * An ObjectId stands at its second and counter, a ULID and a UUIDv7 at their millisecond.
fn place(value: &str, kind: SegmentKind) -> Option<i64> {
    /// Digits that fit beside the hash of what is before them.
    const DIGITS_MAX: usize = 10;
    match kind {
        SegmentKind::Int => value.parse().ok(),
        SegmentKind::ObjectId => {
            let second = i64::from_str_radix(value.get(..8)?, 16).ok()?;
            let counter = i64::from_str_radix(value.get(18..24)?, 16).ok()?;
            Some(second << 24 | counter)
        }
        SegmentKind::Uuid if value.as_bytes().get(14) == Some(&b'7') => {
            let (high, low) = (value.get(..8)?, value.get(9..13)?);
            let high = i64::from_str_radix(high, 16).ok()?;
            Some(high << 16 | i64::from_str_radix(low, 16).ok()?)
        }
        SegmentKind::Ulid => {
            let digit = |b: u8| {
                b"0123456789ABCDEFGHJKMNPQRSTVWXYZ"
                    .iter()
                    .position(|d| *d == b.to_ascii_uppercase())
            };
            let time = value.as_bytes().get(..10)?;
            time.iter()
                .try_fold(0, |ms: i64, b| Some(ms << 5 | digit(*b)? as i64))
        }
        SegmentKind::Mixed | SegmentKind::Word | SegmentKind::Hex => {
            let before = value.trim_end_matches(|c: char| c.is_ascii_digit());
            let digits = value.get(before.len()..)?;
            if before.is_empty() || digits.is_empty() || digits.len() > DIGITS_MAX {
                return None;
            }
            let scheme = (xxh3_64(before.as_bytes()) >> 35) as i64;
            Some(scheme << 34 | digits.parse::<i64>().ok()?.min((1 << 34) - 1))
        }
        _ => None,
    }
}

/// Keys that are compared one by one; a set costs an allocation, and few requests name as many.
const FEW: usize = 16;

/// Collection, zero, canonical id: no sign `+` or leading zeros, hex and mail addresses in one case.
fn canonical<'b>(
    collection: &str,
    value: &str,
    kind: SegmentKind,
    buffer: &'b mut [u8; name::COLLECTION_BYTES_MAX + 2 + VALUE_BYTES_MAX],
) -> &'b [u8] {
    let id = match kind {
        SegmentKind::Int => {
            let digits = value.trim_start_matches(['+', '-', '0']);
            if digits.is_empty() { "0" } else { digits }
        }
        _ => value,
    };
    let sign = if kind == SegmentKind::Int && value.starts_with('-') && id != "0" {
        "-"
    } else {
        ""
    };
    let mut length = 0;
    for part in [collection.as_bytes(), b"\0", sign.as_bytes(), id.as_bytes()] {
        for (slot, byte) in buffer.iter_mut().skip(length).zip(part) {
            *slot = *byte;
        }
        length += part.len();
    }
    let start = collection.len() + 1;
    let written = buffer.get_mut(..length).unwrap_or_default();
    if matches!(
        kind,
        SegmentKind::Uuid
            | SegmentKind::ObjectId
            | SegmentKind::Hex
            | SegmentKind::Email
            | SegmentKind::Ulid
    ) {
        written
            .get_mut(start..)
            .unwrap_or_default()
            .make_ascii_lowercase();
    }
    written
}

/// What clients write for no value, and numbers that mean "none".
fn is_nothing(value: &str) -> bool {
    value.is_empty()
        || matches!(
            value,
            "null"
                | "undefined"
                | "NaN"
                | "true"
                | "false"
                | "none"
                | "None"
                | "nil"
                | "me"
                | "self"
                | "*"
                | "all"
        )
}

fn is_idlike(kind: SegmentKind) -> bool {
    !matches!(
        kind,
        SegmentKind::Word | SegmentKind::Version | SegmentKind::Date
    )
}

fn is_unmistakable(kind: SegmentKind) -> bool {
    matches!(
        kind,
        SegmentKind::Uuid | SegmentKind::Ulid | SegmentKind::ObjectId
    )
}

/// Noun and id of an address: `task://7`, `gid://shop/Order/7`, `board://tasks/7`; of a web address as in a path
/// (`https://h/orders/7/items`), where the host is no noun.
fn address_of(value: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = value.split_once("://")?;
    let plain = (1..=32).contains(&scheme.len())
        && scheme
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'+');
    if !plain {
        return None;
    }
    let rest = rest.split(['?', '#']).next()?.trim_end_matches('/');
    let is_noun = |part: &&str| !part.is_empty() && segment_kind(part) == SegmentKind::Word;
    if matches!(scheme, "http" | "https" | "ws" | "wss" | "ftp" | "file") {
        let (_, path) = rest.split_once('/')?;
        let mut parts = path.rsplit('/');
        let id = parts.find(|part| is_idlike(segment_kind(part)))?;
        return Some((parts.find(is_noun)?, id));
    }
    match rest.rsplit_once('/') {
        Some((head, id)) => {
            let noun = head.rsplit('/').find(is_noun)?;
            (!id.is_empty()).then_some((noun, id))
        }
        None => (!rest.is_empty()).then_some((scheme, rest)),
    }
}

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
const BASE64_URL: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Noun and id of a relay node id: base64 of `Task:7`, or of the older `04:User7`.
fn node_of<'b>(value: &str, buffer: &'b mut [u8; VALUE_BYTES_MAX]) -> Option<(&'b str, &'b str)> {
    if value.len() < 6
        || !value
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'-' | b'_' | b'='))
    {
        return None;
    }
    let engine = if value.contains(['-', '_']) {
        &BASE64_URL
    } else {
        &BASE64
    };
    let length = engine.decode_slice(value, buffer).ok()?;
    let text = std::str::from_utf8(buffer.get(..length)?).ok()?;
    if !text.bytes().all(|b| b.is_ascii_graphic()) {
        return None;
    }
    let (noun, id) = text.split_once([':', '|'])?;
    if noun.bytes().all(|b| b.is_ascii_digit()) {
        let at = id.find(|c: char| c.is_ascii_digit())?;
        let (noun, id) = id.split_at(at);
        return (2 <= noun.len() && noun.bytes().all(|b| b.is_ascii_alphabetic()))
            .then_some((noun, id));
    }
    let plain = (2..=40).contains(&noun.len())
        && noun.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && noun.starts_with(|c: char| c.is_ascii_alphabetic());
    if let Some(found) = address_of(text) {
        // Base64 of `gid://shop/Order/7`: points into `text`, which points into the buffer.
        return Some(found);
    }
    (plain && !id.is_empty()).then_some((noun, id))
}

/// Reads a query string or a form; a GraphQL query sent by GET is a call.
fn parameters(query: &str, path: &str, sink: &mut Sink<'_>) -> Rpc {
    let mut rpc = Rpc::default();
    let mut variables = None;
    let mut noun = None;
    for pair in query.split('&') {
        let Some((name, value)) = pair.split_once('=') else {
            continue;
        };
        if value.is_empty() || BODY_BYTES_MAX < value.len() {
            continue;
        }
        let name = decode_query(name);
        if name == "query"
            && (value.contains('{') || value.contains("%7B") || value.contains("%7b"))
        {
            let variables = variables.get_or_insert_with(|| variables_of(query));
            rpc.join(graphql_objects(&decode_query(value), variables, sink));
            continue;
        }
        if name::named(&name) == Named::Other {
            continue;
        }
        let noun = noun.get_or_insert_with(|| path_noun(path));
        let value = decode_query(value);
        let list = value.trim().trim_start_matches('[').trim_end_matches(']');
        for item in list.split(',') {
            if !sink.visit() {
                return rpc;
            }
            sink.named(&name, noun, item.trim().trim_matches('"'), false);
        }
    }
    rpc
}

/// The variables of a GraphQL query sent by GET.
fn variables_of(query: &str) -> Map<String, Value> {
    let text = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("variables="));
    match text.map(decode_query).and_then(|text| parse(&text)) {
        Some(Value::Object(variables)) => variables,
        _ => Map::new(),
    }
}

/// Reads a body: JSON calls, then plain JSON, then forms; anything else names nothing.
fn body_objects(body: &str, path: &str, sink: &mut Sink<'_>) -> Rpc {
    let body = body.trim();
    if body.len() < 2 || BODY_BYTES_MAX < body.len() {
        return Rpc::default();
    }
    match body.as_bytes().first() {
        Some(b'{' | b'[') if may_name_objects(body.as_bytes()) => match parse(body) {
            Some(value) => document(&value, path_noun(path), sink),
            None => Rpc::default(),
        },
        Some(b'a'..=b'z' | b'A'..=b'Z' | b'_')
            if !body.contains([' ', '\n', '<']) && body.contains('=') =>
        {
            parameters(body, path, sink)
        }
        _ => Rpc::default(),
    }
}

fn parse(text: &str) -> Option<Value> {
    if BODY_BYTES_MAX < text.len() {
        return None;
    }
    serde_json::from_str(text).ok()
}

/// A look that costs less than parsing: is there a key that ends like an id or a noun, or the mark of a call?
/// An escaped key could be any.
fn may_name_objects(body: &[u8]) -> bool {
    memchr::memmem::find(body, b"\\u").is_some()
        || memchr::memchr_iter(b'"', body).any(|at| {
            let head = body.get(..at).unwrap_or(b"");
            match head {
                [.., b'd' | b'D'] | [.., b'd' | b'D', b's'] => true,
                // `"query"`, `"jsonrpc"`, bare nouns (`"account"`, `"jobs"`), and operators (`"id_eq"`).
                [.., last] if ends_noun(*last) => body.get(at + 1..).is_some_and(|rest| {
                    rest.iter().find(|b| !b.is_ascii_whitespace()) == Some(&b':')
                }),
                _ => false,
            }
        })
}

/// Letters that nouns of [`name::is_entity`], words for ids and operators end with, and the mark of a list.
fn ends_noun(last: u8) -> bool {
    matches!(
        last.to_ascii_lowercase(),
        b'b' | b'c' | b'e' | b'f' | b'g' | b'k'..=b't' | b'y' | b']'
    )
}

/// Says whether a request changes something: by its method, or by the call it makes. A `query` field must not
/// turn a DELETE into a read; only on POST, which says nothing, does the call decide alone.
pub fn is_write(method: &str, rpc: &Rpc) -> bool {
    let by_method = ["PUT", "PATCH", "DELETE"]
        .iter()
        .any(|writes| method.eq_ignore_ascii_case(writes));
    by_method || rpc.writes == Some(true)
}

fn document(value: &Value, noun: &str, sink: &mut Sink<'_>) -> Rpc {
    match value {
        Value::Array(items) => {
            let mut batch = Rpc::default();
            for item in items {
                let rpc = match item {
                    Value::Object(map) => call(map, noun, sink),
                    _ => None,
                };
                match rpc {
                    Some(rpc) => batch.join(rpc),
                    None => walk(item, "", noun, false, 0, sink),
                }
            }
            batch
        }
        Value::Object(map) => call(map, noun, sink).unwrap_or_else(|| {
            walk(value, "", noun, false, 0, sink);
            Rpc::default()
        }),
        _ => Rpc::default(),
    }
}

/// A GraphQL request or a JSON-RPC call; `None` when the object is neither.
///
/// Anybody can add a `query` or a `jsonrpc` to any body, so what stands beside the call is walked too.
fn call(map: &Map<String, Value>, noun: &str, sink: &mut Sink<'_>) -> Option<Rpc> {
    let rpc = graphql_call(map, sink).or_else(|| rpc_call(map, noun, sink))?;
    let of_call = |name: &str| match name {
        "query" | "variables" | "operationName" | "extensions" | "jsonrpc" | "method"
        | "params" => true,
        // JSON-RPC numbers its calls, and clients of GraphQL name their queries.
        "id" => noun.is_empty() || map.contains_key("jsonrpc"),
        _ => false,
    };
    for (name, value) in map.iter().filter(|(name, _)| !of_call(name)) {
        walk(value, name, noun, false, 1, sink);
    }
    Some(rpc)
}

fn graphql_call(map: &Map<String, Value>, sink: &mut Sink<'_>) -> Option<Rpc> {
    let text = |key: &str| map.get(key).and_then(Value::as_str);
    if let Some(query) = text("query").filter(|query| query.contains('{')) {
        let empty = Map::new();
        let variables = map
            .get("variables")
            .and_then(Value::as_object)
            .unwrap_or(&empty);
        return Some(graphql_objects(query, variables, sink));
    }
    let (operation, variables) = (text("operationName")?, map.get("variables")?);
    // A persisted query: only its name and its variables are here.
    walk(variables, "", operation, true, 0, sink);
    Some(Rpc {
        rpc_method: Some("graphql.query".to_owned()),
        tool: Some(bounded(operation)),
        writes: first_writes(operation),
    })
}

fn rpc_call(map: &Map<String, Value>, noun: &str, sink: &mut Sink<'_>) -> Option<Rpc> {
    let text = |key: &str| map.get(key).and_then(Value::as_str);
    let method = text("method").filter(|_| map.contains_key("jsonrpc"))?;
    let empty = Value::Null;
    let params = map.get("params").unwrap_or(&empty);
    let tool = params
        .get("name")
        .and_then(Value::as_str)
        .filter(|_| method == "tools/call");
    match tool {
        Some(tool) => walk(
            params.get("arguments").unwrap_or(&empty),
            "",
            tool,
            true,
            0,
            sink,
        ),
        None => {
            if let Some(uri) = params.get("uri").and_then(Value::as_str) {
                sink.push("", uri, false);
            }
            let context = if name::noun(method).is_empty() {
                noun
            } else {
                method
            };
            match params {
                // Positional arguments: an id is whatever cannot be anything else.
                Value::Array(items) => items.iter().for_each(|item| match item {
                    Value::Number(number) if number.is_u64() => {
                        walk(item, "id", context, true, 0, sink);
                    }
                    Value::String(text) if is_unmistakable(segment_kind(text)) => {
                        walk(item, "id", context, true, 0, sink);
                    }
                    other => walk(other, "", context, true, 0, sink),
                }),
                _ => walk(params, "", context, true, 0, sink),
            }
        }
    }
    let writes = match tool {
        Some(tool) => first_writes(tool),
        None if method == "initialize"
            || method == "ping"
            || method.starts_with("notifications/") =>
        {
            Some(false)
        }
        None => first_writes(method),
    };
    Some(Rpc {
        rpc_method: Some(bounded(method)),
        tool: tool.map(bounded),
        writes,
    })
}

/// Walks JSON for keys named like ids. `key` is the key the value stands under, `context` the noun around it.
fn walk(value: &Value, key: &str, context: &str, in_call: bool, depth: usize, sink: &mut Sink<'_>) {
    if DEPTH_MAX < depth || !sink.visit() {
        return;
    }
    match value {
        Value::String(text) => sink.named(key, context, text, in_call),
        Value::Number(number) if number.is_i64() || number.is_u64() => {
            sink.named(key, context, &number.to_string(), in_call);
        }
        Value::Array(items) => {
            for item in items {
                walk(item, key, context, in_call, depth + 1, sink);
            }
        }
        Value::Object(map) => {
            let inner = name::noun(key);
            let context = if inner.is_empty() || name::is_wrapper(inner) {
                context
            } else {
                key
            };
            for (name, value) in map.iter().filter(|(name, _)| *name != "_meta") {
                let name = if graphql::is_operator(name) {
                    key
                } else {
                    name.as_str()
                };
                walk(value, name, context, in_call, depth + 1, sink);
            }
        }
        _ => (),
    }
}

fn graphql_objects(query: &str, variables: &Map<String, Value>, sink: &mut Sink<'_>) -> Rpc {
    let mut resolved = HashSet::<_, FixedHasher>::default();
    let operation = graphql::scan(
        query,
        &mut |field, name, argument, defaults| match argument {
            Argument::Literal(text) => {
                if sink.visit() {
                    sink.named(name, field, &graphql::unescape(text), true);
                }
            }
            Argument::Variable(variable) if resolved.insert((field, name, variable)) => {
                if let Some(value) = variables.get(variable) {
                    return walk(value, name, field, true, 0, sink);
                }
                for &(key, text) in defaults.get(variable).into_iter().flatten() {
                    if !sink.visit() {
                        break;
                    }
                    let name = if key == variable { name } else { key };
                    sink.named(name, field, &graphql::unescape(text), true);
                }
            }
            Argument::Variable(_) => (),
        },
    );
    let method = if operation.is_mutation {
        "graphql.mutation"
    } else {
        "graphql.query"
    };
    Rpc {
        rpc_method: Some(method.to_owned()),
        tool: (!operation.field.is_empty()).then(|| bounded(operation.field)),
        writes: Some(operation.is_mutation),
    }
}

/// Whether the first verb of a tool or method name changes something.
fn first_writes(name: &str) -> Option<bool> {
    let mut rest = name;
    let mut found = None;
    for _ in 0..8 {
        let (head, last) = name::split_last(rest);
        if last.is_empty() {
            break;
        }
        found = name::writes(last).or(found);
        rest = head;
    }
    found
}

/// Names callers choose go to logs: printable ASCII only, and not too long.
fn bounded(name: &str) -> String {
    name.chars()
        .filter(char::is_ascii_graphic)
        .take(RPC_NAME_BYTES_MAX)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn found(path: &str, query: &str, body: &str) -> (Vec<Object>, Rpc) {
        let (mut out, mut variables, mut objects_found) = (String::new(), Vec::new(), Vec::new());
        crate::endpoint::endpoint("POST", None, path, &mut out, &mut variables);
        let request = Request {
            method: "POST",
            path,
            path_variables: &variables,
            query: Some(query),
            body: Some(body),
        };
        let rpc = objects(&request, &mut objects_found);
        (objects_found, rpc)
    }

    fn key(collection: &str, id: &str) -> u64 {
        xxh3_64(format!("{collection}\0{id}").as_bytes())
    }

    #[test]
    fn one_object_has_one_key_wherever_it_is_named() {
        #[rustfmt::skip]
        let table = [
            ("/api/tasks/7", "", ""),
            ("/api/tasks/07/comments", "", ""),
            ("/tasks/%37", "", ""),
            ("/x", "taskId=7", ""),
            ("/x", "task_id=7", ""),
            ("/x", "filter[taskId]=%207", ""),
            ("/x", "task_ids[]=7", ""),
            ("/x", "taskid=7", ""),
            ("/x", "task=7", ""),
            ("/tasks", "id=7", ""),
            ("/tasks", "ids=7", ""),
            ("/tasks", "ids=%5B%227%22%5D", ""),
            ("/tasks/fetch", "", r#"{"id":7}"#),
            ("/x", "", r#"{"taskId":"+7"}"#),
            ("/x", "", r#"{"data":{"task":{"id":7}}}"#),
            ("/x", "", r#"{"tasks":[{"id":7}]}"#),
            ("/x", "", "taskId=7&page=2"),
            ("/graphql", "", r#"{"query":"query($id:ID!){task(id:$id){id}}","variables":{"id":"7"}}"#),
            ("/graphql", "", r#"{"query":"{a1:task(id:\"7\"){id} a2:task(id:7){id}}"}"#),
            ("/graphql", "", r#"{"query":"mutation M($i:In!){updateTask(input:$i){id}}","variables":{"i":{"taskId":7}}}"#),
            ("/graphql", "", r#"{"query":"{tasks(where:{id:{eq:7}},first:10){id}}"}"#),
            ("/graphql", "", r#"{"query":"{node(id:\"VGFzazo3\"){id}}"}"#),
            ("/graphql", "", r#"{"query":"query($id:ID!=\"7\"){task(id:$id){id}}"}"#),
            ("/graphql", "", r#"{"query":"query($ids:[ID!]=[7] @x(id:9)){tasks(ids:$ids){id}}"}"#),
            ("/graphql", "", r#"{"query":"query($i:In={taskId:7}){a(input:$i){id}}"}"#),
            ("/graphql", "", r#"{"query":"query($id:ID=9){task(id:$id){id}}","variables":{"id":7}}"#),
            ("/graphql", "", r#"{"query":"{task(id:\"\\u0037\"){id}}"}"#),
            ("/x", "", r#"{"taskId":"https://h.example/v1/tasks/7"}"#),
            ("/x", "", r#"{"id":"https://h/api/tasks/7/comments"}"#),
            ("/x", "", r#"{"a":{"\u0074ask\u0049\u0064":7}}"#),
            ("/graphql", "query=%7Btask(id:7)%7Bid%7D%7D", ""),
            ("/graphql", "", r#"[{"query":"{task(id:7){id}}"}]"#),
            ("/graphql", "", r#"{"operationName":"GetTask","variables":{"id":7}}"#),
            ("/mcp", "", r#"{"jsonrpc":"2.0","id":9,"method":"tools/call","params":{"name":"get_task","arguments":{"id":7}}}"#),
            ("/mcp", "", r#"{"jsonrpc":"2.0","id":9,"method":"tools/call","params":{"name":"x","arguments":{"task":7,"limit":5}}}"#),
            ("/mcp", "", r#"{"jsonrpc":"2.0","id":9,"method":"resources/read","params":{"uri":"task://7"}}"#),
            ("/mcp", "", r#"{"jsonrpc":"2.0","id":9,"method":"resources/read","params":{"uri":"board://tasks/7"}}"#),
            ("/rpc", "", r#"{"jsonrpc":"2.0","id":9,"method":"task.get","params":[7]}"#),
        ];
        for (path, query, body) in table {
            let (objects, _) = found(path, query, body);
            let keys: Vec<_> = objects
                .iter()
                .map(|o| (o.collection.as_str(), o.key, o.number))
                .collect();
            assert_eq!(
                keys,
                [("task", key("task", "7"), Some(7))],
                "{path} {query} {body}"
            );
        }
    }

    #[test]
    fn every_noun_is_found_in_a_body() {
        for (body, collection) in [
            (r#"{"channel":7}"#, "channel"),
            (r#"{"job":42}"#, "job"),
            (r#"{"album" : 7}"#, "album"),
            (r#"{"JOB":42}"#, "job"),
            (r#"{"job_id_eq":42}"#, "job"),
            (r#"{"job_ids[]":[42]}"#, "job"),
            (r#"{"orderId":"https://h/orders/7"}"#, "order"),
            (r#"{"orderId":"https://h/7"}"#, "order"),
        ] {
            let (objects, _) = found("/x", "", body);
            let collections: Vec<_> = objects.iter().map(|o| o.collection.as_str()).collect();
            assert_eq!(collections, [collection], "{body}");
        }
    }

    #[test]
    fn what_is_no_id_names_nothing() {
        for (path, query, body) in [
            (
                "/tasks",
                "page=2&limit=10&offset=3&cursor=9&_page=3&sort=id&order=asc&last_id=4&valid=1&paid=0",
                "",
            ),
            ("/tasks", "request_id=12&sessionId=12&id=&id=null", ""),
            ("/tasks", "", r#"{"title":"x","count":3,"method":"id"}"#),
            ("/tasks", "", r#"{"id":7"#),
            (
                "/mcp",
                "",
                r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18"}}"#,
            ),
        ] {
            assert_eq!(found(path, query, body).0, [], "{path} {query} {body}");
        }
    }

    #[test]
    fn the_last_variable_comes_first_and_parents_are_marked() {
        let (objects, _) = found("/boards/3/tasks/7", "", "");
        let seen: Vec<_> = objects
            .iter()
            .map(|o| (o.collection.as_str(), o.number, o.parent))
            .collect();
        assert_eq!(seen, [("task", Some(7), false), ("board", Some(3), true)]);
    }

    #[test]
    fn calls_are_named() {
        for (body, method, tool, writes) in [
            (
                r#"{"query":"query Q($id:ID!){a:task(id:$id){id}}"}"#,
                "graphql.query",
                Some("task"),
                Some(false),
            ),
            (
                r#"{"query":"mutation{deleteTask(id:1){id}}"}"#,
                "graphql.mutation",
                Some("deleteTask"),
                Some(true),
            ),
            (
                r#"{"jsonrpc":"2.0","method":"tools/call","params":{"name":"delete_board"}}"#,
                "tools/call",
                Some("delete_board"),
                Some(true),
            ),
            (
                r#"{"jsonrpc":"2.0","method":"tools/list"}"#,
                "tools/list",
                None,
                Some(false),
            ),
        ] {
            let (_, rpc) = found("/x", "", body);
            assert_eq!(
                (rpc.rpc_method.as_deref(), rpc.tool.as_deref(), rpc.writes),
                (Some(method), tool, writes),
                "{body}"
            );
        }
    }

    #[test]
    fn collections_are_one_singular_word() {
        for (name, want) in [
            ("tasks", "task"),
            ("Orders", "order"),
            ("orderItemId", "item"),
            ("get_task", "task"),
            ("listTasks", "task"),
            ("categories", "category"),
            ("addresses", "address"),
            ("status", "status"),
            ("statuses", "status"),
            ("boxes", "box"),
            ("movies", "movie"),
            ("people", "person"),
            ("userIDs", "user"),
            ("databases", "database"),
            ("HTTPServers", "server"),
            ("id", "id"),
            ("", ""),
        ] {
            let mut out = String::new();
            name::push_collection(name, &mut out);
            assert_eq!(out, want, "{name}");
        }
    }

    #[test]
    fn no_request_names_more_than_the_limit() {
        let ids: Vec<String> = (0..1000).map(|i| i.to_string()).collect();
        let (objects, _) = found(
            "/tasks",
            &format!("ids={}", ids.join(",")),
            &format!("{{\"taskIds\":[{}]}}", ids.join(",")),
        );
        assert_eq!(objects.len(), OBJECTS_MAX);
    }

    #[test]
    fn a_call_hides_no_ids_beside_it_and_no_writes() {
        #[rustfmt::skip]
        let table = [
            ("POST /tasks/batch", r#"{"query":"{","taskIds":[1,2,3]}"#, 3, false),
            ("POST /tasks/batch", r#"{"query":"{","id":8}"#, 1, false),
            ("POST /graphql", r#"{"query":"{","id":8}"#, 0, false),
            ("POST /tasks/batch", r#"{"jsonrpc":"2.0","method":"x","id":8,"taskIds":[1,2,3]}"#, 3, false),
            ("DELETE /tasks/7?query=%7B", "", 1, true),
            ("POST /tasks/7?query=%7B", "", 1, false),
            ("PUT /tasks/7", r#"{"jsonrpc":"2.0","method":"tools/list"}"#, 1, true),
            ("GET /graphql?query=mutation%7Ba%7D", "", 0, true),
            ("POST /graphql?query=mutation%7Ba%7D", r#"{"query":"{a}"}"#, 0, true),
            ("POST /graphql?query=%7Ba%7D&query=mutation%7Ba%7D", "", 0, true),
            ("POST /mcp", r#"[{"jsonrpc":"2.0","method":"ping"},{"jsonrpc":"2.0","method":"task.delete"}]"#, 0, true),
            ("POST /graphql", r#"[{"query":"{a}"},{"query":"mutation{a}"}]"#, 0, true),
            ("POST /graphql", r#"{"query":"fragment F on Task{id} mutation{deleteTask(id:7){...F}}"}"#, 1, true),
            ("POST /graphql", r#"{"query":"fragment mutation on Task{id} query mutation{task(id:7){id}}"}"#, 1, false),
            ("POST /graphql", r#"{"query":"query A{a} mutation B{b}"}"#, 0, true),
        ];
        for (line, body, n, write) in table {
            let (method, target) = line.split_once(' ').unwrap_or_default();
            let (path, query) = target.split_once('?').unwrap_or((target, ""));
            let (objects, rpc) = found(path, query, body);
            assert_eq!(objects.len(), n, "{line} {body}: {objects:?}");
            assert_eq!(is_write(method, &rpc), write, "{line} {body}");
        }
        let (_, rpc) = found(
            "/graphql",
            "",
            r#"{"query":"fragment F on T{id} mutation{deleteTask{id}}"}"#,
        );
        assert_eq!(
            rpc.tool.as_deref(),
            Some("deleteTask"),
            "no field of a fragment"
        );
    }

    #[test]
    fn a_variable_used_a_thousand_times_is_read_once() {
        let ids: Vec<String> = (0..10_000).map(|i| format!("[{}]", i % 9)).collect();
        let query = "a(id:$v)".repeat(5000);
        let variables = format!("{{\"v\":[{}]}}", ids.join(","));
        let asked = format!("query={{{query}}}&variables={variables}&").repeat(20);
        let (objects, _) = found("/graphql", &asked, "");
        assert_eq!(objects.len(), 9);
    }

    #[test]
    fn no_padding_hides_an_id() {
        let sevens = "7,".repeat(5000);
        #[rustfmt::skip]
        let table = [
            (format!("ids={sevens}8,9"), String::new(), 3),
            (format!("{}ids=7,8", "a=1&".repeat(5000)), String::new(), 2),
            (format!("{}id=8", "id=7&".repeat(5000)), String::new(), 2),
            (String::new(), format!("{{\"taskIds\":[{sevens}8,9]}}"), 3),
            (String::new(), format!("{{\"a\":[{}0],\"taskIds\":[7,8]}}", "0,".repeat(20_000)), 2),
            (String::new(), format!("taskIds={sevens}8"), 2),
        ];
        for (query, body, n) in table {
            let (objects, _) = found("/tasks", &query, &body);
            assert_eq!(objects.len(), n, "{:.40} {body:.40}", query);
        }
    }

    proptest! {
        #[test]
        fn extraction_never_panics(path in "\\PC{0,40}", query in "\\PC{0,60}|([a-z_\\[\\]]{1,6}id=[ -~é]{0,12}&){0,6}", body in "\\PC{0,80}|\\{[\"a-z:{}()$@.# \\\\0-9\\[\\],]{0,60}\\}") {
            let (objects, _) = found(&path, &query, &body);
            prop_assert!(objects.len() <= OBJECTS_MAX);
            let wrapped = serde_json::json!({"query": format!("{{{body}"), "variables": {"id": path}}).to_string();
            found("/graphql", &query, &wrapped);
        }
    }
}
