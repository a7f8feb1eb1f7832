//! What kind of program calls, by the user agent it sends: a claim, as the caller chooses the header.
//!
//! Comes in: a user agent as logged. Goes out: the product it names, and its [`Class`]. The list is short and our own: what
//! programs write there by their own documentation, and as seen in logs. AI agents are told by
//! [`SIGNATURES`](crate::agent::SIGNATURES).

use std::fmt::Write as _;

use xxhash_rust::xxh3::xxh3_64;

use crate::agent::{Kind, signature};
use crate::probe::is_scanner;

/// What kind of program a user agent says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// A browser with somebody before it.
    Browser,
    /// An app on a telephone or tablet.
    MobileApp,
    /// An AI agent, or the library of a model vendor.
    AiAgent,
    /// A search engine's or archive's crawler, those that gather texts for models too.
    Crawler,
    /// A health check, or what measures availability.
    Monitor,
    /// What looks for weaknesses.
    Scanner,
    /// A command, a tool for trying APIs, a load test, a browser that a program drives.
    Script,
    /// An HTTP library: a service, a batch, or an app that names nothing else.
    Library,
    /// Nothing known.
    Unknown,
}

impl Class {
    /// All classes.
    pub const ALL: [Class; 9] = [
        Class::Browser,
        Class::MobileApp,
        Class::AiAgent,
        Class::Crawler,
        Class::Monitor,
        Class::Scanner,
        Class::Script,
        Class::Library,
        Class::Unknown,
    ];

    /// The name in columns.
    pub fn as_str(self) -> &'static str {
        match self {
            Class::Browser => "browser",
            Class::MobileApp => "mobile_app",
            Class::AiAgent => "ai_agent",
            Class::Crawler => "crawler",
            Class::Monitor => "monitor",
            Class::Scanner => "scanner",
            Class::Script => "script",
            Class::Library => "library",
            Class::Unknown => "unknown",
        }
    }
}

/// One product: what stands in its user agent in lower case, its name, and its class.
type Family = (&'static str, &'static str, Class);

/// The first that is found wins, so what pretends to be another stands before it: every browser calls itself Mozilla, and most of
/// them Safari.
const FAMILIES: [Family; N_FAMILIES] = [
    ("sqlmap", "sqlmap", Class::Scanner),
    ("nikto", "nikto", Class::Scanner),
    ("nuclei", "nuclei", Class::Scanner),
    ("nmap", "nmap", Class::Scanner),
    ("masscan", "masscan", Class::Scanner),
    ("zgrab", "zgrab", Class::Scanner),
    ("ffuf", "ffuf", Class::Scanner),
    ("gobuster", "gobuster", Class::Scanner),
    ("dirbuster", "dirbuster", Class::Scanner),
    ("wfuzz", "wfuzz", Class::Scanner),
    ("uptimerobot", "uptimerobot", Class::Monitor),
    ("pingdom", "pingdom", Class::Monitor),
    ("statuscake", "statuscake", Class::Monitor),
    ("kube-probe/", "kube-probe", Class::Monitor),
    ("elb-healthchecker", "elb-healthchecker", Class::Monitor),
    ("googlehc/", "google-health-check", Class::Monitor),
    ("prometheus/", "prometheus", Class::Monitor),
    ("blackbox exporter", "blackbox-exporter", Class::Monitor),
    ("datadog", "datadog", Class::Monitor),
    ("check_http", "nagios", Class::Monitor),
    ("zabbix", "zabbix", Class::Monitor),
    ("googlebot", "googlebot", Class::Crawler),
    ("bingbot", "bingbot", Class::Crawler),
    ("bot/", "bot", Class::Crawler),
    ("bot-", "bot", Class::Crawler),
    ("crawler", "bot", Class::Crawler),
    ("spider", "bot", Class::Crawler),
    ("curl/", "curl", Class::Script),
    ("wget/", "wget", Class::Script),
    ("httpie/", "httpie", Class::Script),
    ("python-requests", "python-requests", Class::Library),
    ("python-urllib", "python-urllib", Class::Library),
    ("python-httpx", "httpx", Class::Library),
    ("aiohttp", "aiohttp", Class::Library),
    ("go-http-client", "go-http-client", Class::Library),
    ("okhttp", "okhttp", Class::Library),
    ("apache-httpclient", "apache-httpclient", Class::Library),
    ("reactor-netty", "reactor-netty", Class::Library),
    ("java-http-client", "java-http-client", Class::Library),
    ("java/", "java", Class::Library),
    ("axios/", "axios", Class::Library),
    ("node-fetch", "node-fetch", Class::Library),
    ("undici", "undici", Class::Library),
    ("guzzlehttp", "guzzle", Class::Library),
    ("faraday v", "faraday", Class::Library),
    ("restsharp", "restsharp", Class::Library),
    ("libwww-perl", "libwww-perl", Class::Library),
    ("reqwest/", "reqwest", Class::Library),
    ("grpc-", "grpc", Class::Library),
    ("aws-sdk-", "aws-sdk", Class::Library),
    ("postmanruntime", "postman", Class::Script),
    ("insomnia/", "insomnia", Class::Script),
    ("k6/", "k6", Class::Script),
    ("apachebench", "apachebench", Class::Script),
    ("headlesschrome", "headless-chrome", Class::Script),
    ("edg/", "edge", Class::Browser),
    ("opr/", "opera", Class::Browser),
    ("firefox/", "firefox", Class::Browser),
    ("fxios/", "firefox", Class::Browser),
    ("crios/", "chrome", Class::Browser),
    ("chrome/", "chrome", Class::Browser),
    ("safari/", "safari", Class::Browser),
    // Of what is no browser: the systems' own libraries, and apps that name the telephone.
    ("cfnetwork/", "cfnetwork", Class::MobileApp),
    ("dalvik/", "dalvik", Class::MobileApp),
    ("android", "android-app", Class::MobileApp),
    ("iphone", "ios-app", Class::MobileApp),
    ("ipad", "ios-app", Class::MobileApp),
    ("ios ", "ios-app", Class::MobileApp),
];
const N_FAMILIES: usize = 68;

