//! HTTP requests over a few connections, as cheap to make as can be: what is measured is the other
//! side. One thread, sockets that do not block, one request under way on each.

use std::io::{ErrorKind as IoErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use kraken_core::rng::Rng;
use kraken_core::{Error, ErrorKind, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Where requests come from and answers go to.
pub(super) trait Requests {
    /// Writes the next request; what kind of it, or `None` if there are no more.
    fn next(&mut self, out: &mut Vec<u8>) -> Option<Kind>;

    /// Looks at the answer to a request of this kind; its body is empty if it must have none.
    fn check(&mut self, kind: Kind, status: u16, body: &[u8]) -> Result<()>;
}

/// What a source of requests wants to know again when the answer comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kind {
    /// The source's own word.
    pub(super) tag: u8,
    /// Whether the answer has a body, as that to a `HEAD` has not.
    pub(super) has_body: bool,
}

/// How quickly requests follow one another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Pace {
    /// On each connection the next one at once.
    Full,
    /// So many a second in all, at random times; each is on time or counts as late from the time
    /// that it should have been sent.
    Rate(f64),
}

/// Tells a generator to stop.
#[derive(Debug, Clone, Default)]
pub(super) struct Stop(Arc<AtomicBool>);

impl Stop {
    pub(super) fn ask(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn check(&self) -> Result<()> {
        let asked = self.0.load(Ordering::Relaxed);
        if asked { Err(Error::new(ErrorKind::Cancelled, "the load was stopped")) } else { Ok(()) }
    }
}

/// Times of a while of requests.
#[derive(Debug, Default)]
pub(super) struct Answered {
    /// Each answer's, in no order.
    pub(super) times: Vec<Duration>,
    /// From the first request to the last answer.
    pub(super) wall: Duration,
}

/// Connections to one server.
pub(super) struct Connections {
    stop: Stop,
    addr: SocketAddr,
    conns: Vec<Conn>,
    out: Vec<u8>,
}

struct Conn {
    stream: TcpStream,
    /// What was asked and when it should have been.
    asked: Option<(Kind, Instant)>,
    answer: Vec<u8>,
}

/// Where the parts of an answer that is all there are.
struct Parts {
    status: u16,
    body: Vec<u8>,
}

impl Connections {
    /// Connects so many times.
    pub(super) fn open(addr: SocketAddr, count: usize, stop: &Stop) -> Result<Self> {
        let open = || -> std::io::Result<Conn> {
            let stream = TcpStream::connect(addr)?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            Ok(Conn { stream, asked: None, answer: Vec::with_capacity(READ_LEN) })
        };
        let conns = (0..count).map(|_| open()).collect::<std::io::Result<_>>();
        let conns = conns.map_err(|e| Error::io(format!("connect to {addr}"), e))?;
        Ok(Self { stop: stop.clone(), addr, conns, out: Vec::new() })
    }

    /// Asks until `requests` has no more or `lasting` is over, and waits for all answers; fails
    /// soon after it was told to stop.
    pub(super) fn drive(
        &mut self,
        requests: &mut dyn Requests,
        pace: Pace,
        lasting: Duration,
    ) -> Result<Answered> {
        let mut answered = Answered::default();
        let mut rng = Rng::new(1);
        let mut idle: Vec<usize> = (0..self.conns.len()).collect();
        let begun = Instant::now();
        let (mut due, mut more) = (begun, true);
        loop {
            self.stop.check()?;
            let now = Instant::now();
            more &= now < begun + lasting;
            while more && (pace == Pace::Full || due <= now) {
                let Some(at) = idle.pop() else { break };
                let asked_at = if pace == Pace::Full { Instant::now() } else { due };
                more = self.ask(at, requests, asked_at)?;
                if !more {
                    idle.push(at);
                }
                if let Pace::Rate(rate) = pace {
                    due += Duration::from_secs_f64(-(1.0 - rng.fraction()).ln() / rate);
                }
            }
            if !more && idle.len() == self.conns.len() {
                answered.wall = begun.elapsed();
                return Ok(answered);
            }
            // Between requests that are due at certain times it does not sleep: it would oversleep.
            let wait = if more && pace != Pace::Full { Duration::ZERO } else { ANSWER_MAX };
            for at in self.ready(wait)? {
                if let Some(time) = self.hear(at, requests)? {
                    answered.times.push(time);
                    idle.push(at);
                }
            }
        }
    }

    /// Sends the next request; whether there was one.
    fn ask(&mut self, at: usize, requests: &mut dyn Requests, due: Instant) -> Result<bool> {
        self.out.clear();
        let Some(kind) = requests.next(&mut self.out) else { return Ok(false) };
        let conn = &mut self.conns[at];
        conn.asked = Some((kind, due));
        // A request is far smaller than the socket's buffer, which is empty.
        let sent = conn.stream.write_all(&self.out);
        sent.map_err(|e| Error::io(format!("send a request to {}", self.addr), e))?;
        Ok(true)
    }

    /// The connections on which something came.
    fn ready(&self, wait: Duration) -> Result<Vec<usize>> {
        let event = |conn: &'_ Conn| conn.asked.is_some();
        let waiting: Vec<usize> =
            (0..self.conns.len()).filter(|at| event(&self.conns[*at])).collect();
        let mut fds: Vec<PollFd<'_>> =
            waiting.iter().map(|at| PollFd::new(&self.conns[*at].stream, PollFlags::IN)).collect();
        let timeout = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: 0 };
        let count = match poll(&mut fds, Some(&timeout)) {
            Ok(count) => count,
            Err(rustix::io::Errno::INTR) => return Ok(Vec::new()),
            Err(e) => return Err(Error::io("wait for answers", e.into())),
        };
        if count == 0 && !wait.is_zero() {
            let message = format!("{} answered nothing for {} s", self.addr, wait.as_secs());
            return Err(Error::new(ErrorKind::Unavailable, message));
        }
        let came = waiting.iter().zip(&fds).filter(|(_, fd)| !fd.revents().is_empty());
        Ok(came.map(|(at, _)| *at).collect())
    }

