//! The rules of ownership, one by one.

use super::*;
use serde_json::value::RawValue;

const RUN: &str = "run-1";

/// A machine with a clock, a memory and a way to crash.
struct Desk {
    state: State,
    now: Time,
}

impl Desk {
    fn new() -> Self {
        let now = Time::from_secs(1_000_000);
        let (state, _) = restore(Rules::default(), Vec::new(), BTreeMap::new(), now);
        Self { state, now }
    }

    /// With executors `names`, each with a registered agent.
    fn with(names: &[&str]) -> Self {
        let mut desk = Self::new();
        for name in names {
            desk.does(Event::Launching((*name).to_owned(), Box::new(new_executor())));
            assert_eq!(desk.reply(Event::Register(agent(name), None)), Reply::Registered(false));
        }
        desk
    }

    fn does(&mut self, event: Event) -> Vec<Effect> {
        let (state, effects) = step(&self.state, event, self.now);
        self.state = state;
        effects
    }

    fn reply(&mut self, event: Event) -> Reply {
        self.does(event)
            .into_iter()
            .find_map(|e| if let Effect::Reply(r) = e { Some(r) } else { None })
            .expect("a reply")
    }

    /// Lets time pass as the runner does: with a tick every few seconds, and heartbeats of the agents named.
    fn pass(&mut self, duration: Duration, beating: &[(&str, Holding)]) -> Vec<Effect> {
        let end = self.now + duration;
        let mut effects = Vec::new();
        while self.now < end {
            self.now = self.now + Duration::from_secs(5);
            for (name, holding) in beating {
                self.does(Event::Heartbeat(agent(name), *holding, Some("step_script".to_owned())));
            }
            effects.extend(self.does(Event::Tick));
        }
        effects
    }

    /// Forgets everything but the journal: all that was written is the state here.
    fn crash(&mut self) -> Vec<Effect> {
        let json = |job: &Job| serde_json::from_str(&serde_json::to_string(job).expect("JSON")).expect("readable");
        let jobs = self.state.jobs.values().map(json).collect();
        let (state, effects) = restore(self.state.rules, jobs, self.state.executors.clone(), self.now);
        self.state = state;
        effects
    }

    fn acquire(&mut self, id: u64) {
        assert_eq!(self.reply(Event::Acquired(Box::new(new_job(id)))), Reply::Done);
        self.does(Event::Reported(id));
    }

    fn offer(&mut self, id: u64, name: &str) -> Holding {
        assert_eq!(self.reply(Event::Poll(agent(name))), Reply::Nothing);
        self.does(Event::Detached(id, Some("log".to_owned())));
        assert_eq!(self.reply(Event::Poll(agent(name))), Reply::Assign(id));
        self.state.jobs[&id].holding()
    }

    fn hold(&mut self, id: u64, name: &str) -> Holding {
        self.acquire(id);
        let holding = self.offer(id, name);
        assert_eq!(self.reply(Event::Ack(agent(name), holding)), Reply::Done);
        holding
    }

    fn script(&mut self, id: u64, name: &str) -> Holding {
        let holding = self.hold(id, name);
        assert_eq!(self.reply(Event::Script(agent(name), holding)), Reply::Done);
        holding
    }

    fn phase(&self, id: u64) -> &'static str {
        self.state.jobs.get(&id).map_or("settled", |job| job.phase.name())
    }

    fn end(&self, id: u64) -> (Reason, &str) {
        match &self.state.jobs[&id].phase {
            Phase::Ending(end) => (end.reason, &end.text),
            other => panic!("job {id} is {other:?}"),
        }
    }
}

fn agent(name: &str) -> Holder {
    Holder { executor: name.to_owned(), run: RUN.to_owned() }
}

fn rerun(name: &str) -> Holder {
    Holder { executor: name.to_owned(), run: "run-2".to_owned() }
}

fn new_executor() -> NewExecutor {
    NewExecutor {
        pool: DEFAULT_POOL.to_owned(),
        token_sha256: "hash".to_owned(),
        launch: Some(Launch { token: "launch".to_owned(), count: 1 }),
        sharing: Sharing::default(),
    }
}

