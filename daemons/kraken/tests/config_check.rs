//! `kraken config check`, as an operator sees it.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn check(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kraken"));
    command.args(["config", "check"]).args(args).current_dir(dir).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn what_a_file_comes_to_is_printed_with_places_and_without_secrets() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
    write("base.yaml", "store: {cache_dir: /c, download_dir: /d}\nscheduler: {seeder_tti: 1h}\n");
    write("leaf.yaml", "extends: base.yaml\nstore: {cache_dir: /other}\n");
    write("secrets.yaml", "tracker: {hosts: {static: ['hidden:1']}}\n");
    let ended = check(dir.path(), &["leaf.yaml", "--role", "agent", "--secrets", "secrets.yaml"]);
    let (out, err) = (text(&ended.stdout), text(&ended.stderr));
    assert!(ended.status.success(), "{err}");
    let line = |key: &str| out.lines().find(|line| line.contains(key)).unwrap_or_default();
    assert!(line("cache_dir:").ends_with("leaf.yaml:2"), "{out}");
    assert!(line("download_dir:").ends_with("base.yaml:1"), "{out}");
    assert!(line("leecher_tti:").ends_with("default"), "{out}");
    assert!(!out.contains("hidden:1"), "{out}");
    assert!(err.contains("tls.server.disabled"), "{err}");
}

#[test]
fn what_is_wrong_is_named_with_its_place_and_the_exit_code_is_64() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.yaml"), "scheduler:\n  seeder_tti: soon\n").unwrap();
    let ended = check(dir.path(), &["a.yaml", "--role", "agent"]);
    assert_eq!(ended.status.code(), Some(64));
    let err = text(&ended.stderr);
    assert!(err.contains("a.yaml:2:15: scheduler.seeder_tti"), "{err}");

    fs::write(dir.path().join("b.yaml"), "schedulr: {}\n").unwrap();
    let lenient = check(dir.path(), &["b.yaml", "--role", "agent"]);
    assert!(lenient.status.success());
    assert!(text(&lenient.stderr).contains("did you mean scheduler?"), "{lenient:?}");
    fs::write(dir.path().join("c.yaml"), "backends: [{namespace: .*}]\n").unwrap();
    let refused = check(dir.path(), &["c.yaml", "--role", "build-index"]);
    assert!(refused.status.success());
    let said = text(&refused.stderr);
    assert!(said.contains("does not start with it yet"), "{said}");
    assert_eq!(check(dir.path(), &["c.yaml", "--rle", "agent"]).status.code(), Some(64));
    assert!(check(dir.path(), &["c.yaml", "-role", "origin"]).status.success());
    let strict = check(dir.path(), &["b.yaml", "--role", "agent", "--strict"]);
    assert_eq!(strict.status.code(), Some(64));
}
