//! YAML text to a tree in which everything knows its place. The YAML library stays behind this
//! file.
//!
//! Scalars stay text: what `no`, `0644` or `5m` is, the schema decides, which knows what a key
//! holds. So the differences between YAML 1.1, which uber/kraken reads, and 1.2 do not matter here.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use granit_parser::{Event, Marker, Parser, ScalarStyle, Tag};

use super::limits;
use super::problem::{Place, Problem, Problems};

/// One file of a configuration.
#[derive(Debug, Clone)]
pub struct Document {
    /// What the file holds; empty for an empty file.
    pub root: Map,
    /// Where it begins.
    pub place: Place,
    /// What is wrong with it although its structure is clear, such as a key given twice.
    pub problems: Problems,
}

/// A value and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Where it is written; for an alias, where its anchor is.
    pub place: Place,
    /// What it is.
    pub value: Value,
}

/// What a [`Node`] is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Nothing, `~` or `null`.
    Null,
    /// A word, a number, a text.
    Scalar(Scalar),
    /// A list.
    List(Vec<Node>),
    /// Keys with values.
    Map(Map),
}

/// A word, a number, a text: not yet interpreted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scalar {
    /// What is written, without quotes.
    pub text: String,
    /// Whether it is written without quotes, so that it may be a number or a boolean.
    pub plain: bool,
}

/// Keys with values, in the order of the file, no key twice.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Map {
    /// The entries.
    pub entries: Vec<Entry>,
}

/// A key with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key; a number is its text.
    pub key: String,
    /// Where the key is written.
    pub place: Place,
    /// The value.
    pub node: Node,
}

impl Document {
    /// Reads `text`, which is called `file` in messages.
    pub fn parse(file: &Path, text: &str) -> Result<Self, Problem> {
        let mut builder = Builder::new(file.into());
        let start = builder.place_at(1, 1);
        if text.len() as u64 > limits::FILE_BYTES_MAX {
            let max = limits::FILE_BYTES_MAX;
            return Err(Problem::error(&start, format!("more than {max} bytes")));
        }
        let mut documents = 0;
        for next in Parser::new_from_str(text) {
            let (event, span) = next.map_err(|e| {
                let place = builder.place(e.marker());
                syntax(text, &place, &e.info())
            })?;
            let place = builder.place(&span.start);
            if matches!(event, Event::DocumentStart(..)) {
                documents += 1;
                if documents > 1 {
                    return Err(Problem::error(&place, "a second document begins here")
                        .advise("uber/kraken would not read it: remove it".to_owned()));
                }
            }
            builder.event(event, place)?;
        }
        let root = match builder.root.map(|node| (node.place, node.value)) {
            None | Some((_, Value::Null)) => Map::default(),
            Some((_, Value::Map(map))) => map,
            Some((place, other)) => {
                let what = format!("found {} where keys are expected", other.noun());
                return Err(Problem::error(&place, what));
            }
        };
        Ok(Self { root, place: start, problems: builder.problems })
    }
}

impl Value {
    /// What it is, for messages.
    pub fn noun(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Scalar(_) => "a single value",
            Self::List(_) => "a list",
            Self::Map(_) => "keys with values",
        }
    }
}

impl Scalar {
    /// Text without quotes.
    pub fn plain(text: impl Into<String>) -> Self {
        Self { text: text.into(), plain: true }
    }
}

impl Map {
    /// The entry of `key`.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }
}

/// Builds the tree from the parser's events.
struct Builder {
    file: Arc<Path>,
    /// Lists and maps that are open, the outermost first.
    open: Vec<Frame>,
    anchors: HashMap<usize, Node>,
    root: Option<Node>,
    nodes: usize,
    text_bytes: usize,
    problems: Problems,
}

/// A list or map of which the end was not seen yet.
struct Frame {
    place: Place,
    anchor: usize,
    kind: FrameKind,
}

enum FrameKind {
    List(Vec<Node>),
    Map {
        entries: Vec<Entry>,
        seen: HashMap<String, usize>,
        /// The key whose value comes next.
        key: Option<Name>,
        /// What `<<` brings in.
        merges: Vec<Node>,
    },
}

