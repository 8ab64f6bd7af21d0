//! Real namespaces with capped links, and what is left of them: nothing.
//!
//! Needs root, `ip` and `tc`. Without them nothing is tested, but with `KRAKEN_TESTS_NETNS` set
//! that is an error. Programs in the namespaces are this test program itself, see [`inside`].

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use kraken_bench::cgroup::Cgroups;
use kraken_bench::net::{HostSpec, Network, check_namespaces};
use kraken_bench::preflight::DirtyRatios;
use kraken_bench::scenario::Rate;

const MIB: u64 = 1 << 20;
const RATE: u64 = 40 * MIB;
const INSIDE: &str = "KRAKEN_TESTS_NETNS_INSIDE";

/// Whether links can be made here.
fn can_be_tested() -> bool {
    let Err(error) = check_namespaces() else { return true };
    assert!(std::env::var_os("KRAKEN_TESTS_NETNS").is_none(), "{error}");
    eprintln!("not tested: {error}");
    false
}

fn spec(name: &str, link: Option<u64>) -> HostSpec {
    HostSpec { name: name.to_owned(), link: link.map(Rate) }
}

/// No test: what other tests start in a namespace or kill, by the words in [`INSIDE`].
#[test]
fn inside() {
    let Ok(words) = std::env::var(INSIDE) else { return };
    match words.split(' ').collect::<Vec<_>>().as_slice() {
        ["sink", addr] => {
            let listener = TcpListener::bind((addr.parse::<Ipv4Addr>().unwrap(), 0)).unwrap();
            say(&listener.local_addr().unwrap().port().to_string());
            let (mut stream, _) = listener.accept().unwrap();
            let mut buffer = vec![0; MIB as usize];
            let (mut sum, mut start) = (0, None);
            loop {
                let len = stream.read(&mut buffer).unwrap();
                // The clock starts once the burst and the slow start are over.
                if start.is_none() && sum > 8 * MIB {
                    start = Some((Instant::now(), sum));
                }
                sum += len as u64;
                if len == 0 {
                    break;
                }
            }
            let (start, before) = start.unwrap();
            say(&format!("{}", (sum - before) as f64 / start.elapsed().as_secs_f64()));
        }
        ["source", to, len] => {
            let mut stream = TcpStream::connect(*to).unwrap();
            let mut left: u64 = len.parse().unwrap();
            let buffer = vec![7; MIB as usize];
            while left > 0 {
                let part = left.min(MIB);
                stream.write_all(&buffer[..part as usize]).unwrap();
                left -= part;
            }
            say(&congestion_of(to));
        }
        ["bench"] => {
            let network = Network::namespaces(&[spec("hub", None), spec("agent0", None)]).unwrap();
            let mut waiting = start(network.host("agent0").command(&exe()), "wait");
            let mut waiting_says = BufReader::new(waiting.stdout.take().unwrap());
            assert_eq!(said(&mut waiting_says), "here");
            let groups = Cgroups::create(&["agent"]).unwrap();
            if let Some(groups) = &groups {
                groups.add("agent", waiting.id()).unwrap();
            }
            let dirty = DirtyRatios::raise().unwrap();
            say(&format!("{} {}", waiting.id(), dirty.is_raised()));
            waiting.wait().unwrap();
        }
        ["wait"] => {
            say("here");
            std::thread::sleep(Duration::from_secs(120));
        }
        words => panic!("{words:?}"),
    }
}

/// One line for the test that started this: the test harness prints lines of its own.
fn say(what: &str) {
    println!("\nsays {what}");
}

/// The congestion control of this process's connection to `to`.
fn congestion_of(to: &str) -> String {
    let shown = Command::new("ss").args(["-tin", "dst", to]).output();
    let shown = shown.map_or_else(|_| String::new(), |out| String::from_utf8(out.stdout).unwrap());
    let found = ["cubic", "bbr", "reno"].into_iter().find(|name| shown.contains(name));
    found.unwrap_or("unknown").to_owned()
}

fn exe() -> std::path::PathBuf {
    std::env::current_exe().unwrap()
}

fn start(mut command: Command, words: &str) -> Child {
    command.args(["--exact", "inside", "--nocapture"]).env(INSIDE, words);
    command.stdout(Stdio::piped()).spawn().unwrap()
}

/// What a started [`inside`] says next.
fn said(output: &mut impl std::io::BufRead) -> String {
    let lines = output.lines().map(Result::unwrap);
    let found = lines.filter_map(|line| line.strip_prefix("says ").map(str::to_owned)).next();
    found.expect("the program inside ended without a word")
}

/// Bytes a second of one connection, and its congestion control.
fn goodput(network: &Network, from: &str, to: &str, len: u64) -> (f64, String) {
    let host = network.host(to);
    let mut sink = start(host.command(&exe()), &format!("sink {}", host.addr));
    let mut sink_says = BufReader::new(sink.stdout.take().unwrap());
    let port = said(&mut sink_says);
    let words = format!("source {}:{port} {len}", host.addr);
    let mut source = start(network.host(from).command(&exe()), &words);
    let mut source_says = BufReader::new(source.stdout.take().unwrap());
    let congestion = said(&mut source_says);
    let measured = said(&mut sink_says).parse().unwrap();
    assert!(source.wait().unwrap().success());
    assert!(sink.wait().unwrap().success());
    (measured, congestion)
}

/// Names that `ip netns` has with this beginning.
fn namespaces(prefix: &str) -> BTreeSet<String> {
    let entries = std::fs::read_dir("/run/netns").into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().into_string().unwrap());
    names.filter(|name| name.starts_with(prefix)).collect()
}

