//! What all files together say, with the schema's defaults for the rest.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use kraken_core::{Error, Result};
use regex::Regex;

use super::checking::{describe, join};
use super::document::{Document, Entry, Map, Node, Scalar, Value};
use super::problem::{Place, Problem, Problems};
use super::schema::{HOSTS, Key, Kind, RoleName, Status, Table};
use super::values::{self, Fault};
use crate::Cidr;
use crate::hosts::{HostList, HostSource, Hosts};

/// A role's configuration: checked, merged, with places.
#[derive(Debug, Clone)]
pub struct Settings {
    pub(super) role: RoleName,
    pub(super) guessed: bool,
    pub(super) root: Map,
    pub(super) files: Vec<FileRead>,
    pub(super) warnings: Problems,
}

/// Keys that belong together, from which values are read by path.
///
/// A path that the schema does not have, or a type that its key does not hold, is a mistake of the
/// program and panics: reading the settings of an empty text in a test finds it.
///
/// ```
/// # use std::time::Duration;
/// use kraken_common::upstream::{Origin, RoleName, Settings};
///
/// let text = "scheduler: {seeder_tti: 1h}\nstore: {cache_dir: /c}";
/// let settings = Settings::parse(RoleName::Agent, "inline", text)?;
/// let root = settings.root();
/// assert_eq!(root.value::<Duration>("scheduler.seeder_tti")?, Duration::from_secs(3600));
/// assert!(root.value::<bool>("scheduler.conn.bandwidth.enable").is_ok_and(|enable| !enable));
/// let store = root.section("store");
/// assert_eq!(store.value::<String>("cache_dir")?, "/c");
/// assert_eq!(store.optional::<u64>("capacity_bytes")?, None);
/// assert_eq!(root.origin("scheduler.leecher_tti"), Origin::Default);
/// let error = root.hosts("tracker.hosts").unwrap_err().to_string();
/// assert!(error.starts_with("inline: tracker.hosts: neither dns nor static is given"));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Section<'a> {
    settings: &'a Settings,
    table: &'static Table,
    /// What the files say; `None` if they do not have it.
    map: Option<&'a Map>,
    /// Where they say it.
    place: Option<&'a Place>,
    path: String,
}

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin<'a> {
    /// A file says it.
    File(&'a Place),
    /// No file says anything.
    Default,
    /// A file says zero or nothing, which means the default, as in uber/kraken.
    DefaultForZero(&'a Place),
    /// No file says anything and there is no default.
    Unset,
}

/// A type that values are read as.
pub trait Setting: Sized {
    /// Whether keys of `kind` can be read as this type; called with every key that is read so.
    #[doc(hidden)]
    fn fits(kind: &Kind) -> bool;

    /// Reads a value of which the kind fits and which the schema found right.
    #[doc(hidden)]
    fn read(node: &Node, kind: &Kind) -> std::result::Result<Self, Misread>;
}

/// Why a value cannot be read as some type.
#[doc(hidden)]
#[derive(Debug)]
pub struct Misread(Fault);

/// A file that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRead {
    /// Its name.
    pub path: Arc<Path>,
    /// Whether its values are shown to nobody.
    pub secret: bool,
}

/// A key that was looked up.
struct Found<'a> {
    key: &'static Key,
    entry: Option<&'a Entry>,
    path: String,
}

impl Settings {
    /// Whose they are.
    pub fn role(&self) -> RoleName {
        self.role
    }

    /// Whether the role was guessed from the keys.
    pub fn role_is_guessed(&self) -> bool {
        self.guessed
    }

    /// What is suspicious in the files.
    pub fn warnings(&self) -> &Problems {
        &self.warnings
    }

    /// The files, each laid over those before it.
    pub fn files(&self) -> &[FileRead] {
        &self.files
    }

    /// Everything.
    pub fn root(&self) -> Section<'_> {
        let table = self.role.schema();
        Section { settings: self, table, map: Some(&self.root), place: None, path: String::new() }
    }

    /// The keys in the files that have `status`, each named without those below it.
    pub fn keys_that_are(&self, status: Status) -> Vec<String> {
        let mut paths = Vec::new();
        collect(&self.root, self.role.schema(), "", status, &mut paths);
        paths
    }

    /// What is to be said once at start: which keys in the files have no effect.
    pub fn notice(&self) -> Option<String> {
        let parts = [(Status::Unused, "without meaning here"), (Status::Later, "not built yet")];
        let parts = parts.map(|(status, words)| (self.keys_that_are(status), words));
        let parts = parts.iter().filter(|(keys, _)| !keys.is_empty());
        let parts: Vec<String> =
            parts.map(|(keys, words)| format!("{words}: {}", keys.join(", "))).collect();
        (!parts.is_empty()).then(|| format!("configuration accepted, but {}", parts.join("; ")))
    }

    /// Refuses settings that ask for TLS, which they do unless they say otherwise; a daemon's
    /// start calls it until TLS is built.
    pub fn require_plain(&self) -> Result<()> {
        let root = self.root();
        let mut on = Vec::new();
        for key in ["tls.server.disabled", "tls.client.disabled"] {
            if !root.value::<bool>(key)? {
                on.push(key);
            }
        }
        if on.is_empty() {
            return Ok(());
        }
        let place = match self.root.entry("tls") {
            Some(entry) => format!("{}: ", entry.place),
            None => String::new(),
        };
        Err(Error::invalid(format!(
            "{place}TLS is on unless it is turned off, and it is not built yet; set {} to true",
            on.join(" and ")
        )))
    }

    /// Whether `place` is in a file of secrets.
    pub(super) fn is_secret(&self, place: &Place) -> bool {
        self.files.iter().any(|file| file.secret && file.path == place.file)
    }
}

