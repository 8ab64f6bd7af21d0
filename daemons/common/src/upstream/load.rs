//! Files to settings: the `extends` chain, the overlay of secrets, the check of each file, and
//! the merge.
#![allow(clippy::disallowed_methods, reason = "configuration is read before anything runs")]

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::checking::{self, exclusive};
use super::document::{Document, Entry, Map, Node, Value, quote};
use super::limits;
use super::problem::{Place, Problem, Problems, Severity};
use super::schema::{Kind, RoleName, Table};
use super::settings::{FileRead, Settings};

/// What is to be loaded.
///
/// ```no_run
/// use kraken_common::upstream::{Load, RoleName};
///
/// let settings = Load::new("/etc/kraken/tracker.yaml").role(RoleName::Tracker).read()?;
/// for problem in settings.warnings().as_slice() {
///     eprintln!("{problem}");
/// }
/// # Ok::<_, kraken_common::upstream::Problems>(())
/// ```
#[derive(Debug, Clone)]
pub struct Load {
    config: PathBuf,
    secrets: Option<PathBuf>,
    role: Option<RoleName>,
    strict: bool,
}

/// A file with the files below it, the lowest first.
#[derive(Default)]
struct Chain {
    documents: Vec<Document>,
    problems: Problems,
}

impl Load {
    /// `config`, with what it extends.
    pub fn new(config: impl Into<PathBuf>) -> Self {
        Self { config: config.into(), secrets: None, role: None, strict: false }
    }

    /// Lays this file over the rest; its values are shown to nobody.
    #[must_use]
    pub fn secrets(mut self, secrets: impl Into<Option<PathBuf>>) -> Self {
        self.secrets = secrets.into();
        self
    }

    /// Whose configuration it is; guessed from the keys if nobody says.
    #[must_use]
    pub fn role(mut self, role: impl Into<Option<RoleName>>) -> Self {
        self.role = role.into();
        self
    }

    /// Whether warnings are errors.
    #[must_use]
    pub fn strict(mut self, strict: bool) -> Self {
        self.strict = strict;
        self
    }

    /// Reads and checks the files. On an error, all that is wrong in any of them is returned.
    pub fn read(&self) -> Result<Settings, Problems> {
        let mut chain = Chain::read(&self.config, false);
        let secrets = self.secrets.as_deref().map(|file| Chain::read(file, true));
        let secrets = secrets.unwrap_or_default();
        let role = match self.role {
            Some(role) => role,
            None => match RoleName::guess(&chain.documents) {
                Some(role) => role,
                None => return Err(self.of_nobody(chain)),
            },
        };
        if let Some(other) = role.better(&chain.documents) {
            let what = format!("it has more keys of role {other} than of role {role}");
            let place = Place { file: self.config.as_path().into(), line: 1, column: 1 };
            chain.problems.push(Problem::warning(&place, what));
        }
        let mut settings = assemble(role, [chain, secrets], self.strict)?;
        settings.guessed = self.role.is_none();
        Ok(settings)
    }

    /// What is wrong with files of which nobody can tell the role.
    fn of_nobody(&self, chain: Chain) -> Problems {
        let mut problems = chain.problems;
        for document in chain.documents {
            problems.append(document.problems);
        }
        // A file that could not be read may be the one that would have told.
        if !problems.has_errors() {
            let what = format!("{}: cannot tell whose it is", self.config.display());
            let names = RoleName::ALL.map(RoleName::as_str).join(", ");
            problems.push(without_place(what, format!("name the role with --role: {names}")));
        }
        problems
    }
}

