//! Bytes per CPU second from one node to another over loopback, beside what the same checks cost
//! in a bare loop over the same socket, file and hashes.
//!
//! `cargo bench -p kraken-p2p --bench transfer`. Both nodes live in this process and keep their
//! blobs in the real store, in files below cargo's target directory. CPU time, because wall time on
//! shared cores swings threefold; medians of rounds in which the cases take turns. Congestion
//! control is set per socket: a system default of BBR paces loopback and makes results bimodal.
//! `KRAKEN_BENCH_MIB` and `KRAKEN_BENCH_ROUNDS` set the blob's size and the number of rounds.

#![allow(clippy::disallowed_methods, reason = "a bench reads the clock, opens files and sockets")]

mod floor;
mod nodes;
mod sample;

use std::path::Path;
use std::thread::available_parallelism;

use kraken_core::store::VERIFIES_BLOBS;

use floor::Floor;
use nodes::Seed;
use sample::Series;

/// uber/kraken's configuration files say 4 MB for every blob.
const PIECE_LEN: u64 = 4 << 20;
/// What this project chooses below 1 GiB where the configuration says nothing.
const SMALL_PIECE_LEN: u64 = 1 << 20;

/// What is checked of the bytes that arrive; each includes the ones before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Checks {
    /// Of each piece: all that uber/kraken's agents do.
    Crc32,
    /// Of each piece.
    Blake3,
    /// Of the whole blob: production.
    Sha256,
}

/// One line of the table.
struct Case {
    name: &'static str,
    checks: Checks,
    piece_len: u64,
    /// CPU seconds per GB: the design's floor, on the machine it was measured on, and its goal.
    design: &'static str,
    floor: Series,
    nodes: Series,
}

fn main() {
    // `cargo test --benches` runs this too: then it only proves that it works.
    let bench = std::env::args().any(|arg| arg == "--bench");
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<usize>().ok());
    let (mib, rounds) = if bench { (512, 5) } else { (8, 1) };
    let mib = number("KRAKEN_BENCH_MIB").unwrap_or(mib).max(1);
    let rounds = number("KRAKEN_BENCH_ROUNDS").unwrap_or(rounds).max(1);
    // Beside the build, not in the system's place for temporary files, which may be memory.
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let congestion = floor::congestion();
    let cores = available_parallelism().map_or(0, usize::from);
    println!(
        "one node to one node, {mib} MiB, {cores} cores, TCP {congestion}, median (and least) of \
         {rounds} rounds"
    );
    if !VERIFIES_BLOBS {
        println!("built with bench-unverified: the last two lines are WITHOUT the SHA-256");
    }
    parts(dir.path(), mib, congestion, rounds);
    let mut cases = cases();
    runtime.block_on(async {
        let large = Seed::start(dir.path(), mib, PIECE_LEN, congestion).await;
        let small = Seed::start(dir.path(), mib, SMALL_PIECE_LEN, congestion).await;
        // The first round is not counted: it touches memory and fills caches.
        for round in 0..=rounds {
            for case in &mut cases {
                let seed = if case.piece_len == PIECE_LEN { &large } else { &small };
                case.run(seed, dir.path(), round > 0).await;
            }
        }
        large.close().await;
        small.close().await;
    });
    table(&cases);
}

fn cases() -> [Case; 4] {
    let case = |name, checks, piece_len, design| Case {
        name,
        checks,
        piece_len,
        design,
        floor: Series::default(),
        nodes: Series::default(),
    };
    [
        case("CRC32", Checks::Crc32, PIECE_LEN, "0.42; 0.9"),
        case("CRC32, BLAKE3", Checks::Blake3, PIECE_LEN, "-"),
        case("CRC32, BLAKE3, SHA-256", Checks::Sha256, PIECE_LEN, "0.94; 1.4"),
        case("the same, 1 MiB pieces", Checks::Sha256, SMALL_PIECE_LEN, "0.94; 1.4"),
    ]
}

impl Case {
    /// The bare loop and the nodes, once each.
    async fn run(&mut self, seed: &Seed, dir: &Path, counted: bool) {
        let floor =
            Floor { dir, congestion: seed.congestion(), file: seed.file(), meta: seed.meta() };
        let floor = tokio::task::block_in_place(|| floor.run(self.checks));
        let nodes = seed.download(dir, self.checks).await;
        if counted {
            self.floor.push(floor);
            self.nodes.push(nodes);
        }
    }
}

/// What the floors are made of, one by one.
fn parts(dir: &Path, mib: usize, congestion: &'static str, rounds: usize) {
    println!("\n| part of the floor | CPU-s per GB | GB per CPU-s |\n|---|---|---|");
    for (name, measure) in floor::parts() {
        let mut series = Series::default();
        (0..rounds).for_each(|_| series.push(measure(dir, mib, congestion)));
        println!("| {name} | {} | {:.2} |", series.cpu_per_gb(), 1.0 / series.median());
    }
}

/// Other work on the machine makes both sides dearer, so that the least of each is compared too.
fn table(cases: &[Case]) {
    println!(
        "\n| checks | floor, CPU-s per GB | nodes, CPU-s per GB | nodes / floor: median / least \
         (least / least) | floor, GB per CPU-s | nodes, GB per CPU-s | nodes, GB/s | design: \
         floor; goal |\n|---|---|---|---|---|---|---|---|"
    );
    for Case { name, design, floor, nodes, .. } in cases {
        println!(
            "| {name} | {} | {} | {:.2} ({:.2}) | {:.2} | {:.2} | {:.2} | {design} |",
            floor.cpu_per_gb(),
            nodes.cpu_per_gb(),
            nodes.median() / floor.least(),
            nodes.least() / floor.least(),
            1.0 / floor.median(),
            1.0 / nodes.median(),
            nodes.rate(),
        );
    }
}
