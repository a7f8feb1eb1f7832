//! `rules docs`: a Markdown page a rule, and an index.
//!
//! Rules may come from others: their texts are escaped, so that no page holds HTML, a link or a table but ours.

use std::fmt::Write as _;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use models::identity::is_unprintable;
use serde_json::{Value, json};
use url::Url;

use super::trial::is_silent;
use crate::command::{Failure, load_rules};
use crate::rule::{Rule, RuleSet};

/// Name of the index: what hosts of Git repositories show of a folder.
const INDEX: &str = "README";

/// Options of `rules docs`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tollwatch rules docs --out docs/rules
  tollwatch rules docs my-rules --out -

Pages of the same names are written over; those of rules that are gone stay.
Exit codes: 0 done, 1 a rule is wrong or a file can't be written, 2 wrong usage.")]
pub struct DocsArgs {
    /// Folder of rules (.sql); the shipped ones when absent
    pub dir: Option<PathBuf>,
    /// Folder the pages are written to; `-` for standard output
    #[arg(long, value_name = "DIR|-")]
    pub out: PathBuf,
    /// Prints JSON: where the pages are, or with `--out -` their texts
    #[arg(long)]
    pub json: bool,
}

/// Runs the command.
///
/// # Errors
/// A rule is wrong, or a page can't be written.
pub fn run(args: &DocsArgs) -> Result<u8, Failure> {
    let rules = load_rules(args.dir.as_deref(), None)?;
    let mut pages = vec![(INDEX.to_owned(), index(&rules))];
    let page_of = |rule: &std::sync::Arc<Rule>| (rule.header.name.clone(), page(rule));
    pages.extend(rules.rules.iter().map(page_of));
    let mut out = std::io::stdout().lock();
    let told: Vec<Value> = if args.out == Path::new("-") {
        if !args.json {
            let texts: Vec<&str> = pages.iter().map(|(_, text)| text.as_str()).collect();
            write!(out, "{}", texts.join("\n"))?;
            return Ok(0);
        }
        let page = |(name, text)| json!({ "name": name, "text": text });
        pages.into_iter().map(page).collect()
    } else {
        write_all(&args.out, &pages)?
    };
    match args.json {
        true => writeln!(out, "{}", json!({ "pages": told }))?,
        false => writeln!(out, "{} pages in {}", told.len(), args.out.display())?,
    }
    Ok(0)
}

fn write_all(folder: &Path, pages: &[(String, String)]) -> Result<Vec<Value>, Failure> {
    std::fs::create_dir_all(folder)
        .map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
    let mut told = Vec::new();
    for (name, text) in pages {
        let path = folder.join(format!("{name}.md"));
        std::fs::write(&path, text)
            .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        told.push(json!({ "name": name, "path": path.display().to_string() }));
    }
    Ok(told)
}

fn index(rules: &RuleSet) -> String {
    let mut page =
        "# Rules\n\n| rule | severity | status | title |\n|---|---|---|---|\n".to_owned();
    for rule in &rules.rules {
        let header = &rule.header;
        let (name, title) = (&header.name, escaped(&header.title));
        let (severity, status) = (header.severity.as_str(), header.status.as_str());
        let name_shown = escaped(name);
        let row = format!("| [{name_shown}]({name}.md) | {severity} | {status} | {title} |\n");
        page.push_str(&row);
    }
    page
}

