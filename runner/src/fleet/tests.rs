//! The rules of the plan, one by one and all together.

use super::view::found;
use super::{Action, Listing, Policy, Seen, Standing, View, Why, plan};
use crate::clock::Time;
use crate::cloud::{Instance, Status};
use crate::ownership::{DEFAULT_POOL, Event, Launch, NewExecutor, Rules, Sharing, State, restore, step};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::time::Duration;

fn now() -> Time {
    Time::from_secs(10_000_000)
}

/// So many seconds ago.
fn ago(seconds: u64) -> Time {
    Time::from_secs(10_000_000 - seconds)
}

fn policy() -> Policy {
    Policy { max: 4, ..Policy::default() }
}

fn seen(id: &str, standing: Standing) -> Seen {
    Seen { id: id.to_owned(), launched: ago(60), standing, spent: false }
}

fn idle(seconds: u64) -> Standing {
    Standing::Idle { since: ago(seconds), seen: now(), claimed: false }
}

fn view(executors: Vec<Seen>, unserved: usize) -> View {
    View { executors, unserved, since: ago(100_000) }
}

fn ends(id: &str, why: Why) -> Action {
    Action::Terminate(id.to_owned(), why)
}

#[test]
fn each_rule_decides_as_it_says() {
    let old = |standing| Seen { launched: ago(90_000), ..seen("a", standing) };
    let spent = |standing| Seen { spent: true, ..seen("a", standing) };
    let silent = Standing::Idle { since: ago(1), seen: ago(301), claimed: false };
    let claimed = Standing::Idle { since: ago(5000), seen: now(), claimed: true };
    let hung = Seen { launched: ago(301), ..seen("a", Standing::Booting) };
    let cases = [
        ("nothing to do", vec![], 0, vec![]),
        ("a waiting job gets an executor", vec![], 1, vec![Action::Launch(1)]),
        ("no more than the maximum", vec![], 9, vec![Action::Launch(4)]),
        ("one that boots will serve it", vec![seen("a", Standing::Booting)], 1, vec![]),
        ("one whose launch is under way will", vec![seen("a", Standing::Intent)], 1, vec![]),
        ("a busy one will not", vec![seen("a", Standing::Busy)], 1, vec![Action::Launch(1)]),
        ("a fresh idle one is kept", vec![seen("a", idle(599))], 0, vec![]),
        ("one idle for too long ends", vec![seen("a", idle(600))], 0, vec![ends("a", Why::Idle)]),
        ("unless a job will take it", vec![seen("a", claimed)], 0, vec![]),
        ("one hung in boot ends", vec![hung.clone()], 0, vec![ends("a", Why::HungInBoot)]),
        ("and another takes its place", vec![hung], 1, vec![ends("a", Why::HungInBoot), Action::Launch(1)]),
        ("an old one ends", vec![old(idle(1))], 0, vec![ends("a", Why::Old)]),
        ("an old one finishes its job", vec![old(Standing::Busy)], 0, vec![]),
        ("a silent one ends", vec![seen("a", silent)], 0, vec![ends("a", Why::Silent)]),
        ("a spent one may end by itself", vec![spent(idle(9))], 0, vec![]),
        ("one that does not is ended", vec![spent(idle(10))], 0, vec![ends("a", Why::Spent)]),
        ("a spent one finishes its job", vec![spent(Standing::Busy)], 0, vec![]),
        ("a spent one in boot ends", vec![spent(Standing::Booting)], 0, vec![ends("a", Why::Spent)]),
        ("an orphan ends", vec![seen("a", Standing::Orphan)], 0, vec![ends("a", Why::Orphan)]),
        ("what does not run is cleaned up", vec![seen("a", Standing::Exited)], 0, vec![ends("a", Why::Exited)]),
        (
            "a launch that came to nothing is forgotten",
            vec![old(Standing::Intent)],
            0,
            vec![Action::Forget("a".into())],
        ),
    ];
    for (rule, executors, unserved, expected) in cases {
        assert_eq!(plan(&view(executors, unserved), &policy(), now()), expected, "{rule}");
    }
}

