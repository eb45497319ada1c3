//! The rules of protocol §7.4 to §7.6 that concern the client, judged by the fake GitLab.

mod client_support;

use client_support::{Taken, begin, fake, put, quick_fake, succeed, timing};
use std::time::Duration;
use warmstart_gitlab::sections;
use warmstart_gitlab::trace::{Finished, Signal, Start, Stream};
use warmstart_gitlab::update::{FailureReason, Final, Verdict};
use warmstart_gitlab::{Error, Timing};
use warmstart_tests::gitlab::{Endpoint, FakeGitlab, Fault, JobSpec, JobState, Matcher, Options, Outage};

async fn ended(gitlab: &FakeGitlab, taken: &Taken, log: &str) {
    let finished = gitlab.wait_finished(taken.id).await;
    assert!(finished.text() == log, "the log is {:?}, expected {log:?}", finished.text());
    gitlab.assert_clean();
}

#[tokio::test]
async fn a_job_with_sections_is_clean_and_byte_identical() {
    let gitlab = fake(Options::default()).await;
    let (taken, trace) = begin(&gitlab).await;
    let mut writer = trace.writer();
    let text = [
        sections::line(sections::Level::Print, "Running with warmstart"),
        sections::start("get_sources", 100),
        sections::headline("Getting source from Git repository"),
        sections::end("get_sources", 101),
        sections::start("step_script", 101),
        sections::headline("Executing \"step_script\" stage of the job script"),
        "hello\n".to_owned(),
        sections::end("step_script", 102),
        sections::line(sections::Level::Info, "Job succeeded"),
    ];
    for part in &text {
        put(&mut writer, part);
    }
    drop(writer);
    succeed(trace).await;
    ended(&gitlab, &taken, &text.concat()).await;
    assert_eq!(gitlab.state(taken.id), JobState::Success);
}

#[tokio::test]
async fn a_failed_script_is_reported_with_its_exit_code() {
    let gitlab = quick_fake().await;
    let (taken, trace) = begin(&gitlab).await;
    put(&mut trace.writer(), "no\n");
    let end = Final::failed(FailureReason::ScriptFailure, Some(137), taken.features());
    assert_eq!(trace.finish(end).await.expect("taken"), Finished::Accepted);
    let finished = gitlab.wait_finished(taken.id).await;
    assert_eq!((finished.exit_code, finished.failure_reason.as_deref()), (Some(137), Some("script_failure")));
    gitlab.assert_clean();
}

#[tokio::test]
async fn reasons_that_the_server_does_not_know_are_mapped() {
    let gitlab = fake(Options { failure_reasons: vec!["script_failure".into()], ..Options::default() }).await;
    let (taken, trace) = begin(&gitlab).await;
    let end = Final::failed(FailureReason::RunnerInterrupted, None, taken.features());
    trace.finish(end).await.expect("taken");
    assert_eq!(gitlab.wait_finished(taken.id).await.failure_reason.as_deref(), Some("unknown_failure"));
    gitlab.assert_clean();
}

#[tokio::test]
async fn debug_jobs_say_so() {
    let gitlab = quick_fake().await;
    let taken = Taken::new(&gitlab, JobSpec::script(["true"]).variable("CI_DEBUG_TRACE", "true"), timing()).await;
    let trace = taken.begin().await;
    put(&mut trace.writer(), "+ true\n");
    succeed(trace).await;
    ended(&gitlab, &taken, "+ true\n").await;
}

#[tokio::test]
async fn the_interval_of_the_server_is_kept() {
    let gitlab = fake(Options { update_interval: 1, ..Options::default() }).await;
    let (taken, trace) = begin(&gitlab).await;
    let mut writer = trace.writer();
    for n in 0..4 {
        put(&mut writer, &format!("{n}\n"));
        gitlab.wait_log_contains(taken.id, &format!("{n}\n")).await;
    }
    drop(writer);
    succeed(trace).await;
    ended(&gitlab, &taken, "0\n1\n2\n3\n").await;
}

