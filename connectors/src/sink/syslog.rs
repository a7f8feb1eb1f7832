//! Syslog over one TCP connection, with or without TLS.
//!
//! The receiver never answers. What it can tell is that it is gone: a closed or reset connection. So a batch counts as taken when the
//! connection is still there [`SETTLE`] after it was written; else the whole batch is sent again over a new one, and some of it may be there twice. What a
//! receiver loses after that nobody hears of.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::{Item, SinkConfig, SinkError, tls};
use crate::render::syslog::{frame, message};

/// How long a connection must outlive a batch: a reset comes back in a round trip.
const SETTLE: Duration = Duration::from_millis(500);
/// A look at whether the receiver has closed the connection meanwhile.
const LOOK: Duration = Duration::from_millis(1);
const CONNECT_MAX: Duration = Duration::from_secs(10);
const WRITE_MAX: Duration = Duration::from_secs(30);

pub(super) struct SyslogSink {
    sink: String,
    address: (String, u16),
    host: String,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    connection: Option<Connection>,
}

enum Connection {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl SyslogSink {
    pub(super) fn open(
        sink: String,
        host: &str,
        port: u16,
        tls: bool,
        config: &SinkConfig,
    ) -> Result<SyslogSink, SinkError> {
        let wrong = |reason| SinkError::Misconfigured {
            sink: sink.clone(),
            reason,
        };
        let tls = match tls {
            false => None,
            true => {
                let name = ServerName::try_from(host.to_owned());
                let name = name.map_err(|error| wrong(error.to_string()))?;
                Some((tls::client(config).map_err(wrong)?, name))
            }
        };
        let own = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        Ok(SyslogSink {
            sink,
            address: (host.to_owned(), port),
            host: own.trim().to_owned(),
            tls,
            connection: None,
        })
    }

    pub(super) fn send(&mut self, items: &[Item]) -> Result<(), SinkError> {
        let sent = self.write(items);
        if sent.is_err() {
            self.connection = None;
        }
        sent.map_err(|error| SinkError::Unavailable {
            sink: self.sink.clone(),
            reason: error.to_string(),
            after: None,
        })
    }

    fn write(&mut self, items: &[Item]) -> io::Result<()> {
        // The receiver may have gone while there was nothing to send.
        if let Some(connection) = &mut self.connection
            && connection.outlives(LOOK).is_err()
        {
            self.connection = None;
        }
        let connection = match &mut self.connection {
            Some(connection) => connection,
            None => {
                let fresh = self.connect()?;
                self.connection.insert(fresh)
            }
        };
        let frames: String = items
            .iter()
            .map(|item| frame(&message(&item.alert, &self.host, &item.text)))
            .collect();
        match connection {
            Connection::Plain(stream) => stream.write_all(frames.as_bytes())?,
            Connection::Tls(stream) => {
                stream.write_all(frames.as_bytes())?;
                stream.flush()?;
            }
        }
        connection.outlives(SETTLE)
    }

    fn connect(&self) -> io::Result<Connection> {
        let (host, port) = &self.address;
        let mut refused = io::Error::other("the host has no address");
        for address in (host.as_str(), *port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, CONNECT_MAX) {
                Err(error) => refused = error,
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    stream.set_write_timeout(Some(WRITE_MAX))?;
                    stream.set_read_timeout(Some(WRITE_MAX))?;
                    let Some((config, name)) = &self.tls else {
                        return Ok(Connection::Plain(stream));
                    };
                    let client = ClientConnection::new(config.clone(), name.clone());
                    let client = client.map_err(io::Error::other)?;
                    let mut stream = StreamOwned::new(client, stream);
                    // Here, so that a certificate nobody trusts is told as such.
                    while stream.conn.is_handshaking() {
                        stream.conn.complete_io(&mut stream.sock)?;
                    }
                    return Ok(Connection::Tls(Box::new(stream)));
                }
            }
        }
        Err(refused)
    }
}

impl Connection {
    /// Looks for `wait` whether the receiver closes the connection; what it says is not heard.
    fn outlives(&mut self, wait: Duration) -> io::Result<()> {
        let until = Instant::now() + wait;
        let mut said = [0; 1024];
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            let heard = match self {
                Connection::Plain(stream) => {
                    stream.set_read_timeout(Some(left))?;
                    stream.read(&mut said)
                }
                Connection::Tls(stream) => {
                    stream.sock.set_read_timeout(Some(left))?;
                    stream.read(&mut said)
                }
            };
            match heard {
                Ok(0) => return Err(io::Error::other("the receiver closed the connection")),
                Ok(_) => (),
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock
                            | io::ErrorKind::TimedOut
                            | io::ErrorKind::Interrupted
                    ) => {}
                Err(error) => return Err(error),
            }
        }
    }
}
