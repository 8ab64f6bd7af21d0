//! Every key that a daemon's configuration may have: one table a role, parts that several roles
//! have in common defined once.

mod accepted;
mod backends;
mod parts;
mod roles;

use std::fmt;

pub(super) use parts::HOSTS;

/// A daemon that is configured by a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RoleName {
    /// On every host; container runtimes pull from it.
    Agent,
    /// Keeps blobs and seeds them.
    Origin,
    /// Tells peers about one another.
    Tracker,
    /// Keeps tags.
    BuildIndex,
    /// Takes pushes.
    Proxy,
}

/// A key.
#[derive(Debug)]
pub struct Key {
    /// How it is written; case matters, as in uber/kraken.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// What it holds when it is absent, as YAML.
    pub default: Option<&'static str>,
    /// What it is for, in a sentence.
    pub about: &'static str,
    /// What becomes of it.
    pub status: Status,
    /// Whether its value is shown to nobody.
    pub secret: bool,
}

/// What a key holds.
#[derive(Debug)]
pub enum Kind {
    /// `true` or `false`, or YAML 1.1's other words for them.
    Bool,
    /// A whole number that is not negative.
    Integer,
    /// A number.
    Float,
    /// Any text.
    Text,
    /// A file or directory.
    Path,
    /// A duration in Go's syntax.
    Duration,
    /// Bytes, as a number or with a unit.
    Size,
    /// A regular expression.
    Regex,
    /// An IP address or a network.
    Cidr,
    /// `host:port`.
    Host,
    /// One of some words.
    Choice(&'static [&'static str]),
    /// A list.
    List(&'static Self),
    /// Keys that the file chooses, of the first kind, with values of the second.
    Map(&'static Self, &'static Self),
    /// Keys that the schema knows.
    Table(&'static Table),
    /// Anything.
    Free,
}

/// Keys that belong together.
#[derive(Debug)]
pub struct Table {
    /// The heading under which the documentation explains it, if several tables refer to it.
    pub heading: Option<&'static str>,
    /// The keys.
    pub keys: &'static [Key],
    /// Keys of which only one may be given.
    pub exclusive: &'static [&'static str],
}

/// What becomes of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It does what it does in uber/kraken.
    Used,
    /// It does something; uber/kraken does not know it.
    Ours,
    /// It is accepted and does nothing, because there is nothing here that it could configure.
    Unused,
    /// It is accepted, but what it asks for is not built yet.
    Later,
}

impl RoleName {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Agent, Self::Origin, Self::Tracker, Self::BuildIndex, Self::Proxy];

    /// Its name on command lines.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Origin => "origin",
            Self::Tracker => "tracker",
            Self::BuildIndex => "build-index",
            Self::Proxy => "proxy",
        }
    }

    /// The role that is called `name`.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == name)
    }

    /// What its configuration may hold.
    pub fn schema(self) -> &'static Table {
        match self {
            Self::Agent => &roles::AGENT,
            Self::Origin => &roles::ORIGIN,
            Self::Tracker => &roles::TRACKER,
            Self::BuildIndex => &roles::BUILD_INDEX,
            Self::Proxy => &roles::PROXY,
        }
    }
}

impl Table {
    /// The key that is called `name`.
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    const fn of(keys: &'static [Key]) -> Self {
        Self { heading: None, keys, exclusive: &[] }
    }

    /// One that several others refer to.
    const fn shared(heading: &'static str, keys: &'static [Key]) -> Self {
        Self { heading: Some(heading), keys, exclusive: &[] }
    }

    const fn only_one_of(mut self, exclusive: &'static [&'static str]) -> Self {
        self.exclusive = exclusive;
        self
    }
}

impl Key {
    const fn new(name: &'static str, kind: Kind, about: &'static str) -> Self {
        Self { name, kind, default: None, about, status: Status::Used, secret: false }
    }

    /// With what it holds when it is absent.
    const fn or(mut self, default: &'static str) -> Self {
        self.default = Some(default);
        self
    }

    const fn ours(mut self) -> Self {
        self.status = Status::Ours;
        self
    }

    const fn unused(mut self) -> Self {
        self.status = Status::Unused;
        self
    }

    const fn later(mut self) -> Self {
        self.status = Status::Later;
        self
    }

    const fn secret(mut self) -> Self {
        self.secret = true;
        self
    }
}

impl Kind {
    /// Whether it is written as a single value.
    pub fn is_scalar(&self) -> bool {
        !matches!(self, Self::List(_) | Self::Map(..) | Self::Table(_) | Self::Free)
    }

    /// Whether Go cannot tell its zero from its absence, so that uber/kraken takes the default for
    /// both.
    pub(super) fn zero_is_absent(&self) -> bool {
        self.is_scalar() && !matches!(self, Self::Bool)
    }
}

impl fmt::Display for RoleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool => f.write_str("boolean"),
            Self::Integer => f.write_str("integer"),
            Self::Float => f.write_str("number"),
            Self::Text => f.write_str("text"),
            Self::Path => f.write_str("path"),
            Self::Duration => f.write_str("duration"),
            Self::Size => f.write_str("size"),
            Self::Regex => f.write_str("regex"),
            Self::Cidr => f.write_str("address or network"),
            Self::Host => f.write_str("host:port"),
            Self::Choice(words) => f.write_str(&words.join(", ")),
            Self::List(item) => write!(f, "list of {item}"),
            Self::Map(key, value) => write!(f, "map of {key} to {value}"),
            Self::Table(table) => f.write_str(table.heading.unwrap_or("keys")),
            Self::Free => f.write_str("anything"),
        }
    }
}

/// A row that is an ordinary key.
const fn key(name: &'static str, kind: Kind, about: &'static str) -> Key {
    Key::new(name, kind, about)
}

/// A row that is a table of its own.
const fn table(name: &'static str, table: &'static Table, about: &'static str) -> Key {
    Key::new(name, Kind::Table(table), about)
}
