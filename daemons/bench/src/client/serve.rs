//! What is asked of a program inside a host, done.

use std::io::{BufRead as _, Write as _};
use std::net::SocketAddr;
use std::pin::pin;
use std::time::{Duration, Instant};

use futures_util::stream;
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
            Ask::Fetch { addr, blob } => ok(self.fetch(addr, &blob).await?),
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
        let url = format!("http://{addr}/blobs/{}/locations", blob.digest);
        let answer = self.client.send(Request::get(url).head_timeout(PROBE_MAX)).await?;
        let owners = answer.header("origin-locations").unwrap_or_default();
        if owners.split(',').filter(|owner| !owner.is_empty()).count() == count {
            return Ok(());
        }
        let message = format!("origin {addr} knows no {count} healthy origins but {owners:?}");
        Err(Error::new(ErrorKind::Unavailable, message))
    }

    async fn upload(&self, addr: SocketAddr, blob: &Blob) -> Result<()> {
        let url = format!("http://{addr}/namespace/{NAMESPACE}/blobs/{}/uploads", blob.digest);
        let answer = self.client.send(Request::post(&url)).await?;
        let upload = answer
            .header("location")
            .map(|location| format!("{url}/{location}"))
            .ok_or_else(|| Error::invalid(format!("origin {addr} names no upload")))?;
        let mut start = 0;
        while start < blob.len {
            let end = (start + PATCH_LEN).min(blob.len);
            let blocks = blob.blocks(start).take(PATCH_LEN.div_ceil(BLOCK_LEN) as usize);
            let body = Body::stream(end - start, stream::iter(blocks.map(Ok)));
            let request = Request::patch(&upload).header("content-range", format!("{start}-{end}"));
            self.client.send(request.body(body)).await?;
            start = end;
        }
        self.client.send(Request::put(&upload)).await.map(drop)
    }

    async fn holds(&self, addr: SocketAddr, blob: &Blob) -> Result<()> {
        let digest = &blob.digest;
        let path = format!("internal/namespace/{NAMESPACE}/blobs/{digest}?local=true");
        let request = Request::head(format!("http://{addr}/{path}")).head_timeout(PROBE_MAX);
        self.client.send(request).await.map(drop)
    }

    async fn stored(&self, addr: SocketAddr, blob: &Blob) -> Result<()> {
        let (_, hex) = blob.digest.split_once(':').unwrap_or_default();
        let url = format!("http://{addr}/files/{STORAGE_ROOT}/{hex}");
        let answer = self.client.send(Request::head(url).head_timeout(PROBE_MAX)).await?;
        if answer.header("size") == Some(blob.len.to_string().as_str()) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Unavailable, format!("storage {addr} has a part of {hex}")))
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

    async fn hash(&self, addr: SocketAddr, blob: &Blob) -> Result<String> {
        let mut body = self.pull(addr, blob).await?.stream();
        let mut sha256 = DigestHasher::new(Algorithm::Sha256);
        while let Some(chunk) = body.chunk().await? {
            sha256.update(&chunk);
        }
        let digest: Digest = sha256.finish();
        Ok(digest.to_string())
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

/// What the blob is in.
const NAMESPACE: &str = "bench";

/// How much of a blob one request uploads, as uber/kraken's clients do.
const PATCH_LEN: u64 = 32 << 20;

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