/// A key that waits for its value.
struct Name {
    text: String,
    place: Place,
    /// Whether it is `<<` without quotes.
    merges: bool,
}

impl Builder {
    fn new(file: Arc<Path>) -> Self {
        Self {
            file,
            open: Vec::new(),
            anchors: HashMap::new(),
            root: None,
            nodes: 0,
            text_bytes: 0,
            problems: Problems::default(),
        }
    }

    fn event(&mut self, event: Event<'_>, place: Place) -> Result<(), Problem> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let value = scalar(text.into_owned(), style, tag.as_deref(), &place)?;
                self.node(Node { place, value }, anchor)
            }
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor).cloned() else {
                    return Err(Problem::error(&place, "an alias inside what it stands for"));
                };
                // A copy counts as much as the same text written out again.
                self.count(&node, &place, self.open.len())?;
                self.place_node(node, &place)
            }
            Event::SequenceStart(_, anchor, tag) => {
                untagged(tag.as_deref(), "seq", &place)?;
                self.open(place, anchor, FrameKind::List(Vec::new()))
            }
            Event::MappingStart(_, anchor, tag) => {
                untagged(tag.as_deref(), "map", &place)?;
                let (entries, seen, merges) = (Vec::new(), HashMap::new(), Vec::new());
                self.open(place, anchor, FrameKind::Map { entries, seen, key: None, merges })
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            _ => Ok(()),
        }
    }

    fn open(&mut self, place: Place, anchor: usize, kind: FrameKind) -> Result<(), Problem> {
        if self.open.len() >= limits::DEPTH_MAX {
            return Err(too_deep(&place));
        }
        self.open.push(Frame { place, anchor, kind });
        Ok(())
    }

    fn close(&mut self) -> Result<(), Problem> {
        let Some(frame) = self.open.pop() else { return Ok(()) };
        let value = match frame.kind {
            FrameKind::List(items) => Value::List(items),
            FrameKind::Map { mut entries, seen, merges, .. } => {
                merge_in(&mut entries, seen.into_keys().collect(), merges)?;
                Value::Map(Map { entries })
            }
        };
        self.node(Node { place: frame.place, value }, frame.anchor)
    }

    /// A node that is complete.
    fn node(&mut self, node: Node, anchor: usize) -> Result<(), Problem> {
        if anchor > 0 {
            // Its copy, kept for aliases, is counted like one.
            self.count(&node, &node.place, self.open.len())?;
            self.anchors.insert(anchor, node.clone());
        }
        let place = node.place.clone();
        self.weigh(&node.value, &place)?;
        self.place_node(node, &place)
    }

    /// Puts a node where it belongs; `place` is where it is mentioned.
    fn place_node(&mut self, node: Node, place: &Place) -> Result<(), Problem> {
        let Some(frame) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        let (entries, seen, pending, merges) = match &mut frame.kind {
            FrameKind::List(items) => {
                items.push(node);
                return Ok(());
            }
            FrameKind::Map { entries, seen, key, merges } => (entries, seen, key, merges),
        };
        let Some(Name { text: key, place: key_place, merges: is_merge }) = pending.take() else {
            *pending = Some(name(node, place)?);
            return Ok(());
        };
        if is_merge {
            merges.push(node);
        } else if let Some(first) = seen.get(&key).and_then(|at| entries.get(*at)) {
            let first: &Entry = first;
            let what = format!("key {} is given twice", quote(&key));
            self.problems.push(
                Problem::error(&key_place, what)
                    .advise(format!("it is already on line {}", first.place.line)),
            );
        } else {
            seen.insert(key.clone(), entries.len());
            entries.push(Entry { key, place: key_place, node });
        }
        Ok(())
    }

    /// Counts `node` with all that is in it against the bounds; `depth` is how deep it lies.
    fn count(&mut self, node: &Node, place: &Place, depth: usize) -> Result<(), Problem> {
        self.weigh(&node.value, place)?;
        let inner = depth + 1;
        match &node.value {
            Value::Null | Value::Scalar(_) => Ok(()),
            _ if depth >= limits::DEPTH_MAX => Err(too_deep(place)),
            Value::List(items) => items.iter().try_for_each(|item| self.count(item, place, inner)),
            Value::Map(map) => {
                map.entries.iter().try_for_each(|entry| self.count(&entry.node, place, inner))
            }
        }
    }

    /// Counts `value` alone, but with its keys.
    fn weigh(&mut self, value: &Value, place: &Place) -> Result<(), Problem> {
        let (nodes, bytes) = match value {
            Value::Null => (1, 0),
            Value::Scalar(scalar) => (1, scalar.text.len()),
            Value::List(_) => (1, 0),
            Value::Map(map) => {
                (1 + map.entries.len(), map.entries.iter().map(|entry| entry.key.len()).sum())
            }
        };
        self.nodes += nodes;
        self.text_bytes += bytes;
        if self.nodes > limits::NODES_MAX || self.text_bytes > limits::TEXT_BYTES_MAX {
            return Err(Problem::error(
                place,
                format!(
                    "more than {} values or {} bytes of text, copies by aliases counted",
                    limits::NODES_MAX,
                    limits::TEXT_BYTES_MAX
                ),
            ));
        }
        Ok(())
    }

    fn place(&self, marker: &Marker) -> Place {
        self.place_at(marker.line().max(1), marker.col() + 1)
    }

    fn place_at(&self, line: usize, column: usize) -> Place {
        Place { file: self.file.clone(), line, column }
    }
}

