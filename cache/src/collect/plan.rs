//! What to remove, decided from listings and the store's time alone.
//!
//! Two questions are apart. What is **wanted** is up to the [`Policy`]. What may **go** is up to the rule that keeps
//! running saves and restores safe: a ref only when a newer ref of its key has been there for the grace time, for
//! since then nobody has found the older one; a manifest or pack only when no remaining ref reaches it and it was
//! not written within the grace time, for a save may be about to refer to it.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap},
    time::{Duration, SystemTime},
};

use super::{
    Policy,
    inventory::{Amount, Inventory, Stored, Version},
};
use crate::{digest::Digest, scope::Scope};

/// For each manifest the packs it uses, of those that are in the inventory.
pub(super) type Reach = BTreeMap<Digest, BTreeSet<Digest>>;

/// What the decision depends on besides the objects.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules<'policy> {
    pub(super) policy: &'policy Policy,
    /// By the store's clock.
    pub(super) now: SystemTime,
    pub(super) grace: Duration,
}

impl Rules<'_> {
    fn age(&self, modified: SystemTime) -> Duration {
        self.now.duration_since(modified).unwrap_or_default()
    }

    /// Whether it was written so long ago that nobody who saw the store before is still at work.
    pub(super) fn is_settled(&self, modified: SystemTime) -> bool {
        self.age(modified) >= self.grace
    }

    fn is_young(&self, modified: SystemTime) -> bool {
        self.policy.max_age.is_none_or(|limit| self.age(modified) <= limit)
    }
}

/// What becomes of a ref.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Keep,
    /// It is not wanted, but somebody may have found it a moment ago.
    Wait,
    /// The same, and its key has no newer one: a tombstone has to come first.
    End,
    Remove,
}

/// What is to be done in a scope, in this order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// Refs to write a tombstone before, by place.
    pub(super) ends: Vec<usize>,
    /// Refs to remove, by place.
    pub(super) refs: Vec<usize>,
    pub(super) manifests: Vec<(String, u64)>,
    pub(super) packs: Vec<(String, u64)>,
    /// What is not wanted but too young to go.
    pub(super) waiting: Amount,
}

/// Gives the fates of refs as far as the refs alone decide; sorted by name, as a listing is.
pub(super) fn fates(versions: &[Version], rules: &Rules<'_>) -> Vec<Fate> {
    verdicts(versions, rules).into_iter().map(Verdict::fate).collect()
}

/// Plans a scope. `reach` has the manifests of all refs that [`fates`] does not remove.
pub(super) fn plan(
    scope: &Scope,
    inventory: &Inventory,
    versions: &[Version],
    reach: &Reach,
    rules: &Rules<'_>,
) -> Plan {
    let mut verdicts = verdicts(versions, rules);
    if let Some(limit) = rules.policy.max_bytes {
        fit(versions, &mut verdicts, &Sizes { inventory, reach }, limit);
    }
    let mut plan = Plan::default();
    let mut live = BTreeSet::new();
    for (at, (version, verdict)) in versions.iter().zip(&verdicts).enumerate() {
        match verdict.fate() {
            Fate::Remove => plan.refs.push(at),
            Fate::End => plan.ends.push(at),
            Fate::Wait => plan.waiting.add(version.stored.size),
            Fate::Keep => {}
        }
        if verdict.fate() != Fate::Remove {
            live.extend(version.manifest);
        }
    }
    let used: BTreeSet<_> = live.iter().filter_map(|manifest| reach.get(manifest)).flatten().collect();
    let mut doomed = Doomed { rules, waiting: &mut plan.waiting };
    let unused = |(digest, _): &(&Digest, &Stored)| !live.contains(digest);
    let manifests = inventory.manifests.iter().filter(unused);
    plan.manifests = doomed.of(manifests.map(|(digest, stored)| (scope.manifest(digest), stored)));
    let packs = inventory.packs.iter().filter(|(digest, _)| !used.contains(digest));
    plan.packs = doomed.of(packs.map(|(digest, stored)| (scope.pack(digest), stored)));
    plan.packs.extend(doomed.of(inventory.clocks.iter().map(|(name, stored)| (name.clone(), stored))));
    plan
}

