//! `kraken sim` as a command: what it prints, writes and returns.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

const SMALL: &str = "\
about: a few hosts
blobs: [{size: 60MB, piece: 1MiB}]
hosts: [{name: agents, count: 12, link: 100MB/s}]
origins: [{count: 3, link: 100MB/s}]
targets: {p99.9: 3.5, max: 0.5}
";

/// What the command did: exit code, standard output, standard error.
fn sim(dir: &Path, args: &[&str]) -> (i32, String, String) {
    let output = command(dir, args).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let Output { status, stdout, stderr } = output;
    (status.code().unwrap(), text(&stdout), text(&stderr))
}

fn command(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kraken"));
    command.arg("sim").args(args).current_dir(dir);
    command
}

/// A directory with a scenario in it.
fn with_file(text: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("small.yaml"), text).unwrap();
    dir
}

#[test]
fn scenarios_are_listed_and_shown() {
    let dir = with_file(SMALL);
    let (code, list, _) = sim(dir.path(), &["list"]);
    assert_eq!(code, 0);
    assert!(list.contains("readme-j1        uber/kraken's README test, 2,600 hosts"), "{list}");
    let (code, file, _) = sim(dir.path(), &["show", "readme-j1"]);
    assert_eq!(code, 0);
    assert!(file.contains("count: 2600, link: 300MB/s, joins: over 1s"), "{file}");
}

#[test]
fn a_file_is_run_with_targets_json_and_plots() {
    let dir = with_file(SMALL);
    let args = ["small.yaml", "--seed", "7", "--json", "out.json", "--svg", "plots"];
    let (code, out, err) = sim(dir.path(), &args);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(out.starts_with("small: a few hosts\n12 agents at 100 MB/s; 3 origins"), "{out}");
    let line = |start: &str| out.lines().find(|line| line.trim().starts_with(start)).unwrap();
    assert!(line("p99.9").ends_with(" met") && line("max  ").ends_with("not met"), "{out}");
    let json = std::fs::read(dir.path().join("out.json")).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(
        (&json["report"]["seed"], &json["report"]["ending"]),
        (&7.into(), &"finished".into())
    );
    assert_eq!(json["targets"][1]["met"], false);
    for plot in ["completion", "origins"] {
        let svg = std::fs::read_to_string(dir.path().join(format!("plots/small-{plot}.svg")));
        let svg = svg.unwrap();
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n") && !svg.contains("NaN"));
    }
    // The same command in other words, to the same digit.
    let (_, again, _) = sim(dir.path(), &["run", "./small.yaml", "--seed", "7"]);
    let figures = |text: &str| text.lines().filter(|it| !it.contains("real time")).count();
    assert_eq!(figures(&again), figures(&out));
    let digits = |text: &str| text.lines().find(|it| it.starts_with("time ÷")).unwrap().to_owned();
    assert_eq!(digits(&again), digits(&out));
}

#[test]
fn policies_are_compared() {
    let dir = with_file(SMALL);
    let args = ["compare", "small.yaml", "--policies", "swarm,uber-kraken", "--svg", "."];
    let (code, out, err) = sim(dir.path(), &args);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    let heads = out.lines().nth(3).unwrap();
    assert!(heads.contains("kraken") && heads.contains("uber/kraken"), "{out}");
    let svg = std::fs::read_to_string(dir.path().join("small-completion.svg")).unwrap();
    assert!(svg.contains(">uber/kraken</text>"), "{svg}");
    for same in ["swarm", "swarm,swarm"] {
        let (code, out, err) = sim(dir.path(), &["compare", "small.yaml", "--policies", same]);
        assert_eq!((code, out.as_str()), (64, ""));
        assert_eq!(err, "kraken sim: --policies: name two or more, each once\n");
    }
}

#[test]
fn what_cannot_be_printed_is_a_failure() {
    let dir = with_file(SMALL);
    for args in [&["small.yaml"][..], &["list"], &["show", "liar"]] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = command(dir.path(), args).stdout(full).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{args:?}: {error}");
        assert!(error.contains("write to standard output"), "{args:?}: {error}");
    }
}

#[test]
fn rows_make_a_table() {
    let dir = with_file(SMALL);
    let args = ["all", "small-swarm", "liar", "--hosts", "20", "--seeds", "1,1,2"];
    let (code, out, err) = sim(dir.path(), &args);
    assert_eq!(code, 0, "{out}");
    assert_eq!(err, "kraken sim: 2 scenarios, 13 runs; each row once it is done\n");
    let rows: Vec<&str> = out.lines().filter(|line| line.starts_with("| ")).collect();
    assert!(rows[0].starts_with("| scenario |") && rows.len() == 3, "{out}");
    assert!(rows[1].starts_with("| liar |") && rows[1].contains("; liars banned 100.0 %"), "{out}");
    assert!(rows[2].contains("the same again, others ") && rows[2].contains("± 5 %"), "{out}");
    assert_eq!(sim(dir.path(), &["all", "lair"]).0, 64);
}

