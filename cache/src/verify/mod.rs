//! Reading everything that is stored, to name what is damaged before somebody needs it.

mod blame;
mod claims;
mod manifests;
mod pack;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::Serialize;

use self::{
    claims::Frames,
    manifests::Uses,
    pack::{Found, State},
};
use crate::{
    collect::{Amount, CONNECTIONS, Cost, Counted, Inventory, Version},
    deadline::Deadline,
    digest::Digest,
    error::Error,
    options::Progress,
    scope::Scope,
    scopes::discover,
    store::Store,
};

/// Packs being read at a time; each holds at most 9 MiB of it, and a frame of at most 4.
const PACKS: usize = 4;

/// How to verify.
#[derive(Clone, Debug)]
pub struct VerifyOptions {
    /// After this long it fails.
    pub deadline: Duration,
    /// Counts the bytes read, scope by scope.
    pub progress: Progress,
}

impl Default for VerifyOptions {
    /// A day.
    fn default() -> Self {
        Self { deadline: Duration::from_hours(24), progress: Progress::default() }
    }
}

/// What a verification came to.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Verified {
    /// Each scope that was read.
    pub scopes: Vec<VerifiedScope>,
    /// What all of it cost, the search for scopes too.
    pub cost: Cost,
    /// What belongs to no scope; one line each.
    pub warnings: Vec<String>,
}

/// What was found in a scope.
#[derive(Clone, Debug, Default, Serialize)]
pub struct VerifiedScope {
    /// The scope.
    pub scope: String,
    /// Refs read.
    pub refs: Amount,
    /// Manifests read.
    pub manifests: Amount,
    /// Packs read.
    pub packs: Amount,
    /// Manifests that no ref names and packs that no sound manifest with a ref uses. Collection removes them.
    pub unreferenced: Amount,
    /// What is not as it should be.
    pub damage: Vec<Damage>,
}

/// An object that is damaged or missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Damage {
    /// The object's name in the store.
    pub object: String,
    /// How it shows; one line.
    pub reason: String,
    /// The caches that cannot be restored for it.
    pub hurts: Vec<Hurt>,
    /// Whether it is not there at all.
    pub missing: bool,
}

/// A cache that cannot be restored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Hurt {
    /// The key; of a ref that cannot be read, as it is escaped in the ref's name.
    pub key: String,
    /// The end of the ref's name, which begins with its time.
    pub version: String,
    /// Whether it is what the key gives now.
    pub newest: bool,
}

/// Reads `scopes`, or all scopes of the store, completely: every ref, manifest and pack by its digest, every frame
/// and every chunk that a manifest finds in it.
///
/// It is right beside running saves and collections. Memory does not grow with the packs; a scope with more than a
/// million chunks costs one more reading of its manifests for each further million. An error means that something
/// could not be read for other reasons than its content.
pub async fn verify<S: Store>(store: &S, scopes: Option<&[Scope]>, options: &VerifyOptions) -> Result<Verified, Error> {
    let (store, deadline) = (Counted::new(store.clone()), Deadline::after(options.deadline));
    let mut verified = Verified::default();
    let scopes = match scopes {
        Some(scopes) => scopes.to_vec(),
        None => discover(&store, &deadline, &mut verified.warnings).await?,
    };
    for scope in &scopes {
        let check = Check { store: &store, scope, options, deadline };
        verified.scopes.push(Box::pin(check.scope()).await?);
    }
    verified.cost = store.cost();
    Ok(verified)
}

/// A verification of one scope.
struct Check<'a, S> {
    store: &'a Counted<S>,
    scope: &'a Scope,
    options: &'a VerifyOptions,
    deadline: Deadline,
}

