//! What is asked of a program inside a host, done.

use std::io::{BufRead as _, Write as _};
use std::net::SocketAddr;
use std::ops::Range;
use std::pin::pin;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use kraken_backends::limits::UPLOAD_CHUNK_LEN;
use kraken_backends::{Origin, UploadSource as _};
use kraken_core::http::{Body, Client, ClientConfig, Request, Response};
use kraken_core::{Algorithm, Digest, DigestHasher, Error, ErrorKind, Result};
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::blob::BLOCK_LEN;
use super::{Ask, Blob, Fetched, from_json, to_json};

/// Answers asks on standard input, one by one, until there are no more.
pub(crate) fn serve() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Error::io("start a runtime", e))?;
    let mut state = State { client: client(), listener: None };
    for line in std::io::stdin().lock().lines() {
        let line = line.map_err(|e| Error::io("read what to do", e))?;
        let answer = runtime.block_on(state.answer(from_json(&line)?));
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => to_json(&std::result::Result::<(), _>::Err(error.to_string()))?,
        };
        let mut stdout = std::io::stdout().lock();
        writeln!(stdout, "{answer}")
            .and_then(|()| stdout.flush())
            .map_err(|e| Error::io("answer", e))?;
    }
    Ok(())
}

struct State {
    client: Client,
    listener: Option<TcpListener>,
}

impl State {
    /// The answer as a line of JSON.
    async fn answer(&mut self, ask: Ask) -> Result<String> {
        match ask {
            Ask::Health { addr } => ok(until(|| self.health(addr)).await?),
            Ask::Owners { addr, blob, count } => {
                ok(until(|| self.owners(addr, &blob, count)).await?)
            }
            Ask::Upload { addr, blob } => ok(self.upload(addr, &blob).await?),
            Ask::Holds { addr, blob } => ok(until(|| self.holds(addr, &blob)).await?),
            Ask::Stored { addr, blob } => ok(until(|| self.stored(addr, &blob)).await?),
            Ask::Store { addr, blob } => ok(self.store(addr, &blob).await?),
            Ask::Sent { addr } => ok(self.sent(addr).await?),
            Ask::Fetch { addr, blob } => ok(self.fetch(addr, &blob).await?),
            Ask::Ranges { registry, blob, ranges } => {
                ok(self.ranges(registry, &blob, ranges).await?)
            }
            Ask::Hash { addr, blob } => ok(self.hash(addr, &blob).await?),
            Ask::Listen => ok(self.listen().await?),
            Ask::Receive => ok(self.receive().await?),
            Ask::Send { addr, lasting } => ok(send(addr, lasting).await?),
        }
    }

    async fn health(&self, addr: SocketAddr) -> Result<()> {
        let request = Request::get(format!("http://{addr}/health")).head_timeout(PROBE_MAX);
        self.client.send(request).await.map(drop)
    }

    async fn owners(&self, addr: SocketAddr, blob: &Blob, count: usize) -> Result<()> {
        let owners = self.origin(addr).locations(&blob.digest).await?;
        if owners.len() == count {
            return Ok(());
        }
        let message = format!("origin {addr} knows no {count} healthy origins but {owners:?}");
        Err(Error::new(ErrorKind::Unavailable, message))
    }

    async fn upload(&self, addr: SocketAddr, blob: &Blob) -> Result<()> {
        self.origin(addr).upload(&NAMESPACE.parse()?, &blob.digest, blob).await
    }

    async fn holds(&self, addr: SocketAddr, blob: &Blob) -> Result<()> {
        self.origin(addr).stat(&NAMESPACE.parse()?, &blob.digest, true).await.map(drop)
    }

    fn origin(&self, addr: SocketAddr) -> Origin {
        Origin::new(&addr.to_string(), self.client.clone(), UPLOAD_CHUNK_LEN)
    }