impl<'a> Section<'a> {
    /// Where it is in the configuration, such as `backends[0].backend`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The value at `path`, or its default; an error if there is neither.
    pub fn value<T: Setting>(&self, path: &str) -> Result<T> {
        let found = self.find(path);
        let missing = || self.missing(&format!("{} is not set", found.path));
        self.read(&found)?.ok_or_else(missing)
    }

    /// The value at `path`, or its default, if there is either.
    pub fn optional<T: Setting>(&self, path: &str) -> Result<Option<T>> {
        self.read(&self.find(path))
    }

    /// The hosts at `path`; an error if none are given.
    pub fn hosts(&self, path: &str) -> Result<Hosts> {
        let path_of_all = join(&self.path, path);
        let missing = || {
            let advice = r#"write {static: ["host:port"]} or {dns: "name:port"}"#;
            self.missing(&format!("{path_of_all}: neither dns nor static is given; {advice}"))
        };
        self.optional_hosts(path)?.ok_or_else(missing)
    }

    /// The hosts at `path`, if any are given.
    pub fn optional_hosts(&self, path: &str) -> Result<Option<Hosts>> {
        let hosts = self.section(path);
        assert!(std::ptr::eq(hosts.table, &raw const HOSTS), "{} is no host list", hosts.path);
        let ttl = hosts.value("ttl")?;
        if let Some(name) = hosts.optional("dns")? {
            return Ok(Some(Hosts { source: HostSource::Dns(name), ttl }));
        }
        let list: Vec<String> = hosts.optional("static")?.unwrap_or_default();
        if list.is_empty() {
            return Ok(None);
        }
        let list = HostList::new(list).map_err(|e| e.context(join(&self.path, path)))?;
        Ok(Some(Hosts { source: HostSource::Static(list), ttl }))
    }

    /// The keys below `path`, given or not.
    pub fn section(&self, path: &str) -> Self {
        let found = self.find(path);
        let Kind::Table(table) = &found.key.kind else { panic!("{} is no section", found.path) };
        let map = found.entry.and_then(|entry| as_map(&entry.node));
        let place = found.entry.map(|entry| &entry.place);
        Self { settings: self.settings, table, map, place, path: found.path }
    }

    /// The items of the list of sections at `path`.
    pub fn sections(&self, path: &str) -> Vec<Self> {
        let found = self.find(path);
        let Kind::List(Kind::Table(table)) = &found.key.kind else {
            panic!("{} is no list of sections", found.path)
        };
        let items = match found.entry.map(|entry| &entry.node.value) {
            Some(Value::List(items)) => items.as_slice(),
            _ => &[],
        };
        let items = items.iter().enumerate().map(|(at, item)| {
            let path = format!("{}[{at}]", found.path);
            let place = Some(&item.place);
            Self { settings: self.settings, table, map: as_map(item), place, path }
        });
        items.collect()
    }

    /// The sections of the map at `path`, by their names.
    pub fn named_sections(&self, path: &str) -> Vec<(&'a str, Self)> {
        let found = self.find(path);
        let Kind::Map(_, Kind::Table(table)) = &found.key.kind else {
            panic!("{} is no map of sections", found.path)
        };
        let entries = match found.entry.and_then(|entry| as_map(&entry.node)) {
            Some(map) => map.entries.as_slice(),
            None => &[],
        };
        let entries = entries.iter().map(|entry| {
            let (map, path) = (as_map(&entry.node), join(&found.path, &entry.key));
            let place = Some(&entry.place);
            (entry.key.as_str(), Self { settings: self.settings, table, map, place, path })
        });
        entries.collect()
    }

