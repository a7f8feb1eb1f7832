//! Bars as inline SVG: drawn without a script, read aloud as a table of numbers.

use super::html::Html;

/// Units of the drawing: a bar's height with its gap, where bars begin, and how long the longest is.
const STEP: usize = 24;
const BARS_AT: usize = 150;
const LONGEST: u64 = 420;

/// Draws a bar for each of some counts.
pub(super) fn bars(html: &mut Html, title: &str, counts: &[(&str, u64)]) {
    let most = counts.iter().map(|(_, n)| *n).max().unwrap_or(0).max(1);
    let said: Vec<String> = counts
        .iter()
        .map(|(name, n)| format!("{name}: {n}"))
        .collect();
    let height = (counts.len() * STEP + 4).to_string();
    html.raw("<figure><figcaption>").text(title);
    html.raw("</figcaption><svg role=\"img\" width=\"680\" height=\"")
        .text(&height);
    html.raw("\" aria-label=\"").text(&said.join(", "));
    html.raw("\">\n");
    for (n, (name, count)) in counts.iter().enumerate() {
        let (top, line) = (n * STEP + 4, n * STEP + 18);
        // Something is never drawn as nothing.
        let length = (u128::from(*count) * u128::from(LONGEST)).div_ceil(u128::from(most));
        let end = BARS_AT as u128 + length + 6;
        html.raw("<text x=\"0\" y=\"").text(&line.to_string());
        html.element("\">", name, "</text>");
        html.raw("<rect x=\"").text(&BARS_AT.to_string());
        html.raw("\" y=\"").text(&top.to_string());
        html.raw("\" height=\"18\" width=\"")
            .text(&length.to_string());
        html.raw("\"/><text x=\"").text(&end.to_string());
        html.raw("\" y=\"").text(&line.to_string());
        html.element("\">", &count.to_string(), "</text>\n");
    }
    html.raw("</svg></figure>\n");
}