impl Settings {
    /// The settings of one text that extends nothing, such as a test's; `name` stands for the file
    /// in messages.
    ///
    /// ```
    /// use kraken_common::upstream::{RoleName, Settings};
    ///
    /// let text = "trackerserver: {announce_interval: 5s}";
    /// let settings = Settings::parse(RoleName::Tracker, "inline", text)?;
    /// # Ok::<_, kraken_common::upstream::Problems>(())
    /// ```
    pub fn parse(role: RoleName, name: &str, text: &str) -> Result<Self, Problems> {
        let document = Document::parse(Path::new(name), text)?;
        if let Some(entry) = document.root.entry("extends") {
            return Err(Problem::error(&entry.place, "a text extends nothing").into());
        }
        let chain = Chain { documents: vec![document], problems: Problems::default() };
        assemble(role, [chain, Chain::default()], false)
    }
}

impl Chain {
    /// `hide` keeps what the files hold, but for the names of further files, out of messages.
    fn read(leaf: &Path, hide: bool) -> Self {
        let mut chain = Self::default();
        if let Err(problem) = chain.follow(leaf, hide) {
            chain.problems.push(problem);
        }
        // What lies below is read later but merged first.
        chain.documents.reverse();
        chain
    }

    fn follow(&mut self, leaf: &Path, hide: bool) -> Result<(), Problem> {
        let mut file = leaf.to_owned();
        // The files of the chain, by what they really are, and as they are named.
        let mut seen: Vec<(PathBuf, PathBuf)> = Vec::new();
        let mut reference: Option<Place> = None;
        loop {
            let identity = file.canonicalize().unwrap_or_else(|_| file.clone());
            let again = seen.iter().position(|(known, _)| *known == identity);
            seen.push((identity, file.clone()));
            if let (Some(first), Some(place)) = (again, &reference) {
                let names = seen.iter().skip(first).map(|(_, name)| name.display().to_string());
                let names: Vec<String> = names.collect();
                let what = format!("extends: the files extend one another: {}", names.join(" -> "));
                return Err(Problem::error(place, what)
                    .advise("the lowest file must extend nothing".to_owned()));
            }
            if let (Some(place), true) = (&reference, seen.len() > limits::FILES_MAX) {
                let what = format!("extends: more than {} files in a row", limits::FILES_MAX);
                return Err(Problem::error(place, what));
            }
            let text = read(&file).map_err(|why| unreadable(&file, reference.as_ref(), &why))?;
            let document = Document::parse(&file, &text).map_err(|problem| match hide {
                true => terse(problem),
                false => problem,
            })?;
            let next = extended(&document)?;
            self.documents.push(document);
            let Some((path, place)) = next else { return Ok(()) };
            file = path;
            reference = Some(place);
        }
    }
}

/// The file that `document` extends, and where it says so.
fn extended(document: &Document) -> Result<Option<(PathBuf, Place)>, Problem> {
    let Some(entry) = document.root.entry("extends") else { return Ok(None) };
    match &entry.node.value {
        Value::Null => Ok(None),
        Value::Scalar(scalar) if scalar.text.is_empty() => Ok(None),
        Value::Scalar(scalar) => {
            let directory = document.place.file.parent().unwrap_or_else(|| Path::new(""));
            Ok(Some((directory.join(&scalar.text), entry.node.place.clone())))
        }
        other => {
            let what = format!("extends: expected a file, found {}", other.noun());
            Err(Problem::error(&entry.node.place, what))
        }
    }
}

fn unreadable(file: &Path, reference: Option<&Place>, why: &str) -> Problem {
    match reference {
        Some(place) => {
            let name = quote(&file.display().to_string());
            Problem::error(place, format!("extends: cannot read {name}: {why}"))
                .advise("a relative path is looked for beside the file that names it".to_owned())
        }
        None => {
            let what = format!("{}: cannot be read: {why}", file.display());
            Problem { place: None, severity: Severity::Error, what, advice: None }
        }
    }
}

/// `problem` without what follows the colon: the parser may repeat the text there.
fn terse(problem: Problem) -> Problem {
    let what = problem.what.split(": ").next().unwrap_or_default().to_owned();
    Problem { what, ..problem }
}

fn without_place(what: String, advice: String) -> Problem {
    Problem { place: None, severity: Severity::Error, what, advice: Some(advice) }
}

