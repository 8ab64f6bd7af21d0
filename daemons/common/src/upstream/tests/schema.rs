//! The schema: every key can be read, defaults are right, the documentation is what it says.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::time::Duration;

use regex::Regex;

use super::super::schema::{Kind, Table};
use super::*;

/// Reads every key below `section` as the types that its kind is read as.
fn read_all(section: &Section<'_>, table: &'static Table) {
    for key in table.keys {
        let name = key.name;
        // No key holds a value that its type cannot, the defaults above all.
        match &key.kind {
            Kind::Bool => drop(section.optional::<bool>(name).unwrap()),
            Kind::Integer => drop(section.optional::<u32>(name).unwrap()),
            Kind::Float => drop(section.optional::<f64>(name).unwrap()),
            Kind::Text | Kind::Host => drop(section.optional::<String>(name).unwrap()),
            Kind::Path => drop(section.optional::<PathBuf>(name).unwrap()),
            Kind::Duration => drop(section.optional::<Duration>(name).unwrap()),
            Kind::Size => drop(section.optional::<u64>(name).unwrap()),
            Kind::Regex => drop(section.optional::<Regex>(name).unwrap()),
            Kind::Cidr => drop(section.optional::<Cidr>(name).unwrap()),
            Kind::Choice(_) => drop(section.optional::<&'static str>(name).unwrap()),
            Kind::Table(inner) => read_all(&section.section(name), inner),
            Kind::List(Kind::Table(_)) => assert!(section.sections(name).is_empty()),
            Kind::List(Kind::Cidr) => drop(section.optional::<Vec<Cidr>>(name).unwrap()),
            Kind::List(_) => drop(section.optional::<Vec<String>>(name).unwrap()),
            Kind::Map(_, Kind::Table(_)) => assert!(section.named_sections(name).is_empty()),
            Kind::Map(_, Kind::Size) => {
                drop(section.optional::<BTreeMap<u64, u64>>(name).unwrap());
            }
            Kind::Map(..) => {
                drop(section.optional::<BTreeMap<String, Vec<String>>>(name).unwrap());
            }
            Kind::Free => assert_eq!(section.origin(name), Origin::Unset),
        }
    }
}

/// Every table, once.
fn tables() -> Vec<&'static Table> {
    fn walk(kind: &'static Kind, found: &mut Vec<&'static Table>) {
        match kind {
            Kind::Table(table) => add(table, found),
            Kind::List(item) => walk(item, found),
            Kind::Map(key, value) => {
                walk(key, found);
                walk(value, found);
            }
            _ => {}
        }
    }
    fn add(table: &'static Table, found: &mut Vec<&'static Table>) {
        if !found.iter().any(|known| std::ptr::eq(*known, table)) {
            found.push(table);
            table.keys.iter().for_each(|key| walk(&key.kind, found));
        }
    }
    let mut found = Vec::new();
    RoleName::ALL.iter().for_each(|role| add(role.schema(), &mut found));
    found
}

#[test]
fn every_key_can_be_read() {
    for role in RoleName::ALL {
        let settings = Settings::parse(role, "empty", "").unwrap();
        // Backends hold backends; their tables are read as parts of a list, from which nothing
        // comes here. They are covered by the defaults below.
        read_all(&settings.root(), role.schema());
    }
}

#[test]
fn every_default_is_of_its_kind() {
    for table in tables() {
        for key in table.keys {
            let Some(default) = key.default else { continue };
            assert!(!matches!(key.kind, Kind::Table(_) | Kind::Free), "{}", key.name);
            let text = format!("{}: {default}", key.name);
            let document = Document::parse(Path::new("default"), &text).unwrap();
            let problems = super::super::checking::check(&document, table, false);
            assert!(problems.is_empty(), "{problems}");
        }
    }
}

#[test]
fn tables_are_in_order() {
    let mut headings = HashSet::new();
    for table in tables() {
        let names: HashSet<&str> = table.keys.iter().map(|key| key.name).collect();
        assert_eq!(names.len(), table.keys.len(), "a key of {names:?} is there twice");
        for name in table.exclusive {
            assert!(names.contains(name), "{name}");
        }
        for key in table.keys {
            assert!(key.about.ends_with('.') || key.about.ends_with('…'), "{}", key.about);
        }
        assert!(table.heading.is_none_or(|heading| headings.insert(heading)), "{names:?}");
    }
    for role in RoleName::ALL {
        assert_eq!(RoleName::from_name(role.as_str()), Some(role));
        assert_eq!(role.to_string(), role.as_str());
    }
    assert_eq!(RoleName::from_name("herd"), None);
}

#[test]
#[should_panic(expected = "no key")]
fn a_path_that_is_not_in_the_schema_is_a_mistake() {
    let settings = Settings::parse(RoleName::Proxy, "empty", "").unwrap();
    let _ = settings.root().value::<bool>("tls.server.enabled");
}

#[test]
#[should_panic(expected = "read as something else")]
fn a_type_that_a_key_does_not_hold_is_a_mistake() {
    let settings = Settings::parse(RoleName::Proxy, "empty", "").unwrap();
    let _ = settings.root().value::<Duration>("tls.server.disabled");
}

#[test]
fn the_documentation_has_every_key() {
    const MARK: &str = "<!-- What follows is made from the schema";
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/CONFIGURATION.md");
    let written = std::fs::read_to_string(&file).unwrap();
    let (by_hand, rest) = written.split_once(MARK).expect("the mark of what is made");
    let mark_end = rest.find('\n').unwrap() + 1;
    let made = format!("{by_hand}{MARK}{}{}", &rest[..mark_end], tables_markdown());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&file, &made).unwrap();
    } else {
        assert!(
            made == written,
            "docs/CONFIGURATION.md is not what the schema says; run this test with UPDATE_DOCS=1"
        );
    }
}