    /// The names of the keys that are given here, such as the one that says a backend's type.
    pub fn given(&self) -> Vec<&'static str> {
        let keys = self.table.keys.iter().filter(|key| {
            let entry = self.map.and_then(|map| map.entry(key.name));
            entry.is_some_and(|entry| entry.node.value != Value::Null)
        });
        keys.map(|key| key.name).collect()
    }

    /// Where the value at `path` comes from.
    pub fn origin(&self, path: &str) -> Origin<'a> {
        let found = self.find(path);
        effective(found.key, found.entry).1
    }

    /// An error about the value at `path`, with its place if it has one.
    pub fn error(&self, path: &str, what: &str) -> Error {
        let found = self.find(path);
        let what = format!("{}: {what}", found.path);
        match effective(found.key, found.entry).1 {
            Origin::File(place) | Origin::DefaultForZero(place) => {
                Problem::error(place, what).into()
            }
            Origin::Default | Origin::Unset => self.missing(&what),
        }
    }

    /// An error about what no file says: it belongs where the section is, or into the topmost file.
    fn missing(&self, what: &str) -> Error {
        if let Some(place) = self.place {
            return Problem::error(place, what.to_owned()).into();
        }
        let topmost = self.settings.files.iter().rfind(|file| !file.secret);
        let file = topmost.map(|file| format!("{}: ", file.path.display())).unwrap_or_default();
        Error::invalid(file + what)
    }

    fn find(&self, path: &str) -> Found<'a> {
        let (mut table, mut map) = (self.table, self.map);
        let mut names = path.split('.').peekable();
        while let Some(name) = names.next() {
            let Some(key) = table.key(name) else {
                panic!("no key {path:?} in {:?} of a {}", self.path, self.settings.role)
            };
            let entry = map.and_then(|map| map.entry(name));
            if names.peek().is_none() {
                return Found { key, entry, path: join(&self.path, path) };
            }
            let Kind::Table(inner) = &key.kind else { panic!("{name} of {path:?} has no keys") };
            (table, map) = (inner, entry.and_then(|entry| as_map(&entry.node)));
        }
        panic!("an empty path in {:?}", self.path)
    }

    fn read<T: Setting>(&self, found: &Found<'a>) -> Result<Option<T>> {
        let (key, path) = (found.key, &found.path);
        assert!(T::fits(&key.kind), "{path} holds {} and is read as something else", key.kind);
        let (Some(node), origin) = effective(key, found.entry) else { return Ok(None) };
        T::read(&node, &key.kind).map(Some).map_err(|Misread(fault)| {
            let shown = match &node.value {
                Value::Scalar(scalar) => scalar.clone(),
                _ => Scalar::plain(""),
            };
            let hidden = key.secret || self.settings.is_secret(&node.place);
            let what = describe(path, &shown, &fault, hidden);
            match origin {
                Origin::File(_) => Problem::error(&node.place, what).into(),
                _ => Error::invalid(what),
            }
        })
    }
}

/// What `entry` of `key` comes to, and where from.
pub(super) fn effective<'a>(
    key: &'static Key,
    entry: Option<&'a Entry>,
) -> (Option<Cow<'a, Node>>, Origin<'a>) {
    if let Some(entry) = entry.filter(|entry| !is_absent(&entry.node, key)) {
        return (Some(Cow::Borrowed(&entry.node)), Origin::File(&entry.node.place));
    }
    match (default(key), entry) {
        (None, _) => (None, Origin::Unset),
        (Some(node), None) => (Some(Cow::Owned(node)), Origin::Default),
        (Some(node), Some(entry)) => {
            (Some(Cow::Owned(node)), Origin::DefaultForZero(&entry.node.place))
        }
    }
}

/// Whether `node` is as good as none.
fn is_absent(node: &Node, key: &Key) -> bool {
    let Value::Scalar(scalar) = &node.value else { return node.value == Value::Null };
    if !key.kind.zero_is_absent() {
        return false;
    }
    let zero = match key.kind {
        Kind::Integer => values::integer(scalar) == Ok(0),
        Kind::Float => values::float(scalar) == Ok(0.0),
        Kind::Size => values::size(scalar) == Ok(0),
        Kind::Duration => values::duration(scalar) == Ok(Duration::ZERO),
        _ => return scalar.text.is_empty(),
    };
    zero && key.default.is_some()
}

/// The default of `key` as a node.
fn default(key: &'static Key) -> Option<Node> {
    let text = format!("default: {}", key.default?);
    let mut document = Document::parse(Path::new("default"), &text)
        .unwrap_or_else(|problem| panic!("the default of {}: {problem}", key.name));
    document.root.entries.pop().map(|entry| entry.node)
}

fn as_map(node: &Node) -> Option<&Map> {
    match &node.value {
        Value::Map(map) => Some(map),
        _ => None,
    }
}

