//! One file against the schema, before it is laid over others.

use std::collections::HashMap;

use super::document::{Document, Entry, Map, Node, Scalar, Value, quote};
use super::problem::{Problem, Problems};
use super::schema::{Key, Kind, RoleName, Table};
use super::values::{self, Fault};

/// What is wrong with `document` as a configuration of `role`; unknown keys are warnings.
pub fn check_document(document: &Document, role: RoleName) -> Problems {
    check(document, role.schema(), false)
}

/// As [`check_document`]; `hide` keeps values and unknown keys out of messages.
pub(super) fn check(document: &Document, schema: &'static Table, hide: bool) -> Problems {
    let mut problems = Problems::default();
    for problem in document.problems.as_slice() {
        // All that can be wrong with a clear structure is a key, which the message repeats.
        let what = if hide { "a key is given twice" } else { &problem.what };
        problems.push(Problem { what: what.into(), ..problem.clone() });
    }
    let mut checker = Checker { schema, hide, problems };
    checker.table(&document.root, schema, &Spot { path: "", secret: false });
    checker.problems
}

/// Whether `scalar` is what `kind` holds.
pub(super) fn fits(kind: &Kind, scalar: &Scalar) -> Result<(), Fault> {
    match kind {
        Kind::Bool => values::boolean(scalar).map(drop),
        Kind::Integer => values::integer(scalar).map(drop),
        Kind::Float => values::float(scalar).map(drop),
        Kind::Duration => values::duration(scalar).map(drop),
        Kind::Size => values::size(scalar).map(drop),
        Kind::Regex => values::regex(scalar).map(drop),
        Kind::Cidr => values::cidr(scalar).map(drop),
        Kind::Host if scalar.text.is_empty() => Ok(()),
        Kind::Host => values::host(scalar).map(drop),
        Kind::Choice(_) if scalar.text.is_empty() => Ok(()),
        Kind::Choice(words) => values::choice(scalar, words).map(drop),
        Kind::Text | Kind::Path | Kind::Free => Ok(()),
        Kind::List(_) => Err(Fault::new("a list")
            .advise(format!("write it as [{}], or each item on a line after a dash", scalar.text))),
        Kind::Map(..) | Kind::Table(_) => Err(Fault::new("keys with values")),
    }
}

/// Where a value is, and what is to be said of it.
struct Spot<'a> {
    path: &'a str,
    secret: bool,
}

struct Checker {
    schema: &'static Table,
    hide: bool,
    problems: Problems,
}

impl Checker {
    fn table(&mut self, map: &Map, table: &'static Table, spot: &Spot<'_>) {
        for entry in &map.entries {
            match table.key(&entry.key) {
                Some(key) => {
                    let path = join(spot.path, &entry.key);
                    let secret = spot.secret || key.secret;
                    self.value(&entry.node, &key.kind, &Spot { path: &path, secret });
                }
                None => self.unknown(entry, table, spot),
            }
        }
    }

    fn value(&mut self, node: &Node, kind: &'static Kind, spot: &Spot<'_>) {
        match (kind, &node.value) {
            (_, Value::Null) | (Kind::Free, _) => {}
            (Kind::Table(table), Value::Map(map)) => self.table(map, table, spot),
            (Kind::List(item), Value::List(nodes)) => {
                for (at, node) in nodes.iter().enumerate() {
                    let path = format!("{}[{at}]", spot.path);
                    self.value(node, item, &Spot { path: &path, ..*spot });
                }
            }
            (Kind::Map(name, value), Value::Map(map)) => {
                self.spelt_twice(map, name, spot);
                for entry in &map.entries {
                    let place = entry.place.clone();
                    let value_of_key = Value::Scalar(Scalar::plain(entry.key.as_str()));
                    self.value(&Node { place, value: value_of_key }, name, spot);
                    let path = join(spot.path, &entry.key);
                    self.value(&entry.node, value, &Spot { path: &path, ..*spot });
                }
            }
            // What stands where keys are missing may be a secret that has lost its key: it is not
            // repeated.
            (_, Value::Scalar(scalar)) if !holds_keys(kind) => {
                self.scalar(node, scalar, kind, spot);
            }
            (Kind::List(_), _) => self.misfit(node, "a list", spot),
            (Kind::Table(_) | Kind::Map(..), _) => self.misfit(node, "keys with values", spot),
            _ => self.misfit(node, &expected(kind), spot),
        }
    }

