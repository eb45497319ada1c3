//! Refs: which manifest a key stands for. A save adds one, nothing ever changes one.
//!
//! A ref's name begins with its time, counted down, so the first in a listing is the newest; a random end keeps two
//! saves in one millisecond apart. It says whose it is, and a reader checks that: two refs that were exchanged in
//! the store are damage, not another tree. A tombstone, a ref without a manifest, ends a key.

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    deadline::Deadline,
    digest::Digest,
    error::Error,
    manifest::Totals,
    scope::{Key, Scope},
    store::Store,
};

/// The largest ref.
const MAX_SIZE: u64 = 16 << 10;
/// Refs read at the same time.
pub(crate) const CONNECTIONS: usize = 16;
/// Refs listed at a time, as many as S3 gives.
const PAGE: usize = 1000;
/// Times are counted down from here, the year 2286.
const END_OF_TIME: i64 = 9_999_999_999_999;

/// A key's content at a time.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Reference {
    pub(crate) scope: Scope,
    pub(crate) key: Key,
    /// Absent in a tombstone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    manifest: Option<String>,
    /// RFC 3339, by the writer's clock.
    created: String,
    pub(crate) files: u64,
    pub(crate) bytes: u64,
    /// Program and version.
    pub(crate) writer: String,
}

impl Reference {
    pub(crate) fn new(scope: &Scope, key: &Key, manifest: &Digest, totals: &Totals) -> Self {
        let (files, bytes) = (totals.files, totals.bytes);
        Self { manifest: Some(manifest.to_string()), files, bytes, ..Self::tombstone(scope, key) }
    }

