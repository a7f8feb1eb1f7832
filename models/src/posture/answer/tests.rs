use proptest::prelude::*;

use super::*;

/// The traits of headers beside which nothing is logged.
fn read(headers: AnswerHeaders<'_>) -> Answer {
    Answer::read(&headers).expect("something is logged")
}

#[test]
fn what_is_not_logged_says_nothing_and_what_was_not_sent_does() {
    assert_eq!(Answer::read(&AnswerHeaders::default()), None);
    let via = AnswerHeaders {
        via: Some("1.1 google"),
        host: Some("api.shop.com"),
        ..AnswerHeaders::default()
    };
    assert_eq!(
        Answer::read(&via),
        None,
        "a request's header is no answer's"
    );
    let none = read(AnswerHeaders {
        location: Some(""),
        ..via
    });
    assert_eq!(none, Answer::RELAYED);
    let all = read(AnswerHeaders {
        hsts: Some(""),
        content_type_options: Some(""),
        frame_options: Some(""),
        content_security_policy: Some(""),
        cache_control: Some(""),
        vary: Some(""),
        set_cookie: Some(""),
        location: Some(""),
        debug_header: Some(""),
        ..AnswerHeaders::default()
    });
    let known = [
        Answer::HSTS_KNOWN,
        Answer::SNIFFING_KNOWN,
        Answer::FRAMING_KNOWN,
        Answer::CACHING_KNOWN,
        Answer::DEBUGGING_KNOWN,
    ];
    let bits = known.iter().fold(0, |bits, known| bits | known.bits());
    assert_eq!(all, Answer::from_bits(bits));
}

#[test]
fn hsts_lasts_by_its_first_header() {
    #[rustfmt::skip]
    let table = [
        ("max-age=31536000; includeSubDomains", true), ("includeSubDomains; Max-Age=\"15552000\"", true), ("max-age=15551999", false), ("max-age=0", false),
        ("max-age = 31536000", true), ("max-age=60\nmax-age=31536000", false), ("max-age=-1", false), ("max-age", false), ("x-max-age=31536000", false), ("", false),
    ];
    for (hsts, want) in table {
        let answer = read(AnswerHeaders {
            hsts: Some(hsts),
            ..AnswerHeaders::default()
        });
        assert_eq!(answer.is(Answer::HSTS_LASTS), want, "{hsts}");
        assert_eq!(answer.is(Answer::HSTS_SENT), !hsts.is_empty(), "{hsts}");
    }
}

#[test]
fn framing_is_refused_by_either_header_and_known_by_both() {
    #[rustfmt::skip]
    let table = [
        (Some("DENY"), None, true, true), (Some("sameorigin"), Some(""), true, true), (Some("ALLOW-FROM https://a.example"), Some(""), true, false),
        (Some(""), None, false, false), (None, Some("default-src 'self'"), false, false), (Some(""), Some("default-src 'self'; frame-ancestors 'none'"), true, true),
        (None, Some("frame-ancestors 'self'"), true, true), (Some(""), Some("frame-ancestors *"), true, false), (Some(""), Some("frame-ancestors https:"), true, false),
        (Some(""), Some("frame-ancestors *\nframe-ancestors 'none'"), true, true),
    ];
    for (options, policy, known, refused) in table {
        let headers = AnswerHeaders {
            frame_options: options,
            content_security_policy: policy,
            ..AnswerHeaders::default()
        };
        let answer = Answer::read(&headers).unwrap_or_default();
        let said = (
            answer.is(Answer::FRAMING_KNOWN),
            answer.is(Answer::NO_FRAMING),
        );
        assert_eq!(said, (known, refused), "{options:?} {policy:?}");
    }
}

#[test]
fn cookies_of_sessions_are_looked_at_all_of_them() {
    let traits = |cookies| {
        let answer = read(AnswerHeaders {
            set_cookie: Some(cookies),
            ..AnswerHeaders::default()
        });
        [
            answer.is(Answer::SESSION),
            answer.is(Answer::NOT_SECURE),
            answer.is(Answer::NOT_HTTP_ONLY),
            answer.is(Answer::NO_SAME_SITE),
        ]
    };
    #[rustfmt::skip]
    let table = [
        ("sid=1; Secure; HttpOnly; SameSite=Lax", [true, false, false, false]), ("sid=1", [true, true, true, true]), ("lang=de", [false; 4]),
        ("lang=de\nsid=1; secure; httponly", [true, false, false, true]), ("sid=; Max-Age=0", [false; 4]), ("REDACTED", [false; 4]), ("", [false; 4]),
        ("sid=Secure; HttpOnly", [true, true, false, true]),
    ];
    for (cookies, want) in table {
        assert_eq!(traits(cookies), want, "{cookies}");
    }
}

