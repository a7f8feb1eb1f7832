//! Injection syntax in decoded, lower-case text.
//!
//! Every mark is a piece of grammar, not a word: `' or`, `union select`, `sleep(5)`, `<script`, `${jndi:`.

/// Says whether decoded lower-case text holds injection syntax.
pub(super) fn is_injection(text: &[u8]) -> bool {
    if sql_or_shell(text) {
        return true;
    }
    text.iter().enumerate().any(|(at, &byte)| {
        let rest = text.get(at..).unwrap_or(&[]);
        match byte {
            b'<' => starts(
                rest,
                &[
                    "<script",
                    "<svg",
                    "<img ",
                    "<iframe",
                    "<?php",
                    "<!entity",
                    "<!doctype ",
                    "<%=",
                    "<body onload",
                ],
            ),
            b'j' => starts(rest, &["javascript:"]),
            b'p' => starts(rest, &["php://", "phar://"]),
            b'o' => starts(rest, &["onerror=", "onload="]) && text.contains(&b'<'),
            b'[' => starts(
                rest,
                &[
                    "[$ne]",
                    "[$gt]",
                    "[$regex]",
                    "[$where]",
                    "[$nin]",
                    "[$exists]",
                ],
            ),
            b'{' => {
                starts(
                    rest,
                    &["{\"$ne\"", "{\"$gt\"", "{\"$regex\"", "{\"$where\""],
                ) || is_template(rest)
            }
            // A run of line breaks is read once, from its first.
            b'\r' | b'\n' => {
                let before = at.checked_sub(1).and_then(|i| text.get(i));
                !matches!(before, Some(b'\r' | b'\n')) && is_header(rest)
            }
            b'e' | b'x' => starts(rest, &["expect://", "xp_cmdshell"]),
            _ => false,
        }
    })
}

/// The same for a body as logged: only SQL, shell and lookup syntax, for markup is everyday content there.
pub(super) fn in_body(body: &str) -> bool {
    // An injection needs a blank, a quote or a dollar; ids and flags have none.
    if memchr::memchr3(b' ', b'\'', b'$', body.as_bytes()).is_none() {
        return false;
    }
    let bytes = body.as_bytes();
    // Lower-case copies are only made of bodies that hold a mark's first byte pair.
    if !bytes.iter().any(|b| matches!(b, b'\'' | b';'))
        && !has_sql_word(bytes)
        && !has_pair(bytes, b"${")
    {
        return false;
    }
    let mut lower = bytes.to_vec();
    lower.make_ascii_lowercase();
    sql_or_shell(&lower)
}

fn has_pair(text: &[u8], pair: &[u8]) -> bool {
    memchr::memmem::find(text, pair).is_some()
}

/// ` and `, ` or `, ` order `, ` union `, `(select`, ` waitfor`: a blank or parenthesis before such a word.
fn has_sql_word(text: &[u8]) -> bool {
    text.windows(4).any(|window| match window {
        [b' ' | b'(', a, b, c] => {
            matches!(
                (a | 32, b | 32, c | 32),
                (b'a', b'n', b'd')
                    | (b'o', b'r', _)
                    | (b'u', b'n', b'i')
                    | (b's', b'e', b'l')
                    | (b'w', b'a', b'i')
                    | (b'r', b'l', b'i')
            )
        }
        _ => false,
    })
}

