//! HTML in which what callers chose is text and nothing else.
//!
//! **Invariant**: markup is known when the program is built (`&'static str`), so nothing that was read can be markup; whatever else
//! goes in is escaped. Values of attributes stand in double quotes, and no attribute that a reader's program runs or loads is ever made.

use models::identity::is_unprintable;

/// Longest text, in characters; the rest is `…`.
const TEXT_MAX: usize = 512;
/// Rows of a table; how many more there are is said.
const ROWS_MAX: usize = 5_000;

/// A page that is being written.
#[derive(Default)]
pub(super) struct Html(String);

impl Html {
    /// Appends markup.
    pub(super) fn raw(&mut self, markup: &'static str) -> &mut Html {
        self.0.push_str(markup);
        self
    }

    /// Appends text, or the value of an attribute.
    pub(super) fn text(&mut self, text: &str) -> &mut Html {
        for (n, c) in text.chars().enumerate() {
            if n == TEXT_MAX {
                self.0.push('…');
                break;
            }
            match c {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                c if is_unprintable(c) => self.0.push('?'),
                c => self.0.push(c),
            }
        }
        self
    }

    /// Appends an element with a text in it.
    pub(super) fn element(
        &mut self,
        open: &'static str,
        text: &str,
        close: &'static str,
    ) -> &mut Html {
        self.raw(open).text(text).raw(close)
    }

    /// Appends a table of texts, or a paragraph that says there is nothing.
    pub(super) fn table(&mut self, header: &[&str], rows: &[Vec<String>]) -> &mut Html {
        if rows.is_empty() {
            return self.raw("<p>None.</p>\n");
        }
        self.head(header);
        for row in rows.iter().take(ROWS_MAX) {
            self.raw("<tr>");
            for cell in row {
                self.element("<td>", cell, "</td>");
            }
            self.raw("</tr>\n");
        }
        self.foot(rows.len())
    }

    /// Begins a table; rows follow, and [`Html::foot`].
    pub(super) fn head(&mut self, header: &[&str]) -> &mut Html {
        self.raw("<div class=\"wide\"><table><thead><tr>");
        for name in header {
            self.element("<th scope=\"col\">", name, "</th>");
        }
        self.raw("</tr></thead><tbody>\n")
    }

    /// Ends a table of which there are so many rows.
    pub(super) fn foot(&mut self, n_rows: usize) -> &mut Html {
        self.raw("</tbody></table></div>\n");
        if ROWS_MAX < n_rows {
            let more = format!("And {} more; the JSON has all.", n_rows - ROWS_MAX);
            self.element("<p>", &more, "</p>\n");
        }
        self
    }

    /// The rows of a table that are shown.
    pub(super) fn shown<T>(rows: &[T]) -> &[T] {
        &rows[..rows.len().min(ROWS_MAX)]
    }

    /// The page.
    pub(super) fn finish(self) -> String {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Texts that mean something to a browser.
    fn hostile() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            Just("<script>alert(1)</script>".to_owned()),
            Just("\" onload=\"alert(1)".to_owned()),
            Just("' x='".to_owned()),
            Just("</td></table><img src=x>".to_owned()),
            Just("<!--".to_owned()),
            Just("]]>".to_owned()),
            Just("&lt;".to_owned()),
            Just("javascript:".to_owned()),
            Just("\u{202e}\u{0}\n".to_owned()),
            any::<char>().prop_map(String::from),
        ];
        proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
    }

    /// Tags of a page, in order: a reader of its own that knows what begins and ends one.
    fn tags(page: &str) -> Vec<String> {
        let (mut tags, mut tag, mut quoted) = (Vec::new(), None::<String>, false);
        for c in page.chars() {
            match (&mut tag, c) {
                (None, '<') => tag = Some(String::new()),
                (None, _) => (),
                (Some(_), '>') if !quoted => tags.extend(tag.take()),
                (Some(_), '"') => quoted = !quoted,
                // A value is data.
                (Some(name), c) if !quoted => name.push(c),
                (Some(_), _) => (),
            }
        }
        assert!(tag.is_none(), "every tag ends: {page}");
        tags
    }

    fn page(text: &str) -> String {
        let mut html = Html::default();
        let rows = [vec![text.to_owned(), "plain".to_owned()]];
        html.raw("<p id=\"").text(text).raw("\">");
        html.text(text).raw("</p>").table(&["a", text], &rows);
        html.finish()
    }

    proptest! {
        #[test]
        fn no_text_is_markup(text in hostile()) {
            let (with, without) = (page(&text), page("x"));
            prop_assert_eq!(tags(&with), tags(&without));
            // What is between tags, read as a browser does, is the text.
            let inner = with.split("\">").nth(1).and_then(|rest| rest.split("</p>").next()).expect("a paragraph");
            let read = inner.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&#39;", "'").replace("&amp;", "&");
            let shown: String = text.chars().take(TEXT_MAX).map(|c| if is_unprintable(c) { '?' } else { c }).collect();
            prop_assert!(read == shown || read == format!("{shown}…"), "{} {}", read, shown);
        }
    }
}