#[tokio::test]
async fn intervals_that_are_nonsense_are_ignored() {
    let gitlab = quick_fake().await;
    for (nth, text) in ["0", "soon", "-5", ""].into_iter().enumerate() {
        gitlab.misbehave(Matcher::on(Endpoint::Trace).nth(1 + nth), Fault::UpdateInterval(text.into()));
    }
    let (taken, trace) = begin(&gitlab).await;
    for n in 0..5 {
        put(&mut trace.writer(), &format!("{n}\n"));
        gitlab.wait_log_contains(taken.id, &format!("{n}\n")).await;
    }
    succeed(trace).await;
    ended(&gitlab, &taken, "0\n1\n2\n3\n4\n").await;
}

#[tokio::test]
async fn a_silent_job_is_kept_alive() {
    let gitlab = fake(Options { update_interval: 0, silence: Duration::from_secs(5), ..Options::default() }).await;
    let timing = Timing { keep_alive: Duration::from_millis(500), ..timing() };
    let taken = Taken::new(&gitlab, JobSpec::script(["true"]), timing).await;
    let trace = taken.begin().await;
    put(&mut trace.writer(), "hello\n");
    gitlab.wait_log_contains(taken.id, "hello").await;
    gitlab.wait_requests(Endpoint::KeepAlive, 4).await;
    succeed(trace).await;
    ended(&gitlab, &taken, "hello\n").await;
}

#[tokio::test]
async fn bytes_that_the_server_forgets_are_sent_again() {
    let gitlab = quick_fake().await;
    gitlab.misbehave(Matcher::on(Endpoint::Trace), Fault::Truncate(3));
    let (taken, trace) = begin(&gitlab).await;
    put(&mut trace.writer(), "hello\n");
    gitlab.wait_requests(Endpoint::Trace, 1).await;
    put(&mut trace.writer(), "world\n");
    gitlab.wait_log_contains(taken.id, "world").await;
    succeed(trace).await;
    ended(&gitlab, &taken, "hello\nworld\n").await;
}

#[tokio::test]
async fn bursts_of_errors_lose_and_double_nothing() {
    let gitlab = quick_fake().await;
    gitlab.misbehave(Matcher::on(Endpoint::Trace).times(7), Fault::status(500));
    gitlab.misbehave(Matcher::on(Endpoint::Trace).nth(2), Fault::DropAfter);
    gitlab.misbehave(Matcher::on(Endpoint::Trace).nth(3), Fault::DropBefore);
    gitlab.misbehave(Matcher::on(Endpoint::Trace).nth(4), Fault::status(404));
    gitlab.misbehave(Matcher::on(Endpoint::Trace).nth(2), Fault::CutBody);
    let (taken, trace) = begin(&gitlab).await;
    let mut expected = String::new();
    for n in 0..8 {
        let line = format!("line {n}\n");
        put(&mut trace.writer(), &line);
        gitlab.wait_log_contains(taken.id, &line).await;
        expected += &line;
    }
    succeed(trace).await;
    ended(&gitlab, &taken, &expected).await;
}

#[tokio::test]
async fn secrets_are_masked_across_writes_and_streams() {
    let gitlab = quick_fake().await;
    let spec = JobSpec::script(["true"]).masked("SECRET", "s3cr3tvalue").masked("LONGER", "s3cr3tvalue-and-more");
    let taken = Taken::new(&gitlab, spec, timing()).await;
    let trace = taken.begin().await;
    let (mut out, mut err) = (trace.writer(), trace.writer());
    put(&mut out, "1 s3cr3tva");
    put(&mut err, "2 s3cr3tvalue-and");
    put(&mut out, &format!("lue {}\n", taken.job.token.expose()));
    put(&mut err, "-more glpat-abcdef ?private_token=x\n");
    drop((out, err));
    succeed(trace).await;
    let log = "1 2 [MASKED] [MASKED]\n[MASKED] glpat-[MASKED] ?private_token=[MASKED]\n";
    ended(&gitlab, &taken, log).await;
}

