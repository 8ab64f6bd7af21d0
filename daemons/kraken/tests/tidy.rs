//! The rules of the house that text can prove: sizes, names, banned words, documented limits.

use std::fs;
use std::path::{Path, PathBuf};

const LINE_CHARS_MAX: usize = 100;
const FILE_LINES_MAX: usize = 700;
const FUNCTION_LINES_MAX: usize = 70;

/// One source file, its path relative to the workspace.
struct Source {
    path: String,
    text: String,
}

impl Source {
    /// Whether it is compiled only for tests, benches, fuzzing or as an example.
    fn is_test(&self) -> bool {
        let parts: Vec<&str> = self.path.split('/').collect();
        parts
            .iter()
            .any(|part| ["tests", "benches", "fuzz_targets", "tests.rs", "suite.rs"].contains(part))
    }

    /// Numbered lines up to the inline test module, which ends its file.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let end = self.text.find("\n#[cfg(test)]\nmod tests {\n").unwrap_or(self.text.len());
        self.text[..end].lines().enumerate().map(|(at, line)| (at + 1, line))
    }
}

fn workspace() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.canonicalize().expect("the workspace holds this package")
}

fn sources() -> Vec<Source> {
    fn walk(dir: &Path, root: &Path, found: &mut Vec<Source>) {
        let mut entries: Vec<_> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
        entries.sort();
        for path in entries {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                walk(&path, root, found);
            } else if name.ends_with(".rs") {
                let text = fs::read_to_string(&path).unwrap();
                let path = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
                found.push(Source { path, text });
            }
        }
    }
    let root = workspace();
    let mut found = Vec::new();
    walk(&root, &root, &mut found);
    assert!(found.len() > 20, "the walk found only {} files", found.len());
    found
}

/// Fails with one line per finding.
fn check(rule: &str, findings: impl IntoIterator<Item = String>) {
    let findings: Vec<String> = findings.into_iter().collect();
    assert!(findings.is_empty(), "{rule}:\n{}", findings.join("\n"));
}

#[test]
fn lines_and_files_stay_short() {
    let sources = sources();
    let long_lines = sources.iter().flat_map(|source| {
        source.text.lines().enumerate().filter_map(|(at, line)| {
            // A string that cannot be broken, such as a test vector, may be longer.
            let breakable = line.trim().split(' ').all(|word| word.chars().count() < 60);
            (breakable && line.chars().count() > LINE_CHARS_MAX && !line.contains('"'))
                .then(|| format!("{}:{}", source.path, at + 1))
        })
    });
    check("lines of over 100 characters", long_lines);
    let long_files = sources.iter().filter(|source| !source.is_test()).filter_map(|source| {
        let lines = source.code().count();
        (lines > FILE_LINES_MAX).then(|| format!("{}: {lines}", source.path))
    });
    check("files of over 700 lines", long_files);
}

#[test]
fn functions_stay_short() {
    let mut findings = Vec::new();
    for source in sources().iter().filter(|source| !source.is_test()) {
        let mut open: Option<(usize, usize, String)> = None;
        for (number, line) in source.code() {
            let indent = line.len() - line.trim_start().len();
            match &open {
                Some((start, at, name)) if indent == *at && line.trim_start().starts_with('}') => {
                    if number - start + 1 > FUNCTION_LINES_MAX {
                        let lines = number - start + 1;
                        findings.push(format!("{}:{start} {name}: {lines}", source.path));
                    }
                    open = None;
                }
                None if is_function(line) && !line.trim_end().ends_with([';', '}']) => {
                    open = Some((number, indent, line.trim().to_owned()));
                }
                _ => {}
            }
        }
    }
    check("functions of over 70 lines", findings);
}

fn is_function(line: &str) -> bool {
    let mut words = line.trim_start();
    if let Some(scoped) = words.strip_prefix("pub(") {
        words = scoped.split_once(") ").map_or(words, |(_, rest)| rest);
    }
    for word in ["pub ", "default ", "const ", "async ", "unsafe "] {
        words = words.strip_prefix(word).unwrap_or(words);
    }
    words.starts_with("fn ")
}

#[test]
fn every_file_says_what_it_is() {
    let findings = sources()
        .into_iter()
        .filter(|source| !source.text.starts_with("//!") && !source.text.starts_with("#![no_main]"))
        .map(|source| source.path);
    check("files without a module doc", findings);
}

