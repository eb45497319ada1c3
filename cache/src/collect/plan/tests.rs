use std::{collections::BTreeMap, time::UNIX_EPOCH};

use proptest::prelude::*;

use super::*;
use crate::scope::{Key, Protection};

const NOW: u64 = 10_000;
const HOUR: u64 = 3600;

fn hours_ago(hours: u64) -> Stored {
    Stored { size: 1, modified: UNIX_EPOCH + Duration::from_secs((NOW - hours) * HOUR) }
}

fn rules(policy: &Policy) -> Rules<'_> {
    Rules { policy, now: UNIX_EPOCH + Duration::from_secs(NOW * HOUR), grace: Duration::from_hours(48) }
}

fn digest(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

/// Reads refs as a listing has them: `60a` was written 60 hours ago and has content `a`, `-` is a tombstone.
fn versions(key: &str, refs: &str) -> Vec<Version> {
    let version = |(at, text): (usize, &str)| {
        let (hours, content) = text.split_at(text.len() - 1);
        Version {
            name: format!("refs/{key}/{at:03}"),
            key: Key::new(key).unwrap(),
            stored: hours_ago(hours.parse().unwrap()),
            manifest: (content != "-").then(|| digest(content)),
        }
    };
    refs.split_whitespace().enumerate().map(version).collect()
}

fn policy(max_age: Option<u64>, keep: Option<u64>) -> Policy {
    Policy { max_age: max_age.map(Duration::from_hours), keep, max_bytes: None }
}

#[test]
fn a_ref_goes_only_when_a_newer_one_has_been_there_for_two_days() {
    let unlimited = policy(None, None);
    let one = policy(None, Some(1));
    let two = policy(None, Some(2));
    let short = policy(Some(5), None);
    let long = policy(Some(80), None);
    for (policy, refs, expected) in [
        (&unlimited, "10c 60b 100a", "Keep Keep Keep"),
        (&one, "10c 60b 100a", "Keep Wait Remove"),
        (&one, "47b 900a", "Keep Wait"),
        (&one, "48b 900a", "Keep Remove"),
        (&two, "10c 60b 100a", "Keep Keep Remove"),
        (&long, "10c 60b 100a", "Keep Keep Remove"),
        (&long, "80a", "Keep"),
        (&long, "81a", "End"),
        (&long, "90b 100a", "End Remove"),
        (&short, "10b 20a", "End Wait"),
        (&unlimited, "10- 60b 100a", "Wait Wait Remove"),
        (&unlimited, "47- 60b", "Wait Wait"),
        (&unlimited, "48- 49b 50-", "Remove Remove Remove"),
        (&unlimited, "48-", "Remove"),
        (&unlimited, "10-", "Wait"),
        (&unlimited, "10c 50- 60b", "Keep Wait Remove"),
        (&unlimited, "50c 60- 70b", "Keep Remove Remove"),
        (&unlimited, "50a 60a 70b 80a", "Keep Remove Keep Keep"),
        (&two, "50a 60a 70b 80c", "Keep Remove Keep Remove"),
        (&one, "10a 20a", "Keep Wait"),
    ] {
        let fates: Vec<_> =
            fates(&versions("k", refs), &rules(policy)).iter().map(|fate| format!("{fate:?}")).collect();
        assert_eq!(fates.join(" "), expected, "{policy:?} {refs}");
    }
}

#[test]
fn keys_are_judged_apart() {
    let both = [versions("a", "50x 60y"), versions("b", "50x 60y")].concat();
    let expected = [Fate::Keep, Fate::Remove, Fate::Keep, Fate::Remove];
    assert_eq!(fates(&both, &rules(&policy(None, Some(1)))), expected);
}

#[test]
fn a_time_to_come_is_as_young_as_now() {
    let mut refs = versions("k", "50b 60a");
    refs[0].stored.modified = UNIX_EPOCH + Duration::from_hours(NOW + 1000);
    let fates = fates(&refs, &rules(&policy(Some(1), Some(1))));
    assert_eq!(fates, [Fate::Keep, Fate::Wait]);
}

/// A scope whose manifests have one byte, and the packs that a letter stands for.
struct World {
    inventory: Inventory,
    reach: Reach,
}

impl World {
    /// `packs`: name, size, hours ago; `manifests`: name, hours ago, names of packs.
    fn new(packs: &[(&str, u64, u64)], manifests: &[(&str, u64, &[&str])]) -> Self {
        let mut world = Self { inventory: Inventory::default(), reach: Reach::new() };
        for (name, size, hours) in packs {
            world.inventory.packs.insert(digest(name), Stored { size: *size, ..hours_ago(*hours) });
        }
        for (name, hours, packs) in manifests {
            world.inventory.manifests.insert(digest(name), hours_ago(*hours));
            world.reach.insert(digest(name), packs.iter().map(|pack| digest(pack)).collect());
        }
        world
    }

    fn plan(&self, versions: &[Version], policy: &Policy) -> Plan {
        plan(&scope(), &self.inventory, versions, &self.reach, &rules(policy))
    }
}

fn scope() -> Scope {
    Scope::new("7", Protection::Unprotected).unwrap()
}

fn names(objects: &[(String, u64)]) -> Vec<String> {
    objects.iter().map(|(name, _)| name.rsplit('/').next().unwrap().to_owned()).collect()
}

fn sorted(names: &[&str]) -> Vec<String> {
    let mut sorted: Vec<_> = names.iter().map(|name| digest(name).to_string()).collect();
    sorted.sort();
    sorted
}

#[test]
fn what_no_ref_reaches_goes_when_it_is_old_itself() {
    let packs = [("p", 5, 100), ("shared", 6, 100), ("lost", 7, 48), ("fresh", 8, 47)];
    let world = World::new(&packs, &[("a", 100, &["p", "shared"]), ("b", 100, &["shared"]), ("c", 20, &["lost"])]);
    let plan = world.plan(&versions("k", "60b 100a"), &policy(None, Some(1)));
    assert_eq!(plan.refs, [1]);
    assert_eq!(names(&plan.manifests), sorted(&["a"]));
    assert_eq!(names(&plan.packs), sorted(&["p", "lost"]));
    assert_eq!(plan.waiting, Amount { objects: 2, bytes: 1 + 8 });
}

#[test]
fn what_a_waiting_or_ended_ref_reaches_stays() {
    let world = World::new(&[("p", 5, 100), ("q", 5, 100)], &[("a", 100, &["p"]), ("b", 100, &["q"])]);
    let waiting = world.plan(&versions("k", "10b 100a"), &policy(None, Some(1)));
    let ended = world.plan(&versions("k", "10b 100a"), &policy(Some(5), None));
    assert_eq!((waiting.ends.as_slice(), ended.ends.as_slice()), (&[][..], &[0][..]));
    for plan in [waiting, ended] {
        assert!(plan.refs.is_empty() && plan.manifests.is_empty() && plan.packs.is_empty(), "{plan:?}");
    }
}

#[test]
fn a_leftover_clock_goes_when_it_is_old() {
    let mut world = World::new(&[], &[]);
    world.inventory.clocks = vec![("new".into(), hours_ago(1)), ("old".into(), hours_ago(48))];
    assert_eq!(names(&world.plan(&[], &policy(None, None)).packs), ["old"]);
}

#[test]
fn beyond_the_bytes_old_versions_go_before_old_keys_and_shared_packs_count_once() {
    let packs = [("base", 100, 900), ("pa", 10, 900), ("pb", 10, 900), ("pc", 10, 900), ("pz", 10, 900)];
    let world = World::new(
        &packs,
        &[
            ("a", 900, &["base", "pa"]),
            ("b", 900, &["base", "pb"]),
            ("c", 900, &["base", "pc"]),
            ("z", 900, &["base", "pz"]),
        ],
    );
    // Key k has c, b and a; key z, older than all of them, has z. In all 4 manifests and 140 bytes of packs.
    let refs = [versions("k", "100c 200b 300a"), versions("z", "400z")].concat();
    for (limit, removed, ended) in [
        (144, &[][..], &[][..]),
        (143, &[2], &[]),
        (133, &[2], &[]),
        (132, &[1, 2], &[]),
        (122, &[1, 2], &[]),
        (121, &[1, 2], &[3]),
        (111, &[1, 2], &[3]),
        (110, &[1, 2], &[0, 3]),
        (0, &[1, 2], &[0, 3]),
    ] {
        let plan = world.plan(&refs, &Policy { max_bytes: Some(limit), ..Policy::default() });
        assert_eq!((plan.refs.as_slice(), plan.ends.as_slice()), (removed, ended), "{limit}");
    }
}

#[test]
fn what_was_given_up_and_waits_does_not_make_more_go() {
    let world = World::new(&[("pa", 10, 900), ("pb", 10, 900)], &[("a", 900, &["pa"]), ("b", 900, &["pb"])]);
    let refs = [versions("k", "10- 100a"), versions("l", "200b")].concat();
    let plan = world.plan(&refs, &Policy { max_bytes: Some(11), ..Policy::default() });
    assert!(plan.ends.is_empty() && plan.refs.is_empty(), "{plan:?}");
}

fn any_refs() -> impl Strategy<Value = String> {
    let entry = (0..200_u64, prop::sample::select(vec!['a', 'b', 'c', '-']));
    prop::collection::vec(entry, 0..12).prop_map(|refs| {
        let refs: Vec<_> = refs.iter().map(|(hours, content)| format!("{hours}{content}")).collect();
        refs.join(" ")
    })
}

fn any_policy() -> impl Strategy<Value = Policy> {
    let age = prop::option::of((0..200_u64).prop_map(Duration::from_hours));
    (age, prop::option::of(1..5_u64), prop::option::of(0..50_u64)).prop_map(|(max_age, keep, max_bytes)| Policy {
        max_age,
        keep,
        max_bytes,
    })
}

proptest! {
    /// Also when times and the order of names disagree, as they do when clocks do.
    #[test]
    fn nothing_goes_that_somebody_may_have_found_within_two_days(refs in any_refs(), policy in any_policy()) {
        let refs = versions("k", &refs);
        let world = World::new(
            &[("p", 10, 100), ("q", 10, 10), ("r", 10, 100)],
            &[("a", 100, &["p", "q"]), ("b", 100, &["q"]), ("c", 100, &["r"])],
        );
        let plan = world.plan(&refs, &policy);
        let settled = |version: &Version| rules(&policy).is_settled(version.stored.modified);
        let stays: Vec<_> = (0..refs.len()).filter(|at| !plan.refs.contains(at)).collect();
        for at in &plan.refs {
            let first = *at == 0 && refs[0].manifest.is_none() && settled(&refs[0]);
            prop_assert!(first || refs[..*at].iter().any(settled), "{at}");
            // Nothing comes back from behind a tombstone.
            prop_assert!(refs[*at].manifest.is_some() || stays.iter().all(|stays| stays < at));
        }
        for end in &plan.ends {
            prop_assert!(*end == 0 && refs[0].manifest.is_some());
        }
        let mut used = BTreeMap::<_, Vec<_>>::new();
        for manifest in stays.iter().filter_map(|at| refs[*at].manifest) {
            used.insert(manifest, world.reach[&manifest].iter().collect());
        }
        let gone: Vec<_> = names(&plan.manifests).into_iter().chain(names(&plan.packs)).collect();
        for digest in used.keys().chain(used.values().flatten().copied()) {
            prop_assert!(!gone.contains(&digest.to_string()));
        }
        prop_assert!(!gone.contains(&digest("q").to_string()));
    }
}