/// Sorts what nothing refers to into what may go and what waits.
struct Doomed<'a> {
    rules: &'a Rules<'a>,
    waiting: &'a mut Amount,
}

impl Doomed<'_> {
    fn of<'stored>(&mut self, unused: impl Iterator<Item = (String, &'stored Stored)>) -> Vec<(String, u64)> {
        let mut doomed = Vec::new();
        for (name, stored) in unused {
            if self.rules.is_settled(stored.modified) {
                doomed.push((name, stored.size));
            } else {
                self.waiting.add(stored.size);
            }
        }
        doomed
    }
}

/// What is thought of a ref.
#[derive(Clone, Copy, Debug)]
struct Verdict {
    wanted: bool,
    /// Its fate if it is not wanted.
    otherwise: Fate,
    /// Whether it is what its key gives.
    newest: bool,
}

impl Verdict {
    fn fate(self) -> Fate {
        if self.wanted { Fate::Keep } else { self.otherwise }
    }
}

fn verdicts(versions: &[Version], rules: &Rules<'_>) -> Vec<Verdict> {
    let keys = versions.chunk_by(|one, other| one.key == other.key);
    keys.flat_map(|versions| verdicts_of_key(versions, rules)).collect()
}

/// Judges the refs of one key, the newest first.
fn verdicts_of_key(versions: &[Version], rules: &Rules<'_>) -> Vec<Verdict> {
    let (mut superseded, mut ended, mut kept) = (false, false, 0);
    let mut newer = None;
    let judge = |(at, version): (usize, &Version)| {
        let settled = rules.is_settled(version.stored.modified);
        ended |= version.manifest.is_none();
        // A save without changes writes the same again once a day, only to say that the key is in use.
        let repeated = newer == version.manifest;
        let room = rules.policy.keep.is_none_or(|keep| kept < keep);
        let wanted = !ended && !repeated && room && rules.is_young(version.stored.modified);
        let otherwise = match (superseded, at, version.manifest) {
            (true, ..) => Fate::Remove,
            // Everything behind a settled tombstone goes before it does; without either the key has no cache.
            (false, 0, None) if settled => Fate::Remove,
            (false, 0, Some(_)) => Fate::End,
            _ => Fate::Wait,
        };
        (superseded, newer, kept) = (superseded || settled, version.manifest, kept + u64::from(wanted));
        Verdict { wanted, otherwise, newest: at == 0 }
    };
    versions.iter().enumerate().map(judge).collect()
}

/// Gives up wanted refs until what the others reach has at most `limit` bytes: first the versions that their keys no
/// longer give, then keys, each the oldest first.
fn fit(versions: &[Version], verdicts: &mut [Verdict], sizes: &Sizes<'_>, limit: u64) {
    let mut order: Vec<_> = (0..versions.len()).filter(|at| verdicts[*at].wanted).collect();
    order.sort_by_key(|at| (verdicts[*at].newest, versions[*at].stored.modified, Reverse(*at)));
    let (mut uses, mut total) = (HashMap::<_, u64>::new(), 0);
    for (object, size) in order.iter().flat_map(|at| sizes.of(&versions[*at])) {
        let count = uses.entry(object).or_default();
        total += if *count == 0 { size } else { 0 };
        *count += 1;
    }
    for at in order {
        if total <= limit {
            break;
        }
        verdicts[at].wanted = false;
        for (object, size) in sizes.of(&versions[at]) {
            let count = uses.entry(object).or_default();
            *count -= 1;
            total -= if *count == 0 { size } else { 0 };
        }
    }
}

/// What refs reach, with sizes.
struct Sizes<'a> {
    inventory: &'a Inventory,
    reach: &'a Reach,
}

impl Sizes<'_> {
    fn of(&self, version: &Version) -> impl Iterator<Item = (Digest, u64)> {
        let size = |stored: Option<&Stored>| stored.map_or(0, |stored| stored.size);
        let manifest =
            version.manifest.into_iter().map(move |digest| (digest, size(self.inventory.manifests.get(&digest))));
        let packs = version.manifest.and_then(|digest| self.reach.get(&digest)).into_iter().flatten();
        manifest.chain(packs.map(move |digest| (*digest, size(self.inventory.packs.get(digest)))))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests;
