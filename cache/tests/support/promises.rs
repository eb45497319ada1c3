//! What every store promises.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use bytes::Bytes;
use warmstart_cache::store::{AnyStore, Store, list_all};

/// The promises of [`Store`], one after the other, on an empty store.
pub async fn check(store: AnyStore) {
    reads_and_writes(&store).await;
    ages(&store).await;
    conditional_writes(&store).await;
    listings(&store).await;
    bad_keys(&store).await;
}

async fn reads_and_writes(store: &AnyStore) {
    assert!(store.get("a/b", None).await.unwrap().is_none());
    assert!(store.get("a/b", Some(0..10)).await.unwrap().is_none());
    let etag = store.put("a/b", Bytes::from_static(b"0123456789")).await.unwrap();
    let object = store.get("a/b", None).await.unwrap().unwrap();
    assert_eq!((&object.bytes[..], object.etag), (&b"0123456789"[..], Some(etag)));
    for (range, expected) in [(2..5, "234"), (8..100, "89"), (10..12, ""), (90..99, ""), (3..3, "")] {
        let part = store.get("a/b", Some(range.clone())).await.unwrap().unwrap();
        assert_eq!(part.bytes, expected, "{range:?}");
    }
    store.put("a/b", Bytes::from_static(b"")).await.unwrap();
    assert!(store.get("a/b", None).await.unwrap().unwrap().bytes.is_empty());
    assert!(store.get("a/b", Some(0..9)).await.unwrap().unwrap().bytes.is_empty());
    store.delete("a/b").await.unwrap();
    store.delete("a/b").await.unwrap();
    assert!(store.get("a/b", None).await.unwrap().is_none());
}

async fn ages(store: &AnyStore) {
    assert!(!store.touch("old").await.unwrap());
    store.put("old", Bytes::from_static(b"content")).await.unwrap();
    let written = store.get("old", Some(0..1)).await.unwrap().unwrap().modified.expect("every kind of store says it");
    assert_eq!(
        store.list("old", "", 1).await.unwrap()[0].modified.duration_since(written).unwrap_or_default().as_secs(),
        0
    );
    // S3 counts seconds.
    let touched = async || {
        assert!(store.touch("old").await.unwrap());
        store.get("old", None).await.unwrap().unwrap()
    };
    let mut object = touched().await;
    while object.modified == Some(written) {
        object = touched().await;
    }
    assert!(object.modified > Some(written));
    assert_eq!(object.bytes, "content");
    store.delete("old").await.unwrap();
}

async fn conditional_writes(store: &AnyStore) {
    let first = store.put_if_absent("lease", "one".into()).await.unwrap().expect("nothing was there");
    assert!(store.put_if_absent("lease", "two".into()).await.unwrap().is_none());
    let second = store.put_if_match("lease", "two".into(), &first).await.unwrap().expect("it was the first");
    assert!(store.put_if_match("lease", "three".into(), &first).await.unwrap().is_none());
    assert_eq!(store.get("lease", None).await.unwrap().unwrap().bytes, "two");
    store.delete("lease").await.unwrap();
    assert!(store.put_if_match("lease", "three".into(), &second).await.unwrap().is_none());
    assert!(store.get("lease", None).await.unwrap().is_none());
}

async fn listings(store: &AnyStore) {
    assert!(list_all(store, "").await.unwrap().is_empty());
    for key in ["x/b", "x/a", "x/a-1/z", "x/c/d/e", "y/a", "xx"] {
        store.put(key, Bytes::from(key)).await.unwrap();
    }
    let keys = |entries: Vec<warmstart_cache::store::Entry>| entries.into_iter().map(|e| e.key).collect::<Vec<_>>();
    assert_eq!(keys(list_all(store, "x/").await.unwrap()), ["x/a", "x/a-1/z", "x/b", "x/c/d/e"]);
    assert_eq!(keys(list_all(store, "x/a").await.unwrap()), ["x/a", "x/a-1/z"]);
    assert_eq!(keys(list_all(store, "").await.unwrap()).len(), 6);
    assert_eq!(keys(store.list("x/", "", 2).await.unwrap()), ["x/a", "x/a-1/z"]);
    assert_eq!(keys(store.list("x/", "x/a-1/z", 2).await.unwrap()), ["x/b", "x/c/d/e"]);
    assert!(list_all(store, "none/").await.unwrap().is_empty());
    let entry = &store.list("xx", "", 1).await.unwrap()[0];
    assert_eq!(entry.size, 2);
    assert!(entry.modified.elapsed().unwrap_or_default() < Duration::from_hours(1));
}

async fn bad_keys(store: &AnyStore) {
    for key in ["../x", "/etc/passwd", ".tmp/x", "a//b", "", "a b"] {
        assert!(store.put(key, Bytes::new()).await.is_err(), "{key}");
        assert!(store.get(key, None).await.is_err(), "{key}");
        assert!(store.delete(key).await.is_err(), "{key}");
    }
    assert!(store.list("../", "", 1).await.is_err());
}