fn collect(map: &Map, table: &Table, path: &str, status: Status, paths: &mut Vec<String>) {
    for entry in &map.entries {
        let Some(key) = table.key(&entry.key) else { continue };
        let path = join(path, &entry.key);
        if key.status == status {
            paths.push(path);
            continue;
        }
        match (&key.kind, &entry.node.value) {
            (Kind::Table(table), Value::Map(map)) => collect(map, table, &path, status, paths),
            (Kind::List(Kind::Table(table)), Value::List(items)) => {
                for (at, map) in
                    items.iter().enumerate().filter_map(|(at, n)| Some((at, as_map(n)?)))
                {
                    collect(map, table, &format!("{path}[{at}]"), status, paths);
                }
            }
            _ => {}
        }
    }
}

impl From<Fault> for Misread {
    fn from(fault: Fault) -> Self {
        Self(fault)
    }
}

/// The scalar that a node of a scalar kind is.
fn scalar(node: &Node) -> std::result::Result<&Scalar, Misread> {
    match &node.value {
        Value::Scalar(scalar) => Ok(scalar),
        other => Err(Fault::new(format!("a single value, not {}", other.noun())).into()),
    }
}

/// Implements [`Setting`] for a type that scalars of some kinds are read as.
macro_rules! scalar_setting {
    ($type:ty, $kinds:pat, |$scalar:ident, $kind:ident| $read:expr) => {
        impl Setting for $type {
            fn fits(kind: &Kind) -> bool {
                matches!(kind, $kinds)
            }

            fn read(node: &Node, $kind: &Kind) -> std::result::Result<Self, Misread> {
                let $scalar = scalar(node)?;
                $read.map_err(Misread)
            }
        }
    };
}

scalar_setting!(bool, Kind::Bool, |scalar, _kind| values::boolean(scalar));
scalar_setting!(f64, Kind::Float, |scalar, _kind| values::float(scalar));
scalar_setting!(Duration, Kind::Duration, |scalar, _kind| values::duration(scalar));
scalar_setting!(Regex, Kind::Regex, |scalar, _kind| values::regex(scalar));
scalar_setting!(Cidr, Kind::Cidr, |scalar, _kind| values::cidr(scalar));
scalar_setting!(u64, Kind::Integer | Kind::Size, |scalar, kind| number(scalar, kind));
scalar_setting!(u32, Kind::Integer, |scalar, kind| narrow(scalar, kind, u32::MAX));
scalar_setting!(usize, Kind::Integer | Kind::Size, |scalar, kind| {
    narrow(scalar, kind, usize::MAX)
});
scalar_setting!(PathBuf, Kind::Path, |scalar, _kind| Ok(PathBuf::from(&scalar.text)));
scalar_setting!(
    String,
    Kind::Text | Kind::Path | Kind::Host | Kind::Regex | Kind::Choice(_),
    |scalar, _kind| Ok(scalar.text.clone())
);
scalar_setting!(&'static str, Kind::Choice(_), |scalar, kind| match kind {
    Kind::Choice(words) => values::choice(scalar, words),
    _ => Err(Fault::new("one of some words")),
});

fn number(scalar: &Scalar, kind: &Kind) -> std::result::Result<u64, Fault> {
    if matches!(kind, Kind::Size) { values::size(scalar) } else { values::integer(scalar) }
}

fn narrow<T: TryFrom<u64> + std::fmt::Display>(
    scalar: &Scalar,
    kind: &Kind,
    max: T,
) -> std::result::Result<T, Fault> {
    let number = number(scalar, kind)?;
    T::try_from(number).map_err(|_| Fault::new(format!("a number up to {max}")))
}

impl<T: Setting> Setting for Vec<T> {
    fn fits(kind: &Kind) -> bool {
        matches!(kind, Kind::List(item) if T::fits(item))
    }

    fn read(node: &Node, kind: &Kind) -> std::result::Result<Self, Misread> {
        let (Value::List(items), Kind::List(item)) = (&node.value, kind) else {
            return Err(Fault::new("a list").into());
        };
        // An item without a value is an empty one in uber/kraken and says nothing.
        let given = items.iter().filter(|node| node.value != Value::Null);
        given.map(|node| T::read(node, item)).collect()
    }
}

impl<K: Setting + Ord, V: Setting> Setting for BTreeMap<K, V> {
    fn fits(kind: &Kind) -> bool {
        matches!(kind, Kind::Map(key, value) if K::fits(key) && V::fits(value))
    }

    fn read(node: &Node, kind: &Kind) -> std::result::Result<Self, Misread> {
        let (Value::Map(map), Kind::Map(key, value)) = (&node.value, kind) else {
            return Err(Fault::new("keys with values").into());
        };
        let given = map.entries.iter().filter(|entry| entry.node.value != Value::Null);
        let pairs = given.map(|entry| {
            let name = Value::Scalar(Scalar::plain(entry.key.as_str()));
            let name = Node { place: entry.place.clone(), value: name };
            Ok((K::read(&name, key)?, V::read(&entry.node, value)?))
        });
        pairs.collect()
    }
}