    /// Gives the ref that ends a key.
    pub(crate) fn tombstone(scope: &Scope, key: &Key) -> Self {
        Self {
            scope: scope.clone(),
            key: key.clone(),
            manifest: None,
            created: to_the_millisecond(Timestamp::now()).to_string(),
            files: 0,
            bytes: 0,
            writer: concat!("warmstart-cache ", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }

    /// Gives the manifest; `None` for a tombstone.
    pub(crate) fn manifest(&self) -> Result<Option<Digest>, &'static str> {
        self.manifest.as_deref().map(str::parse).transpose()
    }

    pub(crate) fn created(&self) -> Option<Timestamp> {
        self.created.parse().ok()
    }

    /// Writes the ref, before all earlier ones of the key: the moment a save becomes visible.
    pub(crate) async fn put<S: Store>(&self, store: &S, deadline: &Deadline) -> Result<(), Error> {
        let prefix = self.scope.refs(&self.key);
        let there = deadline.within("look for the key", store.list(&prefix, "", 1)).await?;
        let newest = there.first().map_or("", |entry| &entry.key[prefix.len()..]);
        let name = format!("{prefix}{}", name(newest, Timestamp::now(), rand::random()));
        self.put_as(&name, store, deadline).await
    }

    /// Writes the ref under a name. If that is there already, an earlier try wrote it and its answer was lost.
    pub(crate) async fn put_as<S: Store>(&self, name: &str, store: &S, deadline: &Deadline) -> Result<(), Error> {
        let text = serde_json::to_vec_pretty(self).map_err(|error| Error::damaged(name, error.to_string()))?;
        deadline.within("write the ref", store.put_if_absent(name, Bytes::from(text))).await.map(|_| ())
    }
}

fn to_the_millisecond(time: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(time.as_millisecond()).unwrap_or(time)
}

/// Gives the name of a ref that comes before `newest` in a listing, also if the clock that wrote that was ahead.
fn name(newest: &str, time: Timestamp, random: u64) -> String {
    let left = END_OF_TIME.saturating_sub(time.as_millisecond());
    let limit = newest.split_once('-').and_then(|(left, _)| left.parse::<i64>().ok()).unwrap_or(END_OF_TIME);
    format!("{:013}-{random:016x}", left.min(limit - 1).max(0))
}

/// Gives the name of the tombstone that ends a key with this ref, but no save after it, not even one whose ref is
/// being written now; `None` where no name comes between.
pub(crate) fn name_of_end(last: &str) -> Option<String> {
    let (key, last) = last.rsplit_once('/')?;
    let left: i64 = last.split_once('-')?.0.parse().ok()?;
    let name = format!("{:013}-{:016x}", left - 1, u64::MAX);
    (left > 0 && name.as_str() < last).then(|| format!("{key}/{name}"))
}

/// Finds the newest ref of a key: `None` if there is none or it is a tombstone.
pub(crate) async fn newest<S: Store>(
    store: &S,
    scope: &Scope,
    key: &Key,
    deadline: &Deadline,
) -> Result<Option<(Reference, Digest)>, Error> {
    let listing = deadline.within("look for the key", store.list(&scope.refs(key), "", 1)).await?;
    let Some(entry) = listing.first() else { return Ok(None) };
    let found = read(store, &entry.key, deadline).await?;
    if found.scope != *scope || found.key != *key {
        return Err(Error::damaged(&entry.key, format!("is the ref of {} in {}", found.key, found.scope)));
    }
    let manifest = found.manifest().map_err(|reason| Error::damaged(&entry.key, reason))?;
    Ok(manifest.map(|digest| (found, digest)))
}

/// Gives the name of the newest ref of each key whose refs begin with `prefix`, in the order of the keys' object
/// names.
pub(crate) async fn newest_of_each<S: Store>(
    store: &S,
    prefix: &str,
    deadline: &Deadline,
) -> Result<Vec<String>, Error> {
    let mut newest: Vec<String> = Vec::new();
    let mut after = String::new();
    loop {
        let page = deadline.within("list the caches", store.list(prefix, &after, PAGE)).await?;
        for entry in &page {
            if newest.last().is_none_or(|last| key_of(last) != key_of(&entry.key)) {
                newest.push(entry.key.clone());
            }
        }
        match newest.last() {
            // Behind all refs of the last key: their own names are digits and dashes, `~` comes after those.
            Some(last) if page.len() == PAGE => after = format!("{}/~", key_of(last)),
            _ => return Ok(newest),
        }
    }
}

fn key_of(name: &str) -> &str {
    name.rsplit_once('/').map_or(name, |(key, _)| key)
}

/// Reads a ref found in a listing, and checks that it is what its place says.
pub(crate) async fn read_in<S: Store>(
    store: &S,
    scope: &Scope,
    name: String,
    deadline: &Deadline,
) -> Result<(Reference, Option<Digest>), Error> {
    let found = read(store, &name, deadline).await?;
    if found.scope != *scope || !name.starts_with(&scope.refs(&found.key)) {
        return Err(Error::damaged(name, format!("is the ref of {} in {}", found.key, found.scope)));
    }
    match found.manifest() {
        Ok(manifest) => Ok((found, manifest)),
        Err(reason) => Err(Error::damaged(name, reason)),
    }
}

pub(crate) async fn read<S: Store>(store: &S, name: &str, deadline: &Deadline) -> Result<Reference, Error> {
    find(store, name, deadline).await?.ok_or_else(|| Error::damaged(name, "is gone"))
}

/// Reads a ref, if there is one of this name.
pub(crate) async fn find<S: Store>(store: &S, name: &str, deadline: &Deadline) -> Result<Option<Reference>, Error> {
    let object = deadline.within("read the ref", store.get(name, Some(0..MAX_SIZE + 1))).await?;
    let Some(object) = object else { return Ok(None) };
    if object.bytes.len() as u64 > MAX_SIZE {
        return Err(Error::damaged(name, "is too large for a ref"));
    }
    let found = serde_json::from_slice(&object.bytes);
    found.map(Some).map_err(|error| Error::damaged(name, format!("is no ref: {error}")))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_later_ref_comes_first() {
        let at = |millisecond| name("", Timestamp::from_millisecond(millisecond).unwrap(), 7);
        let names = [at(1_900_000_000_001), at(1_900_000_000_000), at(1_700_000_000_000), at(0)];
        assert!(names.is_sorted());
        assert_eq!(names[1], "8099999999999-0000000000000007");
    }

    #[test]
    fn a_ref_written_by_a_clock_ahead_does_not_hide_the_next_save() {
        let now = Timestamp::from_millisecond(1_800_000_000_000).unwrap();
        let ahead = name("", Timestamp::from_millisecond(1_800_003_600_000).unwrap(), 0);
        assert!(name(&ahead, now, u64::MAX) < ahead);
        assert_eq!(name("0000000000000-00", now, 1), "0000000000000-0000000000000001");
        assert_eq!(name("nonsense", now, 1), name("", now, 1));
    }

    #[test]
    fn an_end_comes_before_the_ref_it_ends_and_behind_every_later_save() {
        let last = "refs/k/8099999999999-0123456789abcdef";
        let end = name_of_end(last).unwrap();
        assert_eq!(end, "refs/k/8099999999998-ffffffffffffffff");
        let later = Timestamp::from_millisecond(END_OF_TIME - 8_099_999_999_998).unwrap();
        assert!(format!("refs/k/{}", name("8099999999999-0123456789abcdef", later, u64::MAX - 1)) < end);
        for odd in ["refs/k/0000000000000-0000000000000000", "refs/k/nonsense", "nonsense"] {
            assert_eq!(name_of_end(odd), None, "{odd}");
        }
    }
}
