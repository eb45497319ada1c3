//! A store whose calls fail at once when they are no longer wanted.
//!
//! Who works on files meanwhile then comes to an orderly end by itself: dropping its future would leave its threads
//! writing.

use bytes::Bytes;
use std::ops::Range;
use tokio_util::sync::CancellationToken;
use warmstart_cache::Error;
use warmstart_cache::store::{AnyStore, Entry, Etag, Object, Store};

/// The store, and what ends its calls.
#[derive(Clone, Debug)]
pub struct Stoppable {
    /// The store.
    pub store: AnyStore,
    /// Fires when no call is wanted any more.
    pub stop: CancellationToken,
}

impl Stoppable {
    async fn call<T>(&self, call: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Err(stopped()),
            answer = call => answer,
        }
    }
}

fn stopped() -> Error {
    Error::Refused {
        action: "use the store".to_owned(),
        reason: "it is no longer wanted".to_owned(),
        retryable: true,
        source: None,
    }
}

impl Store for Stoppable {
    async fn get(&self, key: &str, range: Option<Range<u64>>) -> Result<Option<Object>, Error> {
        self.call(self.store.get(key, range)).await
    }

    async fn put(&self, key: &str, bytes: Bytes) -> Result<Etag, Error> {
        self.call(self.store.put(key, bytes)).await
    }

    async fn put_if_absent(&self, key: &str, bytes: Bytes) -> Result<Option<Etag>, Error> {
        self.call(self.store.put_if_absent(key, bytes)).await
    }

    async fn put_if_match(&self, key: &str, bytes: Bytes, etag: &Etag) -> Result<Option<Etag>, Error> {
        self.call(self.store.put_if_match(key, bytes, etag)).await
    }

    async fn list(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<Entry>, Error> {
        self.call(self.store.list(prefix, after, limit)).await
    }

    async fn touch(&self, key: &str) -> Result<bool, Error> {
        self.call(self.store.touch(key)).await
    }

    async fn delete(&self, key: &str) -> Result<(), Error> {
        self.call(self.store.delete(key)).await
    }
}