fn page(rule: &Rule) -> String {
    let header = &rule.header;
    let silent = match is_silent(header.status) {
        true => ", so it runs and alerts nobody",
        false => "",
    };
    let mut page = format!(
        "# {}\n\n`{}` version {}, severity **{}**, status {}{silent}, confidence {}.\n\n{}\n",
        escaped(&header.title),
        header.name,
        header.version,
        header.severity.as_str(),
        header.status.as_str(),
        header.confidence,
        escaped(&header.description),
    );
    let origin = [
        ("Author", Some(&header.author)),
        ("First version", header.date.as_ref()),
        ("Changed", header.modified.as_ref()),
    ];
    let origin = origin.into_iter().filter_map(|(what, text)| {
        let text = text.filter(|text| !text.is_empty())?;
        Some(format!("{what}: {}", escaped(text)))
    });
    section(&mut page, "Origin", origin);
    section(&mut page, "What to do", some(&header.remediation));
    section(
        &mut page,
        "Harmless causes",
        header.falsepositives.iter().map(|text| escaped(text)),
    );
    let needs = header.requires.iter().map(|column| code(column));
    section(&mut page, "Columns a source must fill", needs);
    rows(
        &mut page,
        "Parameters",
        &["name", "default", "least", "most", "meaning"],
        header.params.iter().map(|(name, param)| {
            let bound = |bound: &Option<Value>| bound.as_ref().map_or("-".to_owned(), value);
            let (least, most) = (bound(&param.min), bound(&param.max));
            let meaning = escaped(&param.description);
            vec![code(name), value(&param.default), least, most, meaning]
        }),
    );
    rows(
        &mut page,
        "Exceptions",
        &["when", "reason", "owner", "until"],
        header.exceptions.iter().map(|exception| {
            let parts = [&exception.reason, &exception.owner, &exception.expires];
            let mut row = vec![escaped(&exception.when)];
            row.extend(parts.map(|text| escaped(text)));
            row
        }),
    );
    rows(
        &mut page,
        "Tests",
        &["rows", "alerts"],
        header
            .tests
            .iter()
            .map(|test| vec![escaped(&test.name), test.expect.alerts.to_string()]),
    );
    section(&mut page, "Tags", header.tags.iter().map(|tag| tagged(tag)));
    section(
        &mut page,
        "Controls",
        header.compliance.iter().map(|text| escaped(text)),
    );
    section(
        &mut page,
        "To read on",
        header.references.iter().map(|text| link(text, text)),
    );
    let fence = fence(&rule.sql);
    let _ = write!(page, "\n## SQL\n\n{fence}sql\n{}\n{fence}\n", rule.sql);
    page
}

/// A list under a title; nothing when it is empty.
fn section(page: &mut String, title: &str, items: impl Iterator<Item = String>) {
    let list: String = items.map(|item| format!("- {item}\n")).collect();
    if !list.is_empty() {
        let _ = write!(page, "\n## {title}\n\n{list}");
    }
}

/// A table under a title; nothing when it is empty.
fn rows(page: &mut String, title: &str, columns: &[&str], rows: impl Iterator<Item = Vec<String>>) {
    let rows: String = rows
        .map(|row| format!("| {} |\n", row.join(" | ")))
        .collect();
    if !rows.is_empty() {
        let (head, line) = (columns.join(" | "), "---|".repeat(columns.len()));
        let _ = write!(page, "\n## {title}\n\n| {head} |\n|{line}\n{rows}");
    }
}

fn some(text: &str) -> impl Iterator<Item = String> {
    (!text.is_empty()).then(|| escaped(text)).into_iter()
}

fn value(value: &Value) -> String {
    let text = value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned);
    escaped(&text)
}

/// A column's or a parameter's name as code; one that has marks of Markdown in it is no such name, and is text.
fn code(name: &str) -> String {
    let is_name = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    match is_name {
        true => format!("`{name}`"),
        false => escaped(name),
    }
}

/// Text as Markdown shows it, on one line: marks are escaped, and what would begin HTML is an entity.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    // A mark at the beginning of a line, or after its first number, makes a list or a title of it.
    let mut begins = true;
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            c if is_unprintable(c) => out.push(' '),
            '\\' | '`' | '*' | '_' | '{' | '}' | '[' | ']' | '#' | '|' | '~' | '!' | '$' => {
                out.extend(['\\', c]);
            }
            '-' | '+' | '=' | '.' | ')' if begins => out.extend(['\\', c]),
            c => out.push(c),
        }
        begins &= c.is_ascii_digit();
    }
    out
}

/// A fence longer than any in the text.
fn fence(text: &str) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max();
    "`".repeat(longest.unwrap_or(0).max(2) + 1)
}