#[test]
fn a_shared_cache_keeps_what_it_may() {
    #[rustfmt::skip]
    let table = [
        ("public, max-age=60", Some(""), true, true), ("public", Some("Accept-Encoding"), true, true), ("S-MaxAge=60", Some(""), true, true), ("max-age=60", Some(""), true, false),
        ("", None, true, false), ("public, max-age=0", Some(""), true, false), ("public, no-cache", Some(""), true, false), ("private, s-maxage=60", Some(""), true, false),
        ("public\nno-store", Some(""), true, false), ("public, s-maxage=0", Some(""), true, false), ("public", Some("Origin, Authorization"), true, false), ("public", Some("*"), true, false),
        ("public", None, false, false), ("publicity", Some(""), true, false), ("private=\"x\", public", Some(""), true, false),
    ];
    for (control, vary, known, shared) in table {
        let answer = read(AnswerHeaders {
            cache_control: Some(control),
            vary,
            ..AnswerHeaders::default()
        });
        let said = (answer.is(Answer::CACHING_KNOWN), answer.is(Answer::SHARED));
        assert_eq!(said, (known, shared), "{control} {vary:?}");
    }
}

#[test]
fn a_redirect_goes_where_the_caller_says_or_where_it_should_not_know() {
    /// Asked for another owner's host, sent there, sent inside, sent to the caller's own machine.
    fn said(query: &str, location: &str) -> [bool; 4] {
        let answer = read(AnswerHeaders {
            location: Some(location),
            host: Some("api.shop.com:443"),
            query: Some(query),
            ..AnswerHeaders::default()
        });
        [
            answer.is(Answer::ASKED_ELSEWHERE),
            answer.is(Answer::SENT_ELSEWHERE),
            answer.is(Answer::TO_INSIDE),
            answer.is(Answer::TO_LOOPBACK),
        ]
    }
    const NOTHING: [bool; 4] = [false; 4];
    const FOLLOWED: [bool; 4] = [true, true, false, false];
    const REFUSED: [bool; 4] = [true, false, false, false];
    #[rustfmt::skip]
    let table = [
        ("next=https%3A%2F%2Fevil.example%2F", "https://evil.example/", FOLLOWED), ("a=1&next=//evil.example/x", "//evil.example/x", FOLLOWED),
        ("next=/%5cevil.example", "/\\evil.example", FOLLOWED), ("next=https://api.shop.com@evil.example/", "https://EVIL.example:8443/", FOLLOWED),
        ("next=https://evil.example/", "/login?next=https://evil.example/", REFUSED), ("next=https://evil.example/", "", REFUSED),
        ("next=https://evil.example/", "https://api.shop.com/", REFUSED), ("next=https://www.shop.com/", "https://www.shop.com/", NOTHING), ("next=/home", "/home", NOTHING),
        ("next=myapp://evil.example/", "myapp://evil.example/", NOTHING), ("q=50%25", "", NOTHING), ("", "https://other.example/", NOTHING),
        ("", "http://10.0.0.5:8080/x", [false, false, true, false]), ("", "http://orders/x", [false, false, true, false]), ("", "http://localhost:3000/", [false, false, true, true]),
        ("", "http://127.0.0.1/", [false, false, true, true]), ("", "app://orders/x", NOTHING), ("", "//[fd00::1]/", [false, false, true, false]),
        ("redirect_uri=http://127.0.0.1:7000/cb", "http://127.0.0.1:7000/cb?code=1", FOLLOWED), ("", "https://8.8.8.8/", NOTHING),
    ];
    for (query, location, want) in table {
        assert_eq!(said(query, location), want, "{query} {location}");
    }
}

#[test]
fn where_the_host_is_not_logged_no_redirect_is_another_owners() {
    let answer = read(AnswerHeaders {
        location: Some("https://evil.example/"),
        query: Some("next=https://evil.example/"),
        ..AnswerHeaders::default()
    });
    assert!(answer.is(Answer::REDIRECT) && !answer.is(Answer::ASKED_ELSEWHERE));
}

#[test]
fn the_bucket_is_the_hosts_whatever_its_case() {
    let bucket = |host: &str| {
        let target = format!("https://{host}/");
        let query = format!("next={target}");
        let headers = AnswerHeaders {
            location: Some(&target),
            host: Some("api.shop.com"),
            query: Some(&query),
            ..AnswerHeaders::default()
        };
        read(headers).bucket()
    };
    assert_eq!(bucket("evil.example"), bucket("Evil.Example"));
    let hosts = (0..64).filter_map(|n| bucket(&format!("h{n}.example")));
    assert_eq!(hosts.collect::<std::collections::BTreeSet<u8>>().len(), 8);
    assert_eq!(Answer::default().bucket(), None);
}

#[test]
fn samples_are_told_what_the_call_does_not_show() {
    let answer = read(AnswerHeaders {
        hsts: Some("max-age=60"),
        set_cookie: Some("sid=1; Secure"),
        content_type_options: Some(""),
        ..AnswerHeaders::default()
    });
    assert_eq!(answer.note(18), ", Strict-Transport-Security is short");
    assert_eq!(answer.note(19), ", no nosniff");
    assert_eq!(answer.note(20), ", no HttpOnly, no SameSite");
    assert_eq!(answer.note(14), "");
}

proptest! {
    #[test]
    fn no_header_makes_a_panic(text in "\\PC{0,60}|[;,=\\n/\\\\%2f@:a-z0-9 ]{0,60}", other in "\\PC{0,40}") {
        let (text, other) = (Some(text.as_str()), Some(other.as_str()));
        let answer = read(AnswerHeaders {
            hsts: text, content_type_options: other, frame_options: text, content_security_policy: text, cache_control: text, vary: other,
            set_cookie: text, location: text, debug_header: other, via: other, host: other, query: text,
        });
        prop_assert!(answer.bits() >> 27 == 0);
    }
}
