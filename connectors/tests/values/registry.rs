//! A schema registry of the tests: what it says is what it is told to say.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

/// What others wrote, and the schemas it was written by.
pub(crate) fn by_others() -> Value {
    serde_json::from_str(include_str!("values.json")).expect("JSON")
}

/// The bytes that hexadecimal digits say.
pub(crate) fn bytes(hex: &Value) -> Option<Vec<u8>> {
    let digits = hex.as_str()?.as_bytes();
    let byte = |pair: &[u8]| {
        let pair = str::from_utf8(pair).expect("ASCII");
        u8::from_str_radix(pair, 16).expect("hex")
    };
    Some(digits.chunks(2).map(byte).collect())
}

/// Names and bytes of the values that others wrote.
pub(crate) fn values_by_others() -> Vec<(String, Vec<u8>)> {
    let all = by_others();
    let values = all["values"].as_array().expect("values").iter();
    let named = |value: &Value| {
        let name = value["name"].as_str().expect("a name").to_owned();
        (name, bytes(&value["value"]).expect("hex"))
    };
    values.map(named).collect()
}

/// A registry that answers what it is told to, and notes what it was asked.
pub(crate) struct Registry {
    pub(crate) url: String,
    answers: Arc<Mutex<HashMap<String, (u16, String)>>>,
    asked: Arc<Mutex<Vec<String>>>,
    bodies: Arc<Mutex<Vec<String>>>,
}

impl Registry {
    /// Serves on a port of its own until the process ends.
    pub(crate) fn start() -> Registry {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let registry = Registry {
            url: format!("http://{}", listener.local_addr().expect("an address")),
            answers: Arc::default(),
            asked: Arc::default(),
            bodies: Arc::default(),
        };
        let (answers, asked) = (registry.answers.clone(), registry.asked.clone());
        let bodies = registry.bodies.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.expect("a connection");
                let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
                let head: Vec<String> = reader
                    .by_ref()
                    .lines()
                    .map_while(Result::ok)
                    .take_while(|line| !line.is_empty())
                    .collect();
                let Some(path) = head.first().and_then(|line| line.split(' ').nth(1)) else {
                    continue;
                };
                let header = |wanted: &str| {
                    head.iter().find_map(|line| {
                        let (name, value) = line.split_once(": ")?;
                        name.eq_ignore_ascii_case(wanted).then_some(value)
                    })
                };
                let authorization = header("authorization");
                // Unread it would take the answer with it when the connection is closed.
                let length = header("content-length").and_then(|length| length.parse().ok());
                let mut body = vec![0; length.unwrap_or(0)];
                let _ = reader.read_exact(&mut body);
                if !body.is_empty() {
                    let body = String::from_utf8_lossy(&body).into_owned();
                    bodies.lock().expect("nobody panicked").push(body);
                }
                let path = path.to_owned();
                asked
                    .lock()
                    .expect("nobody panicked")
                    .push(match authorization {
                        Some(of) => format!("{path} {of}"),
                        None => path.clone(),
                    });
                let unknown = || {
                    let said = json!({"error_code": 40403, "message": "Schema not found"});
                    (404, said.to_string())
                };
                let answers = answers.lock().expect("nobody panicked");
                let (status, body) = answers.get(&path).cloned().unwrap_or_else(unknown);
                let length = body.len();
                let _ = write!(
                    stream,
                    "HTTP/1.1 {status} x\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
                );
            }
        });
        registry
    }

    /// One that knows the schemas of what others wrote.
    pub(crate) fn written_by_others() -> Registry {
        let registry = Registry::start();
        for (path, answer) in by_others()["answers"].as_object().expect("answers") {
            registry.says(path, 200, answer);
        }
        registry
    }

    /// Answers `path` so from now on; what nobody said is unknown.
    pub(crate) fn says(&self, path: &str, status: u16, body: &Value) {
        let mut answers = self.answers.lock().expect("nobody panicked");
        answers.insert(path.to_owned(), (status, body.to_string()));
    }

    /// Paths it was asked for, with the login behind them.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("nobody panicked").clone()
    }

    /// Bodies it was sent.
    pub(crate) fn bodies(&self) -> Vec<String> {
        self.bodies.lock().expect("nobody panicked").clone()
    }
}