/// Bytes of a user agent that are looked at: products stand in front, padding behind.
const BYTES_MAX: usize = 1024;
/// No further mark begins with this byte.
const NONE: u8 = u8::MAX;

/// Marks by their first byte: the first of each, and behind each the next.
const CHAINS: ([u8; 256], [u8; N_FAMILIES]) = chains();

const fn chains() -> ([u8; 256], [u8; N_FAMILIES]) {
    let (mut first, mut next) = ([NONE; 256], [NONE; N_FAMILIES]);
    let mut at = N_FAMILIES;
    while at != 0 {
        at -= 1;
        let byte = FAMILIES[at].0.as_bytes()[0] as usize;
        next[at] = first[byte];
        first[byte] = at as u8;
    }
    (first, next)
}

/// The product a user agent names, and its class; nothing for what is on no list.
pub fn family(text: &str) -> Option<(&'static str, Class)> {
    let bytes = text.as_bytes();
    let bytes = bytes.get(..bytes.len().min(BYTES_MAX)).unwrap_or(&[]);
    let (first, next) = &CHAINS;
    let mut best = N_FAMILIES;
    for (at, byte) in bytes.iter().enumerate() {
        let mut candidate = first[usize::from(byte.to_ascii_lowercase())];
        // In the order of the list: what is behind the best one can't win.
        while usize::from(candidate) < best {
            let mark = FAMILIES[usize::from(candidate)].0.as_bytes();
            let here = bytes.get(at..at + mark.len());
            if here.is_some_and(|here| here.eq_ignore_ascii_case(mark)) {
                best = usize::from(candidate);
            }
            candidate = next[usize::from(candidate)];
        }
    }
    FAMILIES.get(best).map(|(_, name, class)| (*name, *class))
}

/// The class of a user agent.
pub fn class(text: &str) -> Class {
    match signature::of_user_agent(text).map(|agent| agent.kind) {
        Some(Kind::Crawler) => Class::Crawler,
        Some(_) => Class::AiAgent,
        None => family(text).map_or(Class::Unknown, |(_, class)| class),
    }
}

