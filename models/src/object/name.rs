//! Names: from `taskId`, `get_task`, `Tasks` and `task_ids` to the one collection `task`.
//!
//! **Invariant**: a collection is lower-case, singular, one word, at most [`COLLECTION_BYTES_MAX`] bytes.

/// Longest collection name, in bytes; the rest is cut.
pub(crate) const COLLECTION_BYTES_MAX: usize = 48;

/// What a parameter's name says about its value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Named<'a> {
    /// `id`, `ids`, `uuid`: an object of whatever the context is.
    Alone,
    /// `taskId`, `order_number`: an object of the named noun.
    Of(&'a str),
    /// `account`, `board`: a noun; an object if the value looks like an id.
    Noun(&'a str),
    /// Nothing of the kind.
    Other,
}

/// Reads a parameter's name.
pub(crate) fn named(name: &str) -> Named<'_> {
    let (mut rest, mut last) = split_last(name);
    // `id__in`, `user_id_eq`: the operator says nothing about the noun.
    if is_word(last, &["in", "eq", "exact", "any"]) && !rest.is_empty() {
        (rest, last) = split_last(rest);
    }
    if is_word(last, &["id", "ids", "uuid", "uuids", "guid", "guids"]) {
        let stem = split_last(rest).1;
        return match stem {
            "" => Named::Alone,
            _ if is_no_object(stem) => Named::Other,
            _ if is_wrapper(stem) || is_verb(stem) => Named::Alone,
            _ => Named::Of(stem),
        };
    }
    if is_word(last, &["number", "no", "num", "nr", "ref"]) {
        let stem = split_last(rest).1;
        return if is_entity(stem) {
            Named::Of(stem)
        } else {
            Named::Other
        };
    }
    // `orderid`, `taskids`: no hump to split at, so only known nouns (`paid` and `valid` end in `id` too).
    if let Some(stem) = strip_suffix(last, "ids").or_else(|| strip_suffix(last, "id"))
        && is_entity(stem)
    {
        return Named::Of(stem);
    }
    if is_entity(last) || is_word(last, &["email", "mail"]) {
        Named::Noun(last)
    } else {
        Named::Other
    }
}

/// Appends the collection a noun, a tool, a field or a path segment names.
pub(crate) fn push_collection(name: &str, out: &mut String) {
    let noun = noun(name);
    let word = if noun.is_empty() {
        split_last(name).1
    } else {
        noun
    };
    push_singular(word, out);
}

/// The last word of a name that is a noun: no verb, no id, no preposition; empty if there is none.
pub(crate) fn noun(name: &str) -> &str {
    let (mut rest, mut last) = split_last(name);
    for _ in 0..8 {
        if last.is_empty() || !(is_verb(last) || is_id_word(last)) {
            break;
        }
        (rest, last) = split_last(rest);
    }
    last
}

fn is_id_word(word: &str) -> bool {
    is_word(
        word,
        &[
            "id", "ids", "uuid", "uuids", "guid", "by", "of", "for", "all", "one", "many",
        ],
    )
}

/// Splits the last word off: at punctuation and at camel humps, from the right.
pub(crate) fn split_last(name: &str) -> (&str, &str) {
    let name = name.trim_end_matches(|c: char| c.is_ascii() && !c.is_ascii_alphanumeric());
    if let Some(rest) = name.strip_suffix("IDs") {
        return (rest, &name[rest.len()..]);
    }
    let bytes = name.as_bytes();
    let mut start = bytes.len();
    while 0 < start {
        let at = start - 1;
        let (here, next) = (bytes[at], bytes.get(start));
        if here.is_ascii() && !here.is_ascii_alphanumeric() {
            break;
        }
        if here.is_ascii_uppercase() {
            let before = at.checked_sub(1).map(|i| bytes[i]);
            let hump = before.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
                || (before.is_some_and(|b| b.is_ascii_uppercase())
                    && next.is_some_and(u8::is_ascii_lowercase));
            if hump {
                start = at;
                break;
            }
        }
        start = at;
    }
    // `start` is zero, behind an ASCII byte or at one: a character boundary.
    name.split_at(start)
}

fn strip_suffix<'a>(word: &'a str, suffix: &str) -> Option<&'a str> {
    let at = word.len().checked_sub(suffix.len())?;
    let tail = word.get(at..)?;
    tail.eq_ignore_ascii_case(suffix).then(|| word.get(..at))?
}

fn is_word(word: &str, words: &[&str]) -> bool {
    words.iter().any(|other| word.eq_ignore_ascii_case(other))
}

/// Longest word of the lists below, in bytes.
const WORD_BYTES_MAX: usize = 16;

