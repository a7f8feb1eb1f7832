//! Which column is which field: by what its values are, then by its name.

use super::facts::{Facts, Like};
use super::sample::Sample;

/// How a field is told.
pub(super) struct Spec {
    /// The field, of `connectors::format::mapped::FIELDS`.
    pub(super) field: &'static str,
    /// What its values are.
    likes: Likes,
    /// Words of names that speak for it; each entry wants all of its words.
    names: Names,
    /// Words of names that speak against it.
    against: Names,
    /// True when values alone don't tell it from others.
    by_name: bool,
    /// True when a column without any value says something, too: that answers never had the header.
    may_be_empty: bool,
}

/// What the values of a field are: all the same, or anything.
enum Likes {
    Are(Like),
    Anything,
}

/// Words of names.
type Names = &'static [&'static str];

/// A field that values tell.
const fn are(field: &'static str, like: Like, names: Names, against: Names) -> Spec {
    Spec {
        by_name: false,
        ..named(field, like, names, against)
    }
}

/// A field that values and name tell together.
const fn named(field: &'static str, like: Like, names: Names, against: Names) -> Spec {
    Spec {
        likes: Likes::Are(like),
        ..anything(field, names, against)
    }
}

/// A field that its name tells.
const fn anything(field: &'static str, names: Names, against: Names) -> Spec {
    Spec {
        field,
        likes: Likes::Anything,
        names,
        against,
        by_name: true,
        may_be_empty: false,
    }
}

/// A header of the answer, told by its name.
const fn answered(field: &'static str, names: Names, against: Names) -> Spec {
    Spec {
        may_be_empty: true,
        ..anything(field, names, against)
    }
}

/// Words of what lies behind the gateway, not in front of it.
const BEHIND: &[&str] = &["upstream", "backend", "origin", "target", "local", "server"];

/// Words of a request's headers.
const ASKED: &[&str] = &["request", "req"];

