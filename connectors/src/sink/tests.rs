//! Sinks against receivers that misbehave.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

use super::backoff::Backoff;
use super::*;
use crate::render::render;

const ALERTS: &str = include_str!("../render/alerts.ndjson");
const TOKEN: &str = "11111111-2222-token";

fn items(format: Format) -> Vec<Item> {
    let item = |line: &str| {
        let alert = Alert::parse(line.as_bytes()).expect("an alert");
        let text = render(&alert, format);
        Item { alert, text }
    };
    ALERTS.lines().map(item).collect()
}

fn config(format: Format) -> SinkConfig {
    SinkConfig {
        format,
        token: None,
        ca: None,
        client: None,
    }
}

fn open(target: &str, config: &SinkConfig) -> Sink {
    Sink::open(&target.parse().expect("a target"), config).expect("a sink")
}

#[test]
fn a_target_is_told_without_its_secrets() {
    for (text, told) in [
        ("stdout", "stdout"),
        ("file:/var/log/a", "file:/var/log/a"),
        ("topic:soc", "topic:soc"),
        ("tcp://siem.example:601", "tcp://siem.example:601"),
        ("tls://[2001:db8::1]:6514", "tls://[2001:db8::1]:6514"),
        (
            "https://hooks.example/T0/secret?k=secret",
            "https://hooks.example",
        ),
    ] {
        let target: Target = text.parse().expect(text);
        assert_eq!(
            (target.to_string(), format!("{target:?}")),
            (told.into(), told.into())
        );
    }
    for wrong in [
        "",
        "file:",
        "ftp://secret",
        "tcp://siem.example",
        "tcp://siem.example:601/secret",
        "https://user:secret@siem.example",
        "udp://secret:514",
        "topic:",
    ] {
        let error = wrong.parse::<Target>().expect_err(wrong);
        assert!(!error.contains("secret"), "{wrong}: {error}");
    }
    assert_eq!(format!("{:?}", Secret::new(TOKEN)), "(secret)");
}

/// A request's head and body.
type Request = (String, String);

/// A server that gives these answers, one a request, over as many connections as it takes.
fn server(answers: Vec<&'static str>) -> (String, Receiver<Request>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let (tell, told) = channel();
    std::thread::spawn(move || {
        let mut answers = answers.into_iter();
        while let Ok((stream, _)) = listener.accept() {
            let mut reader = BufReader::new(stream);
            while let Some(request) = request(&mut reader) {
                let Some(answer) = answers.next() else { return };
                // Nobody may listen any more.
                let _ = tell.send(request);
                let written = reader.get_mut().write_all(answer.as_bytes());
                if written.is_err() || answer.is_empty() {
                    break;
                }
            }
        }
    });
    (address, told)
}