#[tokio::test]
async fn lines_with_their_time_are_what_gitlab_expects_from_several_streams_after_a_take_over_and_at_the_limit() {
    let gitlab = quick_fake().await;
    let spec = JobSpec::script(["true"]).masked("SECRET", "s3cr3tvalue");
    let taken = Taken::timed(&gitlab, spec, timing()).await;
    let first = taken.begin().await;
    let (mut out, mut err) = (first.stream(Stream::Stdout), first.stream(Stream::Stderr));
    put(&mut out, "s3cr3t");
    put(&mut err, "10%\r");
    put(&mut out, "value\n");
    put(&mut err, "20%\r");
    put(&mut err, "30%\r\n");
    gitlab.wait_log_contains(taken.id, "[MASKED]\n20%\r30%\r\n").await;
    drop((out, err, first));
    let trace = taken.open(Start::TakeOver { open_section: None });
    put(&mut trace.writer(), "here we go\n");
    succeed(trace).await;
    let log = gitlab.wait_finished(taken.id).await.text();
    assert!(log.starts_with("10%\r\n[MASKED]\n") && log.ends_with("\x1b[0K\nhere we go\n"), "{log:?}");

    let taken = Taken::timed(&gitlab, JobSpec::script(["true"]), timing()).await;
    taken.start().await;
    let trace = taken.open_limited(Start::Fresh, 1000);
    put(&mut trace.writer(), &"a line\n".repeat(100));
    succeed(trace).await;
    assert!(gitlab.wait_finished(taken.id).await.text().contains("a line\na line\n"));
    gitlab.assert_clean();
}

#[tokio::test]
async fn a_log_over_its_limit_ends_with_the_notice() {
    let gitlab = quick_fake().await;
    let taken = Taken::new(&gitlab, JobSpec::script(["true"]), timing()).await;
    taken.start().await;
    let trace = taken.open_limited(Start::Fresh, 1000);
    put(&mut trace.writer(), &"é".repeat(700));
    put(&mut trace.writer(), "later\n");
    succeed(trace).await;
    let log = format!("{}{}", "é".repeat(500), sections::limit_notice(1000));
    ended(&gitlab, &taken, &log).await;
}

#[tokio::test]
async fn a_log_over_the_servers_limit_aborts() {
    let gitlab = fake(Options { trace_limit: 100, update_interval: 0, ..Options::default() }).await;
    let (taken, trace) = begin(&gitlab).await;
    put(&mut trace.writer(), &"x".repeat(200));
    trace.signal().wait_for(|signal| *signal == Signal::Aborted).await.expect("told");
    assert!(matches!(trace.finish(Final::success()).await, Ok(Finished::Refused(_))));
    assert_eq!(gitlab.wait_finished(taken.id).await.failure_reason.as_deref(), Some("trace_size_exceeded"));
    gitlab.assert_clean();
}

#[tokio::test]
async fn while_the_server_persists_the_log_the_update_is_repeated_after_its_interval() {
    let gitlab = quick_fake().await;
    gitlab.misbehave(Matcher::on(Endpoint::FinalUpdate), Fault::Accepted202 { interval: 1 });
    gitlab.misbehave(Matcher::on(Endpoint::FinalUpdate), Fault::Accepted202 { interval: 2 });
    let (taken, trace) = begin(&gitlab).await;
    put(&mut trace.writer(), "hello\n");
    succeed(trace).await;
    assert_eq!(gitlab.count(Endpoint::FinalUpdate), 3);
    ended(&gitlab, &taken, "hello\n").await;
}

#[tokio::test]
async fn a_log_that_the_server_finds_different_is_sent_again() {
    let gitlab = quick_fake().await;
    gitlab.misbehave(Matcher::on(Endpoint::FinalUpdate), Fault::PreconditionFailed412);
    let (taken, trace) = begin(&gitlab).await;
    put(&mut trace.writer(), "hello\n");
    gitlab.wait_log_contains(taken.id, "hello").await;
    put(&mut trace.writer(), "world\n");
    succeed(trace).await;
    ended(&gitlab, &taken, "hello\nworld\n").await;
}

#[tokio::test]
async fn a_final_update_that_fails_is_tried_with_pauses_until_it_is_taken() {
    let gitlab = quick_fake().await;
    gitlab.misbehave(Matcher::on(Endpoint::FinalUpdate).times(6), Fault::status(502));
    gitlab.misbehave(Matcher::on(Endpoint::FinalUpdate), Fault::DropBefore);
    gitlab.misbehave(Matcher::on(Endpoint::FinalUpdate), Fault::status(409));
    let (taken, trace) = begin(&gitlab).await;
    put(&mut trace.writer(), "hello\n");
    succeed(trace).await;
    ended(&gitlab, &taken, "hello\n").await;
}