impl<S: Store> Check<'_, S> {
    async fn scope(&self) -> Result<VerifiedScope, Error> {
        let mut done = VerifiedScope { scope: self.scope.to_string(), ..VerifiedScope::default() };
        let inventory = Inventory::list(self.store, self.scope, &self.deadline).await?;
        self.options.progress.begin(inventory.total().bytes);
        let versions = self.refs(&inventory, &mut done).await?;
        let uses = self.manifests(&inventory, &versions, &mut done).await?;
        self.packs(&inventory, &uses, &mut done).await?;
        self.forget_removed(&mut done).await?;
        Ok(done)
    }

    /// Reads all refs; those that are gone by now are nobody's.
    async fn refs(&self, inventory: &Inventory, done: &mut VerifiedScope) -> Result<Vec<Version>, Error> {
        let read = stream::iter(&inventory.refs).map(async |(name, stored)| {
            let read = Version::read(self.store, self.scope, (name, *stored), &self.deadline).await;
            (name, stored.size, read)
        });
        let (mut versions, mut read) = (Vec::new(), read.buffered(CONNECTIONS));
        while let Some((name, size, found)) = read.next().await {
            self.options.progress.add(size);
            done.refs.add(size);
            match found {
                Ok(found) => versions.extend(found),
                Err(Error::Damaged { object, reason }) => {
                    let hurts = vec![hurt(name, None, is_newest(name, &inventory.refs))];
                    done.damage.push(Damage { object, reason, hurts, missing: false });
                }
                Err(error) => return Err(error),
            }
        }
        Ok(versions)
    }

    /// Reads all packs, as many at a time as there is memory for what manifests say of them.
    async fn packs(&self, inventory: &Inventory, uses: &Uses, done: &mut VerifiedScope) -> Result<(), Error> {
        let unused = inventory.packs.iter().filter(|(digest, _)| !uses.packs.contains_key(digest));
        let unused: BTreeMap<_, _> = unused.map(|(digest, _)| (*digest, Frames::new())).collect();
        done.unreferenced += amount(unused.keys().filter_map(|digest| inventory.packs.get(digest)));
        self.check_packs(unused, uses, done).await?;
        let mut from = Some(Digest([0; 32]));
        while let Some(first) = from {
            let claims = self.claims(uses, first).await?;
            from = claims.rest;
            self.check_packs(claims.packs, uses, done).await?;
        }
        Ok(())
    }

    async fn check_packs(
        &self,
        packs: BTreeMap<Digest, Frames>,
        uses: &Uses,
        done: &mut VerifiedScope,
    ) -> Result<(), Error> {
        let reading = stream::iter(packs).map(async |(digest, frames)| {
            let found = pack::check(self, &digest, frames).await?;
            Ok::<_, Error>((digest, found))
        });
        let (mut lies, mut reading) = (BTreeMap::new(), reading.buffer_unordered(PACKS));
        while let Some((digest, Found { bytes, state, lies: told })) = reading.try_next().await? {
            let (reason, missing) = match state {
                State::Whole => {
                    if !told.is_empty() {
                        lies.insert(digest, told);
                    }
                    (None, false)
                }
                State::Damaged(reason) => (Some(reason), false),
                State::Missing => (uses.packs.contains_key(&digest).then_some("is missing"), true),
            };
            if !missing {
                done.packs.add(bytes);
            }
            let object = self.scope.pack(&digest);
            done.damage.extend(reason.map(|reason| Damage {
                object,
                reason: reason.to_owned(),
                hurts: uses.hurt_by_pack(&digest),
                missing,
            }));
        }
        drop(reading);
        self.blame(&lies, uses, done).await
    }

    /// Takes back what looked damaged only because a collection removed it, refs first, while we were reading.
    async fn forget_removed(&self, done: &mut VerifiedScope) -> Result<(), Error> {
        if done.damage.is_empty() {
            return Ok(());
        }
        let now = Inventory::list(self.store, self.scope, &self.deadline).await?;
        let there: BTreeSet<_> = now.refs.iter().filter_map(|(name, _)| name.rsplit('/').next()).collect();
        for damage in &mut done.damage {
            damage.hurts.retain(|hurt| there.contains(hurt.version.as_str()));
        }
        done.damage.retain(|damage| !damage.missing || !damage.hurts.is_empty());
        Ok(())
    }
}

fn amount<'stored>(objects: impl Iterator<Item = &'stored crate::collect::Stored>) -> Amount {
    let mut amount = Amount::default();
    objects.for_each(|stored| amount.add(stored.size));
    amount
}

/// Names the cache of a ref.
fn hurt(name: &str, version: Option<&Version>, newest: bool) -> Hurt {
    let (key, own) = name.rsplit_once('/').unwrap_or(("", name));
    let escaped = key.rsplit('/').next().unwrap_or(key);
    let key = version.map_or_else(|| escaped.to_owned(), |version| version.key.to_string());
    Hurt { key, version: own.to_owned(), newest }
}

/// Whether a ref is the first of its key in a listing.
fn is_newest<T>(name: &str, refs: &[(String, T)]) -> bool {
    let key = name.rsplit_once('/').map_or("", |(key, _)| key);
    let first = refs.partition_point(|(other, _)| other.as_str() < name);
    first == 0 || !refs[first - 1].0.strip_prefix(key).is_some_and(|rest| rest.starts_with('/'))
}
