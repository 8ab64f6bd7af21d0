//! The least that the same work costs: blocking sockets, one thread each end, nothing in between.

use std::fs::File;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::thread;

use kraken_core::{Algorithm, DigestHasher, MetaInfo, PieceIndex};
use rustix::fs::{FallocateFlags, fallocate, sendfile};
use rustix::net::sockopt::set_tcp_congestion;
use rustix::net::{RecvFlags, recv};

use crate::Checks;
use crate::sample::{Sample, Start};

/// Bytes received, hashed and written at once: of those tried the cheapest.
const BUFFER_LEN: usize = 1 << 20;
/// Bytes hashed again and again: they stay in the second-level cache.
const HASH_LEN: usize = 128 << 10;
/// Bytes of one `sendfile`.
const SEND_LEN: u64 = 4 << 20;

/// What it takes to run a bare transfer.
#[derive(Debug)]
pub(crate) struct Floor<'a> {
    pub(crate) dir: &'a Path,
    pub(crate) congestion: &'static str,
    pub(crate) file: &'a File,
    pub(crate) meta: &'a MetaInfo,
}

/// Measures one part of the floor.
type Part = fn(&Path, usize, &'static str) -> Sample;

/// The sums as they run.
struct Sums {
    crc32: crc32fast::Hasher,
    blake3: Option<blake3::Hasher>,
    sha256: Option<DigestHasher>,
}

impl Floor<'_> {
    /// `sendfile` to `read`, hashed in passing, written to a new file.
    pub(crate) fn run(&self, checks: Checks) -> Sample {
        let geometry = self.meta.geometry();
        let len = geometry.blob_len();
        let (sender, receiver) = sockets(self.congestion);
        let target = tempfile::tempfile_in(self.dir).unwrap();
        let start = Start::now();
        thread::scope(|scope| {
            scope.spawn(|| send(&sender, self.file, len));
            fallocate(&target, FallocateFlags::empty(), 0, len).unwrap();
            self.receive(&receiver, &target, checks);
        });
        start.over(len)
    }

    fn receive(&self, socket: &TcpStream, target: &File, checks: Checks) {
        let mut buffer = vec![0; BUFFER_LEN];
        let mut whole = (checks == Checks::Sha256).then(|| DigestHasher::new(Algorithm::Sha256));
        for index in self.meta.geometry().indexes() {
            let range = self.meta.geometry().range(index);
            let mut sums = Sums::new(checks, whole.take());
            let mut at = range.start;
            while at < range.end {
                let want = buffer.len().min((range.end - at) as usize);
                read_all(socket, &mut buffer[..want]);
                sums.update(&buffer[..want]);
                target.write_all_at(&buffer[..want], at).unwrap();
                at += want as u64;
            }
            whole = sums.check(self.meta, index);
        }
        if let Some(whole) = whole {
            assert_eq!(whole.finish(), self.meta.digest());
        }
    }
}

impl Sums {
    fn new(checks: Checks, sha256: Option<DigestHasher>) -> Self {
        let blake3 = (checks != Checks::Crc32).then(blake3::Hasher::new);
        Self { crc32: crc32fast::Hasher::new(), blake3, sha256 }
    }

    fn update(&mut self, bytes: &[u8]) {
        self.crc32.update(bytes);
        if let Some(blake3) = &mut self.blake3 {
            blake3.update(bytes);
        }
        if let Some(sha256) = &mut self.sha256 {
            sha256.update(bytes);
        }
    }

    /// Checks a piece; the sum of the whole goes on.
    fn check(self, meta: &MetaInfo, index: PieceIndex) -> Option<DigestHasher> {
        assert_eq!(meta.crc32_of(index), Some(self.crc32.finalize()));
        if let Some(blake3) = self.blake3 {
            assert_eq!(meta.blake3_of(index), Some(*blake3.finalize().as_bytes()));
        }
        self.sha256
    }
}

/// Cubic where the system lets us have it, else Reno, which every system has.
pub(crate) fn congestion() -> &'static str {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let has = |name: &&str| set_tcp_congestion(&socket, name).is_ok();
    ["cubic", "reno"].into_iter().find(has).expect("neither cubic nor reno")
}

/// What the floors are made of.
pub(crate) fn parts() -> [(&'static str, Part); 5] {
    [
        ("sendfile to read over loopback", |dir, mib, congestion| {
            let len = (mib as u64) << 20;
            let source = tempfile::tempfile_in(dir).unwrap();
            fill(&source, len);
            let (sender, receiver) = sockets(congestion);
            let start = Start::now();
            thread::scope(|scope| {
                scope.spawn(|| send(&sender, &source, len));
                discard(&receiver, len);
            });
            start.over(len)
        }),
        ("write to a new file, 1 MiB at once", |dir, mib, _| {
            let len = (mib as u64) << 20;
            let target = tempfile::tempfile_in(dir).unwrap();
            let start = Start::now();
            fallocate(&target, FallocateFlags::empty(), 0, len).unwrap();
            fill(&target, len);
            start.over(len)
        }),
        ("CRC32", |_, mib, _| {
            let mut hasher = crc32fast::Hasher::new();
            hashing(mib, |bytes| hasher.update(bytes))
        }),
        ("BLAKE3", |_, mib, _| {
            let mut hasher = blake3::Hasher::new();
            hashing(mib, |bytes| {
                hasher.update(bytes);
            })
        }),
        ("SHA-256", |_, mib, _| {
            let mut hasher = DigestHasher::new(Algorithm::Sha256);
            hashing(mib, |bytes| hasher.update(bytes))
        }),
    ]
}

/// Hashes the same bytes again and again, so that they stay in the cache.
fn hashing(mib: usize, mut update: impl FnMut(&[u8])) -> Sample {
    let buffer = vec![1; HASH_LEN];
    let steps = (mib << 20) / HASH_LEN;
    let start = Start::now();
    (0..steps).for_each(|_| update(std::hint::black_box(&buffer)));
    start.over((mib as u64) << 20)
}

fn fill(file: &File, len: u64) {
    let buffer = vec![1; BUFFER_LEN];
    for at in (0..len).step_by(BUFFER_LEN) {
        file.write_all_at(&buffer, at).unwrap();
    }
}

fn sockets(congestion: &str) -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    set_tcp_congestion(&listener, congestion).unwrap();
    let receiver = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    set_tcp_congestion(&receiver, congestion).unwrap();
    (listener.accept().unwrap().0, receiver)
}

fn send(socket: &TcpStream, file: &File, len: u64) {
    let mut at = 0;
    while at < len {
        let count = (len - at).min(SEND_LEN) as usize;
        assert_ne!(sendfile(socket, file, Some(&mut at), count).unwrap(), 0);
    }
}

fn discard(socket: &TcpStream, len: u64) {
    let mut buffer = vec![0; BUFFER_LEN];
    let mut left = len;
    while left > 0 {
        let want = left.min(BUFFER_LEN as u64);
        read_all(socket, &mut buffer[..want as usize]);
        left -= want;
    }
}

/// Has the system wait for all of it: whoever is woken for every few segments pays for that.
fn read_all(socket: &TcpStream, buffer: &mut [u8]) {
    let mut filled = 0;
    while filled < buffer.len() {
        let (_, count) = recv(socket, &mut buffer[filled..], RecvFlags::WAITALL).unwrap();
        assert_ne!(count, 0, "the sender sends all");
        filled += count;
    }
}