/// Adds what `<<` brings in; what is written out wins, then what comes first.
fn merge_in(
    entries: &mut Vec<Entry>,
    mut seen: HashSet<String>,
    merges: Vec<Node>,
) -> Result<(), Problem> {
    let mut maps = Vec::new();
    for node in merges {
        match node.value {
            Value::Map(map) => maps.push(map),
            Value::List(items) => {
                for item in items {
                    let Value::Map(map) = item.value else {
                        return Err(not_mergeable(&item.place));
                    };
                    maps.push(map);
                }
            }
            _ => return Err(not_mergeable(&node.place)),
        }
    }
    for entry in maps.into_iter().flat_map(|map| map.entries) {
        if seen.insert(entry.key.clone()) {
            entries.push(entry);
        }
    }
    Ok(())
}

fn too_deep(place: &Place) -> Problem {
    Problem::error(place, format!("more than {} levels of nesting", limits::DEPTH_MAX))
}

fn not_mergeable(place: &Place) -> Problem {
    Problem::error(place, "what << brings in is not keys with values")
}

fn name(node: Node, place: &Place) -> Result<Name, Problem> {
    let place = place.clone();
    match node.value {
        Value::Scalar(Scalar { text, .. }) if text.len() > limits::KEY_BYTES_MAX => {
            let max = limits::KEY_BYTES_MAX;
            Err(Problem::error(&place, format!("a key of more than {max} bytes")))
        }
        Value::Scalar(Scalar { text, plain }) => {
            let merges = plain && text == "<<";
            Ok(Name { text, place, merges })
        }
        Value::Null => Ok(Name { text: String::new(), place, merges: false }),
        other => Err(Problem::error(&node.place, format!("{} cannot be a key", other.noun()))),
    }
}

fn scalar(
    text: String,
    style: ScalarStyle,
    tag: Option<&Tag>,
    place: &Place,
) -> Result<Value, Problem> {
    let core = tag.and_then(Tag::core_suffix);
    if tag.is_some() && core.is_none() {
        return Err(tagged(place));
    }
    let plain = style == ScalarStyle::Plain && core != Some("str");
    let null = plain && matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL");
    Ok(if null || core == Some("null") {
        Value::Null
    } else {
        Value::Scalar(Scalar { text, plain })
    })
}

/// Refuses tags of lists and maps but the one that says the same again.
fn untagged(tag: Option<&Tag>, own: &str, place: &Place) -> Result<(), Problem> {
    let known = tag.is_none_or(|tag| tag.core_suffix() == Some(own));
    if known { Ok(()) } else { Err(tagged(place)) }
}

fn tagged(place: &Place) -> Problem {
    Problem::error(place, "a tag that no key here takes")
        .advise("write the value without the word that begins with an exclamation mark".to_owned())
}

