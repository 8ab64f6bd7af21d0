//! Taking a map apart key by key, and keeping all that is wrong with it.

use std::cell::RefCell;

use kraken_common::upstream::document::{Entry, Map, Value};
use kraken_common::upstream::{Place, Problem, Problems, nearest, quote};

use super::values;

/// What was found to be wrong so far.
pub(super) struct Found(RefCell<Vec<Problem>>);

impl Found {
    pub(super) fn new(problems: &[Problem]) -> Self {
        Self(RefCell::new(problems.to_vec()))
    }

    pub(super) fn add(&self, place: &Place, what: impl Into<String>) {
        self.push(Problem::error(place, what));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// In the order of lines; there is one at least.
    pub(super) fn into_problems(self, start: &Place) -> Problems {
        let mut problems = self.0.into_inner();
        if problems.is_empty() {
            problems.push(Problem::error(start, "it cannot be read"));
        }
        let at = |problem: &Problem| problem.place.as_ref().map(|it| (it.line, it.column));
        problems.sort_by_key(at);
        problems.into_iter().collect()
    }

    fn push(&self, problem: Problem) {
        self.0.borrow_mut().push(problem);
    }
}

/// A map of which keys are taken; those that nobody takes are unknown.
pub(super) struct Keys<'a> {
    map: &'a Map,
    /// Where it begins.
    pub(super) place: &'a Place,
    found: &'a Found,
    known: Vec<&'static str>,
}

/// A step into a map or a list.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    Key(&'static str),
    Item(usize),
}

impl<'a> Keys<'a> {
    pub(super) fn new(map: &'a Map, place: &'a Place, found: &'a Found) -> Self {
        Self { map, place, found, known: Vec::new() }
    }

    /// Whether a key is given.
    pub(super) fn has(&self, key: &str) -> bool {
        self.map.entry(key).is_some()
    }

    /// A single value.
    pub(super) fn value<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        self.placed(key, read).map(|(value, _)| value)
    }

    /// A single value and where it stands.
    pub(super) fn placed<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<(T, &'a Place)> {
        let entry = self.take(key)?;
        let place = &entry.node.place;
        let Value::Scalar(scalar) = &entry.node.value else {
            self.misfit(entry, "a single value");
            return None;
        };
        match read(&scalar.text) {
            Ok(value) => Some((value, place)),
            Err(why) => {
                self.found.add(place, format!("{key}: {why}"));
                None
            }
        }
    }

    /// A single value that must be given.
    pub(super) fn needed<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<(T, &'a Place)> {
        if !self.has(key) {
            self.wrong(&format!("{key} is missing"));
        }
        self.placed(key, read)
    }

    /// A list of single values, each with its place.
    pub(super) fn words(&mut self, key: &'static str) -> Option<Vec<(&'a str, &'a Place)>> {
        let entry = self.take(key)?;
        let Value::List(items) = &entry.node.value else {
            self.misfit(entry, "a list");
            return None;
        };
        let mut words = Vec::new();
        for item in items {
            match &item.value {
                Value::Scalar(scalar) => words.push((scalar.text.as_str(), &item.place)),
                other => {
                    let what = format!("{key}: expected single values, found {}", other.noun());
                    self.found.add(&item.place, what);
                }
            }
        }
        Some(words)
    }

    /// Keys with values.
    pub(super) fn map(&mut self, key: &'static str) -> Option<Self> {
        let entry = self.take(key)?;
        let Value::Map(map) = &entry.node.value else {
            self.misfit(entry, "keys with values");
            return None;
        };
        Some(Self::new(map, &entry.node.place, self.found))
    }

    /// A list of keys with values.
    pub(super) fn maps(&mut self, key: &'static str) -> Vec<Self> {
        let Some(entry) = self.take(key) else { return Vec::new() };
        let Value::List(items) = &entry.node.value else {
            self.misfit(entry, "a list");
            return Vec::new();
        };
        let mut maps = Vec::new();
        for item in items {
            match &item.value {
                Value::Map(map) => maps.push(Self::new(map, &item.place, self.found)),
                other => {
                    let what = format!("{key}: expected keys with values, found {}", other.noun());
                    self.found.add(&item.place, what);
                }
            }
        }
        maps
    }

    /// A list of keys with values that has one item at least.
    pub(super) fn needed_maps(&mut self, key: &'static str) -> Vec<Self> {
        if !self.has(key) {
            self.wrong(&format!("{key} is missing"));
        }
        let maps = self.maps(key);
        if let Some(entry) = self.map.entry(key)
            && matches!(&entry.node.value, Value::List(items) if items.is_empty())
        {
            self.found.add(&entry.node.place, format!("{key}: the list is empty"));
        }
        maps
    }

    /// Where the value stands to which these steps lead, or the last one on the way to it.
    pub(super) fn place_of(&self, steps: &[Step]) -> &'a Place {
        let Some((Step::Key(first), rest)) = steps.split_first() else { return self.place };
        let Some(entry) = self.map.entry(first) else { return self.place };
        let mut node = &entry.node;
        for step in rest {
            let next = match (step, &node.value) {
                (Step::Key(key), Value::Map(map)) => map.entry(key).map(|entry| &entry.node),
                (Step::Item(at), Value::List(items)) => items.get(*at),
                _ => None,
            };
            let Some(next) = next else { break };
            node = next;
        }
        &node.place
    }

    /// In a list whose items may have a `count`: the item of each number.
    pub(super) fn items_of(&self, key: &str) -> impl Iterator<Item = usize> + use<'a> {
        let items = match self.map.entry(key).map(|entry| &entry.node.value) {
            Some(Value::List(items)) => items.as_slice(),
            _ => &[],
        };
        items.iter().enumerate().flat_map(|(at, item)| {
            let count = match &item.value {
                Value::Map(map) => map.entry("count").map(|entry| &entry.node.value),
                _ => None,
            };
            let count = match count {
                Some(Value::Scalar(scalar)) => values::count(&scalar.text).unwrap_or(1),
                _ => 1,
            };
            std::iter::repeat_n(at, count)
        })
    }

    /// Whether nothing was found to be wrong so far.
    pub(super) fn are_fine(&self) -> bool {
        self.found.is_empty()
    }

    /// Something is wrong with the whole of it.
    pub(super) fn wrong(&self, what: &str) {
        self.found.add(self.place, what);
    }

    /// Something is wrong at a place.
    pub(super) fn wrong_at(&self, place: &Place, what: &str) {
        self.found.add(place, what);
    }

    /// Keys that nobody has taken are wrong.
    pub(super) fn end(self) {
        let unknown = self.map.entries.iter().filter(|entry| {
            let known = self.known.iter().any(|key| *key == entry.key);
            !known
        });
        for entry in unknown {
            let problem =
                Problem::error(&entry.place, format!("unknown key {}", quote(&entry.key)));
            let meant = nearest(&entry.key, self.known.iter().copied());
            let advice = match meant {
                Some(key) => format!("did you mean {key}?"),
                None => format!("the keys here are {}", self.known.join(", ")),
            };
            self.found.push(problem.advise(advice));
        }
    }

    fn take(&mut self, key: &'static str) -> Option<&'a Entry> {
        self.known.push(key);
        let entry = self.map.entry(key)?;
        if entry.node.value == Value::Null {
            self.found.add(&entry.place, format!("{key}: nothing is given"));
            return None;
        }
        Some(entry)
    }

    fn misfit(&self, entry: &Entry, expected: &str) {
        let Entry { key, node, .. } = entry;
        let what = format!("{key}: expected {expected}, found {}", node.value.noun());
        self.found.add(&node.place, what);
    }
}
