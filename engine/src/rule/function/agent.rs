//! User agents, as far as they tell the truth: a caller chooses the header.

use super::{Constants, Each, Function};

/// What stands in a user agent (in lower case), the family it is of, and whether a program calls. The first that is found
/// wins, so what pretends to be another stands before it: every browser calls itself Mozilla, and most of them Safari.
const FAMILIES: [(&str, &str, bool); 43] = [
    ("sqlmap", "sqlmap", true),
    ("nikto", "nikto", true),
    ("nuclei", "nuclei", true),
    ("nmap", "nmap", true),
    ("masscan", "masscan", true),
    ("zgrab", "zgrab", true),
    ("ffuf", "ffuf", true),
    ("gobuster", "gobuster", true),
    ("dirbuster", "dirbuster", true),
    ("wfuzz", "wfuzz", true),
    ("googlebot", "googlebot", true),
    ("bingbot", "bingbot", true),
    ("bot/", "bot", true),
    ("bot-", "bot", true),
    ("crawler", "bot", true),
    ("spider", "bot", true),
    ("curl/", "curl", true),
    ("wget/", "wget", true),
    ("httpie/", "httpie", true),
    ("python-requests", "python-requests", true),
    ("python-urllib", "python-urllib", true),
    ("python-httpx", "httpx", true),
    ("aiohttp", "aiohttp", true),
    ("go-http-client", "go-http-client", true),
    ("okhttp", "okhttp", true),
    ("apache-httpclient", "apache-httpclient", true),
    ("reactor-netty", "reactor-netty", true),
    ("java/", "java", true),
    ("axios/", "axios", true),
    ("node-fetch", "node-fetch", true),
    ("undici", "undici", true),
    ("postmanruntime", "postman", true),
    ("insomnia/", "insomnia", true),
    ("k6/", "k6", true),
    ("apachebench", "apachebench", true),
    ("headlesschrome", "headless-chrome", true),
    ("edg/", "edge", false),
    ("opr/", "opera", false),
    ("firefox/", "firefox", false),
    ("fxios/", "firefox", false),
    ("crios/", "chrome", false),
    ("chrome/", "chrome", false),
    ("safari/", "safari", false),
];

/// Bytes of a user agent that are looked at: products stand in front, padding behind.
const BYTES_MAX: usize = 1024;

pub(super) const UA_FAMILY: Function = Function {
    name: "ua_family",
    form: "ua_family(user_agent)",
    gives: "text",
    about: "The product a user agent names, of a short list of browsers, libraries, tools and scanners; `bot` for other crawlers, `other` for the rest. The caller chooses the header.",
    example: "ua_family('curl/8.5.0')",
    answer: "curl",
    constants: Constants::None,
    prepare: |_| {
        Ok(Each::Text(Box::new(|text, out| {
            out.push_str(family(text).map_or("other", |(name, _)| name));
            true
        })))
    },
};

pub(super) const UA_IS_BOT: Function = Function {
    name: "ua_is_bot",
    form: "ua_is_bot(user_agent)",
    gives: "bool",
    about: "True when `ua_family` is a program's rather than a browser's, or `bot`. False for what is on no list.",
    example: "ua_is_bot('Mozilla/5.0 (compatible; Googlebot/2.1)')",
    answer: "true",
    constants: Constants::None,
    prepare: |_| {
        Ok(Each::Flag(Box::new(|text| {
            Some(family(text).is_some_and(|(_, is_bot)| is_bot))
        })))
    },
};

fn family(text: &str) -> Option<(&'static str, bool)> {
    let front = &text[..text.floor_char_boundary(BYTES_MAX)];
    let front = front.to_ascii_lowercase();
    FAMILIES
        .iter()
        .find(|(mark, ..)| front.contains(mark))
        .map(|(_, name, is_bot)| (*name, *is_bot))
}