    async fn stored(&self, addr: SocketAddr, blob: &Blob) -> Result<()> {
        let hex = blob.digest.hex();
        let url = format!("http://{addr}/files/{STORAGE_ROOT}/{hex}");
        let answer = self.client.send(Request::head(url).head_timeout(PROBE_MAX)).await?;
        if answer.header("size") == Some(blob.len.to_string().as_str()) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Unavailable, format!("storage {addr} has a part of {hex}")))
    }

    async fn store(&self, addr: SocketAddr, blob: &Blob) -> Result<()> {
        let url = format!("http://{addr}/files/{STORAGE_ROOT}/{}", blob.digest.hex());
        let body = Body::stream(blob.len, blob.open(0..blob.len).await?);
        self.client.send(Request::post(url).body(body)).await.map(drop)
    }

    async fn sent(&self, addr: SocketAddr) -> Result<u64> {
        #[derive(serde::Deserialize)]
        struct Stats {
            sent: u64,
        }
        let answer = self.client.send(Request::get(format!("http://{addr}/x/stats"))).await?;
        Ok(answer.json::<Stats>(ANSWER_LEN_MAX).await?.sent)
    }

    async fn fetch(&self, addr: SocketAddr, blob: &Blob) -> Result<Fetched> {
        let start = now();
        let mut body = self.pull(addr, blob).await?.stream();
        let mut first_byte = None;
        let mut curve: Vec<(Duration, u64)> = Vec::with_capacity(CURVE_LEN_MAX);
        let mut crc32 = crc32fast::Hasher::new();
        let (mut len, mut next) = (0, 0);
        while let Some(chunk) = body.chunk().await? {
            crc32.update(&chunk);
            len += chunk.len() as u64;
            if len >= next {
                let now = now();
                first_byte.get_or_insert(now);
                curve.push((now.saturating_sub(start), len));
                next = len + blob.len / CURVE_LEN_MAX as u64;
            }
        }
        let last_byte = now();
        if curve.last().is_none_or(|(_, last)| *last < len) {
            curve.push((last_byte.saturating_sub(start), len));
        }
        let first_byte = first_byte.unwrap_or(last_byte);
        Ok(Fetched { start, first_byte, last_byte, curve, len, crc32: crc32.finalize() })
    }

    async fn ranges(
        &self,
        registry: SocketAddr,
        blob: &Blob,
        ranges: Vec<Range<u64>>,
    ) -> Result<Vec<Duration>> {
        let mut times = Vec::with_capacity(ranges.len());
        for range in ranges {
            let expected: Vec<Bytes> = blob.open(range.clone()).await?.try_collect().await?;
            let url = format!("http://{registry}/v2/{NAMESPACE}/blobs/{}", blob.digest);
            let asked = format!("bytes={}-{}", range.start, range.end - 1);
            let start = now();
            let answer = self.client.send(Request::get(url).header("range", &asked)).await?;
            let found = answer.bytes(RANGE_LEN_MAX).await?;
            times.push(now().saturating_sub(start));
            if found != expected.concat() {
                let text = format!("{registry} sent others as {asked} of {}", blob.digest);
                return Err(Error::new(ErrorKind::Mismatch, text));
            }
        }
        Ok(times)
    }

    async fn hash(&self, addr: SocketAddr, blob: &Blob) -> Result<(Digest, Duration)> {
        let start = now();
        let mut first_byte = None;
        let mut body = self.pull(addr, blob).await?.stream();
        let mut sha256 = DigestHasher::new(Algorithm::Sha256);
        while let Some(chunk) = body.chunk().await? {
            first_byte.get_or_insert_with(|| now().saturating_sub(start));
            sha256.update(&chunk);
        }
        Ok((sha256.finish(), first_byte.unwrap_or_default()))
    }

    async fn pull(&self, addr: SocketAddr, blob: &Blob) -> Result<Response> {
        let url = format!("http://{addr}/namespace/{NAMESPACE}/blobs/{}", blob.digest);
        self.client.send(Request::get(url)).await
    }

    async fn listen(&mut self) -> Result<u16> {
        let listen = |e| Error::io("listen for a flow", e);
        let listener = TcpListener::bind("0.0.0.0:0").await.map_err(listen)?;
        let port = listener.local_addr().map_err(listen)?.port();
        self.listener = Some(listener);
        Ok(port)
    }

    async fn receive(&mut self) -> Result<f64> {
        let listener =
            self.listener.take().ok_or_else(|| Error::invalid("receive without listening"))?;
        let receive = |e| Error::io("receive a flow", e);
        let (mut stream, _) = listener.accept().await.map_err(receive)?;
        let mut buffer = vec![0; BLOCK_LEN as usize];
        let mut measured: Option<Instant> = None;
        let mut begun: Option<Instant> = None;
        let (mut bytes, mut last) = (0u64, Instant::now());
        loop {
            let read = stream.read(&mut buffer).await.map_err(receive)?;
            if read == 0 {
                break;
            }
            last = Instant::now();
            let begun = *begun.get_or_insert(last);
            match measured {
                Some(_) => bytes += read as u64,
                // The window of the connection opens first.
                None if last - begun >= WARM_UP => measured = Some(last),
                None => {}
            }
        }
        let lasted = measured.map_or(0.0, |start| (last - start).as_secs_f64());
        if lasted <= 0.0 {
            return Err(Error::new(
                ErrorKind::Unavailable,
                "the flow ended before it was measured",
            ));
        }
        Ok(bytes as f64 / lasted)
    }
}

async fn send(addr: SocketAddr, lasting: Duration) -> Result<()> {
    let failed = |e| Error::io(format!("send a flow to {addr}"), e);
    let mut stream = TcpStream::connect(addr).await.map_err(failed)?;
    let block = vec![0; BLOCK_LEN as usize];
    let started = Instant::now();
    while started.elapsed() < lasting {
        stream.write_all(&block).await.map_err(failed)?;
    }
    stream.shutdown().await.map_err(failed)
}

/// Tries again and again until it succeeds, or fails with the last error.
async fn until<F: Future<Output = Result<()>>>(attempt: impl Fn() -> F) -> Result<()> {
    let mut patience = pin!(tokio::time::sleep(PATIENCE));
    loop {
        let Err(error) = attempt().await else { return Ok(()) };
        tokio::select! {
            () = &mut patience => return Err(error),
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

fn ok(answer: impl Serialize) -> Result<String> {
    to_json(&std::result::Result::<_, String>::Ok(answer))
}

/// The machine's monotonic clock, which all processes share.
pub(crate) fn now() -> Duration {
    let now = clock_gettime(ClockId::Monotonic);
    Duration::try_from(now).unwrap_or_default()
}

/// A client that waits as long as the run does.
fn client() -> Client {
    Client::new(ClientConfig {
        head_timeout: FOREVER,
        body_idle_timeout: FOREVER,
        ..ClientConfig::default()
    })
}

/// The directory of blobs in the storage.
pub(crate) const STORAGE_ROOT: &str = "blobs";

/// More is no answer of some numbers.
const ANSWER_LEN_MAX: usize = 1 << 16;

/// The longest range that is asked for.
const RANGE_LEN_MAX: usize = 16 << 20;

/// What the blob is in.
const NAMESPACE: &str = "bench";

/// Points of a curve.
const CURVE_LEN_MAX: usize = 200;

/// How long something that must come true may take, such as an origin's start.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long one look may take.
const PROBE_MAX: Duration = Duration::from_secs(5);

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// The run as a whole has a deadline.
const FOREVER: Duration = Duration::from_secs(24 * 3600);

/// What of a flow is not measured.
const WARM_UP: Duration = Duration::from_secs(1);