/// The fields, in the order in which they take columns.
pub(super) const SPECS: &[Spec] = &[
    are(
        "request_line",
        Like::RequestLine,
        &["request", "request line"],
        BEHIND,
    ),
    are(
        "event_time",
        Like::Time,
        &[
            "time",
            "timestamp",
            "ts",
            "date",
            "started",
            "start",
            "msec",
        ],
        &["upstream", "expires", "duration", "latency", "response"],
    ),
    are(
        "method",
        Like::Method,
        &["method", "verb", "request method"],
        &["override", "allow"],
    ),
    are(
        "path",
        Like::Path,
        &[
            "path",
            "uri",
            "url",
            "request uri",
            "target",
            "raw path",
            "request path",
            "request url",
        ],
        &[
            "referer", "referrer", "upstream", "route", "template", "file", "service",
        ],
    ),
    are(
        "status",
        Like::Status,
        &["status", "status code", "response code", "code"],
        BEHIND,
    ),
    are(
        "client_ip",
        Like::Address,
        &[
            "client ip",
            "client",
            "remote addr",
            "remote",
            "source ip",
            "src",
            "ip",
            "downstream remote address",
        ],
        &[
            "upstream",
            "backend",
            "server",
            "local",
            "destination",
            "dst",
            "host",
            "forwarded",
            "real",
            "realip",
            "direct",
        ],
    ),
    are(
        "user_agent",
        Like::Agent,
        &["user agent", "ua", "agent"],
        &["server", "protocol", "version"],
    ),
    are(
        "authorization",
        Like::Credential,
        &["authorization"],
        &["proxy"],
    ),
    are(
        "jwt_claims",
        Like::Claims,
        &["claims", "jwt", "payload"],
        &["body"],
    ),
    are(
        "tls_version",
        Like::Tls,
        &["tls", "ssl", "protocol"],
        &["upstream", "cipher"],
    ),
    are(
        "scheme",
        Like::Scheme,
        &["scheme", "proto", "protocol"],
        &["upstream", "service"],
    ),
    named(
        "host",
        Like::Host,
        &["host", "authority", "vhost", "domain", "server name"],
        &["upstream", "backend", "forwarded", "service", "pod"],
    ),
    named("referer", Like::Path, &["referer", "referrer"], &[]),
    named("origin", Like::Url, &["origin"], &["allow"]),
    named(
        "request_content_type",
        Like::Media,
        &["content type", "ctype", "request content type"],
        &["response", "resp", "sent", "accept"],
    ),
    named(
        "response_content_type",
        Like::Media,
        &[
            "response content type",
            "sent content type",
            "resp ctype",
            "content type",
            "ctype",
        ],
        &["request", "req", "accept"],
    ),
    named(
        "response_bytes",
        Like::Count,
        &[
            "response bytes",
            "response size",
            "bytes sent",
            "body bytes",
            "resp bytes",
            "response length",
            "bytes",
            "size",
            "bytes out",
        ],
        &["request", "req", "received", "upstream", "in"],
    ),
    named(
        "request_bytes",
        Like::Count,
        &[
            "request bytes",
            "request size",
            "request length",
            "bytes received",
            "req bytes",
            "bytes in",
        ],
        &["response", "sent", "upstream"],
    ),
    named(
        "latency_us",
        Like::Number,
        &[
            "latency",
            "latencies request",
            "duration",
            "request time",
            "elapsed",
            "response time",
            "took",
            "dur",
        ],
        &[
            "upstream", "backend", "kong", "proxy", "connect", "service", "tls", "started", "start",
        ],
    ),
    named(
        "trace_id",
        Like::Id,
        &["trace", "trace id", "traceparent"],
        &["span", "parent id"],
    ),
    named(
        "request_id",
        Like::Id,
        &["request id", "req id", "correlation id", "id"],
        &["trace", "span", "user", "service", "route", "session"],
    ),
    named(
        "route",
        Like::Template,
        &["route", "template", "resource"],
        &[],
    ),
    anything("api_key", &["api key", "apikey"], &["id"]),
    anything(
        "session",
        &["session", "session id", "mcp session id", "sid"],
        &["affinity"],
    ),
    anything(
        "token_hash",
        &["token hash", "token sha256", "auth sha256"],
        &[],
    ),
    anything(
        "method_override",
        &["method override", "x http method"],
        &[],
    ),
    anything("forwarded_host", &["forwarded host"], &[]),
    anything("rewritten_url", &["original url", "rewrite url"], &[]),
    anything("allow_origin", &["access control allow origin"], &[]),
    anything(
        "allow_credentials",
        &["access control allow credentials"],
        &[],
    ),
    anything("powered_by", &["powered by"], &[]),
    answered("hsts", &["strict transport security", "hsts"], ASKED),
    answered("content_type_options", &["content type options"], ASKED),
    answered("frame_options", &["frame options"], ASKED),
    answered(
        "content_security_policy",
        &["content security policy", "csp"],
        &["request", "req", "report"],
    ),
    // Requests have one as well, and `http_cache_control` is theirs.
    answered(
        "cache_control",
        &[
            "response cache control",
            "resp cache control",
            "sent cache control",
            "out cache control",
            "answer cache control",
        ],
        ASKED,
    ),
    answered("vary", &["vary"], ASKED),
    answered("set_cookie", &["set cookie"], ASKED),
    named(
        "location",
        Like::Path,
        &["location"],
        &[
            "request", "req", "content", "upstream", "geo", "client", "user",
        ],
    ),
    answered(
        "debug_header",
        &["debug token", "clockwork id", "phpdebugbar id"],
        ASKED,
    ),
    anything("via", &["via", "cdn loop"], &["response", "resp", "sent"]),
    anything("mcp_method", &["mcp method"], &[]),
    anything("mcp_name", &["mcp name"], &[]),
    anything("mcp_version", &["mcp protocol version"], &[]),
    anything("a2a_version", &["a2a version"], &[]),
    anything("signature_agent", &["signature agent"], &[]),
    anything("sdk_language", &["stainless lang"], &[]),
];

/// Share of a column's values that must be what the field's are. Some lines are always odd.
const SHARE_MIN: f64 = 0.9;
/// Columns told of each field: the one that is mapped, and the next best.
const TOLD_MAX: usize = 3;

/// A column that could be a field.
#[derive(Debug, Clone)]
pub struct Choice {
    /// The field.
    pub field: &'static str,
    /// Place of the column in the sample.
    pub column: usize,
    /// The column's name.
    pub name: String,
    /// True for the one that is mapped.
    pub is_mapped: bool,
    /// Share of its values that are what the field's are.
    pub share: f64,
    /// Share of the lines that have a value.
    pub coverage: f64,
    /// Different values.
    pub n_distinct: usize,
    /// How well its name fits, in [-1, 1].
    pub by_name: f64,
    /// What they were ranked by.
    pub score: f64,
}

/// The best columns of each field; a column is mapped once.
pub(super) fn choose(sample: &Sample, facts: &[Facts]) -> Vec<Choice> {
    let mut taken = vec![false; facts.len()];
    let mut choices = Vec::new();
    for spec in SPECS {
        let columns = sample.columns.iter().zip(facts).enumerate();
        let mut found: Vec<Choice> = columns
            .filter_map(|(at, (column, facts))| choice(spec, at, &column.name, facts))
            .collect();
        found.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.column.cmp(&b.column)));
        if let Some(best) = found.iter_mut().find(|choice| !taken[choice.column]) {
            best.is_mapped = true;
            // A date and a clock that are one column are taken with it.
            let words = &sample.columns[best.column].words;
            for (taken, column) in taken.iter_mut().zip(&sample.columns) {
                *taken |= !words.is_empty() && column.words.iter().any(|word| words.contains(word));
            }
            taken[best.column] = true;
        }
        let told = found.into_iter().enumerate();
        choices.extend(
            told.filter(|(at, choice)| *at < TOLD_MAX || choice.is_mapped)
                .map(|(_, choice)| choice),
        );
    }
    choices
}