#[test]
fn idle_executors_are_kept_and_made_as_the_policy_wants() {
    let keep = |idle_count, scale_factor, scale_factor_limit| Policy {
        max: 10,
        idle_count,
        scale_factor,
        scale_factor_limit,
        ..policy()
    };
    let busy = |count: usize| (0..count).map(|at| seen(&format!("busy-{at}"), Standing::Busy)).collect::<Vec<_>>();
    let and = |mut executors: Vec<Seen>, id, standing| {
        executors.push(seen(id, standing));
        executors
    };
    let cases = [
        ("so many are there before any job", keep(2, 0.0, 0), vec![], 0, vec![Action::Launch(2)]),
        ("and beside those that jobs wait for", keep(2, 0.0, 0), vec![], 1, vec![Action::Launch(3)]),
        (
            "one that boots will be idle",
            keep(2, 0.0, 0),
            vec![seen("a", Standing::Booting)],
            0,
            vec![Action::Launch(1)],
        ),
        ("one that is idle is one of them", keep(2, 0.0, 0), vec![seen("a", idle(10))], 0, vec![Action::Launch(1)]),
        ("however long", keep(1, 0.0, 0), vec![seen("a", idle(9000))], 0, vec![]),
        (
            "one more ends, the longest idle",
            keep(1, 0.0, 0),
            vec![seen("a", idle(700)), seen("b", idle(800))],
            0,
            vec![ends("b", Why::Idle)],
        ),
        ("for each busy one so many", keep(0, 0.5, 0), busy(4), 0, vec![Action::Launch(2)]),
        ("a part of one is one", keep(0, 0.5, 0), busy(1), 0, vec![Action::Launch(1)]),
        ("up to the limit", keep(0, 2.0, 3), busy(4), 0, vec![Action::Launch(3)]),
        ("the count is the least", keep(3, 0.1, 2), busy(4), 0, vec![Action::Launch(3)]),
        ("the maximum is the most", keep(9, 0.0, 0), busy(4), 0, vec![Action::Launch(6)]),
        (
            "a job for which none suits is not served by one kept idle",
            keep(1, 0.0, 0),
            and(busy(1), "a", idle(10)),
            1,
            vec![Action::Launch(1)],
        ),
    ];
    for (rule, policy, executors, unserved, expected) in cases {
        assert_eq!(plan(&view(executors, unserved), &policy, now()), expected, "{rule}");
    }
    let draining = keep(2, 1.0, 0).draining();
    assert_eq!(plan(&view(vec![seen("a", idle(1))], 0), &draining, now()), [ends("a", Why::Idle)]);
}

#[test]
fn one_that_is_being_ended_still_counts() {
    let executors = ["a", "b", "c", "d"].map(|id| seen(id, Standing::Exited)).to_vec();
    let actions = plan(&view(executors, 3), &policy(), now());
    assert!(!actions.iter().any(|action| matches!(action, Action::Launch(_))), "{actions:?}");
}

#[test]
fn a_job_that_no_idle_executor_suits_gets_room_at_the_maximum() {
    let executors = vec![
        seen("a", idle(10)),
        seen("b", idle(20)),
        seen("c", Standing::Busy),
        seen("d", Standing::Idle { since: ago(99), seen: now(), claimed: true }),
    ];
    assert_eq!(plan(&view(executors, 1), &policy(), now()), [ends("b", Why::MakesRoom)], "longest idle first");
}

#[test]
fn silence_is_judged_only_by_a_runner_that_could_have_heard() {
    let silent = Standing::Idle { since: ago(1), seen: ago(301), claimed: false };
    let young = View { since: ago(299), ..view(vec![seen("a", silent)], 0) };
    assert_eq!(plan(&young, &policy(), now()), []);
}

fn standings() -> impl Strategy<Value = Standing> {
    let idle = (0_u64..2000, 0_u64..600, any::<bool>()).prop_map(|(since, seen, claimed)| Standing::Idle {
        since: ago(since),
        seen: ago(seen),
        claimed,
    });
    prop_oneof![
        Just(Standing::Intent),
        Just(Standing::Orphan),
        Just(Standing::Exited),
        Just(Standing::Booting),
        Just(Standing::Busy),
        idle
    ]
}

fn views() -> impl Strategy<Value = View> {
    let executor = (standings(), 0_u64..100_000, any::<bool>());
    (prop::collection::vec(executor, 0..8), 0_usize..8).prop_map(|(executors, unserved)| {
        let seen = |(at, (standing, age, spent)): (usize, (Standing, u64, bool))| Seen {
            id: format!("executor-{at}"),
            launched: ago(age),
            standing,
            spent,
        };
        view(executors.into_iter().enumerate().map(seen).collect(), unserved)
    })
}

fn policies() -> impl Strategy<Value = Policy> {
    (0_usize..8, 0_usize..4, 0.0..3.0, 0_usize..4).prop_map(|(max, idle_count, scale_factor, scale_factor_limit)| {
        Policy { max, idle_count, scale_factor, scale_factor_limit, ..policy() }
    })
}

/// What the world looks like once the actions are done.
fn done(view: &View, actions: &[Action]) -> View {
    let gone = |id: &str| {
        actions.iter().any(|action| match action {
            Action::Terminate(gone, _) | Action::Forget(gone) => gone == id,
            Action::Launch(_) => false,
        })
    };
    let mut after = view.clone();
    after.executors.retain(|seen| !gone(&seen.id));
    for action in actions {
        if let Action::Launch(count) = action {
            let new = |n| Seen { launched: now(), ..seen(&format!("new-{n}"), Standing::Booting) };
            after.executors.extend((0..*count).map(new));
        }
    }
    after
}