/// A text that is no YAML.
fn syntax(text: &str, place: &Place, what: &str) -> Problem {
    // The parser may stop at the line after the one at fault.
    let line_at = |number: usize| number.checked_sub(1).and_then(|at| text.lines().nth(at));
    let tabbed = [place.line, place.line.saturating_sub(1)].into_iter().find(|number| {
        line_at(*number)
            .is_some_and(|line| line.chars().take_while(|c| c.is_whitespace()).any(|c| c == '\t'))
    });
    match tabbed {
        Some(line) => {
            let column = line_at(line).and_then(|line| line.find('\t')).unwrap_or(0) + 1;
            let place = Place { file: place.file.clone(), line, column };
            Problem::error(&place, "a tab in the indentation")
                .advise("YAML takes only spaces there".to_owned())
        }
        None => Problem::error(place, format!("not YAML: {}", what.trim_end_matches('.'))),
    }
}

/// `text` in quotes, cut to what a message can hold, without the users and passwords of URLs.
pub fn quote(text: &str) -> String {
    let text = masked(text);
    match text.char_indices().nth(limits::QUOTE_CHARS_MAX) {
        Some((end, _)) => format!("{:?}…", text.get(..end).unwrap_or_default()),
        None => format!("{text:?}"),
    }
}

/// `text` with what may be a secret in addresses made unreadable: user and password before the `@`,
/// and what follows the `?` of a URL. Rather too much is hidden than too little.
pub(super) fn masked(text: &str) -> Cow<'_, str> {
    let shown: String = text.split_inclusive(char::is_whitespace).map(masked_word).collect();
    if shown == text { Cow::Borrowed(text) } else { Cow::Owned(shown) }
}

fn masked_word(word: &str) -> String {
    const SCHEME_END: &str = "://";
    let mut parts = word.split(SCHEME_END);
    let first = parts.next().unwrap_or_default();
    // Without a scheme in front an `@` alone is no address's.
    let mut shown = match first.split_once('@') {
        Some((user, _)) if user.contains(':') => without_user(first),
        _ => first.to_owned(),
    };
    for part in parts {
        shown += SCHEME_END;
        let (address, query) = part.split_at(part.find('?').map_or(part.len(), |at| at + 1));
        shown += &without_user(address);
        let end = query.trim_end().len();
        if end > 0 {
            shown += HIDDEN;
        }
        shown += &query[end..];
    }
    shown
}

/// `address` without what stands before the last `@` of its authority.
fn without_user(address: &str) -> String {
    let (authority, path) =
        address.split_at(address.find(['/', '?', '#']).unwrap_or(address.len()));
    match authority.rsplit_once('@') {
        Some((_, host)) => format!("{HIDDEN}@{host}{path}"),
        None => address.to_owned(),
    }
}

