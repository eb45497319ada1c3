//! What every store promises, checked on each kind.

#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::{os::unix::fs::PermissionsExt as _, process::Command};

use bytes::Bytes;
use futures_util::StreamExt as _;
use support::{moto::Moto, promises::check};
use warmstart_cache::store::{AnyStore, Credentials, Directory, Memory, Store, list_all, open};

#[tokio::test]
async fn memory_keeps_every_promise() {
    check(AnyStore::Memory(Memory::new())).await;
}

#[tokio::test]
async fn a_directory_keeps_every_promise() {
    let directory = tempfile::tempdir().unwrap();
    check(open(&format!("file://{}", directory.path().display()), None).await.unwrap()).await;
}

#[tokio::test]
async fn s3_keeps_every_promise() {
    let moto = Moto::start();
    check(moto.store("promises").await).await;
}

#[tokio::test]
async fn s3_lists_more_than_one_page() {
    let moto = Moto::start();
    let store = moto.store("pages").await;
    let put = |number| {
        let store = &store;
        async move { store.put(&format!("n/{number:04}"), Bytes::new()).await.unwrap() }
    };
    futures_util::stream::iter(0..1005).map(put).buffer_unordered(16).count().await;
    assert_eq!(list_all(&store, "n/").await.unwrap().len(), 1005);
    assert_eq!(store.list("n/", "n/0002", 1002).await.unwrap().len(), 1002);
}

#[tokio::test]
async fn a_missing_bucket_is_an_error_and_no_empty_store() {
    let moto = Moto::start();
    let store = open("s3://no-such-bucket", Some(&moto.credentials())).await.unwrap();
    let error = store.get("a", None).await.unwrap_err();
    assert!(error.to_string().contains("NoSuchBucket"), "{error}");
    assert!(!error.is_retryable());
}

#[tokio::test]
async fn a_refused_port_is_one_clear_retryable_error() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let credentials = Credentials {
        access_key_id: "a".into(),
        secret_access_key: "hush-hush".into(),
        endpoint: Some(format!("http://{free}")),
        ..Credentials::default()
    };
    assert!(!format!("{credentials:?}").contains("hush"));
    let store = open("s3://bucket", Some(&credentials)).await.unwrap();
    let error = store.get("a", None).await.unwrap_err();
    assert!(error.is_retryable());
    let text = error.to_string();
    assert!(text.contains("s3://bucket/a") && text.contains("refused") && !text.contains('\n'), "{text}");
}

#[tokio::test]
async fn addresses_that_name_no_store_are_refused() {
    for url in ["", "bucket", "ftp://x/y", "s3:///prefix", "file:///", "file://host/x", "s3://bucket/../x%20y"] {
        let error = open(url, None).await.unwrap_err().to_string();
        assert!(!error.contains('\n'), "{error}");
    }
}

#[tokio::test]
async fn what_a_directory_keeps_is_private() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("store");
    let store = Directory::open(&root).unwrap();
    store.put("jobs/1", "secret".into()).await.unwrap();
    store.put_if_absent("jobs/2", "secret".into()).await.unwrap();
    let mode = |path: &str| root.join(path).metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!([mode(""), mode("jobs"), mode("jobs/1"), mode("jobs/2")], [0o700, 0o700, 0o600, 0o600]);
    assert_eq!(std::fs::read_dir(root.join(".tmp")).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_writers_at_once_one_wins() {
    let directory = tempfile::tempdir().unwrap();
    let store = Directory::open(directory.path()).unwrap();
    for round in 0..20 {
        let key = format!("round/{round}");
        let etag = store.put(&key, "start".into()).await.unwrap();
        let swaps = (0..8).map(|n| {
            // Each with a handle of its own, as separate processes would have.
            let (store, key, etag) = (Directory::open(directory.path()).unwrap(), key.clone(), etag.clone());
            tokio::spawn(async move { store.put_if_match(&key, format!("{n}").into(), &etag).await.unwrap().is_some() })
        });
        let won = futures_util::future::join_all(swaps).await;
        assert_eq!(won.into_iter().filter(|won| *won.as_ref().unwrap()).count(), 1);
    }
}

#[tokio::test]
async fn what_killed_writers_left_is_not_listed_and_goes_after_a_day() {
    let directory = tempfile::tempdir().unwrap();
    let store = Directory::open(directory.path()).unwrap();
    let (old, young) = (directory.path().join(".tmp/put-old"), directory.path().join(".tmp/put-young"));
    std::fs::write(&old, "half").unwrap();
    std::fs::write(&young, "half").unwrap();
    assert!(Command::new("touch").args(["-d", "3 days ago"]).arg(&old).status().unwrap().success());
    assert!(list_all(&store, "").await.unwrap().is_empty());
    Directory::open(directory.path()).unwrap();
    assert!(!old.exists() && young.exists());
}