fn read(file: &Path) -> Result<String, String> {
    let about = std::fs::metadata(file).map_err(|error| error.to_string())?;
    // To open a pipe waits until somebody writes to it.
    if !about.is_file() {
        return Err("it is not a regular file".to_owned());
    }
    let open = std::fs::File::open(file).map_err(|error| error.to_string())?;
    let mut text = Vec::new();
    // One byte more than allowed, so that the document sees that there are too many.
    let read = open.take(limits::FILE_BYTES_MAX + 1).read_to_end(&mut text);
    read.map_err(|error| error.to_string())?;
    String::from_utf8(text).map_err(|_| "it is not UTF-8".to_owned())
}

/// Checks every file and merges them, the secrets last.
fn assemble(role: RoleName, chains: [Chain; 2], strict: bool) -> Result<Settings, Problems> {
    let schema = role.schema();
    let (mut problems, mut root, mut files) = (Problems::default(), Map::default(), Vec::new());
    for (chain, secret) in chains.into_iter().zip([false, true]) {
        problems.append(chain.problems);
        for document in chain.documents {
            problems.append(checking::check(&document, schema, secret));
            let path: Arc<Path> = document.place.file;
            files.push(FileRead { path, secret });
            merge(&mut root, document.root, schema);
        }
    }
    if strict {
        problems.harden();
    }
    exclusive(&root, schema, "", &mut problems);
    if problems.has_errors() {
        return Err(problems);
    }
    Ok(Settings { role, guessed: false, root, files, warnings: problems })
}

/// Lays `upper` over `lower`: tables key by key, maps entry by entry, everything else whole. A key
/// without a value undoes what is below it.
fn merge(lower: &mut Map, upper: Map, table: &'static Table) {
    for entry in upper.entries {
        let Some(key) = table.key(&entry.key) else { continue };
        match lower.entries.iter_mut().find(|known| known.key == entry.key) {
            Some(known) => merge_entry(known, entry, &key.kind),
            None => {
                let mut fresh = Entry { node: null(&entry.node), ..entry.clone() };
                merge_entry(&mut fresh, entry, &key.kind);
                lower.entries.push(fresh);
            }
        }
    }
}

/// Unknown keys below `upper` are left out, which is why even a fresh entry is merged.
fn merge_entry(known: &mut Entry, upper: Entry, kind: &'static Kind) {
    let Entry { place, node, .. } = upper;
    match (kind, &mut known.node.value, node.value) {
        (Kind::Table(table), Value::Map(lower), Value::Map(upper)) => merge(lower, upper, table),
        (Kind::Table(table), _, Value::Map(upper)) => {
            let mut fresh = Map::default();
            merge(&mut fresh, upper, table);
            known.node = Node { place: node.place, value: Value::Map(fresh) };
            known.place = place;
        }
        (Kind::Map(..) | Kind::Free, Value::Map(lower), Value::Map(upper)) => {
            overlay(lower, upper, matches!(kind, Kind::Free));
        }
        (_, _, value) => {
            known.node = Node { place: node.place, value };
            known.place = place;
        }
    }
}

/// Lays `upper` over `lower`, entry by entry; `deep` goes into what is a map on both sides.
fn overlay(lower: &mut Map, upper: Map, deep: bool) {
    let index = lower.entries.iter().enumerate().map(|(at, entry)| (entry.key.clone(), at));
    let index: std::collections::HashMap<String, usize> = index.collect();
    for entry in upper.entries {
        match index.get(&entry.key).and_then(|at| lower.entries.get_mut(*at)) {
            None => lower.entries.push(entry),
            Some(known) => match (&mut known.node.value, entry.node.value) {
                (Value::Map(lower), Value::Map(upper)) if deep => overlay(lower, upper, deep),
                (_, value) => {
                    known.node = Node { place: entry.node.place, value };
                    known.place = entry.place;
                }
            },
        }
    }
}

fn null(like: &Node) -> Node {
    Node { place: like.place.clone(), value: Value::Null }
}