fn request(reader: &mut BufReader<TcpStream>) -> Option<Request> {
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let at = head.len();
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
        let line = head[at..].trim().to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((head, String::from_utf8(body).ok()?))
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";

#[test]
fn an_answer_says_whether_to_try_again() {
    let answers = vec![
        "HTTP/1.1 500 Oops\r\ncontent-length: 4\r\n\r\na\r\nb",
        "HTTP/1.1 429 Slow\r\nretry-after: 7\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 400 No\r\ncontent-length: 3\r\n\r\nbad",
        "HTTP/1.1 403 No\r\ncontent-length: 26\r\n\r\nno 11111111-2222-token you",
        "HTTP/1.1 302 There\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n",
        "",
        OK,
    ];
    let (address, told) = server(answers);
    let mut config = config(Format::Hec);
    config.token = Some(Secret::new(&format!("{TOKEN}\n")));
    let mut sink = open(
        &format!("http://{address}/services/collector/event"),
        &config,
    );
    let items = items(Format::Hec);
    let mut send = || sink.send(&items);
    let said = |error: &SinkError| {
        let said = error.to_string();
        assert!(
            !said.contains("collector") && !said.contains(TOKEN),
            "{said}"
        );
        assert!(!said.contains(char::is_control), "{said:?}");
    };
    for expected in ["500", "429", "400", "403", "302", "now"] {
        let error = send().expect_err(expected);
        said(&error);
        assert!(error.to_string().contains(expected), "{error}");
        match (&error, expected) {
            (SinkError::Unavailable { after, .. }, "500" | "now") => assert_eq!(*after, None),
            (SinkError::Unavailable { after, .. }, "429") => {
                assert_eq!(*after, Some(Duration::from_secs(7)));
            }
            (SinkError::Refused { .. }, "400") => (),
            (SinkError::Misconfigured { .. }, "403" | "302") => (),
            (error, expected) => panic!("{expected}: {error:?}"),
        }
    }
    send().expect("taken");
    let requests: Vec<Request> = told.try_iter().collect();
    assert_eq!(requests.len(), 7);
    let (head, body) = requests.last().expect("a request");
    assert!(
        head.starts_with("POST /services/collector/event HTTP/1.1"),
        "{head}"
    );
    let authorization = format!("authorization: Splunk {TOKEN}\r\n");
    assert!(head.contains(&authorization), "{head}");
    // Splunk takes many at once.
    assert_eq!(body.lines().count(), items.len());
    assert!(body.lines().eq(items.iter().map(|item| &item.text)));
}

#[test]
fn every_other_format_goes_alone() {
    let (address, told) = server(vec![OK; 9]);
    for (format, media_type) in [
        (Format::Json, "application/json"),
        (Format::Cef, "text/plain"),
    ] {
        let mut sink = open(&format!("http://{address}/hook"), &config(format));
        assert_eq!(sink.items_max(), 1);
        let items = items(format);
        sink.send(&items[..1]).expect("taken");
        let (head, body) = told.recv().expect("a request");
        assert_eq!(body, items[0].text);
        assert!(
            head.contains(&format!("content-type: {media_type}")),
            "{head}"
        );
        assert!(!head.contains("authorization"), "{head}");
    }
}

#[test]
fn a_token_does_not_travel_in_the_open() {
    let mut config = config(Format::Hec);
    config.token = Some(Secret::new(TOKEN));
    let target: Target = "http://siem.example:8088/".parse().expect("a target");
    let error = Sink::open(&target, &config).err().expect("an error");
    assert!(error.to_string().contains("https"), "{error}");
    for target in ["stdout", "tcp://siem.example:601"] {
        let target: Target = target.parse().expect("a target");
        assert!(Sink::open(&target, &config).is_err());
    }
}

#[test]
fn a_file_that_was_moved_away_is_opened_anew() {
    let dir = tempfile::tempdir().expect("a folder");
    let (path, moved) = (dir.path().join("alerts"), dir.path().join("alerts.1"));
    // A crash cut the last line off.
    std::fs::write(&path, "{\"half\":").expect("written");
    let items = items(Format::Json);
    let mut sink = open(&format!("file:{}", path.display()), &config(Format::Json));
    sink.send(&items[..2]).expect("written");
    std::fs::rename(&path, &moved).expect("moved");
    sink.send(&items[2..3]).expect("written");
    std::fs::remove_file(&path).expect("removed");
    sink.send(&items[3..4]).expect("written");
    let lines = |path: &std::path::Path| -> Vec<String> {
        let text = std::fs::read_to_string(path).expect("a file");
        text.lines().map(str::to_owned).collect()
    };
    let expected = ["{\"half\":", &items[0].text, &items[1].text];
    assert_eq!(lines(&moved), expected);
    assert_eq!(lines(&path), [items[3].text.as_str()]);
}

/// The next message of a connection, its frame taken off.
fn framed(reader: &mut impl BufRead) -> Option<String> {
    let mut length = Vec::new();
    reader.read_until(b' ', &mut length).ok()?;
    let length = std::str::from_utf8(&length).ok()?.trim();
    let mut message = vec![0; length.parse().ok()?];
    reader.read_exact(&mut message).ok()?;
    String::from_utf8(message).ok()
}

#[test]
fn what_a_closed_connection_took_along_is_sent_again() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let receiver = std::thread::spawn(move || {
        let (first, _) = listener.accept().expect("a connection");
        let one = framed(&mut BufReader::with_capacity(1, first));
        let (second, _) = listener.accept().expect("another");
        let mut reader = BufReader::new(second);
        let mut messages = vec![one.expect("a message")];
        messages.extend(std::iter::from_fn(|| framed(&mut reader)));
        messages
    });
    let items = items(Format::Cef);
    let mut sink = open(&format!("tcp://{address}"), &config(Format::Cef));
    let error = sink.send(&items).expect_err("it was closed");
    assert!(matches!(error, SinkError::Unavailable { .. }), "{error}");
    sink.send(&items).expect("taken");
    drop(sink);
    let messages = receiver.join().expect("messages");
    assert_eq!(messages.len(), 1 + items.len());
    for (message, item) in messages[1..].iter().zip(&items) {
        assert!(message.ends_with(&item.text), "{message}");
        assert!(
            message.starts_with('<') && message.contains(" tollwatch - "),
            "{message}"
        );
    }
}

