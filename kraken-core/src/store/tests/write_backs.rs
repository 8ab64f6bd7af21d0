//! Which backends a blob is still to be written to.

use std::fs;

use super::{Fixture, HELLO, put};
use crate::store::{Sidecar, limits};
use crate::{Algorithm, Digest, ErrorKind, Namespace};

fn namespaces(names: &[&str]) -> Vec<Namespace> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

#[test]
fn each_namespace_stays_until_its_own_write_back_ends() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let digest = put(&store, HELLO);
    let file = fixture.cached(&digest).join("_namespace");
    assert!(store.write_backs(&digest).unwrap().is_empty());
    let names = namespaces(&["one/app", "two\nlines 100%0A%25", "", "ä"]);
    for _ in 0..2 {
        for name in &names {
            store.add_write_back(&digest, name).unwrap();
        }
    }
    assert_eq!(store.write_backs(&digest).unwrap(), names);
    assert_eq!(fs::read_to_string(&file).unwrap(), "one/app\ntwo%0Alines 100%250A%2525\n\nä");
    drop(store);
    let store = fixture.open();
    assert_eq!(store.write_backs(&digest).unwrap(), names);
    assert!(!store.end_write_back(&digest, &namespaces(&["other"])[0]).unwrap());
    for (done, name) in names.iter().enumerate() {
        assert_eq!(store.persist_pending(), [digest]);
        assert!(store.end_write_back(&digest, name).unwrap());
        assert!(!store.end_write_back(&digest, name).unwrap());
        assert_eq!(store.write_backs(&digest).unwrap(), names[done + 1..]);
    }
    assert!(store.persist_pending().is_empty());
    assert!(store.delete(&digest, false).unwrap());
    let gone = store.add_write_back(&digest, &names[0]).unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotFound);
    assert!(store.write_backs(&Digest::sha256(b"")).unwrap().is_empty());
}

#[test]
fn what_was_pending_before_is_not_pending_again() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let digest = put(&store, HELLO);
    let names = namespaces(&["one", "two"]);
    store.add_write_back(&digest, &names[0]).unwrap();
    store.end_write_back(&digest, &names[0]).unwrap();
    store.add_write_back(&digest, &names[1]).unwrap();
    assert_eq!(store.write_backs(&digest).unwrap(), names[1..]);
}

#[test]
fn a_blob_of_uber_krakens_is_pending_for_no_namespace_in_particular() {
    let fixture = Fixture::new();
    let digest = put(&fixture.open(), HELLO);
    fs::write(fixture.cached(&digest).join("_persist"), b"true").unwrap();
    let store = fixture.open();
    assert_eq!(store.write_backs(&digest).unwrap(), namespaces(&[""]));
    store.add_write_back(&digest, &namespaces(&["one"])[0]).unwrap();
    assert_eq!(store.write_backs(&digest).unwrap(), namespaces(&["", "one"]));
}

#[test]
fn two_uploads_of_one_blob_are_written_back_to_both_namespaces() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let digest = Digest::sha256(HELLO);
    let names = namespaces(&["one", "two"]);
    // The order of the sidecars does not count.
    for (number, name) in names.iter().enumerate() {
        let upload = store.create_upload(Algorithm::Sha256).unwrap();
        upload.append(HELLO).unwrap();
        let mut sidecars = [Sidecar::namespace(name), Sidecar::persist()];
        sidecars.rotate_left(number);
        upload.commit(&digest, &sidecars).unwrap();
    }
    assert_eq!(store.write_backs(&digest).unwrap(), names);
}

#[test]
fn a_line_that_cannot_be_read_is_kept() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let digest = put(&store, HELLO);
    let file = fixture.cached(&digest).join("_namespace");
    let names = namespaces(&["one", "two"]);
    store.add_write_back(&digest, &names[0]).unwrap();
    fs::write(&file, b"one\n\xff\xff").unwrap();
    assert_eq!(store.write_backs(&digest).unwrap(), names[..1]);
    store.add_write_back(&digest, &names[1]).unwrap();
    for name in &names {
        assert!(store.end_write_back(&digest, name).unwrap());
    }
    assert_eq!(fs::read(&file).unwrap(), b"\xff\xff");
    assert_eq!(store.write_backs(&digest).unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(store.persist_pending(), [digest]);
}

#[test]
fn more_namespaces_than_a_sidecar_holds_are_refused_for_the_time_being() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let digest = put(&store, HELLO);
    let name = |number: usize| format!("{number:0>1000}").parse::<Namespace>().unwrap();
    let fit = limits::SIDECAR_BYTES_MAX / 1001;
    for number in 0..fit {
        store.add_write_back(&digest, &name(number)).unwrap();
    }
    let refused = store.add_write_back(&digest, &name(fit)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable);
    assert_eq!(store.write_backs(&digest).unwrap().len(), fit);
    store.end_write_back(&digest, &name(0)).unwrap();
    store.add_write_back(&digest, &name(fit)).unwrap();
}