    /// Sizes that are the same key in other words.
    fn spelt_twice(&mut self, map: &Map, name: &Kind, spot: &Spot<'_>) {
        if !matches!(name, Kind::Size) {
            return;
        }
        let mut seen = HashMap::new();
        for entry in &map.entries {
            let Ok(size) = values::size(&Scalar::plain(entry.key.as_str())) else { continue };
            if let Some(line) = seen.insert(size, entry.place.line) {
                let what = format!("{}: the size {size} is given twice", spot.path);
                let problem = Problem::error(&entry.place, what);
                self.problems.push(problem.advise(format!("it is already on line {line}")));
            }
        }
    }

    fn misfit(&mut self, node: &Node, expected: &str, spot: &Spot<'_>) {
        let what = format!("{}: expected {expected}, found {}", spot.path, node.value.noun());
        self.problems.push(Problem::error(&node.place, what));
    }

    fn scalar(&mut self, node: &Node, scalar: &Scalar, kind: &Kind, spot: &Spot<'_>) {
        if let Err(fault) = fits(kind, scalar) {
            let hidden = self.hide || spot.secret;
            let problem = Problem::error(&node.place, describe(spot.path, scalar, &fault, hidden));
            self.problems.push(problem.advise(fault.advice.filter(|_| !hidden)));
        } else if let (Kind::Duration, Some(nanos)) = (kind, values::bare_number(scalar))
            && nanos > 0
        {
            let what = format!("{}: a number without a unit is nanoseconds", spot.path);
            let hidden = self.hide || spot.secret;
            let advice = if hidden { "N".into() } else { nanos.to_string() };
            let advice = format!("if seconds are meant, write {advice}s");
            self.problems.push(Problem::warning(&node.place, what).advise(advice));
        }
    }

    fn unknown(&mut self, entry: &Entry, table: &'static Table, spot: &Spot<'_>) {
        let path = spot.path;
        let place = if path.is_empty() { String::new() } else { format!(" in {path}") };
        // What is no key may be a secret that has lost its key.
        let name = if self.hide || spot.secret {
            String::new()
        } else {
            format!(" {}", quote(&entry.key))
        };
        let what = format!("unknown key{name}{place}");
        let names: Vec<&str> = table.keys.iter().map(|key| key.name).collect();
        let advice = match values::nearest(&entry.key, names.iter().copied()) {
            Some(name) => Some(format!("did you mean {name}?")),
            // A long list of what there is helps nobody.
            None => self.elsewhere(&entry.key).or_else(|| {
                (names.len() <= 8).then(|| format!("the keys here are {}", names.join(", ")))
            }),
        };
        self.problems.push(Problem::warning(&entry.place, what).advise(advice));
    }

    /// Where else the schema has a key of this name.
    fn elsewhere(&self, name: &str) -> Option<String> {
        fn find(table: &'static Table, name: &str, path: &str, depth: usize) -> Option<String> {
            // The schema is a tree but for backends inside shadow backends; no key is deeper.
            const DEPTH_MAX: usize = 5;
            let inner = table.keys.iter().filter(|_| depth < DEPTH_MAX).find_map(|key| {
                let path = join(path, key.name);
                match key.kind {
                    Kind::Table(table) => find(table, name, &path, depth + 1),
                    _ => None,
                }
            });
            table.key(name).map(|key| join(path, key.name)).or(inner)
        }
        find(self.schema, name, "", 0).map(|path| format!("there is {path}"))
    }
}