fn sql_or_shell(text: &[u8]) -> bool {
    text.iter().enumerate().any(|(at, &byte)| {
        let rest = text.get(at..).unwrap_or(&[]);
        match byte {
            b'\'' | b'"' => after_quote(rest.get(1..).unwrap_or(&[])),
            b'u' => starts(
                rest,
                &[
                    "union select",
                    "union all select",
                    "union/**/select",
                    "updatexml(",
                    "utl_http.",
                    "utl_inaddr.",
                ],
            ),
            b's' => {
                is_call(rest, "sleep(")
                    || starts(
                        rest,
                        &[
                            "select pg_sleep",
                            "select null",
                            "select @@",
                            "select char(",
                            "select (case",
                            "select concat(",
                            "select sleep",
                            "select dbms_",
                        ],
                    )
            }
            b'b' => is_call(rest, "benchmark("),
            b'w' => starts(rest, &["waitfor delay"]),
            b'p' => is_call(rest, "pg_sleep("),
            b'd' => starts(rest, &["dbms_pipe.", "dbms_lock."]),
            b'e' => starts(rest, &["extractvalue("]),
            b'i' => starts(
                rest,
                &["information_schema.", "into outfile", "into dumpfile"],
            ),
            b'l' => starts(rest, &["load_file(", "like(char("]),
            b'c' => starts(rest, &["case when (", "concat(0x"]) || is_code_list(rest),
            b'r' => starts(rest, &["rlike sleep", "rlike (select", "randomblob("]),
            b'x' => starts(rest, &["xp_cmdshell", "xmltype(chr("]),
            b'o' => is_order_by(rest) || is_tautology(text, at, "or "),
            b'a' => is_tautology(text, at, "and "),
            b';' => starts(
                rest,
                &[
                    ";select ",
                    ";drop table",
                    "; drop table",
                    ";waitfor",
                    ";shutdown",
                    ";insert into",
                    ";declare @",
                    ";cat /",
                    "; cat /",
                    ";id;",
                    ";wget http",
                    ";curl http",
                    ";ls -",
                ],
            ),
            b'|' => starts(
                rest,
                &[
                    "|cat /",
                    "| cat /",
                    "|id|",
                    "|whoami",
                    "||chr(",
                    "||(select",
                ],
            ),
            b'`' => starts(rest, &["`id`", "`whoami`", "`sleep "]),
            b'$' => starts(
                rest,
                &[
                    "${jndi:",
                    "${env:",
                    "${sys:",
                    "${lower:",
                    "${::-",
                    "$(id)",
                    "$(whoami)",
                    "$(sleep ",
                    "$(cat ",
                    "$(curl ",
                    "$(wget ",
                    "${t(",
                    "${{",
                    "${7*7",
                ],
            ),
            b'(' => starts(
                rest,
                &[
                    "(select (case",
                    "(select concat(",
                    "(select char(",
                    "(select * from",
                    "(select(sleep",
                    "(select count(",
                    "(select 1 from",
                    "(select load_",
                ],
            ),
            _ => false,
        }
    })
}

fn starts(text: &[u8], marks: &[&str]) -> bool {
    marks.iter().any(|mark| text.starts_with(mark.as_bytes()))
}

/// A function with a number or nothing in its parentheses.
fn is_call(text: &[u8], name: &str) -> bool {
    text.strip_prefix(name.as_bytes())
        .is_some_and(|rest| matches!(rest.first(), Some(b'0'..=b'9' | b'\'' | b')' | b'(')))
}

/// What follows a quote that closes a literal too early: `' or 1=1`, `') and (`, `'--`, `' union`, `';`.
fn after_quote(rest: &[u8]) -> bool {
    let closed = trim(rest, b") ");
    if closed.len() < rest.len() {
        // Prose and filter languages have `'quoted' and …`: an injection compares two literals or selects.
        let words = ["or ", "and ", "having ", "where "];
        if let Some(tail) = words
            .iter()
            .find_map(|word| closed.strip_prefix(word.as_bytes()))
        {
            return compares_literals(tail);
        }
        if starts(
            closed,
            &[
                "order by 1",
                "order by 2",
                "union ",
                "group by 1",
                "rlike ",
                "procedure analyse",
            ],
        ) {
            return true;
        }
    }
    starts(
        trim(rest, b" )"),
        &[
            "--", "-- ", "#", ";--", ";select", ";waitfor", ";drop", "||", "/*",
        ],
    ) && !rest.is_empty()
        && rest.len() < 400
        && closes_statement(trim(rest, b" )"))
}

/// `1=1`, `'a'='a`, `(3=3`, `(select`, `5=like(`: no field's name is compared, but a literal.
fn compares_literals(text: &[u8]) -> bool {
    let rest = trim(text, b" (");
    if rest.starts_with(b"select") && rest.len() < text.len() {
        return true;
    }
    let (quoted, rest) = match rest.split_first() {
        Some((b'\'' | b'"', rest)) => (true, rest),
        _ => (false, rest),
    };
    let n = rest
        .iter()
        .take(32)
        .take_while(|b| b.is_ascii_alphanumeric())
        .count();
    let literal = quoted || (0 < n && rest.iter().take(n).all(u8::is_ascii_digit));
    let tail = trim(rest.get(n..).unwrap_or(&[]), b" '\")");
    literal && matches!(tail.first(), Some(b'=' | b'<' | b'>'))
}

