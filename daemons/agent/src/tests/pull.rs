//! A client of HTTP/1.1 that is written and read by hand.

use std::ops::Range;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::*;

/// A connection, and the answer that is being read from it.
pub(super) struct Pull {
    socket: TcpStream,
    /// The head of the answer, in lower case.
    pub(super) head: String,
    /// What has come after the head: the body, and answers that follow it.
    pub(super) body: Vec<u8>,
}

impl Pull {
    pub(super) async fn connect(addr: SocketAddr) -> Self {
        Self::over(TcpStream::connect(addr).await.unwrap())
    }

    pub(super) fn over(socket: TcpStream) -> Self {
        Self { socket, head: String::new(), body: Vec::new() }
    }

    /// Sends requests; no answer is waited for.
    pub(super) async fn send(&mut self, requests: &str) {
        self.socket.write_all(requests.as_bytes()).await.unwrap();
    }

    /// Reads the head of the next answer; the body of the last one must have been taken.
    pub(super) async fn read_head(&mut self) {
        let end = loop {
            if let Some(at) = self.body.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            self.read_to(self.body.len() + 1).await;
        };
        let body = self.body.split_off(end);
        let head = std::mem::replace(&mut self.body, body);
        self.head = String::from_utf8(head).unwrap().to_lowercase();
        assert!(self.head.starts_with("http/1.1 "), "{}", self.head);
    }

    /// Reads until there are so many bytes after the head.
    pub(super) async fn read_to(&mut self, len: usize) {
        while self.body.len() < len {
            assert_ne!(soon(self.socket.read_buf(&mut self.body)).await.unwrap(), 0, "it breaks");
        }
    }

    /// Reads until the connection ends.
    pub(super) async fn read_to_end(&mut self) {
        // One that is reset has ended too.
        while soon(self.socket.read_buf(&mut self.body)).await.is_ok_and(|len| len > 0) {}
    }

    /// Takes the next answer, head and body; its status and its body.
    pub(super) async fn answer(&mut self) -> (u16, Vec<u8>) {
        self.read_head().await;
        let len = self.header("content-length").map_or(0, |len| len.parse().unwrap());
        (self.status(), self.take(len).await)
    }

    /// Takes so many bytes of a body.
    pub(super) async fn take(&mut self, len: usize) -> Vec<u8> {
        self.read_to(len).await;
        let rest = self.body.split_off(len);
        std::mem::replace(&mut self.body, rest)
    }

    pub(super) fn status(&self) -> u16 {
        self.head.split(' ').nth(1).unwrap().parse().unwrap()
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

/// A request, with lines of headers.
pub(super) fn request(method: &str, path: &str, headers: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nhost: x\r\n{headers}\r\n")
}

/// The body of an answer of several ranges.
pub(super) fn multipart(bytes: &[u8], ranges: &[Range<usize>], boundary: &str) -> Vec<u8> {
    let mut body = Vec::new();
    for range in ranges {
        let shown = format!("{}-{}/{}", range.start, range.end - 1, bytes.len());
        let head = format!(
            "\r\n--{boundary}\r\nContent-Type: application/octet-stream\r\n\
             Content-Range: bytes {shown}\r\n\r\n"
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(&bytes[range.clone()]);
    }
    body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    body
}

/// A `Range` header that asks for these.
pub(super) fn range_header(ranges: &[Range<usize>]) -> String {
    let shown: Vec<String> =
        ranges.iter().map(|range| format!("{}-{}", range.start, range.end - 1)).collect();
    format!("range: bytes={}\r\n", shown.join(","))
}

/// Fails a test that hangs.
pub(super) async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(60), what).await.expect("it hangs")
}