#[test]
fn what_cannot_be_run_is_said_with_file_line_and_reason() {
    let check = |text: &str, expected: &str| {
        let dir = with_file(text);
        let (code, out, err) = sim(dir.path(), &["small.yaml"]);
        assert_eq!((code, out.as_str()), (64, ""));
        assert!(err.starts_with(&format!("kraken sim: small.yaml:{expected}")), "{err}");
    };
    check(&SMALL.replace("about", "abuot"), "1:1: unknown key \"abuot\"; did you mean about?");
    check(&SMALL.replace("12, link: ", "12, link: -"), "3:41: link: \"-100MB/s\" is negative");
    let many = SMALL.replace("count: 12", "count: 2000000").replace("60MB", "20GB");
    check(&many, "3:31: a run with 2000000 hosts needs about ");
    let dir = with_file(SMALL);
    for (args, words) in [
        (&["readme-j2"][..], "did you mean readme-j"),
        (&["there/is/none.yaml"], "none.yaml"),
        (&["small.yaml", "--hosts", "0"], "0 hosts are fewer"),
        (&["small.yaml", "--policy", "none"], "uber-kraken-reconfigured"),
        (&["--seed", "1"], "<SCENARIO>"),
        (&[], "<SCENARIO>"),
    ] {
        let (code, _, err) = sim(dir.path(), args);
        assert!(code == 64 && err.contains(words), "{args:?}: {code} {err}");
    }
}

#[test]
fn hosts_that_starve_are_named() {
    // Connections that break at once bring nothing.
    let text = SMALL.replace("\ntargets", "\nnetwork: {conn_life: 1us}\npatience: 2s\ntargets");
    let dir = with_file(&text);
    let (code, out, _) = sim(dir.path(), &["small.yaml"]);
    assert_eq!(code, 1);
    assert!(out.contains("starving: host 10.0.0.") && out.contains("of agents lacks 58 pieces"));
    assert!(out.contains("starved") && out.contains("- (of 0 of "), "{out}");
}

#[test]
fn hosts_on_slow_links_do_not_starve_while_bytes_come() {
    let dir = with_file(
        &SMALL.replace("100MB/s", "200kB/s").replace("\ntargets", "\npatience: 2s\ntargets"),
    );
    let (code, out, _) = sim(dir.path(), &["small.yaml", "--hosts", "3"]);
    assert!(code == 0 && !out.contains("starv"), "{out}");
}

#[test]
fn a_scenario_is_not_written_over() {
    let dir = with_file(SMALL);
    let (code, _, err) = sim(dir.path(), &["small.yaml", "--json", "./small.yaml"]);
    assert!(code != 0 && err.contains("that is the scenario itself"), "{err}");
    assert_eq!(std::fs::read_to_string(dir.path().join("small.yaml")).unwrap(), SMALL);
    let (code, ..) = sim(dir.path(), &["small.yaml", "--json", "out.json"]);
    assert_eq!(code, 0);
    assert!(dir.path().join("out.json").is_file() && !dir.path().join("out.json.part").exists());
}

#[test]
fn an_interrupted_run_tells_what_has_happened() {
    let dir = with_file(SMALL);
    let mut command = command(dir.path(), &["readme-j30"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut out = String::new();
    stdout.read_line(&mut out).unwrap();
    // The run takes some ten seconds at least; by now it has begun.
    std::thread::sleep(Duration::from_millis(500));
    let kill = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    stdout.read_to_string(&mut out).unwrap();
    let Output { status, stderr, .. } = child.wait_with_output().unwrap();
    assert_eq!(status.code(), Some(130), "{out}");
    assert!(out.contains("stopped") && !out.contains("starving"), "{out}");
    assert_eq!(String::from_utf8_lossy(&stderr), "kraken sim: interrupted\n");
}

#[test]
fn a_second_interrupt_ends_the_process_at_once() {
    // All of this is within a tenth of a second, and takes ten in real time.
    let text = SMALL.replace("piece: 1MiB", "piece: 1KiB");
    let dir = with_file(&text.replace("link: 100MB/s", "link: 10GB/s"));
    let mut command = command(dir.path(), &["small.yaml"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    for _ in 0..2 {
        std::thread::sleep(Duration::from_millis(500));
        // Of one that is gone after the first no second is needed.
        let _ = Command::new("kill").args(["-INT", &child.id().to_string()]).output().unwrap();
    }
    let begun = Instant::now();
    let Output { status, stderr, .. } = child.wait_with_output().unwrap();
    assert_eq!(status.code(), Some(130));
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    let error = String::from_utf8_lossy(&stderr);
    assert!(error.starts_with("kraken sim: interrupted"), "{error}");
}
