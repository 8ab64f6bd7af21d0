//! HTTP/1.1, one request a connection, no more than these tests need.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use super::PATIENCE;

/// A whole answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The first header of this name, in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A `HEAD` is answered with a length but without a body.
    fn parse(bytes: &[u8], has_body: bool) -> io::Result<Self> {
        let broken =
            |what: &str| io::Error::new(io::ErrorKind::UnexpectedEof, format!("an answer {what}"));
        let split = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        let split = split.ok_or_else(|| broken("without a whole head"))?;
        let head = String::from_utf8_lossy(&bytes[..split]).into_owned();
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
        let status = status.ok_or_else(|| broken("without a status"))?;
        let headers = lines.filter_map(|line| {
            let (key, value) = line.split_once(':')?;
            Some((key.to_ascii_lowercase(), value.trim().to_owned()))
        });
        let mut answer = Self { status, headers: headers.collect(), body: Vec::new() };
        let body = &bytes[split + 4..];
        let chunked = answer.header("transfer-encoding").is_some();
        let length = answer.header("content-length").map(|text| text.parse::<usize>().unwrap());
        answer.body = match length {
            _ if !has_body => Vec::new(),
            _ if chunked => dechunk(body).ok_or_else(|| broken("cut in a chunk"))?,
            Some(length) => {
                body.get(..length).ok_or_else(|| broken("shorter than it says"))?.to_vec()
            }
            None => body.to_vec(),
        };
        Ok(answer)
    }
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text: String = self.text().chars().take(500).collect();
        write!(f, "{} {:?} {text:?}", self.status, self.headers)
    }
}

/// An answer that is still coming.
pub(crate) struct Arriving {
    stream: TcpStream,
    /// What has come, head and all.
    bytes: Vec<u8>,
    /// Where the body begins.
    body_at: usize,
}

impl Arriving {
    /// The answer to a `GET`, as soon as its head and so many bytes of its body are here.
    pub(crate) fn get(addr: SocketAddr, path: &str, body_len: usize) -> io::Result<Self> {
        let mut stream = TcpStream::connect(addr)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let head = format!("GET {path} HTTP/1.1\r\nhost: {addr}\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes())?;
        let mut arriving = Self { stream, bytes: Vec::new(), body_at: usize::MAX };
        arriving.read_to(body_len)?;
        Ok(arriving)
    }

    /// Reads on until so many bytes of the body are here.
    pub(crate) fn read_to(&mut self, body_len: usize) -> io::Result<()> {
        while self.body_at.saturating_add(body_len) > self.bytes.len() {
            let mut some = [0; 4096];
            let len = self.stream.read(&mut some)?;
            if len == 0 {
                let text = String::from_utf8_lossy(&self.bytes[..self.bytes.len().min(500)]);
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text.into_owned()));
            }
            self.bytes.extend_from_slice(&some[..len]);
            if self.body_at == usize::MAX {
                let split = self.bytes.windows(4).position(|four| four == b"\r\n\r\n");
                self.body_at = split.map_or(usize::MAX, |at| at + 4);
            }
        }
        Ok(())
    }

    /// How much of the body is here.
    pub(crate) fn body_len(&self) -> usize {
        self.bytes.len() - self.body_at
    }

    /// The whole answer, once it is here.
    pub(crate) fn whole(mut self) -> io::Result<Answer> {
        let received = self.stream.read_to_end(&mut self.bytes);
        Answer::parse(&self.bytes, true).map_err(|error| received.err().unwrap_or(error))
    }
}

/// Sends a request and reads the whole answer; an answer that is cut off is an error.
pub(crate) fn try_send(
    method: &str,
    addr: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(addr)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {addr}\r\nconnection: close\r\n");
    if method != "GET" && method != "HEAD" {
        head.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    for (key, value) in headers {
        head.push_str(&format!("{key}: {value}\r\n"));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes())?;
    // A server that refuses a body may answer and close before it has read all of it.
    let sent = stream.write_all(body);
    let mut bytes = Vec::new();
    let received = stream.read_to_end(&mut bytes);
    Answer::parse(&bytes, method != "HEAD")
        .map_err(|error| sent.err().or_else(|| received.err()).unwrap_or(error))
}

/// As [`try_send`]; any answer will do, but there must be one.
pub(crate) fn send(
    method: &str,
    addr: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    try_send(method, addr, path, headers, body)
        .unwrap_or_else(|error| panic!("{method} http://{addr}{path}: {error}"))
}

/// A `GET` that must be answered.
pub(crate) fn get(addr: SocketAddr, path: &str) -> Answer {
    send("GET", addr, path, &[], b"")
}

/// A `GET` that may fail.
pub(crate) fn try_get(addr: SocketAddr, path: &str) -> io::Result<Answer> {
    try_send("GET", addr, path, &[], b"")
}

fn dechunk(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line_end = bytes.windows(2).position(|two| two == b"\r\n")?;
        let len = std::str::from_utf8(&bytes[..line_end]).ok()?;
        let len = usize::from_str_radix(len.split(';').next()?, 16).ok()?;
        let start = line_end + 2;
        if len == 0 {
            return Some(body);
        }
        body.extend_from_slice(bytes.get(start..start + len)?);
        bytes = bytes.get(start + len + 2..)?;
    }
}