/// What stands for what is not shown.
const HIDDEN: &str = "(hidden)";

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Document, Problem> {
        Document::parse(Path::new("f.yaml"), text)
    }

    fn error(text: &str) -> String {
        parse(text).unwrap_err().to_string()
    }

    fn text<'a>(map: &'a Map, key: &str) -> &'a str {
        match &map.entry(key).unwrap().node.value {
            Value::Scalar(scalar) => &scalar.text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn everything_has_a_place() {
        let document = parse("a: 1\nb:\n  - x\n  - 'no'\n0: 4MB\nc: ~\nd:\n").unwrap();
        let entry = document.root.entry("b").unwrap();
        assert_eq!((entry.place.line, entry.place.column), (2, 1));
        let Value::List(items) = &entry.node.value else { panic!("{entry:?}") };
        assert_eq!(items[1].place.to_string(), "f.yaml:4:5");
        assert_eq!(items[0].value, Value::Scalar(Scalar::plain("x")));
        assert_eq!(items[1].value, Value::Scalar(Scalar { text: "no".into(), plain: false }));
        assert_eq!(text(&document.root, "0"), "4MB");
        for key in ["c", "d"] {
            assert_eq!(document.root.entry(key).unwrap().node.value, Value::Null);
        }
        for empty in ["", "# nothing\n", "---\n", "~"] {
            assert_eq!(parse(empty).unwrap().root, Map::default(), "{empty:?}");
        }
    }

    #[test]
    fn errors_say_where() {
        assert_eq!(
            error("a:\n\tb: 1\n"),
            "f.yaml:2:1: a tab in the indentation; YAML takes only spaces there"
        );
        assert!(error("a: [1\nb: 2\n").starts_with("f.yaml:2"), "{}", error("a: [1\nb: 2\n"));
        assert_eq!(error("- a\n"), "f.yaml:1:1: found a list where keys are expected");
        assert_eq!(error("? [a]\n: b\n"), "f.yaml:1:3: a list cannot be a key");
        assert!(error("a: 1\n---\nb: 2\n").contains("a second document"));
        assert!(error("a: *b\n").starts_with("f.yaml:1:4: not YAML"), "{}", error("a: *b\n"));
        for tagged in ["a: !!binary aGk=\n", "a: !x {b: 1}\n", "a: !!set [1]\n"] {
            assert!(error(tagged).contains("a tag"), "{tagged}");
        }
        assert!(parse("a: !!map {b: !!seq [1]}\n").is_ok());
        let twice = parse("a: 1\nb: 2\na: 3\n").unwrap().problems;
        assert_eq!(
            twice.to_string(),
            "f.yaml:3:1: key \"a\" is given twice; it is already on line 1"
        );
    }

    #[test]
    fn users_of_urls_are_not_repeated() {
        for (text, shown) in [
            ("http://me:pw@h:80/a@b", "http://(hidden)@h:80/a@b"),
            ("a://u:p@ss@h, b://h/@, c://x@y", "a://(hidden)@h, b://h/@, c://(hidden)@y"),
            ("redis://:pa,ss@host", "redis://(hidden)@host"),
            ("a://h/x;b://u:p@h2", "a://h/x;b://(hidden)@h2"),
            ("http://proxy/https://u:p@h", "http://proxy/https://(hidden)@h"),
            ("u:p@h1,u:p@h2", "(hidden)@h2"),
            ("https://h/a", "https://h/a"),
            ("me@h", "me@h"),
            ("me:pw@h:80/x", "(hidden)@h:80/x"),
            ("https://h/a?token=1&b=2 and", "https://h/a?(hidden) and"),
            ("https://h/a?(hidden)", "https://h/a?(hidden)"),
            ("what? a://h/?", "what? a://h/?"),
        ] {
            assert_eq!(masked(text), shown);
        }
        assert_eq!(quote("x://me:pw@h"), "\"x://(hidden)@h\"");
    }

    #[test]
    fn aliases_and_merges() {
        let yaml = "base: &b {x: 1, y: 2}\nuse:\n  <<: *b\n  y: 3\n  z: *b\n";
        let document = parse(yaml).unwrap();
        let Value::Map(used) = &document.root.entry("use").unwrap().node.value else { panic!() };
        assert_eq!((text(used, "x"), text(used, "y")), ("1", "3"));
        assert!(matches!(used.entry("z").unwrap().node.value, Value::Map(_)));
        assert!(error("a: &a [*a]\n").contains("alias inside"), "{}", error("a: &a [*a]\n"));
        assert!(error("a:\n  <<: 1\n").contains("<<"));
        assert!(error(&format!("? {}\n: 1\n", "a".repeat(251))).contains("250 bytes"));
    }

    #[test]
    fn bombs_are_refused() {
        let mut bomb = "a0: &a0 [x]\n".to_owned();
        for level in 1..30 {
            let below = format!("*a{}", level - 1);
            bomb.push_str(&format!("a{level}: &a{level} [{}]\n", [below.as_str(); 9].join(", ")));
        }
        assert!(error(&bomb).contains("copies by aliases counted"));
        let long = "x".repeat(1 << 20);
        let aliases = ["*a"; 9].join(", ");
        assert!(error(&format!("a: &a {long}\nb: [{aliases}]\n")).contains("bytes of text"));
        assert!(
            error(&format!("a: {}{}", "[".repeat(100), "]".repeat(100)))
                .contains("levels of nesting")
        );
        let deep: String = (0..100).map(|at| format!("{}a:\n", " ".repeat(at))).collect();
        assert!(error(&deep).contains("levels of nesting"));
        let big = "#".repeat(usize::try_from(limits::FILE_BYTES_MAX).unwrap() + 1);
        assert!(error(&big).contains("bytes"));
    }
}
