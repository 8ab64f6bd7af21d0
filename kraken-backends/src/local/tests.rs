//! The local disk against the suite, and what only a disk can do wrong.

use bytes::Bytes;

use super::*;
use crate::source::BytesSource;
use crate::suite;

fn namespace() -> Namespace {
    "library/nginx".parse().unwrap()
}

#[tokio::test]
async fn passes_the_suite_with_plain_names() {
    let dir = tempfile::tempdir().unwrap();
    let disk = LocalDisk::open(dir.path(), Layout::Identity).await.unwrap();
    suite::blob_backend(&disk, &suite::plain_names).await;
}

#[tokio::test]
async fn passes_the_suite_with_digests() {
    let dir = tempfile::tempdir().unwrap();
    let disk = LocalDisk::open(dir.path(), Layout::ShardedDockerBlob).await.unwrap();
    suite::blob_backend(&disk, &suite::digest_names).await;
}

#[tokio::test]
async fn passes_the_suite_with_tags() {
    let dir = tempfile::tempdir().unwrap();
    let disk = LocalDisk::open(dir.path(), Layout::DockerTag).await.unwrap();
    suite::blob_backend(&disk, &suite::tag_names).await;
}

#[tokio::test]
async fn an_upload_that_fails_or_is_dropped_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let disk = LocalDisk::open(dir.path(), Layout::Identity).await.unwrap();
    let name = "a/b".parse().unwrap();
    let error = disk.upload(&namespace(), &name, &suite::BrokenSource).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let namespace = namespace();
    let stuck = disk.upload(&namespace, &name, &suite::StuckSource);
    let waited = tokio::time::timeout(std::time::Duration::from_millis(50), stuck).await;
    assert!(waited.is_err());
    assert_eq!(std::fs::read_dir(dir.path().join(TEMPORARY)).unwrap().count(), 0);
    assert!(!dir.path().join("a").exists());
}

#[tokio::test]
async fn a_reader_keeps_the_version_it_opened() {
    let dir = tempfile::tempdir().unwrap();
    let disk = LocalDisk::open(dir.path(), Layout::Identity).await.unwrap();
    let name = "a".parse().unwrap();
    let old = vec![1; 2 << 20];
    disk.upload(&namespace(), &name, &BytesSource::new(old.clone())).await.unwrap();
    let mut stream = disk.download(&namespace(), &name, None, None).await.unwrap();
    let first = stream.try_next().await.unwrap().unwrap();
    disk.upload(&namespace(), &name, &BytesSource::new(vec![2; 2 << 20])).await.unwrap();
    let rest: Vec<Bytes> = stream.try_collect().await.unwrap();
    assert_eq!([first.to_vec(), rest.concat()].concat(), old);
}

#[tokio::test]
async fn a_deleted_directory_makes_room_for_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let disk = LocalDisk::open(dir.path(), Layout::Identity).await.unwrap();
    let (below, above) = ("a/b/c".parse().unwrap(), "a".parse().unwrap());
    let source = BytesSource::new("x");
    disk.upload(&namespace(), &below, &source).await.unwrap();
    assert_eq!(disk.stat(&namespace(), &above).await.unwrap_err().kind(), ErrorKind::NotFound);
    disk.delete(&namespace(), &below).await.unwrap();
    disk.upload(&namespace(), &above, &source).await.unwrap();
    assert_eq!(disk.stat(&namespace(), &below).await.unwrap_err().kind(), ErrorKind::NotFound);
    disk.delete(&namespace(), &below).await.unwrap();
}

#[tokio::test]
async fn uploads_and_deletes_of_neighbours_do_not_lose_a_directory() {
    let dir = tempfile::tempdir().unwrap();
    let disk = LocalDisk::open(dir.path(), Layout::Identity).await.unwrap();
    let namespace = namespace();
    let names: Vec<ObjectName> = (0..4).map(|n| format!("d/e/{n}").parse().unwrap()).collect();
    let source = BytesSource::new("x");
    let workers = names.iter().map(|name| async {
        for _ in 0..20 {
            disk.upload(&namespace, name, &source).await.unwrap();
            disk.delete(&namespace, name).await.unwrap();
        }
    });
    futures_util::future::join_all(workers).await;
}

#[tokio::test]
async fn leftovers_of_a_crash_are_swept_after_a_day() {
    let dir = tempfile::tempdir().unwrap();
    let temporary = dir.path().join(TEMPORARY);
    std::fs::create_dir_all(&temporary).unwrap();
    let (old, new) = (temporary.join("old"), temporary.join("new"));
    for path in [&old, &new] {
        std::fs::write(path, "x").unwrap();
    }
    let long_ago = SystemTime::now() - limits::TEMPORARY_AGE_MAX * 2;
    File::options().write(true).open(&old).unwrap().set_modified(long_ago).unwrap();
    let disk = LocalDisk::open(dir.path(), Layout::Identity).await.unwrap();
    assert!(!old.exists() && new.exists());
    let inside = format!("{TEMPORARY}/new").parse().unwrap();
    assert_eq!(disk.stat(&namespace(), &inside).await.unwrap_err().kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn files_that_are_no_objects_are_not_listed() {
    let dir = tempfile::tempdir().unwrap();
    let disk = LocalDisk::open(dir.path(), Layout::DockerTag).await.unwrap();
    let name = "a/b:c".parse().unwrap();
    disk.upload(&namespace(), &name, &BytesSource::new("x")).await.unwrap();
    let tags = dir.path().join("docker/registry/v2/repositories/a/b/_manifests/tags/c");
    std::fs::create_dir_all(tags.join("index/sha256/00")).unwrap();
    std::fs::write(tags.join("index/sha256/00/link"), "x").unwrap();
    std::os::unix::fs::symlink(dir.path(), tags.join("loop")).unwrap();
    let page = disk.list(&namespace(), "", &Page::first()).await.unwrap();
    assert_eq!(page, ListPage { names: vec![name], next: None });
}