#[test]
fn a_capped_link_carries_its_rate_each_way_and_the_bytes_are_counted() {
    if !can_be_tested() {
        return;
    }
    let specs = [spec("origin0", None), spec("agent0", Some(RATE)), spec("agent1", Some(RATE))];
    let network = Network::namespaces(&specs).unwrap();
    assert!(network.is_namespaced());
    assert_eq!(network.congestion(), "cubic");
    let len = 80 * MIB;
    // Through the upload cap alone, the download cap alone, both.
    for (from, to) in [("agent0", "origin0"), ("origin0", "agent1"), ("agent1", "agent0")] {
        let before = network.sent_bytes(from).unwrap().unwrap();
        let (measured, congestion) = goodput(&network, from, to, len);
        let sent = network.sent_bytes(from).unwrap().unwrap() - before;
        eprintln!(
            "{from} -> {to}: {:.1} MiB/s ({:.1} % of the rate), {congestion}, {} bytes counted \
             ({:.2} % more)",
            measured / MIB as f64,
            100.0 * measured / RATE as f64,
            sent,
            100.0 * (sent as f64 / len as f64 - 1.0)
        );
        assert!(measured < RATE as f64, "{measured} bytes a second is more than the cap");
        assert!(measured > 0.5 * RATE as f64, "{measured} bytes a second is far below the cap");
        assert!(["cubic", "unknown"].contains(&congestion.as_str()), "{congestion}");
        assert!(sent >= len && sent < len + len / 10, "{sent} bytes were counted of {len}");
    }
    let prefix = format!("krb{}", std::process::id());
    assert!(!namespaces(&prefix).is_empty());
    network.close().unwrap();
}

#[test]
fn a_link_without_a_cap_is_fast() {
    if !can_be_tested() {
        return;
    }
    let network = Network::namespaces(&[spec("a", None), spec("b", None)]).unwrap();
    let (measured, congestion) = goodput(&network, "a", "b", 2048 * MIB);
    eprintln!("uncapped: {:.0} MiB/s, {congestion}", measured / MIB as f64);
    assert!(measured > (2 * RATE) as f64, "{measured} bytes a second");
}

#[test]
fn dozens_of_hosts_are_made_and_removed_with_what_runs_in_them() {
    if !can_be_tested() {
        return;
    }
    let specs: Vec<_> = (0..33).map(|index| spec(&format!("h{index}"), Some(RATE))).collect();
    let begun = Instant::now();
    let network = Network::namespaces(&specs).unwrap();
    let made = begun.elapsed();
    let mut child = start(network.host("h7").command(&exe()), "wait");
    let mut child_says = BufReader::new(child.stdout.take().unwrap());
    assert_eq!(said(&mut child_says), "here");
    let begun = Instant::now();
    drop(network);
    eprintln!("33 hosts: made in {made:?}, removed in {:?}", begun.elapsed());
    // The same process after `ip netns exec`: it was killed by the number that we know.
    assert_eq!(child.wait().unwrap().signal(), Some(9));
}

#[test]
fn specs_that_fail_half_way_leave_nothing() {
    if !can_be_tested() {
        return;
    }
    // Too much for `tc`, which is the last to be asked: everything else was made before.
    let specs = [spec("full0", None), spec("full1", Some(u64::MAX))];
    let error = Network::namespaces(&specs).unwrap_err();
    eprintln!("{error}");
    let ours = namespaces(&format!("krb{}", std::process::id()));
    assert!(!ours.iter().any(|name| name.contains("-full")), "{ours:?}");
}

#[test]
fn what_a_killed_bench_left_is_removed_by_the_next() {
    if !can_be_tested() {
        return;
    }
    let ratio = || std::fs::read_to_string("/proc/sys/vm/dirty_ratio").unwrap();
    let before = ratio();
    let mut bench = start(Command::new(exe()), "bench");
    let prefix = format!("krb{}-", bench.id());
    let mut bench_says = BufReader::new(bench.stdout.take().unwrap());
    let says = said(&mut bench_says);
    let (waiting, raised) = says.split_once(' ').unwrap();
    assert_eq!(raised, "true");
    assert_eq!(ratio().trim(), "70");
    assert_eq!(namespaces(&prefix).len(), 3);
    assert!(DirtyRatios::raise().is_err(), "two at once would not know what to restore");
    Network::remove_leftovers().unwrap();
    assert_eq!(namespaces(&prefix).len(), 3, "the bench still runs");

    bench.kill().unwrap();
    // It is not waited for yet, but it is dead.
    let found = (0..500).find_map(|_| {
        std::thread::sleep(Duration::from_millis(10));
        Some(Network::remove_leftovers().unwrap()).filter(|found| *found > 0)
    });
    // There may have been those of others.
    assert!(found >= Some(3), "{found:?}");
    assert_eq!(namespaces(&prefix).len(), 0);
    assert!(DirtyRatios::restore_leftover().unwrap());
    assert_eq!(ratio(), before);
    let dirty = DirtyRatios::raise().unwrap();
    assert_eq!(ratio().trim(), "70");
    drop(dirty);
    assert_eq!(ratio(), before);

    // The program in the namespace was killed with it; its group goes with the next groups.
    let stat = format!("/proc/{waiting}/stat");
    let is_gone = |_: &u32| {
        std::thread::sleep(Duration::from_millis(10));
        std::fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z "))
    };
    assert!((0..500).any(|turn| is_gone(&turn)), "process {waiting} still runs");
    let group = format!("kraken-bench-{}", bench.id());
    let groups = Cgroups::create(&["agent"]).unwrap().expect("root may make groups");
    drop(groups);
    for place in ["/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/cpuacct"] {
        let dir = std::path::Path::new(place).join(&group);
        assert!(!dir.exists(), "{} is left", dir.display());
    }
    bench.wait().unwrap();
}
