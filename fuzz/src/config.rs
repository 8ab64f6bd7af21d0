//! A configuration: YAML of any kind, read as any role's, and what `config check` prints of it.

use std::path::Path;

use kraken_common::upstream::{Document, RoleName, Settings, check_document, effective_yaml};

/// Checks what is made of `data`: a byte that picks the role, then the file.
pub fn check(data: &[u8]) {
    let Some((role, text)) = data.split_first() else { return };
    let Ok(text) = str::from_utf8(text) else { return };
    let Some(role) = RoleName::ALL.get(usize::from(*role) % RoleName::ALL.len()) else { return };
    let Ok(document) = Document::parse(Path::new("fuzz"), text) else { return };
    let problems = check_document(&document, *role);
    for problem in problems.as_slice() {
        let place = problem.place.as_ref().expect("a problem of a file has a place");
        assert!(place.line > 0 && place.column > 0);
        assert!(place.line <= text.split(['\n', '\r']).count() + 1, "{problem}");
    }
    let Ok(settings) = Settings::parse(*role, "fuzz", text) else { return };
    assert!(!problems.has_errors());
    let printed = effective_yaml(&settings);
    // Aliases written out may be longer than a file may be.
    let short = printed.len() < 1 << 16;
    match Settings::parse(*role, "printed", &printed) {
        Ok(again) => assert_eq!(values(&effective_yaml(&again)), values(&printed)),
        Err(problems) => assert!(!short, "{problems}\n{printed}"),
    }
    let _ = (settings.notice(), settings.require_plain());
}

/// The lines without their origins.
fn values(printed: &str) -> Vec<&str> {
    let lines = printed.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.rsplit_once("  # ").map_or(line, |(value, _)| value.trim_end())).collect()
}
