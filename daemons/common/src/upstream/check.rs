//! The text that `kraken config check` prints: everything that holds, and where it comes from.

use super::document::{Entry, Map, Node, Scalar, Value, masked};
use super::problem::Place;
use super::schema::{Key, Kind, Status, Table};
use super::settings::{Origin, Settings, effective};

/// All of `settings` as YAML, each value with its origin as a comment, secrets and the users of
/// URLs hidden. Keys that nobody set and that have no default are left out.
pub fn effective_yaml(settings: &Settings) -> String {
    let mut printer = Printer { settings, lines: Vec::new() };
    let root = settings.root.clone();
    printer.table(Some(&root), settings.role().schema(), 0);
    let mut text = heading(settings);
    let width = printer.lines.iter().map(|line| line.text.chars().count()).filter(|w| *w <= 56);
    let width = width.max().unwrap_or(0);
    for Line { text: line, comment } in &printer.lines {
        match comment {
            Some(comment) => text += &format!("{line:width$}  # {comment}\n"),
            None => text += &format!("{line}\n"),
        }
    }
    text
}

/// One line of YAML.
struct Line {
    text: String,
    comment: Option<String>,
}

struct Printer<'a> {
    settings: &'a Settings,
    lines: Vec<Line>,
}

fn heading(settings: &Settings) -> String {
    let guessed = if settings.role_is_guessed() { ", as its keys show" } else { "" };
    let mut text = format!("# configuration of role {}{guessed}\n", settings.role());
    for (at, file) in settings.files().iter().enumerate() {
        let laid = if at == 0 { "read from" } else { "laid over by" };
        let hidden = if file.secret { ", whose values are hidden" } else { "" };
        text += &format!("# {laid} {}{hidden}\n", file.path.display());
    }
    let unused = settings.keys_that_are(Status::Unused);
    if !unused.is_empty() {
        text += &format!("# without meaning here: {}\n", unused.join(", "));
    }
    let later = settings.keys_that_are(Status::Later);
    if !later.is_empty() {
        text += &format!("# not built yet: {}\n", later.join(", "));
    }
    if let Err(error) = settings.require_plain() {
        text += &format!("# a daemon refuses to start: {error}\n");
    }
    text
}

impl Printer<'_> {
    fn table(&mut self, map: Option<&Map>, table: &'static Table, indent: usize) {
        for key in table.keys.iter().filter(|key| key.name != "extends") {
            let entry = map.and_then(|map| map.entry(key.name));
            let entry = entry.filter(|entry| entry.node.value != Value::Null);
            let without_effect = matches!(key.status, Status::Unused | Status::Later);
            let other_choice = table.exclusive.contains(&key.name);
            if entry.is_some() || !(without_effect || other_choice) {
                self.key(key, entry, indent);
            }
        }
    }

    fn key(&mut self, key: &'static Key, entry: Option<&Entry>, indent: usize) {
        if let Kind::Table(table) = &key.kind {
            let map = entry.and_then(|entry| as_map(&entry.node));
            let at = self.lines.len();
            self.table(map, table, indent + 2);
            let empty = self.lines.len() == at;
            if !empty || entry.is_some() {
                let text = format!("{:indent$}{}:{}", "", key.name, if empty { " {}" } else { "" });
                self.lines.insert(at, Line { text, comment: None });
            }
            return;
        }
        let (node, origin) = effective(key, entry);
        let Some(node) = node else { return };
        let comment = match origin {
            Origin::File(place) => comment(place),
            Origin::DefaultForZero(place) => format!("default, for nothing at {}", comment(place)),
            Origin::Default | Origin::Unset => "default".into(),
        };
        self.named(key.name, &node, &key.kind, key.secret, indent, comment);
    }

    /// `name` with what `node` holds, of any kind but a table of the schema's.
    fn named(
        &mut self,
        name: &str,
        node: &Node,
        kind: &'static Kind,
        secret: bool,
        indent: usize,
        comment: String,
    ) {
        let start = format!("{:indent$}{}:", "", key_text(name));
        match (kind, &node.value) {
            (Kind::Table(table), Value::Map(map)) => {
                let at = self.lines.len();
                self.table(Some(map), table, indent + 2);
                let empty = if self.lines.len() == at { " {}" } else { "" };
                self.lines.insert(at, Line { text: start + empty, comment: None });
            }
            (_, Value::List(items)) if !items.is_empty() => {
                self.push(start, None);
                let item_kind = if let Kind::List(item) = kind { item } else { &FREE };
                for item in items {
                    self.item(item, item_kind, secret, indent + 2);
                }
            }
            (_, Value::Map(map)) if !map.entries.is_empty() => {
                self.push(start, None);
                let value_kind = if let Kind::Map(_, value) = kind { value } else { &FREE };
                for entry in &map.entries {
                    let free = matches!(kind, Kind::Free);
                    let secret = secret || (free && sounds_secret(&entry.key));
                    let comment = self::comment(&entry.node.place);
                    self.named(&entry.key, &entry.node, value_kind, secret, indent + 2, comment);
                }
            }
            _ => {
                let value = self.single(node, kind, secret);
                self.push(format!("{start} {value}"), Some(comment));
            }
        }
    }

    /// An item of a list.
    fn item(&mut self, node: &Node, kind: &'static Kind, secret: bool, indent: usize) {
        let at = self.lines.len();
        match (kind, &node.value) {
            (Kind::Table(table), Value::Map(map)) => self.table(Some(map), table, indent + 2),
            (_, Value::Map(map)) => {
                for entry in &map.entries {
                    let secret = secret || sounds_secret(&entry.key);
                    let comment = comment(&entry.node.place);
                    self.named(&entry.key, &entry.node, &FREE, secret, indent + 2, comment);
                }
            }
            (_, Value::List(items)) => {
                let item_kind = if let Kind::List(item) = kind { item } else { &FREE };
                for item in items {
                    self.item(item, item_kind, secret, indent + 2);
                }
            }
            _ => {
                let value = self.single(node, kind, secret);
                self.push(format!("{:indent$}- {value}", ""), Some(comment(&node.place)));
                return;
            }
        }
        match self.lines.get_mut(at) {
            // The dash stands where the first line's indentation ends.
            Some(first) => first.text.replace_range(indent..indent + 1, "-"),
            None => {
                let empty = if matches!(node.value, Value::List(_)) { "[]" } else { "{}" };
                self.push(format!("{:indent$}- {empty}", ""), Some(comment(&node.place)));
            }
        }
    }

    /// A value that takes one line.
    fn single(&self, node: &Node, kind: &Kind, secret: bool) -> String {
        match &node.value {
            Value::List(_) => "[]".into(),
            Value::Map(_) => "{}".into(),
            Value::Null => "null".into(),
            Value::Scalar(_) if secret || self.settings.is_secret(&node.place) => HIDDEN.into(),
            // A pattern is no URL, whatever is in it, and would be another one.
            Value::Scalar(scalar) if matches!(kind, Kind::Regex) => scalar_text(scalar),
            Value::Scalar(scalar) => {
                scalar_text(&Scalar { text: masked(&scalar.text).into_owned(), ..*scalar })
            }
        }
    }

    fn push(&mut self, text: String, comment: Option<String>) {
        self.lines.push(Line { text, comment });
    }
}