#[test]
fn nobody_at_the_other_end_is_told() {
    let free = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = free.local_addr().expect("an address");
    drop(free);
    for target in [format!("tcp://{address}"), format!("http://{address}/x")] {
        let mut sink = open(&target, &config(Format::Json));
        let error = sink.send(&items(Format::Json)[..1]).expect_err("nobody");
        let said = error.to_string();
        assert!(said.contains("refused") && !said.contains("/x"), "{said}");
    }
}

/// A certificate for 127.0.0.1 and its key; none without openssl.
fn certificate(dir: &std::path::Path) -> Option<(PathBuf, PathBuf)> {
    let (chain, key) = (dir.join("chain.pem"), dir.join("key.pem"));
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
        ])
        .args([
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=siem",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
        ])
        // Its own authority, and yet a server's.
        .args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&chain)
        .output();
    match made {
        Ok(made) if made.status.success() => Some((chain, key)),
        _ => {
            eprintln!("skipped: openssl is not there");
            None
        }
    }
}

#[test]
fn tls_trusts_whom_it_is_told_to_and_nobody_else() {
    use rustls::pki_types::{PrivateKeyDer, pem::PemObject};
    use rustls::{ServerConfig, ServerConnection, StreamOwned};
    let dir = tempfile::tempdir().expect("a folder");
    let Some((chain, key)) = certificate(dir.path()) else {
        return;
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = PrivateKeyDer::from_pem_file(key).expect("a key");
    let server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(tls::certificates(&chain).expect("a certificate"), key);
    let server = Arc::new(server.expect("a server"));
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let (tell, told) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let connection = ServerConnection::new(server.clone()).expect("a connection");
            let mut reader = BufReader::new(StreamOwned::new(connection, stream));
            while let Some(message) = framed(&mut reader) {
                let _ = tell.send(message);
            }
        }
    });
    let items = items(Format::Leef);
    let mut stranger = open(&format!("tls://{address}"), &config(Format::Leef));
    let error = stranger
        .send(&items)
        .expect_err("nobody vouches for it")
        .to_string();
    assert!(error.contains("certificate"), "{error}");
    let mut config = config(Format::Leef);
    config.ca = Some(chain);
    let mut sink = open(&format!("tls://{address}"), &config);
    sink.send(&items).expect("taken");
    sink.send(&items[..1])
        .expect("taken over the same connection");
    let messages: Vec<String> = told.try_iter().collect();
    assert_eq!(messages.len(), items.len() + 1);
    assert!(messages[0].ends_with(&items[0].text));
}

#[test]
fn waits_double_up_to_a_limit_and_keep_to_what_was_asked() {
    let second = Duration::from_secs(1);
    let mut backoff = Backoff::new(second, 60 * second);
    for n in 0..40_u32 {
        let most = (second * 2_u32.pow(n.min(6))).min(60 * second);
        let wait = backoff.failed(None);
        assert!(most / 2 <= wait && wait <= most, "{n}: {wait:?}");
    }
    assert_eq!(backoff.n_failed(), 40);
    backoff.succeeded();
    assert!(backoff.failed(None) <= second);
    assert_eq!(backoff.failed(Some(90 * second)), 90 * second);
    assert_eq!(backoff.failed(Some(86_400 * second)), 600 * second);
}
