//! The tables of `docs/CONFIGURATION.md`.

use std::fmt::Write as _;

use super::checking::join;
use super::schema::{Key, Kind, RoleName, Status, Table};

/// Every key of every role as Markdown: one section a role, then one for each part that several
/// have.
pub fn tables_markdown() -> String {
    let mut text = String::new();
    let mut parts: Vec<&'static Table> = Vec::new();
    for role in RoleName::ALL {
        section(&mut text, &format!("Keys of {}", title(role)), role.schema(), &mut parts);
    }
    // Parts refer to further parts; the list grows while it is gone through.
    let mut next = 0;
    while let Some(part) = parts.get(next).copied() {
        section(&mut text, part.heading.unwrap_or_default(), part, &mut parts);
        next += 1;
    }
    text
}

fn title(role: RoleName) -> &'static str {
    match role {
        RoleName::Agent => "an agent",
        RoleName::Origin => "an origin",
        RoleName::Tracker => "a tracker",
        RoleName::BuildIndex => "a build-index",
        RoleName::Proxy => "a proxy",
    }
}

fn section(
    text: &mut String,
    heading: &str,
    table: &'static Table,
    parts: &mut Vec<&'static Table>,
) {
    // Writing to a string cannot fail.
    let _ = write!(text, "\n## {heading}\n\n");
    if !table.exclusive.is_empty() {
        let names: Vec<String> = table.exclusive.iter().map(|name| format!("`{name}`")).collect();
        let _ = write!(text, "Only one of {} may be given.\n\n", names.join(", "));
    }
    *text += "| key | type | default | meaning |\n| --- | --- | --- | --- |\n";
    rows(text, table, "", Status::Used, parts);
}

/// `above` is the status of what the keys are below: what it says need not be said again.
fn rows(
    text: &mut String,
    table: &'static Table,
    path: &str,
    above: Status,
    parts: &mut Vec<&'static Table>,
) {
    for key in table.keys {
        let path = join(path, key.name);
        if let Kind::Table(Table { heading: None, .. }) = key.kind
            && key.status == Status::Used
        {
            // Its own row would say no more than those of its keys.
        } else {
            row(text, key, &path, above, parts);
        }
        if key.status != Status::Unused {
            inner(text, &key.kind, &path, key.status, parts);
        }
    }
}

/// The keys below a key that are not a part of their own.
fn inner(
    text: &mut String,
    kind: &'static Kind,
    path: &str,
    above: Status,
    parts: &mut Vec<&'static Table>,
) {
    match kind {
        Kind::Table(table) if table.heading.is_none() => rows(text, table, path, above, parts),
        Kind::List(item) => inner(text, item, &format!("{path}[]"), above, parts),
        Kind::Map(_, value) => inner(text, value, &format!("{path}.*"), above, parts),
        _ => {}
    }
}

fn row(
    text: &mut String,
    key: &'static Key,
    path: &str,
    above: Status,
    parts: &mut Vec<&'static Table>,
) {
    let kind = match &key.kind {
        // What is below such a key is not worth a row each.
        Kind::Table(table) if key.status == Status::Unused => {
            let names: Vec<String> =
                table.keys.iter().map(|key| format!("`{}`", key.name)).collect();
            format!("keys {}", names.join(", "))
        }
        kind => kind_text(kind, parts),
    };
    let default = key.default.map(|text| format!("`{text}`")).unwrap_or_default();
    let status = match key.status {
        Status::Used => "",
        status if status == above => "",
        Status::Ours => " *Not in uber/kraken.*",
        Status::Unused => " *Without meaning here.*",
        Status::Later => " *Not built yet.*",
    };
    let secret = if key.secret { " *Secret.*" } else { "" };
    let about = key.about.replace('|', "\\|");
    let _ = writeln!(text, "| `{path}` | {kind} | {default} | {about}{status}{secret} |");
}

fn kind_text(kind: &'static Kind, parts: &mut Vec<&'static Table>) -> String {
    match kind {
        Kind::Table(table) => match table.heading {
            Some(heading) => {
                if !parts.iter().any(|part| std::ptr::eq(*part, *table)) {
                    parts.push(table);
                }
                format!("[{heading}](#{})", heading.to_lowercase().replace(' ', "-"))
            }
            None => "keys".into(),
        },
        Kind::List(item) => format!("list of {}", kind_text(item, parts)),
        Kind::Map(key, value) => {
            format!("map of {} to {}", kind_text(key, parts), kind_text(value, parts))
        }
        Kind::Choice(words) => {
            let words: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
            words.join(", ")
        }
        scalar => scalar.to_string(),
    }
}