/// `--` or `#` must end the text or begin a comment, `||` must join a call.
fn closes_statement(rest: &[u8]) -> bool {
    match rest {
        [b'-', b'-'] | [b'-', b'-', b' ' | b'+', ..] => true,
        [b'#'] => true,
        [b';', ..] => true,
        [b'|', b'|', tail @ ..] => starts(
            trim(tail, b" "),
            &["chr(", "char(", "(select", "'", "dbms_", "utl_"],
        ),
        [b'/', b'*', ..] => true,
        _ => false,
    }
}

fn trim<'a>(text: &'a [u8], set: &[u8]) -> &'a [u8] {
    let n = text.iter().take_while(|b| set.contains(b)).count();
    text.get(n..).unwrap_or(&[])
}

/// `and 12=12`, `or '1'='1`, `and (3=3`: a comparison of two literals after a blank, quote or parenthesis.
fn is_tautology(text: &[u8], at: usize, word: &str) -> bool {
    let before = at.checked_sub(1).and_then(|i| text.get(i));
    if !matches!(before, Some(b' ' | b'\'' | b'"' | b')' | b'/')) {
        return false;
    }
    let Some(rest) = text
        .get(at..)
        .and_then(|rest| rest.strip_prefix(word.as_bytes()))
    else {
        return false;
    };
    let rest = trim(rest, b" ('\"");
    let left = rest
        .iter()
        .take_while(|b| b.is_ascii_alphanumeric())
        .count();
    if left == 0 || 24 < left || !rest.iter().take(left).all(u8::is_ascii_digit) {
        return false;
    }
    let rest = trim(rest.get(left..).unwrap_or(&[]), b" '\")");
    let Some((b'=' | b'<' | b'>', rest)) = rest.split_first() else {
        return false;
    };
    matches!(
        trim(rest, b" ('\"").first(),
        Some(b'0'..=b'9' | b'c' | b'l' | b'(')
    )
}

/// `order by 3--`, `order by 7 `, as column counting does.
fn is_order_by(rest: &[u8]) -> bool {
    let Some(rest) = rest.strip_prefix(b"order by ") else {
        return false;
    };
    let n = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    0 < n && matches!(rest.get(n), None | Some(b'-' | b'#' | b','))
}

/// `chr(113)||chr(98)`, `char(113,118)`, `char(113)+char(98)`.
fn is_code_list(rest: &[u8]) -> bool {
    let Some(rest) = rest
        .strip_prefix(b"chr(")
        .or_else(|| rest.strip_prefix(b"char("))
    else {
        return false;
    };
    let n = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    (1..=3).contains(&n) && matches!(rest.get(n..), Some([b',', ..] | [b')', b'|' | b'+', ..]))
}

/// `{{7*7}}`, `{{config`: an expression of a template engine.
fn is_template(rest: &[u8]) -> bool {
    let Some(rest) = rest.strip_prefix(b"{{") else {
        return false;
    };
    let rest = trim(rest, b" ");
    starts(
        rest,
        &[
            "config",
            "self.",
            "request.",
            "''.__class__",
            "constructor.",
        ],
    ) || (rest.first().is_some_and(u8::is_ascii_digit) && rest.iter().take(8).any(|b| *b == b'*'))
}

/// A line break and then a header's name and a colon.
fn is_header(rest: &[u8]) -> bool {
    let rest = trim(rest, b"\r\n");
    starts(
        rest,
        &[
            "set-cookie:",
            "location:",
            "content-type:",
            "content-length:",
            "x-injected:",
            "http/1.",
        ],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_of_line_breaks_is_read_once() {
        let mut text = vec![b'\n'; 1 << 20];
        assert!(!is_injection(&text));
        text.extend(b"set-cookie: a=1");
        assert!(is_injection(&text));
    }
}