proptest! {
    #[test]
    fn the_plan_keeps_its_limits(view in views(), policy in policies()) {
        let max = policy.max;
        let actions = plan(&view, &policy, now());
        let launched: usize = actions.iter().map(|action| if let Action::Launch(n) = action { *n } else { 0 }).sum();
        prop_assert!(launched == 0 || view.executors.len() + launched <= max);
        for seen in view.executors.iter().filter(|seen| seen.standing == Standing::Busy) {
            let touched = actions.iter().any(|action| matches!(action, Action::Terminate(id, _) | Action::Forget(id) if *id == seen.id));
            prop_assert!(!touched, "busy {} was chosen: {actions:?}", seen.id);
        }
    }

    #[test]
    fn what_the_plan_says_once_done_leads_to_rest(view in views(), policy in policies()) {
        // Room that an ended executor leaves is used by the next plan: two rounds, then nothing.
        let mut view = view;
        for _ in 0..2 {
            let actions = plan(&view, &policy, now());
            view = done(&view, &actions);
        }
        prop_assert_eq!(plan(&view, &policy, now()), vec![]);
    }
}

/// A state with these executors, each launched so many seconds ago and with this launch's token where it has no name yet.
fn state(executors: &[(&str, u64, Option<&str>)]) -> State {
    let (mut state, _) = restore(Rules::default(), Vec::new(), BTreeMap::new(), ago(100_000));
    for (id, age, token) in executors {
        let new = NewExecutor {
            pool: DEFAULT_POOL.to_owned(),
            token_sha256: String::new(),
            launch: token.map(|token| Launch { token: token.to_owned(), count: executors.len() }),
            sharing: Sharing::default(),
        };
        state = step(&state, Event::Launching((*id).to_owned(), Box::new(new)), ago(*age)).0;
    }
    state
}

fn instance(id: &str, launch: Option<&str>, status: Status) -> Instance {
    let (pool, launch) = (DEFAULT_POOL.to_owned(), launch.map(str::to_owned));
    Instance { id: id.to_owned(), pool, launch, launched: ago(60), status }
}

fn listing(instances: Vec<Instance>) -> Listing {
    Listing { at: now(), settles: Duration::from_mins(5), instances }
}

fn standing_of(listing: &Listing, state: &State) -> Vec<(String, Standing)> {
    let view = View::of(listing, state, &|_| true);
    view.executors.into_iter().map(|seen| (seen.id, seen.standing)).collect()
}

#[test]
fn what_a_lost_answer_would_have_named_is_found_in_the_listing() {
    let state = state(&[("launch-0", 60, Some("t")), ("launch-1", 60, Some("t")), ("i-9", 60, None)]);
    let running = |id, token| instance(id, Some(token), Status::Running);
    let listed = listing(vec![running("i-1", "t"), running("i-2", "t"), running("i-3", "t"), running("i-9", "t")]);
    let pairs = [("launch-0", "i-1"), ("launch-1", "i-2")].map(|(from, to)| (from.to_owned(), to.to_owned()));
    assert_eq!(found(&listed, &state), pairs, "each once, and none that has its name");
    assert_eq!(found(&listing(vec![running("i-1", "other")]), &state), []);
    let stopped = listing(vec![instance("launch-1", None, Status::Stopped), instance("i-1", Some("t"), Status::Gone)]);
    assert_eq!(found(&stopped, &state), [], "it may be just about to start");
    let own = listing(vec![instance("launch-1", None, Status::Running)]);
    assert_eq!(found(&own, &state), [("launch-1".to_owned(), "launch-1".to_owned())], "a cloud may keep our name");
}

#[test]
fn an_executor_that_is_too_new_for_the_listing_is_not_gone() {
    let state = state(&[("i-new", 10, None), ("i-old", 400, None), ("launch-0", 10, Some("t"))]);
    let expected = [("i-new", Standing::Booting), ("i-old", Standing::Exited), ("launch-0", Standing::Intent)];
    assert_eq!(standing_of(&listing(Vec::new()), &state), expected.map(|(id, standing)| (id.to_owned(), standing)));
    let earlier = Listing { at: ago(20), settles: Duration::ZERO, ..Listing::default() };
    assert_eq!(standing_of(&earlier, &state)[0].1, Standing::Booting, "the listing is older than the executor");
}

#[test]
fn what_the_cloud_only_remembers_is_nobodys_orphan() {
    let listed = listing(vec![
        instance("i-gone", None, Status::Gone),
        instance("i-known", None, Status::Gone),
        instance("i-strange", None, Status::Running),
    ]);
    let expected = [("i-known", Standing::Exited), ("i-strange", Standing::Orphan)];
    let state = state(&[("i-known", 60, None)]);
    assert_eq!(standing_of(&listed, &state), expected.map(|(id, standing)| (id.to_owned(), standing)));
}

#[test]
fn a_view_is_of_its_pools_alone() {
    let state = state(&[("i-1", 60, None)]);
    let listed = listing(vec![
        instance("i-1", None, Status::Running),
        Instance { pool: "other".to_owned(), ..instance("i-2", None, Status::Running) },
    ]);
    let of = |pool: &dyn Fn(&str) -> bool| {
        let view = View::of(&listed, &state, pool);
        view.executors.into_iter().map(|seen| seen.id).collect::<Vec<_>>()
    };
    assert_eq!(of(&|pool| pool == DEFAULT_POOL), ["i-1"]);
    assert_eq!(of(&|pool| pool != DEFAULT_POOL), ["i-2"]);
}