/// Whether `kind` holds keys with values, or a list of them.
fn holds_keys(kind: &Kind) -> bool {
    match kind {
        Kind::Table(_) | Kind::Map(..) => true,
        Kind::List(item) => holds_keys(item),
        _ => false,
    }
}

/// A key below another.
pub(super) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// What `scalar` at `path` is not, in words.
pub(super) fn describe(path: &str, scalar: &Scalar, fault: &Fault, hidden: bool) -> String {
    let mut text = format!("{path}: expected {}", fault.expected);
    if !hidden {
        text += &format!(", found {}", quote(&scalar.text));
        if let Some(reason) = &fault.reason {
            text += &format!(" ({reason})");
        }
    }
    text
}

/// What `kind` holds, for messages.
fn expected(kind: &Kind) -> String {
    // No scalar is empty and of these kinds, so the reader of the kind says what it wants.
    match fits(kind, &Scalar::plain(" ")) {
        Err(fault) => fault.expected,
        Ok(()) => "a single value".into(),
    }
}

impl RoleName {
    /// Another role that knows more of the keys of `documents` than this one.
    pub(super) fn better(self, documents: &[Document]) -> Option<Self> {
        let known = self.keys_in(documents);
        Self::guess(documents).filter(|other| other.keys_in(documents) > known)
    }

    /// How many of the keys of `documents` the role's schema has.
    fn keys_in(self, documents: &[Document]) -> usize {
        let keys = documents.iter().flat_map(|document| &document.root.entries);
        keys.filter(|entry| self.schema().key(&entry.key).is_some()).count()
    }

    /// The role whose schema knows the keys of `documents` best; `None` if two know them equally
    /// well and no directory or file is called as one of them is.
    pub fn guess(documents: &[Document]) -> Option<Self> {
        let known = |role: &Self| role.keys_in(documents);
        let best = Self::ALL.iter().map(known).max()?;
        let mut fitting = Self::ALL.into_iter().filter(|role| known(role) == best);
        match (fitting.next(), fitting.next()) {
            (Some(role), None) if best > 0 => Some(role),
            _ => Self::ALL.into_iter().filter(|role| known(role) == best).find(|role| {
                let mut files = documents.iter().map(|document| document.place.file.as_ref());
                files.any(|file| {
                    let mut parts = file.iter().filter_map(|part| part.to_str());
                    parts.any(|part| part == role.as_str() || part.starts_with(&format!("{role}.")))
                })
            }),
        }
    }
}

/// The keys of `table` of which only one may be given and several are.
pub(super) fn exclusive(map: &Map, table: &Table, path: &str, problems: &mut Problems) {
    let given = map.entries.iter().filter(|entry| {
        let empty = match &entry.node.value {
            Value::Null => true,
            Value::List(items) => items.is_empty(),
            Value::Scalar(scalar) => scalar.text.is_empty(),
            Value::Map(_) => false,
        };
        !empty && table.exclusive.contains(&entry.key.as_str())
    });
    let given: Vec<&Entry> = given.collect();
    if let [first, second, ..] = given.as_slice() {
        let what = format!("{path}: both {} and {} are given", first.key, second.key);
        let advice = format!("{} is at {}; remove one of them", first.key, first.place);
        problems.push(Problem::error(&second.place, what).advise(advice));
    }
    for entry in &map.entries {
        if let Some(Key { kind, .. }) = table.key(&entry.key) {
            exclusive_below(&entry.node, kind, &join(path, &entry.key), problems);
        }
    }
}

fn exclusive_below(node: &Node, kind: &Kind, path: &str, problems: &mut Problems) {
    match (kind, &node.value) {
        (Kind::Table(table), Value::Map(map)) => exclusive(map, table, path, problems),
        (Kind::List(item), Value::List(nodes)) => {
            for (at, node) in nodes.iter().enumerate() {
                exclusive_below(node, item, &format!("{path}[{at}]"), problems);
            }
        }
        _ => {}
    }
}
