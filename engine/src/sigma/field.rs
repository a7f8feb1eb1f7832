//! Which column of `events` a field of a web or proxy log is.
//!
//! Names are those of Sigma's taxonomy for `webserver` and `proxy`, which are W3C's; case and punctuation don't count
//! (`cs(User-Agent)`, `cs-user-agent`). Rules write path text into `cs-uri-query` (51 of the 67 of SigmaHQ that use it do),
//! so that field is the whole request target.

/// What a condition reads: a column of `events`, or a text made of several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    Text(&'static str),
    Number(&'static str),
    /// A number's digits, for values with wildcards (`4*`).
    Digits(&'static str),
    /// Path and query.
    Target,
    /// Scheme, host, path and query.
    Url,
    /// What stands behind the path's last dot; a path without one begins with `/` here, as no extension does.
    Extension,
    /// What an access log says of a call, for keywords.
    Line,
}

/// A field of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    /// A field of the events.
    Seen(Column),
    /// A field of such logs that no event holds, and why.
    Unseen(&'static str),
}

impl Column {
    /// Its name in a rule.
    pub(super) fn name(self) -> String {
        match self {
            Column::Text(column) | Column::Number(column) => column.to_owned(),
            Column::Digits(column) => format!("CAST({column} AS VARCHAR)"),
            Column::Target => "target".to_owned(),
            Column::Url => "url".to_owned(),
            Column::Extension => "extension".to_owned(),
            Column::Line => "line".to_owned(),
        }
    }

    /// What it is made of, when it is no column.
    pub(super) fn definition(self) -> Option<&'static str> {
        match self {
            Column::Text(_) | Column::Number(_) | Column::Digits(_) => None,
            Column::Target => Some("concat(path, '?' || query)"),
            Column::Url => Some("concat(scheme, '://', host, path, '?' || query)"),
            Column::Extension => Some("split_part(path, '.', -1)"),
            Column::Line => Some(
                "concat_ws(' ', client_ip, identity, method, concat(path, '?' || query), \
                 CAST(status AS VARCHAR), referer, user_agent)",
            ),
        }
    }

    /// Its value as SQL.
    pub(super) fn value(self) -> String {
        self.definition().map_or_else(|| self.name(), str::to_owned)
    }

    /// The column a source must fill for it to have a value; nothing when every source does.
    pub(super) fn source(self) -> Option<&'static str> {
        match self {
            Column::Text("path" | "method" | "identity") => None,
            Column::Text(column) | Column::Number(column) | Column::Digits(column) => Some(column),
            Column::Target | Column::Url | Column::Extension | Column::Line => None,
        }
    }
}

/// The field of that name; nothing when such logs have none.
pub(super) fn field(name: &str) -> Option<Field> {
    let letters = name.chars().filter(char::is_ascii_alphanumeric);
    let name: String = letters.map(|c| c.to_ascii_lowercase()).collect();
    Some(match name.as_str() {
        "csmethod" => Field::Seen(Column::Text("method")),
        "csuristem" | "curistem" => Field::Seen(Column::Text("path")),
        "csuriquery" | "curiquery" => Field::Seen(Column::Target),
        "csuri" | "curi" => Field::Seen(Column::Url),
        "curiextension" | "csuriextension" => Field::Seen(Column::Extension),
        "cuseragent" | "csuseragent" => Field::Seen(Column::Text("user_agent")),
        "cshost" | "rdns" => Field::Seen(Column::Text("host")),
        "csreferer" | "csreferrer" => Field::Seen(Column::Text("referer")),
        "csusername" => Field::Seen(Column::Text("identity")),
        "cip" | "srcip" | "clientip" => Field::Seen(Column::Text("client_ip")),
        "cscontenttype" => Field::Seen(Column::Text("request_content_type")),
        "sccontenttype" => Field::Seen(Column::Text("response_content_type")),
        "csurischeme" => Field::Seen(Column::Text("scheme")),
        "scstatus" => Field::Seen(Column::Number("status")),
        "csbytes" => Field::Seen(Column::Number("request_bytes")),
        "scbytes" => Field::Seen(Column::Number("response_bytes")),
        "cscookie" => Field::Unseen("cookies are secrets and are not kept"),
        "dstip" | "sip" | "rip" => Field::Unseen("the server's address is not kept"),
        "csversion" => Field::Unseen("the version of HTTP is not kept"),
        _ => return None,
    })
}