fn lower<'b>(word: &str, buffer: &'b mut [u8; WORD_BYTES_MAX]) -> &'b [u8] {
    let Some(slot) = buffer.get_mut(..word.len()) else {
        return b"";
    };
    slot.copy_from_slice(word.as_bytes());
    slot.make_ascii_lowercase();
    slot
}

/// Words that say what is done, not to what: they never name a collection.
pub(crate) fn is_verb(word: &str) -> bool {
    matches!(
        lower(word, &mut [0; WORD_BYTES_MAX]),
        b"get"
            | b"list"
            | b"read"
            | b"fetch"
            | b"find"
            | b"search"
            | b"query"
            | b"lookup"
            | b"show"
            | b"view"
            | b"load"
            | b"describe"
            | b"create"
            | b"add"
            | b"new"
            | b"insert"
            | b"update"
            | b"edit"
            | b"set"
            | b"put"
            | b"patch"
            | b"upsert"
            | b"save"
            | b"write"
            | b"delete"
            | b"remove"
            | b"destroy"
            | b"archive"
            | b"restore"
            | b"cancel"
            | b"close"
            | b"open"
            | b"move"
            | b"copy"
            | b"send"
            | b"export"
            | b"import"
            | b"download"
            | b"upload"
            | b"batch"
            | b"bulk"
            | b"count"
            | b"check"
            | b"validate"
            | b"assign"
            | b"approve"
            | b"reject"
            | b"details"
            | b"detail"
            | b"info"
            | b"batchget"
            | b"mget"
            | b"resolve"
            | b"retrieve"
            | b"call"
            | b"execute"
            | b"run"
    )
}

/// Says whether a verb changes something; `None` when it is no verb we know.
pub(crate) fn writes(word: &str) -> Option<bool> {
    match lower(word, &mut [0; WORD_BYTES_MAX]) {
        b"get" | b"list" | b"read" | b"fetch" | b"find" | b"search" | b"query" | b"lookup"
        | b"show" | b"view" | b"load" | b"describe" | b"count" | b"check" | b"export"
        | b"download" | b"retrieve" | b"batchget" | b"mget" | b"resolve" | b"validate" => {
            Some(false)
        }
        b"create" | b"add" | b"new" | b"insert" | b"update" | b"edit" | b"set" | b"put"
        | b"patch" | b"upsert" | b"save" | b"write" | b"delete" | b"remove" | b"destroy"
        | b"archive" | b"restore" | b"cancel" | b"close" | b"move" | b"copy" | b"send"
        | b"import" | b"upload" | b"assign" | b"approve" | b"reject" => Some(true),
        _ => None,
    }
}

/// Path words that carry no noun: where the API hangs, not what it serves.
pub(crate) fn is_transport(word: &str) -> bool {
    matches!(
        lower(word, &mut [0; WORD_BYTES_MAX]),
        b"api"
            | b"apis"
            | b"rest"
            | b"graphql"
            | b"gql"
            | b"mcp"
            | b"rpc"
            | b"jsonrpc"
            | b"json"
            | b"service"
            | b"services"
            | b"public"
            | b"private"
            | b"internal"
            | b"external"
            | b"latest"
            | b"id"
            | b"by"
    )
}

/// Field names that only wrap: the noun stands further out.
pub(crate) fn is_wrapper(word: &str) -> bool {
    matches!(
        lower(word, &mut [0; WORD_BYTES_MAX]),
        b"data"
            | b"input"
            | b"filter"
            | b"filters"
            | b"where"
            | b"params"
            | b"arguments"
            | b"args"
            | b"attributes"
            | b"variables"
            | b"payload"
            | b"body"
            | b"request"
            | b"options"
            | b"query"
            | b"object"
            | b"objects"
            | b"record"
            | b"records"
            | b"result"
            | b"results"
            | b"value"
            | b"values"
            | b"and"
            | b"or"
            | b"q"
            | b"the"
            | b"self"
            | b"own"
    )
}

/// Stems whose ids name a call, a client or a place in a list, not a thing somebody owns.
fn is_no_object(stem: &str) -> bool {
    matches!(
        lower(stem, &mut [0; WORD_BYTES_MAX]),
        b"request"
            | b"trace"
            | b"span"
            | b"correlation"
            | b"session"
            | b"client"
            | b"csrf"
            | b"nonce"
            | b"idempotency"
            | b"mutation"
            | b"visitor"
            | b"since"
            | b"max"
            | b"min"
            | b"after"
            | b"before"
            | b"start"
            | b"end"
            | b"last"
            | b"first"
            | b"next"
            | b"prev"
            | b"previous"
            | b"cursor"
            | b"page"
            | b"locale"
            | b"measurement"
            | b"install"
            | b"build"
            | b"progress"
    )
}