/// What a user agent says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agent {
    /// Its class.
    pub class: Class,
    /// Whether it is a scanner's, by [`is_scanner`].
    pub is_scanner: bool,
}

impl Agent {
    fn of(text: &str) -> Agent {
        Agent {
            class: class(text),
            is_scanner: is_scanner(text),
        }
    }
}

/// Slots of [`Recent`].
const RECENT: usize = 256;

/// What the user agents met lately say: a stream has few, and comes back to them. A new one takes the place of whichever had it;
/// 256 texts of [`BYTES_MAX`] bytes at most.
#[derive(Debug)]
pub struct Recent(Box<[(String, Agent)]>);

impl Default for Recent {
    fn default() -> Recent {
        Recent(vec![(String::new(), Agent::of("")); RECENT].into())
    }
}

impl Recent {
    /// What one says.
    pub fn read(&mut self, text: &str) -> Agent {
        if BYTES_MAX < text.len() {
            return Agent::of(text);
        }
        let at = xxh3_64(text.as_bytes()) as usize % RECENT;
        let (known, agent) = &mut self.0[at];
        if known != text {
            known.clear();
            known.push_str(text);
            *agent = Agent::of(text);
        }
        *agent
    }
}

/// The list as Markdown: a row a class.
pub fn families_page() -> String {
    let mut page = String::from("| class | what a user agent holds |\n|---|---|\n");
    for class in Class::ALL {
        let marks = FAMILIES.iter().filter(|family| family.2 == class);
        let marks: Vec<String> = marks.map(|(mark, ..)| format!("`{mark}`")).collect();
        let marks = match class {
            Class::AiAgent => "the list of [agents](agents.md), but for its crawlers".to_owned(),
            Class::Crawler => format!("{}; the crawlers of [agents](agents.md)", marks.join(", ")),
            Class::Unknown => "nothing of these".to_owned(),
            _ => marks.join(", "),
        };
        let _ = writeln!(page, "| `{}` | {marks} |", class.as_str());
    }
    page
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_user_agent_says_what_calls() {
        #[rustfmt::skip]
        let table = [
            ("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36", Class::Browser),
            ("Mozilla/5.0 (Linux; Android 13; Pixel 7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Mobile Safari/537.36", Class::Browser),
            ("Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148", Class::MobileApp),
            ("ShelfApp/4.2.0 (Android 13)", Class::MobileApp), ("Shelf/7 CFNetwork/1474 Darwin/23.0.0", Class::MobileApp),
            ("curl/8.5.0", Class::Script), ("PostmanRuntime/7.39.0", Class::Script), ("python-requests/2.32.3", Class::Library),
            ("UptimeRobot/2.0", Class::Monitor), ("kube-probe/1.30", Class::Monitor), ("sqlmap/1.8#stable (https://sqlmap.org)", Class::Scanner),
            ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", Class::Crawler),
            ("mozilla/5.0 (compatible; gptbot/1.2)", Class::Crawler), ("claude-cli/2.0.1 (external, cli)", Class::AiAgent), ("OpenAI/Python 1.54.0", Class::AiAgent),
            ("erp/7", Class::Unknown), ("", Class::Unknown),
        ];
        let mut recent = Recent::default();
        for (agent, want) in table.into_iter().chain(table) {
            assert_eq!(class(agent), want, "{agent}");
            assert_eq!(recent.read(agent), Agent::of(agent), "{agent}, met lately");
        }
    }

    proptest! {
        #[test]
        fn the_first_of_the_list_wins_wherever_it_stands(
            parts in proptest::collection::vec((0..N_FAMILIES, "[ -~]{0,6}", any::<bool>()), 0..4),
        ) {
            let text: String = parts.iter().map(|(at, between, upper)| {
                let mark = FAMILIES[*at].0;
                format!("{between}{}", if *upper { mark.to_ascii_uppercase() } else { mark.to_owned() })
            }).collect();
            let lower = text.to_ascii_lowercase();
            let want = FAMILIES.iter().find(|(mark, ..)| lower.contains(mark));
            prop_assert_eq!(family(&text), want.map(|(_, name, class)| (*name, *class)));
        }
    }
}