#[tokio::test]
async fn a_final_update_whose_answer_is_lost_is_refused_the_second_time_and_was_taken_the_first() {
    let gitlab = quick_fake().await;
    gitlab.misbehave(Matcher::on(Endpoint::FinalUpdate), Fault::DropAfter);
    let (taken, trace) = begin(&gitlab).await;
    put(&mut trace.writer(), "hello\n");
    succeed(trace).await;
    assert_eq!(gitlab.count(Endpoint::FinalUpdate), 2);
    assert_eq!(gitlab.wait_finished(taken.id).await.text(), "hello\n");
}

#[tokio::test]
async fn a_server_that_never_takes_the_final_state_is_given_up() {
    let gitlab = quick_fake().await;
    gitlab.misbehave(Matcher::on(Endpoint::FinalUpdate).forever(), Fault::status(400));
    let timing = Timing { final_rounds: 3, ..timing() };
    let taken = Taken::new(&gitlab, JobSpec::script(["true"]), timing).await;
    let error = taken.begin().await.finish(Final::success()).await.expect_err("never taken");
    assert!(matches!(error, Error::GaveUp { rounds: 3, .. }), "{error}");
    gitlab.assert_clean();
}

#[tokio::test]
async fn a_cancel_is_told_and_the_job_ends_in_order() {
    let gitlab = quick_fake().await;
    let (taken, trace) = begin(&gitlab).await;
    put(&mut trace.writer(), "script\n");
    gitlab.wait_log_contains(taken.id, "script").await;
    gitlab.cancel(taken.id);
    put(&mut trace.writer(), "more\n");
    trace.signal().wait_for(|signal| *signal == Signal::Canceling).await.expect("told");
    put(&mut trace.writer(), "after_script\n");
    let end = Final::failed(FailureReason::JobCanceled, None, taken.features());
    assert_eq!(trace.finish(end).await.expect("taken"), Finished::Accepted);
    assert_eq!(gitlab.wait_finished(taken.id).await.state, JobState::Canceled);
    ended(&gitlab, &taken, "script\nmore\nafter_script\n").await;
}

#[tokio::test]
async fn a_silent_job_learns_of_its_cancel_by_the_keep_alive() {
    let gitlab = quick_fake().await;
    let timing = Timing { keep_alive: Duration::from_millis(100), ..timing() };
    let taken = Taken::new(&gitlab, JobSpec::script(["true"]), timing).await;
    let trace = taken.begin().await;
    gitlab.cancel(taken.id);
    trace.signal().wait_for(|signal| *signal == Signal::Canceling).await.expect("told");
    trace.finish(Final::failed(FailureReason::JobCanceled, None, taken.features())).await.expect("taken");
    gitlab.assert_clean();
}

#[tokio::test]
async fn a_forced_cancel_aborts_and_nothing_but_a_final_update_follows() {
    let options = Options { update_interval: 0, abort_grace: Duration::ZERO, ..Options::default() };
    let gitlab = fake(options).await;
    let (taken, trace) = begin(&gitlab).await;
    put(&mut trace.writer(), "script\n");
    gitlab.wait_log_contains(taken.id, "script").await;
    gitlab.force_cancel(taken.id);
    put(&mut trace.writer(), "more\n");
    trace.signal().wait_for(|signal| *signal == Signal::Aborted).await.expect("told");
    put(&mut trace.writer(), "too late\n");
    let finished = trace.finish(Final::success()).await.expect("an end");
    assert!(matches!(finished, Finished::Refused(_)));
    assert!(!gitlab.wait_finished(taken.id).await.text().contains("more"));
    gitlab.assert_clean();
}

