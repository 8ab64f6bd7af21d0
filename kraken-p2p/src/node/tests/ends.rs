//! Torrents that end while something of theirs is still under way.

use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use kraken_core::{Bitfield, Digest, MetaInfo, Namespace, PieceIndex, Result};

use super::BLOB_LEN;
use super::support::{Host, Storage, Tracker, blob, loopback, namespace, soon};
use crate::node::{Node, NodeConfig};
use crate::storage::{Proof, Readable, TorrentFile, TorrentStorage};

/// Storage whose writes wait at a gate.
#[derive(Debug)]
struct Gated {
    storage: Arc<Storage>,
    gate: Arc<Gate>,
}

#[derive(Debug)]
struct GatedFile {
    file: Arc<dyn TorrentFile>,
    gate: Arc<Gate>,
}

#[derive(Debug, Default)]
struct Gate {
    state: Mutex<State>,
    opened: Condvar,
}

#[derive(Debug, Default)]
struct State {
    is_open: bool,
    writing: u32,
    opens: u32,
    /// Times a torrent was opened while another was being written.
    overlaps: u32,
}

impl Gate {
    fn pass(&self) {
        let mut state = self.state.lock().unwrap();
        state.writing += 1;
        while !state.is_open {
            state = self.opened.wait(state).unwrap();
        }
    }

    fn left(&self) {
        self.state.lock().unwrap().writing -= 1;
    }

    fn open(&self) {
        self.state.lock().unwrap().is_open = true;
        self.opened.notify_all();
    }

    /// Waits a while until it is so.
    async fn until(&self, is_so: impl Fn(&State) -> bool) -> bool {
        for _ in 0..50 {
            if is_so(&self.state.lock().unwrap()) {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        false
    }
}

impl TorrentStorage for Gated {
    fn open(&self, meta: &MetaInfo, namespace: &Namespace) -> Result<Arc<dyn TorrentFile>> {
        let mut state = self.gate.state.lock().unwrap();
        state.opens += 1;
        state.overlaps += u32::from(state.writing > 0);
        drop(state);
        let file = self.storage.open(meta, namespace)?;
        Ok(Arc::new(GatedFile { file, gate: Arc::clone(&self.gate) }))
    }

    fn find(&self, _: &Digest, _: &Namespace) -> Result<Option<(MetaInfo, Arc<dyn TorrentFile>)>> {
        Ok(None)
    }
}

impl TorrentFile for GatedFile {
    fn pieces(&self) -> Bitfield {
        self.file.pieces()
    }

    fn is_complete(&self) -> bool {
        self.file.is_complete()
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.gate.pass();
        let result = self.file.write_at(offset, bytes);
        self.gate.left();
        result
    }

    fn read_marked_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        self.file.read_marked_at(offset, buf)
    }

    fn readable_to(&self, start: u64) -> u64 {
        self.file.readable_to(start)
    }

    fn readable(&self, range: Range<u64>) -> Readable {
        self.file.readable(range)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        self.file.read_at(offset, buf)
    }

    fn mark(&self, index: PieceIndex, proof: Proof) -> Result<()> {
        self.file.mark(index, proof)
    }

    fn commit(&self) -> Result<()> {
        self.file.commit()
    }

    fn discard(&self) -> Result<()> {
        self.file.discard()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_torrent_is_opened_anew_only_when_nothing_writes_it_any_more() {
    let (bytes, meta) = blob(BLOB_LEN, 1);
    let tracker = Arc::new(Tracker::default());
    let origin = Host::origin(&tracker, &meta, &bytes).await;
    let (storage, gate) = (Storage::new(true), Arc::new(Gate::default()));
    let gated = Gated { storage: Arc::clone(&storage), gate: Arc::clone(&gate) };
    let builder = Node::builder(Arc::new(gated), Arc::clone(&tracker) as _);
    let config = NodeConfig { zone: "far".into(), ..loopback() };
    let node = builder.config(config).start().await.unwrap();
    let digest = meta.digest();
    let first = node.download(&namespace(), &digest).await.unwrap();
    assert!(gate.until(|state| state.writing > 0).await);
    assert!(node.remove(&digest).await.unwrap());
    let again = tokio::spawn({
        let node = node.clone();
        async move { node.download(&namespace(), &digest).await }
    });
    gate.until(|state| state.opens == 2).await;
    gate.open();
    let mut again = soon(again).await.unwrap().unwrap();
    soon(again.finished()).await.unwrap();
    assert_eq!(*tracker.zone.lock().unwrap(), "far");
    assert_eq!(gate.state.lock().unwrap().overlaps, 0);
    assert!(storage.bytes(&digest) == bytes);
    drop(first);
    node.close().await;
    origin.node.close().await;
}
