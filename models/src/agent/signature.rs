//! User agents by which AI agents name themselves: a claim each, as anybody may write one.
//!
//! Short on purpose: names that vendors print in their own documents or libraries, as written there. Words that other
//! software may hold (`code`, `operator`, `spider`) are left out, and so are plain HTTP libraries: most MCP clients
//! send only those, and are seen by what they speak.

use std::fmt::Write as _;

use super::Kind;

/// One family of user agents.
#[derive(Clone, Copy, Debug)]
pub struct Signature {
    /// What the user agent holds, at the start of a word, in this case or another.
    pub mark: &'static str,
    /// Name of the family.
    pub family: &'static str,
    /// Who makes it.
    pub operator: &'static str,
    /// What it is for.
    pub kind: Kind,
}

const fn sign(
    mark: &'static str,
    family: &'static str,
    operator: &'static str,
    kind: Kind,
) -> Signature {
    Signature {
        mark,
        family,
        operator,
        kind,
    }
}

/// The list; of several that fit the first counts.
pub const SIGNATURES: &[Signature] = &[
    // OpenAI's page on its crawlers and user agents.
    sign("ChatGPT-User", "chatgpt-user", "OpenAI", Kind::Assistant),
    sign("ChatGPT Agent", "chatgpt-agent", "OpenAI", Kind::Operator),
    sign("OAI-SearchBot", "oai-searchbot", "OpenAI", Kind::Crawler),
    sign("GPTBot", "gptbot", "OpenAI", Kind::Crawler),
    // Anthropic's page on its bots; the command line's own user agent.
    sign("Claude-User", "claude-user", "Anthropic", Kind::Assistant),
    sign(
        "Claude-SearchBot",
        "claude-searchbot",
        "Anthropic",
        Kind::Crawler,
    ),
    sign("ClaudeBot", "claudebot", "Anthropic", Kind::Crawler),
    sign("claude-cli/", "claude-code", "Anthropic", Kind::Coding),
    sign("claude-code/", "claude-code", "Anthropic", Kind::Coding),
    // Perplexity's and Mistral's pages on their crawlers.
    sign(
        "Perplexity-User",
        "perplexity-user",
        "Perplexity",
        Kind::Assistant,
    ),
    sign(
        "PerplexityBot",
        "perplexitybot",
        "Perplexity",
        Kind::Crawler,
    ),
    sign(
        "MistralAI-User",
        "mistralai-user",
        "Mistral AI",
        Kind::Assistant,
    ),
    // Google's list of user-triggered fetchers.
    sign("Google-Agent", "google-agent", "Google", Kind::Operator),
    sign("GoogleAgent-Mariner", "mariner", "Google", Kind::Operator),
    sign("Google-NotebookLM", "notebooklm", "Google", Kind::Assistant),
    sign(
        "Gemini-Deep-Research",
        "gemini-deep-research",
        "Google",
        Kind::Assistant,
    ),
    // Amazon's and Meta's pages on their crawlers.
    sign("NovaAct", "nova-act", "Amazon", Kind::Operator),
    sign("Amazonbot", "amazonbot", "Amazon", Kind::Crawler),
    sign(
        "meta-externalfetcher",
        "meta-externalfetcher",
        "Meta",
        Kind::Assistant,
    ),
    sign(
        "meta-externalagent",
        "meta-externalagent",
        "Meta",
        Kind::Crawler,
    ),
    // DuckDuckGo's, ByteDance's and Common Crawl's own.
    sign(
        "DuckAssistBot",
        "duckassistbot",
        "DuckDuckGo",
        Kind::Assistant,
    ),
    sign("Bytespider", "bytespider", "ByteDance", Kind::Crawler),
    sign("CCBot", "ccbot", "Common Crawl", Kind::Crawler),
    // Agents that name themselves, as seen in logs; recalled.
    sign("Devin/", "devin", "Cognition", Kind::Coding),
    sign("Manus-User", "manus", "Butterfly Effect", Kind::Operator),
    sign("codex_cli", "codex", "OpenAI", Kind::Coding),
    sign("opencode/", "opencode", "opencode", Kind::Coding),
    sign("Cursor/", "cursor", "Anysphere", Kind::Coding),
    sign("GitHubCopilot", "copilot", "GitHub", Kind::Coding),
    // Libraries of model vendors: openai, anthropic, google-genai. A program of one's own, most likely an agent.
    sign("OpenAI/Python", "openai-sdk", "OpenAI", Kind::Sdk),
    sign("AsyncOpenAI/Python", "openai-sdk", "OpenAI", Kind::Sdk),
    sign("OpenAI/JS", "openai-sdk", "OpenAI", Kind::Sdk),
    sign("Anthropic/Python", "anthropic-sdk", "Anthropic", Kind::Sdk),
    sign(
        "AsyncAnthropic/Python",
        "anthropic-sdk",
        "Anthropic",
        Kind::Sdk,
    ),
    sign("Anthropic/JS", "anthropic-sdk", "Anthropic", Kind::Sdk),
    sign("google-genai-sdk/", "google-genai-sdk", "Google", Kind::Sdk),
];

