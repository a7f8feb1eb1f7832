//! User agents of scanners that name themselves.

/// Bytes of a user agent that are looked at.
const LOOK_BYTES_MAX: usize = 256;

/// Says whether a user agent is that of a known scanner: its name stands at the start of a word.
pub fn is_scanner(agent: &str) -> bool {
    let bytes = agent.as_bytes();
    let bytes = bytes.get(..bytes.len().min(LOOK_BYTES_MAX)).unwrap_or(&[]);
    let mut in_word = false;
    bytes.iter().enumerate().any(|(at, byte)| {
        let starts = !in_word && byte.is_ascii_alphanumeric();
        in_word = byte.is_ascii_alphanumeric();
        starts && {
            let rest = bytes.get(at..).unwrap_or(&[]);
            scanners(byte.to_ascii_lowercase()).iter().any(|name| {
                rest.get(..name.len())
                    .is_some_and(|word| word.eq_ignore_ascii_case(name.as_bytes()))
            })
        }
    })
}

/// The scanners whose name begins with this byte.
fn scanners(first: u8) -> &'static [&'static str] {
    match first {
        b'a' => &["acunetix", "arachni", "autorize"],
        b'b' => &["bbot/", "bsqlbf", "burpcollaborator"],
        b'c' => &["cariddi", "commix"],
        b'd' => &["dalfox", "dirb/", "dirbuster", "dirsearch"],
        b'f' => &["feroxbuster", "ffuf", "fimap", "fuzz faster u fool"],
        b'g' => &["gobuster", "gospider"],
        b'h' => &["hakrawler", "havij"],
        b'j' => &["jaeles", "jorgee", "joomscan"],
        b'k' => &["kiterunner"],
        b'l' => &["l9explore"],
        b'm' => &["masscan", "morfeus"],
        b'n' => &[
            "nessus",
            "netsparker",
            "nikto",
            "nmap scripting engine",
            "nuclei",
        ],
        b'o' => &["openvas", "owasp zap"],
        b'p' => &["paros/", "projectdiscovery"],
        b'r' => &["rustbuster"],
        b's' => &["skipfish", "sqlmap", "sqlninja"],
        b'w' => &["w3af", "wapiti", "wfuzz", "whatweb", "wpscan"],
        b'z' => &["zgrab"],
        _ => &[],
    }
}
