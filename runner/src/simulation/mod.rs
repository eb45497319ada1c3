//! Months of faults in seconds: the two pure cores, ownership and plan, with models of everything around them.
//!
//! The runner is killed between any two writes and loses its memory; the journal survives. Requests and answers are
//! lost, late, doubled and out of order. Agents die and start again, executors vanish, networks are cut, users
//! cancel. No sockets, no clock: one seed is one story, and a failing one is told again by its number.

mod agent;
mod gitlab;
mod runner;
mod world;

use std::time::Duration;
use world::{Faults, World};

/// How many stories `make test` hears; `WARMSTART_SIMULATIONS` sets another number.
const STORIES: u64 = 250;

fn stories() -> u64 {
    std::env::var("WARMSTART_SIMULATIONS").ok().and_then(|n| n.parse().ok()).unwrap_or(STORIES)
}

#[test]
fn without_faults_every_job_succeeds_at_its_first_generation() {
    for seed in 0..10 {
        let mut world = World::new(seed, Faults::NONE);
        world.live(Duration::from_mins(40), 20);
        world.settle();
        for (id, job) in &world.gitlab {
            assert!(job.succeeded(), "seed {seed}: job {id} is {job:?}");
            assert_eq!(job.takeovers, 0, "seed {seed}: job {id} had its log taken over");
        }
    }
}

#[test]
fn whatever_happens_every_job_ends_once_and_no_script_runs_twice() {
    for seed in 0..stories() {
        let mut world = World::new(seed, Faults::MANY);
        world.live(Duration::from_mins(40), 25);
        world.settle();
        world.judge();
    }
}

#[test]
fn the_simulation_does_reach_what_it_claims_to_test() {
    let mut seen = world::Counts::default();
    for seed in 1000..1040 {
        let mut world = World::new(seed, Faults::MANY);
        world.live(Duration::from_mins(40), 25);
        world.settle();
        seen.add(&world.counts);
    }
    let rare = [
        ("crashes", seen.crashes),
        ("crashes between two writes", seen.torn),
        ("failed writes", seen.failed_writes),
        ("jobs that were lost before the script", seen.reassigned),
        ("jobs that the runner ended", seen.ended_by_runner),
        ("withdrawn offers", seen.withdrawn),
        ("scripts whose agent was lost", seen.lost_scripts),
        ("stale answers", seen.stale),
        ("agents started again", seen.reruns),
        ("successes", seen.successes),
        ("storms", seen.storms),
    ];
    for (what, count) in rare {
        assert!(count > 0, "no {what} in 40 stories: {seen:?}");
    }
}
