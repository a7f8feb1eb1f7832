//! ingress-nginx: the default text log, which is `combined` with more behind it (ingress-nginx 1.x,
//! nginx-configuration/log-format, `log-format-upstream`). The `combined` decoder reads the line and asks here for its end.
//!
//! ```text
//! <combined> 89 0.001 [shop-orders-8080] [] 172.17.0.5:8080 59 0.000 200 529a007902362a5f51385a5fa7049884
//! ```
//!
//! | event | line |
//! |---|---|
//! | up to the user agent | as in `combined`; the size is the body's |
//! | `request_bytes` | `$request_length`, line, headers and body |
//! | `latency_us` | `$request_time` s |
//! | `service` | `[$proxy_upstream_name]`: `namespace-service-port` |
//! | `request_id` | `$req_id`, last: a client may choose it (`X-Request-ID`) |
//!
//! Traps: upstream fields are lists (`a:1, b:2 0, 59 0.001, 0.002 502, 200`) where nginx tried several; of a request that reached no
//! upstream they are `[] [] - - - -`; no host and no scheme: use a JSON `log-format-upstream` with the keys of the `nginx` format.

use super::words::Fields;
use crate::event::Event;

/// What ingress-nginx writes after the user agent.
pub(super) struct Tail<'a> {
    request_bytes: i64,
    latency_us: i64,
    upstream: &'a str,
    request_id: &'a str,
}

/// Reads what follows a user agent, if it is ingress-nginx that wrote it.
pub(super) fn tail(rest: &str) -> Option<Tail<'_>> {
    let mut fields = Fields { rest };
    let request_bytes = fields.word()?.parse().ok().filter(|bytes| 0 <= *bytes)?;
    let latency_us = fields.word().filter(|word| word.contains('.'))?;
    let latency_us = super::duration::of_seconds(latency_us)?;
    let bracketed = |word: &'_ str| word.starts_with('[') && word.ends_with(']');
    let upstream = fields.word().filter(|word| bracketed(word))?;
    fields.word().filter(|word| bracketed(word))?;
    let request_id = fields.rest.trim_ascii_end().rsplit(' ').next()?;
    Some(Tail {
        request_bytes,
        latency_us,
        upstream: &upstream[1..upstream.len() - 1],
        request_id,
    })
}

impl<'a> Tail<'a> {
    /// Puts it into the event that the line's head became.
    pub(super) fn fill(self, event: &mut Event<'a>) {
        let known = |text: &'a str| (!matches!(text, "" | "-")).then_some(text.into());
        event.gateway = "ingress-nginx";
        event.request_bytes = Some(self.request_bytes);
        event.latency_us = Some(self.latency_us);
        event.service = known(self.upstream);
        event.request_id = known(self.request_id);
    }
}

#[cfg(test)]
mod tests {
    use crate::format::Format::{Auto, Combined};
    use crate::format::tests::{COMBINED, assert_has, assert_lacks, print};

    const TAIL: &str = r#"89 0.004 [shop-orders-8080] [] 10.0.0.5:8080, 10.0.0.6:8080 0, 59 0.001, 0.002 502, 200 529a007902362a5f51385a5fa7049884"#;

    #[test]
    fn a_line_is_mapped() {
        let line = format!("{COMBINED} {TAIL}");
        let want = [
            "event_time=2026-01-05T00:00:00Z",
            "status=200",
            "request_bytes=89",
            "response_bytes=20",
            "latency_us=4000",
            "gateway=ingress-nginx",
            "method=GET",
            "path=/a/7",
            "query=x=1",
            "client_ip=10.0.0.9",
            "user_agent=curl/8",
            "principal=ann",
            "service=shop-orders-8080",
            "request_id=529a007902362a5f51385a5fa7049884",
        ];
        for format in [Combined, Auto] {
            assert_eq!(print(format, &line), want, "{format}");
        }
    }

    #[test]
    fn a_request_that_reached_no_upstream_is_a_call() {
        let line = format!("{COMBINED} 0 0.000 [] [] - - - - 4c7d2079340e68353c7d0dfff00b904b");
        assert_has(
            Combined,
            &line,
            &["path=/a/7", "request_id=4c7d2079340e68353c7d0dfff00b904b"],
        );
        assert_lacks(Combined, &line, "service");
    }
}