#[test]
fn a_library_root_holds_docs_modules_and_reexports_only() {
    let allowed = ["//", "#!", "#[", "mod ", "pub mod ", "pub use ", "use ", "}", "    "];
    let mut findings = Vec::new();
    for source in sources().iter().filter(|source| source.path.ends_with("src/lib.rs")) {
        for (number, line) in source.code() {
            let fine = line.is_empty() || allowed.iter().any(|start| line.starts_with(start));
            if !fine {
                findings.push(format!("{}:{number} {line}", source.path));
            }
        }
    }
    check("a lib.rs with code in it", findings);
}

#[test]
fn banned_words_stay_out() {
    // Put together here, so that this file does not find itself.
    let banned = [
        ["TO", "DO"].concat(),
        ["FIX", "ME"].concat(),
        ["unimplemented", "!("].concat(),
        ["todo", "!("].concat(),
        ["dbg", "!("].concat(),
        ["unbounded", "_channel"].concat(),
        ["#[ign", "ore"].concat(),
        ["fn get", "_"].concat(),
        ["fn do", "_"].concat(),
        ["\t"].concat(),
    ];
    let mut findings = Vec::new();
    for source in sources() {
        for (at, line) in source.text.lines().enumerate() {
            for word in &banned {
                if line.contains(word.as_str()) {
                    findings.push(format!("{}:{} {:?}", source.path, at + 1, word));
                }
            }
        }
    }
    check("banned words", findings);
}

#[test]
fn every_limit_has_its_reason() {
    let mut findings = Vec::new();
    for source in sources().iter().filter(|source| source.path.ends_with("limits.rs")) {
        let mut before = "";
        for (number, line) in source.code() {
            let is_limit = ["pub const ", "pub(crate) const ", "pub(super) const "]
                .iter()
                .any(|start| line.starts_with(start));
            if is_limit && !before.starts_with("///") {
                findings.push(format!("{}:{number} {line}", source.path));
            }
            if !line.starts_with("#[") {
                before = line;
            }
        }
    }
    check("limits without a reason", findings);
}

#[test]
fn pure_modules_stay_pure() {
    let pure = ["kraken-core/src/", "kraken-p2p/src/wire/", "kraken-p2p/src/swarm/"];
    let shells = ["kraken-core/src/store/", "kraken-core/src/http/"];
    let banned = [
        "tokio::",
        "async fn",
        ".await",
        "Instant::now",
        "SystemTime",
        "std::net::Tcp",
        "std::net::Udp",
        "std::fs",
        "std::thread",
        "RandomState",
        "HashMap",
        "getrandom",
        "/dev/",
    ];
    let mut findings = Vec::new();
    for source in sources() {
        let is_pure = pure.iter().any(|dir| source.path.starts_with(dir))
            && !shells.iter().any(|dir| source.path.starts_with(dir))
            && !source.is_test();
        if !is_pure {
            continue;
        }
        for (number, line) in source.code().filter(|(_, line)| !line.trim().starts_with("//")) {
            if let Some(word) = banned.iter().find(|word| line.contains(**word)) {
                findings.push(format!("{}:{number} {word}", source.path));
            }
        }
    }
    check("clocks and I/O in pure modules", findings);
}

#[test]
fn arrows_point_one_way() {
    let middle = ["kraken-p2p", "kraken-registry-api", "kraken-backends"];
    let mut findings = Vec::new();
    for package in middle.iter().chain(&["kraken-core"]) {
        let manifest = fs::read_to_string(workspace().join(package).join("Cargo.toml")).unwrap();
        for line in manifest.lines() {
            let knows = middle.iter().chain(&["kraken-common", "clap", "axum", "reqwest"]);
            for other in knows.filter(|other| line.starts_with(**other)) {
                findings.push(format!("{package} depends on {other}"));
            }
        }
    }
    check("dependencies against the layers", findings);
}

/// A line that nobody writes any more would be looked for in vain.
#[test]
fn the_log_lines_of_the_manual_are_written() {
    let manual = fs::read_to_string(workspace().join("docs/OPERATIONS.md")).unwrap();
    let log = manual.split("\n## ").find(|part| part.starts_with("The log\n")).unwrap();
    let rows = log.lines().filter_map(|line| line.strip_prefix("| `"));
    let messages: Vec<&str> = rows.filter_map(|row| Some(row.split_once('`')?.0)).collect();
    assert!(messages.len() > 5, "{messages:?}");
    let code: Vec<Source> = sources().into_iter().filter(|source| !source.is_test()).collect();
    let written = |message: &str| {
        let quoted = format!("\"{message}\"");
        code.iter().any(|source| source.text.contains(&quoted))
    };
    check(
        "log lines that no code writes",
        messages.iter().filter(|m| !written(m)).map(|m| m.to_string()),
    );
}
