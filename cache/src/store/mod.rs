//! Where objects lie: bytes by key, in S3, in a directory, in memory, or behind a sidecar.
//!
//! Keys are `/`-separated segments of `A-Z a-z 0-9 . _ - ~`, none beginning with a dot, at most 900 bytes in all.
//! No key may be a whole leading part of another (`a` and `a/b`): a directory cannot hold both.

mod directory;
mod http;
mod memory;
mod open;
mod s3;

use std::{future::Future, ops::Range, time::SystemTime};

use bytes::Bytes;

pub use self::{
    directory::Directory,
    http::Http,
    memory::Memory,
    open::{AnyStore, Credentials, open},
    s3::S3,
};
pub use crate::error::Error;

/// The longest key: S3 takes 1,024 bytes, and a prefix in the bucket comes on top.
pub const MAX_KEY: usize = 900;

/// How many objects [`list_all`] asks for at once, as many as S3 gives.
const PAGE: usize = 1000;

/// An opaque version of an object's content, as [`Store::put_if_match`] wants it back.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Etag(pub(crate) String);

/// An object, or the part of it that was asked for.
#[derive(Clone, Debug)]
pub struct Object {
    /// The content.
    pub bytes: Bytes,
    /// The version; none when only a part was read.
    pub etag: Option<Etag>,
    /// When it was last written, by the store's clock; none where the store does not say.
    pub modified: Option<SystemTime>,
}

/// One line of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The object's whole key.
    pub key: String,
    /// Its size in bytes.
    pub size: u64,
    /// When it was last written, by the store's clock.
    pub modified: SystemTime,
}

/// Bytes by key. A reader sees an object whole or not at all, and what was put is there for every later reader.
pub trait Store: Clone + Send + Sync + 'static {
    /// Gives an object, or the bytes of `range` that it has (so none beyond its end); `None` when there is no such
    /// object. Never reads more than the range into memory, whatever the store answers.
    fn get(&self, key: &str, range: Option<Range<u64>>) -> impl Future<Output = Result<Option<Object>, Error>> + Send;

    /// Writes an object, over any earlier one.
    fn put(&self, key: &str, bytes: Bytes) -> impl Future<Output = Result<Etag, Error>> + Send;

    /// Writes an object where none is; `None` when there is one already, which stays.
    fn put_if_absent(&self, key: &str, bytes: Bytes) -> impl Future<Output = Result<Option<Etag>, Error>> + Send;

    /// Writes an object over the version `etag`; `None` when it has changed or is gone.
    fn put_if_match(
        &self,
        key: &str,
        bytes: Bytes,
        etag: &Etag,
    ) -> impl Future<Output = Result<Option<Etag>, Error>> + Send;

    /// Lists at most `limit` objects whose keys begin with `prefix` and come after `after` (empty: from the first),
    /// in the order of the keys' bytes.
    fn list(&self, prefix: &str, after: &str, limit: usize) -> impl Future<Output = Result<Vec<Entry>, Error>> + Send;

    /// Makes an object as young as one written now, without sending its content; `false` when there is none.
    fn touch(&self, key: &str) -> impl Future<Output = Result<bool, Error>> + Send;

    /// Removes an object; one that is not there is fine.
    fn delete(&self, key: &str) -> impl Future<Output = Result<(), Error>> + Send;
}

/// Lists every object whose key begins with `prefix`, in the order of the keys' bytes.
pub async fn list_all<S: Store>(store: &S, prefix: &str) -> Result<Vec<Entry>, Error> {
    let mut entries: Vec<Entry> = Vec::new();
    loop {
        let after = entries.last().map_or("", |entry| entry.key.as_str());
        let page = store.list(prefix, after, PAGE).await?;
        let last = page.len() < PAGE;
        entries.extend(page);
        if last {
            return Ok(entries);
        }
    }
}

/// Refuses a key that breaks the rules of the module's page, so that no store needs to think of `..` again.
pub(crate) fn check_key(key: &str) -> Result<(), Error> {
    let error = |reason| Error::Name { what: "object", name: key.chars().take(MAX_KEY).collect(), reason };
    if key.len() > MAX_KEY {
        return Err(error("is longer than 900 bytes"));
    }
    for segment in key.split('/') {
        if segment.is_empty() || segment.starts_with('.') || segment.len() > 255 {
            return Err(error("has a segment that is empty, begins with a dot or is longer than 255 bytes"));
        }
    }
    check_alphabet(key).map_err(error)
}

/// Refuses a prefix that no key could have; an empty one, or one that ends in the middle of a segment, is fine.
pub(crate) fn check_prefix(prefix: &str) -> Result<(), Error> {
    let error = |reason| Error::Name { what: "prefix", name: prefix.chars().take(MAX_KEY).collect(), reason };
    if prefix.starts_with(['/', '.']) || prefix.contains("/.") || prefix.contains("//") {
        return Err(error("has a segment that is empty or begins with a dot"));
    }
    check_alphabet(prefix).map_err(error)
}

fn check_alphabet(text: &str) -> Result<(), &'static str> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-~/".contains(&byte);
    if text.bytes().all(allowed) { Ok(()) } else { Err("has a character other than A-Z a-z 0-9 . _ - ~ /") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_could_leave_the_store_are_refused() {
        for key in ["", "/", "/a", "a/", "a//b", "..", "a/../b", ".tmp/x", "a/.b", "a\0b", "a b", "ä", "a\\b", "%2e"] {
            assert!(check_key(key).is_err(), "{key:?}");
        }
        assert!(check_key(&"a/".repeat(500)).is_err());
        assert!(check_key(&"a".repeat(256)).is_err());
        for key in ["a", "v1/7/protected/refs/a~2fb/00-1", "a.b", "jobs/1"] {
            assert!(check_key(key).is_ok(), "{key:?}");
        }
    }
}