    /// Reads what came; the time of the answer if that is all of it.
    fn hear(&mut self, at: usize, requests: &mut dyn Requests) -> Result<Option<Duration>> {
        let conn = &mut self.conns[at];
        let Some((kind, asked_at)) = conn.asked else { return Ok(None) };
        let addr = self.addr;
        let before = conn.answer.len();
        conn.answer.resize(before + READ_LEN, 0);
        let read = match conn.stream.read(&mut conn.answer[before..]) {
            Ok(0) => Err(Error::new(ErrorKind::Unavailable, format!("{addr} hung up"))),
            Ok(read) => Ok(read),
            Err(e) if e.kind() == IoErrorKind::WouldBlock => Ok(0),
            Err(e) => Err(Error::io(format!("read an answer of {addr}"), e)),
        }?;
        conn.answer.truncate(before + read);
        if conn.answer.len() > ANSWER_LEN_MAX {
            return Err(Error::new(ErrorKind::TooLarge, format!("{addr}: a very long answer")));
        }
        let Some(Parts { status, body }) = whole(&conn.answer, kind.has_body)
            .map_err(|e| e.context(format!("take an answer of {addr}")))?
        else {
            return Ok(None);
        };
        let time = asked_at.elapsed();
        conn.answer.clear();
        conn.asked = None;
        requests.check(kind, status, &body)?;
        Ok(Some(time))
    }
}

/// The answer, if it is all there.
fn whole(answer: &[u8], has_body: bool) -> Result<Option<Parts>> {
    let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    let bad = |what: &str| Error::invalid(format!("no HTTP/1.1: {what}"));
    let head = std::str::from_utf8(&answer[..end]).map_err(|_| bad("a head of other bytes"))?;
    let rest = &answer[end + 4..];
    let status = head.get(9..12).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| bad("no status"))?;
    if !has_body {
        return Ok(Some(Parts { status, body: Vec::new() }));
    }
    let header = |name: &str| {
        head.lines()
            .skip(1)
            .filter_map(|line| line.split_once(':'))
            .find_map(|(key, value)| key.eq_ignore_ascii_case(name).then_some(value.trim()))
    };
    if let Some(len) = header("content-length") {
        let len: usize = len.parse().map_err(|_| bad("a length that is none"))?;
        return Ok((rest.len() >= len).then(|| Parts { status, body: rest[..len].to_vec() }));
    }
    if header("transfer-encoding").is_some_and(|how| how.eq_ignore_ascii_case("chunked")) {
        return Ok(chunked(rest)?.map(|body| Parts { status, body }));
    }
    Err(bad("a body without a length"))
}

/// The body in chunks, if all of them are there.
fn chunked(mut rest: &[u8]) -> Result<Option<Vec<u8>>> {
    let mut body = Vec::new();
    loop {
        let Some(end) = rest.windows(2).position(|two| two == b"\r\n") else { return Ok(None) };
        let len = std::str::from_utf8(&rest[..end]).ok();
        let len = len.and_then(|len| usize::from_str_radix(len, 16).ok());
        let len = len.filter(|len| *len <= ANSWER_LEN_MAX);
        let len = len.ok_or_else(|| Error::invalid("a chunk without a length"))?;
        let Some(chunk) = rest.get(end + 2..end + 2 + len + 2) else { return Ok(None) };
        if len == 0 {
            return Ok(Some(body));
        }
        body.extend_from_slice(&chunk[..len]);
        rest = &rest[end + 2 + len + 2..];
    }
}

/// Read at once: a handout of 50 peers is some 7 kB.
const READ_LEN: usize = 16 << 10;

/// No answer here is as long.
const ANSWER_LEN_MAX: usize = 1 << 20;

/// A server that says nothing for so long is broken.
const ANSWER_MAX: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_whole_or_not_yet() {
        let full = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nx: y\r\n\r\nabc";
        for cut in 0..full.len() {
            assert!(whole(&full[..cut], true).unwrap().is_none(), "{cut}");
        }
        let parts = whole(full, true).unwrap().unwrap();
        assert_eq!((parts.status, &parts.body[..]), (200, &b"abc"[..]));
        let head = b"HTTP/1.1 404 Not Found\r\ncontent-length: 3\r\n\r\n";
        assert_eq!(whole(head, false).unwrap().unwrap().status, 404);
    }

    #[test]
    fn chunks_are_put_together() {
        let full = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\na\r\n0123456789\r\n0\r\n\r\n";
        for cut in 0..full.len() {
            assert!(whole(&full[..cut], true).unwrap().is_none(), "{cut}");
        }
        assert_eq!(whole(full, true).unwrap().unwrap().body, b"abc0123456789");
        assert!(chunked(b"x\r\n").is_err());
        assert!(chunked(b"ffffffffffffffff\r\n").is_err());
    }

    #[test]
    fn what_is_no_answer_is_said() {
        for bad in
            [&b"HTTP/1.1 OK\r\n\r\n"[..], b"HTTP/1.1 200 OK\r\n\r\n", b"\r\n\r\n", b"\xff\r\n\r\n"]
        {
            assert!(whole(bad, true).is_err(), "{bad:?}");
        }
    }
}