fn choice(spec: &Spec, at: usize, name: &str, facts: &Facts) -> Option<Choice> {
    let share = match spec.likes {
        Likes::Are(like) => facts.share(like),
        Likes::Anything => 1.0,
    };
    let by_name = by_name(spec, name);
    let is_unnamed = by_name <= 0.0 && spec.by_name;
    let is_fit = match facts.n_present {
        0 => spec.may_be_empty,
        _ => SHARE_MIN <= share,
    };
    if !is_fit || by_name < 0.0 || is_unnamed {
        return None;
    }
    // What tells the columns apart of which all are times, or all are paths.
    let kind = match spec.field {
        "event_time" => {
            let rising = facts.n_rising as f64 / facts.n_present as f64;
            // A count or a size can be read as a time of this century, a clock seldom goes back.
            if by_name <= 0.0 && Like::Count.is_all_of(facts) && rising < SHARE_MIN {
                return None;
            }
            rising + facts.diversity()
        }
        // A route has names in braces, and fewer values than the paths it stands for.
        "path" => {
            2.0 * facts.diversity() - 2.0 * facts.share(Like::Template) - facts.share(Like::Url)
        }
        "client_ip" => facts.diversity(),
        _ => 0.0,
    };
    let score = share + 2.0 * facts.coverage() + by_name + kind;
    Some(Choice {
        field: spec.field,
        column: at,
        name: name.to_owned(),
        is_mapped: false,
        share,
        coverage: facts.coverage(),
        n_distinct: facts.n_distinct,
        by_name,
        score,
    })
}

impl Like {
    fn is_all_of(self, facts: &Facts) -> bool {
        SHARE_MIN <= facts.share(self)
    }
}

/// How well a name fits a field: 1 when its last part is one of the field's names, 0.5 when they are among its words, -1 when a word
/// speaks against it.
fn by_name(spec: &Spec, name: &str) -> f64 {
    let (all, last) = words(name);
    if spec
        .against
        .iter()
        .any(|word| word.split(' ').all(|word| all.iter().any(|of| of == word)))
    {
        return -1.0;
    }
    let fits =
        |name: &&str, of: &[String]| name.split(' ').all(|word| of.iter().any(|of| of == word));
    let is_whole = |name: &&str| fits(name, &last) && name.split(' ').count() == last.len();
    match (
        spec.names.iter().any(is_whole),
        spec.names.iter().any(|name| fits(name, &all)),
    ) {
        (true, _) => 1.0,
        (_, true) => 0.5,
        _ => 0.0,
    }
}

/// Words of a name, and of its last part: split at punctuation and camel humps, in lower case.
pub(super) fn words(name: &str) -> (Vec<String>, Vec<String>) {
    let name = name.trim_end_matches("[0]");
    let start = name.rfind(['.', ']']).map_or(0, |at| at + 1);
    // A quoted last part keeps its dots.
    let start = if start == name.len() {
        name.rfind("[\"").unwrap_or(0)
    } else {
        start
    };
    (split(name), split(&name[start..]))
}

fn split(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before = '_';
    for c in name.chars() {
        let is_hump = c.is_ascii_uppercase() && before.is_ascii_lowercase();
        if is_hump || !c.is_ascii_alphanumeric() {
            words.push(String::new());
        }
        if c.is_ascii_alphanumeric()
            && let Some(word) = words.last_mut()
        {
            word.push(c.to_ascii_lowercase());
        }
        before = c;
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_by_their_words() {
        let rows = [
            ("status", "response.status", 1.0),
            ("status", "upstream_status", -1.0),
            ("response_bytes", "body_bytes_sent", 0.5),
            ("response_bytes", "bytes_sent", 1.0),
            ("client_ip", "clientIp", 1.0),
            ("user_agent", "request.headers[\"user.agent\"]", 1.0),
            ("path", "request.uri", 1.0),
            ("event_time", "identity", 0.0),
            (
                "hsts",
                "response.headers[\"strict-transport-security\"]",
                1.0,
            ),
            ("cache_control", "sent_http_cache_control", 0.5),
            ("cache_control", "http_cache_control", 0.0),
            (
                "content_security_policy",
                "sent_http_content_security_policy_report_only",
                -1.0,
            ),
            ("set_cookie", "resp.set_cookie", 1.0),
        ];
        for (field, name, wanted) in rows {
            let spec = SPECS.iter().find(|spec| spec.field == field).unwrap();
            assert_eq!(by_name(spec, name), wanted, "{field} {name}");
        }
    }
}