/// The list as Markdown.
pub fn signatures_page() -> String {
    let mut page =
        String::from("| user agent holds | family | made by | kind |\n|---|---|---|---|\n");
    for signature in SIGNATURES {
        let Signature {
            mark,
            family,
            operator,
            kind,
        } = signature;
        let _ = writeln!(
            page,
            "| `{mark}` | {family} | {operator} | {} |",
            kind.as_str()
        );
    }
    page
}

/// Bytes of a user agent that are looked at.
const LOOK_BYTES_MAX: usize = 512;

/// The family of a user agent.
pub(crate) fn of_user_agent(agent: &str) -> Option<&'static Signature> {
    let bytes = agent.as_bytes();
    let bytes = bytes.get(..bytes.len().min(LOOK_BYTES_MAX)).unwrap_or(&[]);
    let mut in_word = false;
    let mut best: Option<usize> = None;
    for (at, byte) in bytes.iter().enumerate() {
        let starts = !in_word && byte.is_ascii_alphabetic();
        in_word = byte.is_ascii_alphanumeric() || *byte == b'-' || *byte == b'_';
        if !starts
            || !matches!(
                byte.to_ascii_lowercase(),
                b'a' | b'b' | b'c' | b'd' | b'g' | b'm' | b'n' | b'o' | b'p'
            )
        {
            continue;
        }
        let rest = &bytes[at..];
        let found = SIGNATURES.iter().position(|signature| {
            rest.get(..signature.mark.len())
                .is_some_and(|word| word.eq_ignore_ascii_case(signature.mark.as_bytes()))
        });
        best = match (best, found) {
            (Some(one), Some(two)) => Some(one.min(two)),
            (one, two) => one.or(two),
        };
    }
    best.map(|at| &SIGNATURES[at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_told_by_whole_words() {
        #[rustfmt::skip]
        let table = [
            ("Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko); compatible; ChatGPT-User/1.0; +https://openai.com/bot", Some("chatgpt-user")),
            ("claude-cli/2.0.1 (external, cli)", Some("claude-code")), ("OpenAI/Python 3.54.0", Some("openai-sdk")), ("AsyncAnthropic/Python 2.12.0", Some("anthropic-sdk")),
            ("mozilla/5.0 (compatible; gptbot/1.2)", Some("gptbot")), ("NotGPTBot/1", None), ("my-claudebot", None), ("python-httpx/0.27", None), ("ShelfApp/4.2.0 (Android 13)", None),
            ("Mozilla/5.0 Cursor/1.2", Some("cursor")), ("precursor/1", None), ("", None),
        ];
        for (agent, want) in table {
            assert_eq!(
                of_user_agent(agent).map(|signature| signature.family),
                want,
                "{agent}"
            );
        }
        // Every mark must be reached by the first bytes that are looked at.
        for signature in SIGNATURES {
            assert_eq!(
                of_user_agent(signature.mark).map(|found| found.family),
                Some(signature.family)
            );
        }
    }
}