/// A link, where the address is one of the web; else the text alone.
fn link(text: &str, address: &str) -> String {
    let text = escaped(text);
    match Url::parse(address) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => {
            // What remains of a URL's marks after parsing could end the link.
            let mut target = String::new();
            for c in url.as_str().chars() {
                match c {
                    '(' => target.push_str("%28"),
                    ')' => target.push_str("%29"),
                    '<' => target.push_str("%3C"),
                    '>' => target.push_str("%3E"),
                    '\\' => target.push_str("%5C"),
                    c => target.push(c),
                }
            }
            format!("[{text}]({target})")
        }
        _ => text,
    }
}

/// A tag with the page that explains it, where we know it.
fn tagged(tag: &str) -> String {
    match address(tag) {
        Some(address) => link(tag, &address),
        None => escaped(tag),
    }
}

fn address(tag: &str) -> Option<String> {
    const OWASP: [&str; 10] = [
        "0xa1-broken-object-level-authorization",
        "0xa2-broken-authentication",
        "0xa3-broken-object-property-level-authorization",
        "0xa4-unrestricted-resource-consumption",
        "0xa5-broken-function-level-authorization",
        "0xa6-unrestricted-access-to-sensitive-business-flows",
        "0xa7-server-side-request-forgery",
        "0xa8-security-misconfiguration",
        "0xa9-improper-inventory-management",
        "0xaa-unsafe-consumption-of-apis",
    ];
    let is_word = |text: &str| {
        !text.is_empty()
            && text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || ".-".contains(c))
    };
    let (family, rest) = tag.split_once('.').filter(|(_, rest)| is_word(rest))?;
    match family {
        "owasp" => {
            let n = rest.strip_prefix("api")?.strip_suffix("-2023")?;
            let page = OWASP.get(n.parse::<usize>().ok()?.checked_sub(1)?)?;
            Some(format!(
                "https://owasp.org/API-Security/editions/2023/en/{page}/"
            ))
        }
        "attack" if rest.starts_with(['t', 'T']) => {
            let technique = rest.to_ascii_uppercase().replace('.', "/");
            Some(format!("https://attack.mitre.org/techniques/{technique}/"))
        }
        "cwe" => Some(format!(
            "https://cwe.mitre.org/data/definitions/{rest}.html"
        )),
        "cve" => Some(format!("https://www.cve.org/CVERecord?id=CVE-{rest}")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_others_are_text() {
        let table = [
            ("a | b", "a \\| b"),
            ("<script>", "&lt;script&gt;"),
            ("# no title", "\\# no title"),
            ("1. no list", "1\\. no list"),
            ("- no list", "\\- no list"),
            ("2.5 - 3", "2\\.5 - 3"),
            ("![x](y)", "\\!\\[x\\](y)"),
            ("two\n\nlines\u{1b}[2J\u{202e}", "two lines \\[2J "),
        ];
        for (text, wanted) in table {
            assert_eq!(escaped(text), wanted, "{text:?}");
        }
    }

    #[test]
    fn only_addresses_of_the_web_are_links_and_nothing_ends_them() {
        let table = [
            ("https://a.b/c", "[https://a.b/c](https://a.b/c)"),
            ("javascript:alert(1)", "javascript:alert(1)"),
            (
                "https://a.b/) <b>",
                "[https://a.b/) &lt;b&gt;](https://a.b/%29%20%3Cb%3E)",
            ),
        ];
        for (text, wanted) in table {
            assert_eq!(link(text, text), wanted, "{text}");
        }
    }

    #[test]
    fn tags_lead_to_their_pages() {
        let table = [
            (
                "owasp.api8-2023",
                Some(
                    "https://owasp.org/API-Security/editions/2023/en/0xa8-security-misconfiguration/",
                ),
            ),
            ("owasp.api0-2023", None),
            (
                "attack.t1595.002",
                Some("https://attack.mitre.org/techniques/T1595/002/"),
            ),
            ("attack.initial-access", None),
            (
                "cwe.639",
                Some("https://cwe.mitre.org/data/definitions/639.html"),
            ),
            ("cwe.1)x", None),
            ("other", None),
        ];
        for (tag, wanted) in table {
            assert_eq!(address(tag).as_deref(), wanted, "{tag}");
        }
    }

    #[test]
    fn no_sql_ends_its_fence() {
        assert_eq!(fence("SELECT 1"), "```");
        assert_eq!(fence("SELECT '````'"), "`````");
    }
}