/// Nouns that name things somebody owns; a bare `account=42` counts because of this list.
pub(crate) fn is_entity(word: &str) -> bool {
    let mut buffer = [0; WORD_BYTES_MAX];
    let word = lower(word, &mut buffer);
    let word = word
        .strip_suffix(b"s")
        .filter(|rest| 3 <= rest.len())
        .unwrap_or(word);
    matches!(
        word,
        b"account"
            | b"user"
            | b"customer"
            | b"order"
            | b"invoice"
            | b"task"
            | b"board"
            | b"project"
            | b"team"
            | b"org"
            | b"organization"
            | b"organisation"
            | b"tenant"
            | b"company"
            | b"member"
            | b"employee"
            | b"patient"
            | b"student"
            | b"vehicle"
            | b"device"
            | b"ticket"
            | b"issue"
            | b"contract"
            | b"policy"
            | b"claim"
            | b"payment"
            | b"transaction"
            | b"card"
            | b"wallet"
            | b"loan"
            | b"cart"
            | b"basket"
            | b"product"
            | b"item"
            | b"document"
            | b"doc"
            | b"file"
            | b"folder"
            | b"message"
            | b"thread"
            | b"chat"
            | b"channel"
            | b"conversation"
            | b"post"
            | b"comment"
            | b"group"
            | b"workspace"
            | b"repository"
            | b"repo"
            | b"merchant"
            | b"vendor"
            | b"supplier"
            | b"shop"
            | b"store"
            | b"booking"
            | b"reservation"
            | b"trip"
            | b"ride"
            | b"shipment"
            | b"parcel"
            | b"package"
            | b"subscription"
            | b"profile"
            | b"contact"
            | b"lead"
            | b"deal"
            | b"campaign"
            | b"event"
            | b"appointment"
            | b"report"
            | b"job"
            | b"site"
            | b"asset"
            | b"note"
            | b"photo"
            | b"image"
            | b"video"
            | b"album"
            | b"playlist"
            | b"course"
            | b"book"
            | b"node"
            | b"person"
            | b"owner"
            | b"author"
            | b"transfer"
            | b"refund"
            | b"quote"
            | b"article"
            | b"recipe"
            | b"listing"
            | b"property"
            | b"driver"
            | b"agent"
            | b"seller"
            | b"buyer"
            | b"borrower"
            | b"beneficiary"
            | b"statement"
            | b"receipt"
            | b"prescription"
            | b"record"
    )
}

/// Appends the singular of an English noun, lower-case; wrong ones are harmless as long as they are the same.
fn push_singular(word: &str, out: &mut String) {
    let end = (0..=word.len().min(COLLECTION_BYTES_MAX))
        .rev()
        .find(|&i| word.is_char_boundary(i));
    let start = out.len();
    out.push_str(word.get(..end.unwrap_or(0)).unwrap_or(""));
    if let Some(tail) = out.get_mut(start..) {
        tail.make_ascii_lowercase();
    }
    let (cut, add) = singular_ending(out.get(start..).unwrap_or(""));
    out.truncate(out.len() - cut);
    out.push_str(add);
}

/// How many bytes to cut from the end, and what to put there.
fn singular_ending(word: &str) -> (usize, &'static str) {
    let ends = |suffix: &str| word.ends_with(suffix);
    match word {
        "people" => return (4, "rson"),
        "children" => return (3, ""),
        "indices" | "vertices" | "matrices" => {
            return if word == "matrices" {
                (4, "ix")
            } else {
                (4, "ex")
            };
        }
        "series" | "species" | "news" | "sms" | "gps" | "dns" | "aws" | "cms" | "lens"
        | "https" | "means" => {
            return (0, "");
        }
        "ads" | "ids" | "menus" | "bonus" => {
            return if word == "bonus" { (0, "") } else { (1, "") };
        }
        "movies" | "cookies" | "caches" | "selfies" | "headaches" => return (1, ""),
        _ => (),
    }
    if !ends("s") || word.len() < 4 || ends("ss") || ends("us") || ends("is") {
        (0, "")
    } else if ends("ies") && 4 < word.len() {
        (3, "y")
    } else if [
        "sses", "shes", "ches", "xes", "zzes", "tuses", "puses", "nuses", "ruses", "buses",
    ]
    .iter()
    .any(|tail| ends(tail))
    {
        (2, "")
    } else {
        (1, "")
    }
}
