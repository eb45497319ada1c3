//! What a scope has: its objects as the store lists them, and what its refs say.

use std::{collections::BTreeMap, time::SystemTime};

use serde::Serialize;

use crate::{
    deadline::Deadline,
    digest::Digest,
    error::Error,
    reference,
    scope::{Key, Scope},
    store::{Entry, Store},
};

/// Objects asked for at a time, as many as S3 gives.
const PAGE: usize = 1000;

/// A number of objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Amount {
    /// How many.
    pub objects: u64,
    /// Their bytes as they are stored.
    pub bytes: u64,
}

impl Amount {
    pub(crate) fn add(&mut self, bytes: u64) {
        *self += Self { objects: 1, bytes };
    }
}

impl std::ops::AddAssign for Amount {
    fn add_assign(&mut self, other: Self) {
        self.objects += other.objects;
        self.bytes = self.bytes.saturating_add(other.bytes);
    }
}

/// An object as it was listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) size: u64,
    /// When it was last written, by the store's clock.
    pub(crate) modified: SystemTime,
}

/// The objects of a scope.
#[derive(Debug, Default)]
pub(crate) struct Inventory {
    /// In the order of their names: key by key, the newest first.
    pub(crate) refs: Vec<(String, Stored)>,
    pub(crate) manifests: BTreeMap<Digest, Stored>,
    pub(crate) packs: BTreeMap<Digest, Stored>,
    /// What collections wrote to learn the store's time.
    pub(crate) clocks: Vec<(String, Stored)>,
    /// Names that this version of the format does not know.
    pub(crate) unknown: Vec<String>,
}

impl Inventory {
    pub(crate) async fn list<S: Store>(store: &S, scope: &Scope, deadline: &Deadline) -> Result<Self, Error> {
        let (prefix, mut inventory, mut after) = (scope.prefix(), Self::default(), String::new());
        loop {
            let page = deadline.within("list the scope", store.list(&prefix, &after, PAGE)).await?;
            let last = page.len() < PAGE;
            after = page.last().map_or(after, |entry| entry.key.clone());
            for entry in page {
                inventory.add(&prefix, entry);
            }
            if last {
                return Ok(inventory);
            }
        }
    }

    fn add(&mut self, prefix: &str, entry: Entry) {
        let stored = Stored { size: entry.size, modified: entry.modified };
        let (kind, name) = entry.key[prefix.len()..].split_once('/').unwrap_or_default();
        match (kind, name.parse()) {
            ("refs", _) => self.refs.push((entry.key, stored)),
            ("clocks", _) => self.clocks.push((entry.key, stored)),
            ("manifests", Ok(digest)) => drop(self.manifests.insert(digest, stored)),
            ("packs", Ok(digest)) => drop(self.packs.insert(digest, stored)),
            _ => self.unknown.push(entry.key),
        }
    }

    /// Gives everything that the format knows.
    pub(crate) fn objects(&self) -> impl Iterator<Item = &Stored> {
        let named = self.refs.iter().chain(&self.clocks).map(|(_, stored)| stored);
        named.chain(self.manifests.values()).chain(self.packs.values())
    }

    pub(crate) fn total(&self) -> Amount {
        let mut total = Amount::default();
        self.objects().for_each(|stored| total.add(stored.size));
        total
    }
}

/// A ref that says what its name says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    /// The object's name; names of one key sort the newest first.
    pub(crate) name: String,
    pub(crate) key: Key,
    pub(crate) stored: Stored,
    /// None in a tombstone.
    pub(crate) manifest: Option<Digest>,
}

impl Version {
    /// Reads a ref and checks whose it is; `None` if it is gone.
    pub(crate) async fn read<S: Store>(
        store: &S,
        scope: &Scope,
        (name, stored): (&str, Stored),
        deadline: &Deadline,
    ) -> Result<Option<Self>, Error> {
        let Some(found) = reference::find(store, name, deadline).await? else { return Ok(None) };
        let own = name.strip_prefix(&scope.refs(&found.key)).is_some_and(|name| !name.contains('/'));
        if found.scope != *scope || !own {
            return Err(Error::damaged(name, format!("is the ref of {} in {}", found.key, found.scope)));
        }
        let manifest = found.manifest().map_err(|reason| Error::damaged(name, reason))?;
        Ok(Some(Self { name: name.to_owned(), key: found.key, stored, manifest }))
    }
}