/// Whether a key of a part that the schema does not know may hold a secret.
fn sounds_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    SECRET_WORDS.iter().any(|word| key.contains(word))
}

fn as_map(node: &Node) -> Option<&Map> {
    match &node.value {
        Value::Map(map) => Some(map),
        _ => None,
    }
}

fn comment(place: &Place) -> String {
    format!("{}:{}", place.file.display(), place.line)
}

/// `key` as YAML that reads as the same.
fn key_text(key: &str) -> String {
    // A number is the same key with and without quotes, nothing is not.
    let plain = !key.eq_ignore_ascii_case("null");
    scalar_text(&Scalar { text: key.into(), plain })
}

/// `scalar` as YAML that reads as the same.
fn scalar_text(scalar: &Scalar) -> String {
    let text = scalar.text.as_str();
    let starts = |c: char| c.is_ascii_alphanumeric() || "/._".contains(c);
    let goes_on = |c: char| c.is_ascii_alphanumeric() || "/._-+@%:*".contains(c);
    // A sign alone would be something else.
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let safe = unsigned.starts_with(starts) && text.chars().all(goes_on) && !text.ends_with(':');
    // In quotes these would be texts, without them something else.
    let ambiguous = !scalar.plain
        && (text.starts_with(|c: char| c.is_ascii_digit() || "._+-".contains(c))
            || ["null", "true", "false", "yes", "no", "on", "off", "y", "n"]
                .contains(&text.to_ascii_lowercase().as_str()));
    if safe && !ambiguous {
        return text.to_owned();
    }
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted += "\\n",
            c if c.is_control() || !c.is_ascii() => {
                quoted += &match u32::from(c) {
                    code @ ..=0xff => format!("\\x{code:02X}"),
                    code @ ..=0xffff => format!("\\u{code:04X}"),
                    code => format!("\\U{code:08X}"),
                };
            }
            c => quoted.push(c),
        }
    }
    quoted + "\""
}

/// Keys with one of these in their names are secrets in parts that the schema does not know.
const SECRET_WORDS: [&str; 10] = [
    "secret",
    "pass",
    "pwd",
    "token",
    "credential",
    "access_key",
    "accesskey",
    "api_key",
    "apikey",
    "auth",
];

/// What stands for a secret.
const HIDDEN: &str = "\"(hidden)\"";

/// The kind of what the schema does not know.
static FREE: Kind = Kind::Free;