fn new_job(id: u64) -> NewJob {
    NewJob {
        pool: DEFAULT_POOL.to_owned(),
        id,
        entry: "entry".to_owned(),
        url: "https://gitlab.test".to_owned(),
        token: "glcbt-test".into(),
        scope: Scope { project: id / 10, protected: false },
        timeout: Duration::from_hours(1),
        correlation_id: "correlation".to_owned(),
        features: warmstart_gitlab::payload::Features::default(),
        debug: false,
        timestamps: false,
        payload: RawValue::from_string(r#"{"id":1}"#.to_owned()).expect("JSON").into(),
    }
}

fn finished() -> Released {
    Released::Finished { state: "success".to_owned(), reason: None }
}

fn given_up() -> Released {
    Released::GivenUp { reason: "no runner".to_owned() }
}

#[test]
fn a_job_is_written_before_anything_else_happens_to_it() {
    let mut desk = Desk::new();
    let effects = desk.does(Event::Acquired(Box::new(new_job(7))));
    let attend = Effect::Attend { job: 7, start: Start::Fresh };
    assert_eq!(effects, [Effect::Create(7), attend, Effect::Reply(Reply::Done)]);
}

#[test]
fn the_ordinary_way_ends_with_nothing_left() {
    let mut desk = Desk::with(&["a"]);
    let holding = desk.script(7, "a");
    assert_eq!(holding, Holding { job: 7, generation: 1 });
    let effects = desk.does(Event::Release(agent("a"), holding, finished()));
    assert_eq!(effects, [Effect::Remove(7), Effect::Reply(Reply::Done)]);
    assert_eq!(desk.reply(Event::Poll(agent("a"))), Reply::Gone, "it has served its one job");
}

#[test]
fn every_call_may_be_repeated() {
    let mut desk = Desk::with(&["a"]);
    desk.acquire(7);
    let holding = desk.offer(7, "a");
    for _ in 0..2 {
        assert_eq!(desk.reply(Event::Poll(agent("a"))), Reply::Assign(7));
    }
    for _ in 0..2 {
        assert_eq!(desk.reply(Event::Ack(agent("a"), holding)), Reply::Done);
    }
    assert_eq!(desk.state.executors["a"].used, 1);
    assert_eq!(desk.reply(Event::Poll(agent("a"))), Reply::Assign(7), "the answer to ack was lost");
    for _ in 0..2 {
        assert_eq!(desk.reply(Event::Script(agent("a"), holding)), Reply::Done);
    }
    assert_eq!(desk.reply(Event::Poll(agent("a"))), Reply::Nothing, "a late repeat must not start it again");
    for _ in 0..2 {
        assert_eq!(desk.reply(Event::Release(agent("a"), holding, finished())), Reply::Done);
    }
    assert_eq!(desk.phase(7), "settled");
}

#[test]
fn an_assignment_waits_until_the_runner_has_stopped_writing_the_log() {
    let mut desk = Desk::with(&["a"]);
    desk.acquire(7);
    let effects = desk.does(Event::Poll(agent("a")));
    assert_eq!(effects, [Effect::Write(7), Effect::Detach(7), Effect::Reply(Reply::Nothing)]);
    assert_eq!(desk.reply(Event::Poll(agent("a"))), Reply::Nothing);
    assert!(!desk.state.concerns(&agent("a")));
    assert_eq!(desk.does(Event::Detached(7, Some("so far".to_owned()))), [Effect::Write(7)]);
    assert!(desk.state.concerns(&agent("a")));
    assert_eq!(desk.reply(Event::Poll(agent("a"))), Reply::Assign(7));
    assert_eq!(desk.state.jobs[&7].log, Log::Known("so far".to_owned()));
}

#[test]
fn a_job_is_offered_only_after_gitlab_was_told_that_it_runs() {
    let mut desk = Desk::with(&["a"]);
    desk.does(Event::Acquired(Box::new(new_job(7))));
    assert_eq!(desk.does(Event::Poll(agent("a"))), [Effect::Reply(Reply::Nothing)]);
    assert!(!desk.state.concerns(&agent("a")));
}

#[test]
fn an_unacknowledged_offer_is_withdrawn_after_ten_seconds_and_its_generation_is_stale() {
    let mut desk = Desk::with(&["a", "b"]);
    desk.acquire(7);
    let old = desk.offer(7, "a");
    let effects = desk.pass(Duration::from_secs(10), &[]);
    assert!(effects.contains(&Effect::Attend { job: 7, start: Start::Continue("log".to_owned()) }), "{effects:?}");
    assert_eq!(desk.phase(7), "waiting");
    assert_eq!(desk.reply(Event::Ack(agent("a"), old)), Reply::Stale);
    let new = desk.offer(7, "b");
    assert_eq!(new.generation, old.generation + 1);
    for call in [Event::Ack(agent("a"), old), Event::Ack(agent("a"), new), Event::Script(agent("b"), new)] {
        assert_eq!(desk.reply(call), Reply::Stale);
    }
    assert_eq!(desk.reply(Event::Ack(agent("b"), new)), Reply::Done);
}

#[test]
fn ownership_moves_with_the_write_of_the_ack_and_the_executor_counts_as_used_before() {
    let mut desk = Desk::with(&["a"]);
    desk.acquire(7);
    let holding = desk.offer(7, "a");
    let effects = desk.does(Event::Ack(agent("a"), holding));
    assert_eq!(effects, [Effect::WriteExecutor("a".to_owned()), Effect::Write(7), Effect::Reply(Reply::Done)]);
    assert_eq!(desk.state.jobs[&7].log, Log::Server { section: None }, "the log is the agent's from now on");
}

#[test]
fn the_barrier_is_written_before_it_opens_and_drops_the_payload() {
    let mut desk = Desk::with(&["a"]);
    let holding = desk.hold(7, "a");
    assert!(desk.state.jobs[&7].payload.is_some());
    let effects = desk.does(Event::Script(agent("a"), holding));
    assert_eq!(effects, [Effect::Write(7), Effect::Reply(Reply::Done)]);
    assert!(desk.state.jobs[&7].payload.is_none());
}

#[test]
fn a_lost_job_before_the_script_moves_to_another_executor_with_its_log() {
    let mut desk = Desk::with(&["a", "b"]);
    let old = desk.hold(7, "a");
    desk.does(Event::Heartbeat(agent("a"), old, Some("get_sources".to_owned())));
    let effects = desk.does(Event::Lost("a".to_owned()));
    let start = Start::TakeOver(Some("get_sources".to_owned()));
    assert!(effects.contains(&Effect::Attend { job: 7, start }), "{effects:?}");
    assert!(desk.state.executors["a"].doomed);
    assert_eq!(desk.reply(Event::Poll(agent("b"))), Reply::Nothing);
    desk.does(Event::Detached(7, None));
    assert_eq!(desk.reply(Event::Poll(agent("b"))), Reply::Assign(7));
    assert_eq!(desk.state.jobs[&7].generation, 2);
    for call in [Event::Heartbeat(agent("a"), old, None), Event::Script(agent("a"), old)] {
        assert_eq!(desk.reply(call), Reply::Stale);
    }
}

#[test]
fn a_lost_job_after_the_barrier_is_ended_by_the_runner_and_never_assigned_again() {
    let mut desk = Desk::with(&["a", "b"]);
    let holding = desk.script(7, "a");
    desk.does(Event::Heartbeat(agent("a"), holding, Some("step_script".to_owned())));
    let effects = desk.does(Event::Lost("a".to_owned()));
    let start = Start::TakeOver(Some("step_script".to_owned()));
    assert!(effects.contains(&Effect::End { job: 7, start }), "{effects:?}");
    assert_eq!(desk.end(7).0, Reason::System);
    assert_eq!(desk.reply(Event::Poll(agent("b"))), Reply::Nothing);
    assert_eq!(desk.does(Event::Ended(7)), [Effect::Remove(7)]);
}

#[test]
fn another_run_id_on_the_executor_means_that_the_earlier_run_is_lost() {
    for (scripting, phase) in [(false, "waiting"), (true, "ending")] {
        let mut desk = Desk::with(&["a"]);
        let holding = if scripting { desk.script(7, "a") } else { desk.hold(7, "a") };
        assert_eq!(desk.reply(Event::Register(rerun("a"), Some(holding))), Reply::Gone, "used once, run twice");
        assert_eq!(desk.phase(7), phase);
        assert_eq!(desk.reply(Event::Heartbeat(agent("a"), holding, None)), Reply::Session);
        assert_eq!(desk.reply(Event::Register(agent("a"), Some(holding))), Reply::Refused, "the earlier run is over");
    }
}

#[test]
fn the_same_run_id_goes_on_with_its_lease() {
    let mut desk = Desk::with(&["a"]);
    let holding = desk.script(7, "a");
    desk.crash();
    assert_eq!(desk.reply(Event::Register(agent("a"), Some(holding))), Reply::Registered(true));
    let stale = Holding { generation: 9, ..holding };
    assert_eq!(desk.reply(Event::Register(agent("a"), Some(stale))), Reply::Registered(false));
    assert_eq!(desk.phase(7), "scripting");
}

#[test]
fn a_lease_before_the_barrier_lapses_after_five_minutes() {
    let mut desk = Desk::with(&["a"]);
    desk.pass(Duration::from_mins(6), &[]);
    let holding = desk.hold(7, "a");
    desk.pass(Duration::from_mins(30), &[("a", holding)]);
    assert_eq!(desk.phase(7), "held");
    desk.pass(Duration::from_secs(290), &[]);
    assert_eq!(desk.phase(7), "held");
    desk.pass(Duration::from_secs(10), &[]);
    assert_eq!(desk.phase(7), "waiting");
}

#[test]
fn a_lease_in_the_script_lapses_after_fifteen_minutes_or_at_once_when_the_executor_is_gone() {
    let mut desk = Desk::with(&["a"]);
    desk.pass(Duration::from_mins(6), &[]);
    desk.script(7, "a");
    desk.pass(Duration::from_mins(14), &[]);
    assert_eq!(desk.phase(7), "scripting");
    desk.pass(Duration::from_mins(1), &[]);
    assert_eq!(desk.end(7).0, Reason::System);

    let mut desk = Desk::with(&["a"]);
    desk.script(7, "a");
    desk.does(Event::Lost("a".to_owned()));
    assert_eq!(desk.phase(7), "ending");
}

#[test]
fn leases_are_judged_only_by_a_runner_that_is_up_for_a_whole_lease() {
    let mut desk = Desk::with(&["a"]);
    desk.hold(7, "a");
    desk.pass(Duration::from_secs(200), &[]);
    desk.crash();
    desk.pass(Duration::from_secs(295), &[]);
    assert_eq!(desk.phase(7), "held");
    desk.pass(Duration::from_secs(5), &[]);
    assert_eq!(desk.phase(7), "waiting");
}

#[test]
fn silence_of_all_agents_is_a_storm_that_ends_nothing_and_a_returning_heartbeat_starts_all_leases_afresh() {
    let names = ["a", "b"];
    let mut desk = Desk::with(&names);
    let holdings = [desk.hold(10, "a"), desk.hold(11, "b")];
    let effects = desk.pass(Duration::from_mins(50), &[]);
    let storms: Vec<_> = effects.iter().filter(|effect| matches!(effect, Effect::LeaseStorm { .. })).collect();
    assert_eq!(storms, [&Effect::LeaseStorm { lapsed: 2, of: 2 }], "said once");
    assert_eq!((desk.phase(10), desk.phase(11)), ("held", "held"));
    assert_eq!(desk.reply(Event::Heartbeat(agent("a"), holdings[0], None)), Reply::Done);
    desk.pass(Duration::from_secs(290), &[("a", holdings[0])]);
    assert_eq!(desk.phase(11), "held", "a whole lease more");
    desk.pass(Duration::from_secs(10), &[("a", holdings[0])]);
    assert_eq!((desk.phase(10), desk.phase(11)), ("held", "waiting"), "then it is judged like anybody");
}

#[test]
fn more_than_three_leases_that_lapse_together_are_a_storm_and_three_are_not() {
    for (silent, phase) in [(3, "waiting"), (4, "held")] {
        let names = ["a", "b", "c", "d", "e", "f"];
        let mut desk = Desk::with(&names);
        let held: Vec<_> = (10..).zip(names).map(|(id, name)| (name, desk.hold(id, name))).collect();
        desk.pass(Duration::from_mins(6), &held);
        desk.pass(Duration::from_mins(5), &held[silent..]);
        assert_eq!(desk.phase(10), phase, "{silent} are silent");
    }
}

#[test]
fn a_job_without_an_executor_fails_after_the_acquire_timeout_and_says_why() {
    let mut desk = Desk::new();
    desk.acquire(7);
    desk.does(Event::Obstacle(DEFAULT_POOL.to_owned(), "no agent program".to_owned()));
    desk.pass(Duration::from_secs(895), &[]);
    assert_eq!(desk.phase(7), "waiting");
    let effects = desk.pass(Duration::from_secs(5), &[]);
    assert_eq!(desk.end(7), (Reason::System, "No executor within 15m: no agent program."));
    assert!(effects.ends_with(&[Effect::Write(7), Effect::Detach(7)]), "the log comes first: {effects:?}");
    let effects = desk.does(Event::Detached(7, Some("waiting".to_owned())));
    assert_eq!(effects, [Effect::End { job: 7, start: Start::Continue("waiting".to_owned()) }]);
}

#[test]
fn a_job_is_ended_ten_minutes_after_its_timeout_whoever_has_it() {
    let mut desk = Desk::with(&["a"]);
    let holding = desk.script(7, "a");
    desk.pass(Duration::from_mins(69), &[("a", holding)]);
    assert_eq!(desk.phase(7), "scripting");
    desk.pass(Duration::from_mins(2), &[("a", holding)]);
    assert_eq!(desk.end(7).0, Reason::Timeout);
    assert_eq!(desk.reply(Event::Heartbeat(agent("a"), holding, None)), Reply::Stale);
    assert_eq!(desk.reply(Event::Release(agent("a"), holding, finished())), Reply::Stale);
    assert!(desk.state.executors["a"].doomed);
}

#[test]
fn a_job_whose_timeout_is_over_while_it_waits_times_out() {
    let mut desk = Desk::new();
    let quick = NewJob { timeout: Duration::from_mins(2), ..new_job(7) };
    desk.does(Event::Acquired(Box::new(quick)));
    desk.pass(Duration::from_mins(2), &[]);
    assert_eq!(desk.end(7).0, Reason::Timeout);
}

#[test]
fn a_cancelation_ends_a_waiting_job_and_is_the_agents_business_afterwards() {
    let mut desk = Desk::with(&["a"]);
    desk.acquire(7);
    desk.does(Event::Canceling(7));
    assert_eq!(desk.end(7).0, Reason::Canceled);
    desk.hold(8, "a");
    assert_eq!(desk.does(Event::Canceling(8)), []);
    assert_eq!(desk.does(Event::Aborted(8)), []);
    assert_eq!(desk.phase(8), "held");
}

#[test]
fn a_job_that_gitlab_drops_while_it_waits_is_forgotten_without_a_word() {
    let mut desk = Desk::with(&["a"]);
    desk.acquire(7);
    desk.does(Event::Poll(agent("a")));
    assert_eq!(desk.does(Event::Aborted(7)), [Effect::Remove(7)], "even between offer and hand-over");
    assert_eq!(desk.does(Event::Detached(7, None)), []);
    assert_eq!(desk.reply(Event::Poll(agent("a"))), Reply::Nothing);
}

#[test]
fn a_job_given_up_before_its_script_waits_again_and_one_given_up_after_the_barrier_ends() {
    for (scripting, phase) in [(false, "waiting"), (true, "ending")] {
        let mut desk = Desk::with(&["a"]);
        let holding = if scripting { desk.script(7, "a") } else { desk.hold(7, "a") };
        assert_eq!(desk.reply(Event::Release(agent("a"), holding, given_up())), Reply::Done);
        assert_eq!(desk.phase(7), phase);
        assert_eq!(desk.reply(Event::Poll(agent("a"))), Reply::Gone);
    }
}

#[test]
fn a_job_that_loses_five_executors_is_not_tried_for_ever() {
    let names = ["a", "b", "c", "d", "e"];
    let mut desk = Desk::with(&names);
    desk.acquire(7);
    for name in names {
        let holding = desk.offer(7, name);
        desk.does(Event::Ack(agent(name), holding));
        desk.does(Event::Lost(name.to_owned()));
    }
    assert_eq!(desk.end(7).0, Reason::System);
}

#[test]
fn an_agent_may_leave_only_when_nothing_waits_for_it() {
    let mut desk = Desk::with(&["a"]);
    desk.acquire(7);
    assert_eq!(desk.reply(Event::Leave(agent("a"))), Reply::Stale);
    let holding = desk.offer(7, "a");
    assert_eq!(desk.reply(Event::Leave(agent("a"))), Reply::Stale);
    desk.does(Event::Ack(agent("a"), holding));
    desk.does(Event::Release(agent("a"), holding, finished()));
    assert_eq!(desk.reply(Event::Leave(agent("a"))), Reply::Done);
}

#[test]
fn an_executor_with_a_job_is_not_retired_and_a_retired_one_gets_no_job() {
    let mut desk = Desk::with(&["a", "b"]);
    desk.acquire(7);
    desk.offer(7, "a");
    assert_eq!(desk.reply(Event::Retire("a".to_owned())), Reply::Stale);
    assert_eq!(desk.reply(Event::Retire("b".to_owned())), Reply::Done);
    desk.acquire(8);
    assert_eq!(desk.reply(Event::Poll(agent("b"))), Reply::Gone);
}

#[test]
fn an_executor_that_is_about_to_go_gets_no_more_jobs_and_keeps_its_own() {
    let mut desk = Desk::with(&["a", "b"]);
    desk.state.executors.get_mut("a").expect("it is there").sharing.max_use_count = 2;
    let holding = desk.hold(7, "a");
    let effects = desk.does(Event::Notice(agent("a")));
    assert_eq!(effects, [Effect::WriteExecutor("a".to_owned()), Effect::Reply(Reply::Done)]);
    assert_eq!(desk.reply(Event::Notice(agent("a"))), Reply::Done, "the next notice");
    assert_eq!(desk.reply(Event::Script(agent("a"), holding)), Reply::Done);
    assert_eq!(desk.reply(Event::Release(agent("a"), holding, finished())), Reply::Done);
    desk.acquire(8);
    assert_eq!(desk.reply(Event::Poll(agent("a"))), Reply::Gone);
    assert_eq!(desk.reply(Event::Notice(rerun("b"))), Reply::Session);
    desk.offer(8, "b");
}

#[test]
fn a_job_offered_to_an_executor_that_is_about_to_go_waits_for_another() {
    for detached in [true, false] {
        let mut desk = Desk::with(&["a", "b"]);
        desk.acquire(7);
        desk.does(Event::Poll(agent("a")));
        if detached {
            desk.does(Event::Detached(7, Some("log".to_owned())));
        }
        let holding = desk.state.jobs[&7].holding();
        desk.does(Event::Notice(agent("a")));
        assert_eq!((desk.phase(7), desk.state.jobs[&7].losses), ("waiting", 0));
        assert_eq!(desk.reply(Event::Ack(agent("a"), holding)), Reply::Stale);
        desk.does(Event::Detached(7, Some("log".to_owned())));
        desk.offer(7, "b");
    }
}

#[test]
fn an_executor_for_several_jobs_serves_one_project_and_one_protected_state() {
    let mut desk = Desk::with(&["a"]);
    let share = |desk: &mut Desk, reuse| {
        desk.state.executors.get_mut("a").expect("it is there").sharing = Sharing { max_use_count: 3, reuse };
    };
    share(&mut desk, Reuse::Project);
    let holding = desk.script(10, "a");
    desk.does(Event::Release(agent("a"), holding, finished()));
    desk.acquire(20);
    assert_eq!(desk.does(Event::Poll(agent("a"))), [Effect::Reply(Reply::Nothing)], "another project");
    desk.acquire(11);
    desk.offer(11, "a");

    share(&mut desk, Reuse::Pool);
    let executor = &desk.state.executors["a"];
    assert!(executor.suits(&desk.state.jobs[&20]), "all jobs of the pool are trusted");
    let elsewhere = Job { pool: "large".to_owned(), ..desk.state.jobs[&20].clone() };
    assert!(!executor.suits(&elsewhere), "but none of another pool");
}

#[test]
fn a_launched_executor_goes_by_the_clouds_name_from_then_on() {
    let mut desk = Desk::new();
    desk.does(Event::Launching("launch-0".to_owned(), Box::new(new_executor())));
    let named = |id: &str| Event::Named("launch-0".to_owned(), id.to_owned());
    let effects = desk.does(named("i-1"));
    let writes = [Effect::WriteExecutor("i-1".to_owned()), Effect::RemoveExecutor("launch-0".to_owned())];
    assert_eq!(effects, [&writes[..], &[Effect::Reply(Reply::Done)]].concat(), "never forgotten between the two");
    assert_eq!(desk.state.executors.keys().collect::<Vec<_>>(), ["i-1"]);
    assert_eq!(desk.state.executors["i-1"].launch, None);
    assert_eq!(desk.reply(named("i-1")), Reply::Stale, "the answer came twice");
    desk.does(Event::Launching("launch-0".to_owned(), Box::new(new_executor())));
    assert_eq!(desk.reply(named("i-1")), Reply::Stale, "one executor is one launch");
    assert_eq!(desk.reply(Event::Named("i-1".to_owned(), "i-2".to_owned())), Reply::Stale, "a name is for ever");
}

#[test]
fn a_job_that_is_refused_ends_only_after_gitlab_was_told_that_it_runs() {
    let mut desk = Desk::new();
    desk.does(Event::Acquired(Box::new(new_job(7))));
    assert_eq!(desk.does(Event::Fail(7, End::system("no such pool"))), []);
    assert!(desk.does(Event::Reported(7)).contains(&Effect::Detach(7)));
    assert!(matches!(desk.state.jobs[&7].phase, Phase::Ending(_)));
}

#[test]
fn concurrent_ids_are_the_smallest_free_ones() {
    let mut desk = Desk::new();
    for id in [10, 20, 11, 21] {
        desk.acquire(id);
    }
    let ids = |desk: &Desk, id: u64| (desk.state.jobs[&id].concurrent_id, desk.state.jobs[&id].concurrent_project_id);
    let all = [ids(&desk, 10), ids(&desk, 20), ids(&desk, 11), ids(&desk, 21)];
    assert_eq!(all, [(0, 0), (1, 0), (2, 1), (3, 1)]);
    desk.does(Event::Aborted(20));
    desk.acquire(22);
    assert_eq!(ids(&desk, 22), (1, 0));
}

#[test]
fn a_job_that_is_here_already_is_not_taken_twice() {
    let mut desk = Desk::new();
    desk.acquire(7);
    assert_eq!(desk.reply(Event::Acquired(Box::new(new_job(7)))), Reply::Stale);
    let other = NewJob { url: "https://other.test".to_owned(), ..new_job(7) };
    assert_eq!(desk.reply(Event::Acquired(Box::new(other))), Reply::Refused);
}

#[test]
fn unknown_executors_and_runs_are_turned_away() {
    let mut desk = Desk::with(&["a"]);
    assert_eq!(desk.reply(Event::Register(agent("x"), None)), Reply::Refused);
    assert_eq!(desk.reply(Event::Poll(agent("x"))), Reply::Session);
    assert_eq!(desk.reply(Event::Poll(rerun("a"))), Reply::Session);
}

/// A phase, how a job gets there, and what a restart does first.
type Case = (&'static str, fn(&mut Desk), Vec<Effect>);

#[test]
fn a_restart_goes_on_in_every_phase() {
    let attend = |start| vec![Effect::Attend { job: 7, start }];
    let end = |start| vec![Effect::End { job: 7, start }];
    let unknown = || Start::TakeOver(None);
    let cases: [Case; 7] = [
        ("waiting", |desk| drop(desk.does(Event::Acquired(Box::new(new_job(7))))), attend(unknown())),
        (
            "offered",
            |desk| {
                desk.acquire(7);
                desk.does(Event::Poll(agent("a")));
            },
            vec![],
        ),
        (
            "offered",
            |desk| {
                desk.acquire(7);
                desk.offer(7, "a");
            },
            vec![],
        ),
        ("held", |desk| _ = desk.hold(7, "a"), vec![]),
        ("scripting", |desk| _ = desk.script(7, "a"), vec![]),
        (
            "ending",
            |desk| {
                desk.script(7, "a");
                desk.does(Event::Lost("a".to_owned()));
            },
            end(unknown()),
        ),
        (
            "ending",
            |desk| {
                desk.acquire(7);
                desk.does(Event::Canceling(7));
            },
            end(unknown()),
        ),
    ];
    for (number, (phase, before, expected)) in cases.into_iter().enumerate() {
        let mut desk = Desk::with(&["a"]);
        before(&mut desk);
        assert_eq!(desk.crash(), expected, "case {number}");
        assert_eq!(desk.phase(7), phase, "case {number}");
    }
}

#[test]
fn an_offer_made_before_a_restart_is_repeated_after_it() {
    for (detached, log) in [(true, Log::Known("log".to_owned())), (false, Log::Server { section: None })] {
        let mut desk = Desk::with(&["a"]);
        desk.acquire(7);
        desk.does(Event::Poll(agent("a")));
        if detached {
            desk.does(Event::Detached(7, Some("log".to_owned())));
        }
        desk.crash();
        assert_eq!(desk.reply(Event::Poll(agent("a"))), Reply::Assign(7));
        assert_eq!(desk.state.jobs[&7].log, log);
    }
}
