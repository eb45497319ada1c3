//! The objects of all buckets, in memory.

use std::{
    collections::BTreeMap,
    sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use bytes::Bytes;
use jiff::Timestamp;

/// One object.
#[derive(Clone, Debug)]
pub(super) struct Object {
    /// What it holds; cloning it copies nothing.
    pub(super) bytes: Bytes,
    /// Differs for every write.
    pub(super) etag: String,
    pub(super) modified: Timestamp,
}

/// Objects by bucket and key, `bucket/key`.
#[derive(Debug, Default)]
pub(super) struct Objects(RwLock<BTreeMap<String, Object>>);

impl Objects {
    pub(super) fn get(&self, name: &str) -> Option<Object> {
        self.read().get(name).cloned()
    }

    /// Stores the bytes if what is there now, if anything, is admitted.
    pub(super) fn put(&self, name: &str, bytes: Bytes, admit: impl Fn(Option<&Object>) -> bool) -> Option<Object> {
        let mut objects = self.write();
        if !admit(objects.get(name)) {
            return None;
        }
        let modified = Timestamp::now();
        let object = Object { bytes, etag: format!("\"{:032x}\"", modified.as_nanosecond()), modified };
        objects.insert(name.to_owned(), object.clone());
        Some(object)
    }

    pub(super) fn remove(&self, name: &str) {
        self.write().remove(name);
    }

    pub(super) fn clear(&self) {
        self.write().clear();
    }

    /// Gives the bytes of all objects.
    pub(super) fn size(&self) -> u64 {
        self.read().values().map(|object| object.bytes.len() as u64).sum()
    }

    /// Calls `visit` with all names that begin with `prefix` and come after `after`, in order, until it returns false.
    pub(super) fn scan(&self, prefix: &str, after: &str, mut visit: impl FnMut(&str, &Object) -> bool) {
        let objects = self.read();
        for (name, object) in objects.range(prefix.max(after).to_owned()..) {
            if !name.starts_with(prefix) {
                break;
            }
            if (name.as_str() > after || after.is_empty()) && !visit(name, object) {
                break;
            }
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<String, Object>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<String, Object>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}