#[tokio::test]
async fn the_first_update_tells_whether_the_job_is_still_wanted() {
    let gitlab = quick_fake().await;
    for code in [403, 404] {
        gitlab.misbehave(Matcher::on(Endpoint::KeepAlive), Fault::status(code));
        let taken = Taken::new(&gitlab, JobSpec::script(["true"]), timing()).await;
        assert!(matches!(taken.start().await.verdict, Verdict::Refused(_)));
    }
    let canceling = Taken::new(&gitlab, JobSpec::script(["true"]), timing()).await;
    gitlab.cancel(canceling.id);
    assert_eq!(canceling.start().await.signal, Signal::Canceling);
    let trace = canceling.open(Start::Fresh);
    trace.finish(Final::failed(FailureReason::JobCanceled, None, canceling.features())).await.expect("taken");
    let canceled = Taken::new(&gitlab, JobSpec::script(["true"]), timing()).await;
    gitlab.force_cancel(canceled.id);
    assert!(matches!(canceled.start().await.verdict, Verdict::Refused(_)));
    gitlab.assert_clean();
}

async fn away_while(kind: Outage) {
    let gitlab = quick_fake().await;
    let timing = Timing { update: Duration::from_secs(2), ..timing() };
    let taken = Taken::new(&gitlab, JobSpec::script(["true"]), timing).await;
    let trace = taken.begin().await;
    let mut writer = trace.writer();
    put(&mut writer, "before\n");
    gitlab.wait_log_contains(taken.id, "before").await;
    gitlab.outage(kind).await;
    let mut expected = "before\n".to_owned();
    for n in 0..1000 {
        let line = format!("line {n} while it is away\n");
        put(&mut writer, &line);
        expected += &line;
    }
    if kind != Outage::Refused {
        gitlab.wait_requests(Endpoint::Trace, gitlab.count(Endpoint::Trace) + 2).await;
    }
    gitlab.recover().await;
    gitlab.wait_log_contains(taken.id, "line 999").await;
    gitlab.outage(kind).await;
    put(&mut writer, "the end\n");
    drop(writer);
    let mut ending = tokio::spawn(trace.finish(Final::success()));
    let early = tokio::time::timeout(Duration::from_secs(3), &mut ending).await;
    assert!(early.is_err(), "the final state cannot be through");
    gitlab.recover().await;
    assert_eq!(ending.await.expect("ends").expect("taken"), Finished::Accepted);
    ended(&gitlab, &taken, &(expected + "the end\n")).await;
}

#[tokio::test]
async fn a_server_that_refuses_connections_for_a_while_gets_the_whole_log() {
    away_while(Outage::Refused).await;
}

#[tokio::test]
async fn a_server_that_answers_500_for_a_while_gets_the_whole_log() {
    away_while(Outage::Status500).await;
}

#[tokio::test]
async fn a_server_that_hangs_for_a_while_gets_the_whole_log() {
    away_while(Outage::Hanging).await;
}

#[tokio::test]
async fn a_job_changes_hands_with_its_log_whole() {
    let gitlab = quick_fake().await;
    let (taken, first) = begin(&gitlab).await;
    put(&mut first.writer(), "waiting for an executor\n");
    let so_far = first.detach().await.expect("the log");
    let second = taken.open(Start::Continue(so_far));
    put(&mut second.writer(), "running\n");
    succeed(second).await;
    ended(&gitlab, &taken, "waiting for an executor\nrunning\n").await;
}

#[tokio::test]
async fn a_lost_agents_log_goes_on_where_the_server_has_it() {
    let gitlab = quick_fake().await;
    let (taken, lost) = begin(&gitlab).await;
    put(&mut lost.writer(), &format!("{}half a li", sections::start("get_sources", 100)));
    gitlab.wait_log_contains(taken.id, "half").await;
    drop(lost);
    let trace = taken.open(Start::TakeOver { open_section: Some("get_sources".into()) });
    put(&mut trace.writer(), "on another executor\n");
    gitlab.wait_log_contains(taken.id, "another").await;
    put(&mut trace.writer(), "done\n");
    succeed(trace).await;
    let log = gitlab.wait_finished(taken.id).await.text();
    assert!(log.contains("half a li\n\x1b[0;msection_end:") && log.ends_with("on another executor\ndone\n"), "{log:?}");
    gitlab.assert_clean();
}
