//! A log on its way to a GitLab that misbehaves: nothing is lost, nothing is sent twice.

mod support;

use serde_json::json;
use std::io::Write;
use std::time::Duration;
use support::{Log, Reply, Seen, Site, answer, checksum, json as reply, quick, range};
use warmstart_gitlab::client::{Client, JobClient, Options};
use warmstart_gitlab::mask::Masks;
use warmstart_gitlab::payload::Features;
use warmstart_gitlab::sections::{limit_notice, take_over};
use warmstart_gitlab::trace::{Finished, OUTPUT_LIMIT, Signal, Start, Stream, Trace, Writer};
use warmstart_gitlab::update::{FailureReason, Final};
use warmstart_gitlab::{Error, Timing, trace};

fn open(job: JobClient, start: Start) -> Trace {
    open_with(job, start, OUTPUT_LIMIT, Masks::default())
}

fn open_with(job: JobClient, start: Start, output_limit: u64, masks: Masks) -> Trace {
    Trace::open(job, options(start, output_limit, masks)).expect("a log")
}

fn options(start: Start, output_limit: u64, masks: Masks) -> trace::Options {
    let directory = std::env::temp_dir();
    trace::Options { output_limit, debug: false, timestamps: false, directory, start, masks }
}

fn job_with(site: &Site, timing: Timing) -> JobClient {
    let client = Client::new(&site.url(), &Options { timing, ..Options::default() }).expect("a client");
    client.job(1001, &"glcbt-test".into())
}

fn put(writer: &mut Writer, text: &str) {
    writer.write_all(text.as_bytes()).expect("the file takes it");
}

/// An obedient GitLab, unless `fault` has a reply of its own.
fn site(mut fault: impl FnMut(&Seen) -> Option<Reply> + Send + 'static) -> (Site, Log) {
    let log = Log::default();
    let kept = log.clone();
    (Site::start(move |seen| fault(seen).unwrap_or_else(|| kept.serve(seen))), log)
}

fn puts(seen: &[Seen]) -> Vec<Seen> {
    seen.iter().filter(|seen| seen.is_put()).cloned().collect()
}

fn patches(seen: &[Seen]) -> Vec<Seen> {
    seen.iter().filter(|seen| seen.is_patch()).cloned().collect()
}

fn finals(seen: &[Seen]) -> Vec<Seen> {
    puts(seen).into_iter().filter(|put| put.state() != "running").collect()
}

/// The final update speaks of exactly this log.
fn covers(update: &Seen, text: &str) {
    let output = json!({"checksum": checksum(text.as_bytes()), "bytesize": text.len()});
    assert_eq!(update.json()["output"], output);
}

async fn finish(trace: Trace) -> Finished {
    trace.finish(Final::success()).await.expect("GitLab takes it")
}

#[tokio::test]
async fn what_is_written_arrives_with_its_checksum() {
    let (site, log) = site(|_| None);
    let trace = open(site.job(), Start::Fresh);
    let (mut one, mut two) = (trace.writer(), trace.writer());
    put(&mut one, "hello\n");
    site.until(|seen| !patches(seen).is_empty()).await;
    put(&mut two, "world\n");
    drop((one, two));
    assert_eq!(finish(trace).await, Finished::Accepted);
    assert_eq!(log.text(), "hello\nworld\n");
    let seen = site.seen();
    let patch = &patches(&seen)[0];
    assert_eq!((patch.path.as_str(), patch.query.as_str()), ("/api/v4/jobs/1001/trace", "debug_trace=false"));
    assert_eq!((patch.header("Content-Type"), patch.header("JOB-TOKEN")), ("text/plain", "glcbt-test"));
    let last = seen.last().expect("an update");
    assert_eq!(last.state(), "success");
    covers(last, "hello\nworld\n");
}

#[tokio::test]
async fn a_debug_log_is_marked() {
    let (site, _) = site(|_| None);
    let options = options(Start::Continue(b"x".to_vec()), OUTPUT_LIMIT, Masks::default());
    let options = trace::Options { debug: true, ..options };
    finish(Trace::open(site.job(), options).expect("a log")).await;
    assert_eq!(patches(&site.seen())[0].query, "debug_trace=true");
}

#[tokio::test]
async fn a_large_log_goes_in_patches_of_a_mebibyte() {
    let (site, log) = site(|_| None);
    let trace = open(site.job(), Start::Fresh);
    let text = "0123456789\n".repeat(240_000);
    put(&mut trace.writer(), &text);
    finish(trace).await;
    assert!(log.text() == text, "{} of {} bytes", log.len(), text.len());
    assert!(patches(&site.seen()).len() >= 3);
}

#[tokio::test]
async fn masked_values_are_masked_per_stream_and_across_writes() {
    let (site, log) = site(|_| None);
    let trace = open_with(site.job(), Start::Fresh, OUTPUT_LIMIT, Masks::new(["s3cr3t"], [""; 0]));
    let (mut out, mut err) = (trace.writer(), trace.writer());
    put(&mut out, "a s3c");
    put(&mut err, "b s3cr");
    put(&mut out, "r3t\n");
    put(&mut err, "3t glpat-");
    put(&mut err, "abc\n");
    trace.add_masks(["later"]);
    put(&mut out, "later s3c");
    out.close().expect("written");
    drop(err);
    finish(trace).await;
    assert_eq!(log.text(), "a b [MASKED]\n[MASKED] glpat-[MASKED]\n[MASKED] s3c");
}

fn open_stamped(job: JobClient, start: Start, output_limit: u64) -> Trace {
    let options = options(start, output_limit, Masks::new(["s3cr3t"], [""; 0]));
    Trace::open(job, trace::Options { timestamps: true, ..options }).expect("a log")
}

/// The lines of a log without the time of each.
fn untimed(log: &str) -> Vec<&str> {
    log.split_inclusive('\n').map(|line| line.get(28..).unwrap_or(line)).collect()
}

#[tokio::test]
async fn with_timestamps_streams_enter_the_log_in_whole_lines() {
    let (site, log) = site(|_| None);
    let trace = open_stamped(site.job(), Start::Fresh, OUTPUT_LIMIT);
    let (mut own, mut out, mut err) = (trace.writer(), trace.stream(Stream::Stdout), trace.stream(Stream::Stderr));
    put(&mut own, "Running\n");
    put(&mut out, "a s3c");
    put(&mut err, "b s3cr");
    put(&mut out, "r3t\n10%\r");
    put(&mut out, "20%\r");
    put(&mut err, "3t\n");
    put(&mut out, "30%\rdone\n");
    put(&mut trace.stream(Stream::Service), "no end");
    drop((own, out, err));
    finish(trace).await;
    let expected = [
        "00O Running\n",
        "01O a [MASKED]\n",
        "01O 10%\r\n",
        "01O+20%\r\n",
        "01E b [MASKED]\n",
        "01O 30%\rdone\n",
        "0fO no end\n",
    ];
    assert_eq!(untimed(&log.text()), expected);
    covers(site.seen().last().expect("an update"), &log.text());
}

#[tokio::test]
async fn timestamps_count_towards_the_limit_and_the_notice_has_none() {
    let (site, log) = site(|_| None);
    let trace = open_stamped(site.job(), Start::Fresh, 50);
    put(&mut trace.writer(), "hello\n");
    put(&mut trace.writer(), "and more\n");
    finish(trace).await;
    let text = log.text();
    assert!(text[38..].starts_with(&text[..10]) && text[50..] == limit_notice(50), "{text:?}");
    covers(site.seen().last().expect("an update"), &text);
}

#[tokio::test]
async fn a_log_with_timestamps_is_handed_over_and_goes_on() {
    let (site, log) = site(|_| None);
    let trace = open_stamped(site.job(), Start::Fresh, OUTPUT_LIMIT);
    put(&mut trace.writer(), "Waiting for an executor\n");
    let so_far = trace.so_far().expect("the log");
    assert_eq!(trace.detach().await.expect("the log"), so_far);
    let trace = open_stamped(site.job(), Start::Continue(so_far), OUTPUT_LIMIT);
    put(&mut trace.writer(), "Running\n");
    finish(trace).await;
    assert_eq!(untimed(&log.text()), ["00O Waiting for an executor\n", "00O Running\n"]);
    covers(site.seen().last().expect("an update"), &log.text());
}

#[tokio::test]
async fn a_log_with_timestamps_is_taken_over_on_a_line_of_its_own() {
    let (site, log) = site(|_| None);
    log.0.lock().expect("not poisoned").extend_from_slice(b"2026-05-05T12:00:00.000000Z 01O cut in the mid");
    let trace = open_stamped(site.job(), Start::TakeOver { open_section: None }, OUTPUT_LIMIT);
    put(&mut trace.writer(), "Running\n");
    finish(trace).await;
    let text = log.text();
    let lines = untimed(&text);
    assert_eq!((lines[0], lines[2]), ("01O cut in the mid\n", "00O Running\n"));
    assert!(lines[1].starts_with("00O \x1b[0;msection_end:") && lines[1].ends_with("\r\x1b[0K\n"), "{text:?}");
}

#[tokio::test]
async fn what_is_not_utf_8_is_replaced_before_it_counts() {
    let (site, log) = site(|_| None);
    let trace = open(site.job(), Start::Fresh);
    let mut writer = trace.writer();
    for byte in "é🦀".bytes().chain([b'x', 0xff, b'y', 0xe2, 0x82]) {
        writer.write_all(&[byte]).expect("taken");
    }
    drop(writer);
    finish(trace).await;
    assert_eq!(log.text(), "é🦀x\u{fffd}y\u{fffd}");
    covers(site.seen().last().expect("an update"), &log.text());
}

#[tokio::test]
async fn at_the_limit_a_notice_ends_the_log_and_the_job_goes_on() {
    let (site, log) = site(|_| None);
    let trace = open_with(site.job(), Start::Fresh, 1000, Masks::default());
    let mut writer = trace.writer();
    for _ in 0..100 {
        put(&mut writer, "é23456789012345678");
    }
    drop(writer);
    assert_eq!(finish(trace).await, Finished::Accepted);
    let full = "é23456789012345678".repeat(100);
    assert_eq!(log.text(), format!("{}{}", &full[..full.floor_char_boundary(1000)], limit_notice(1000)));
    covers(site.seen().last().expect("an update"), &log.text());
}

#[tokio::test]
async fn silence_is_broken_by_keep_alives_that_speak_of_the_log() {
    let (site, _) = site(|_| None);
    let timing = Timing { keep_alive: Duration::from_millis(20), ..quick() };
    let trace = open(job_with(&site, timing), Start::Fresh);
    put(&mut trace.writer(), "hello\n");
    let seen =
        site.until(|seen| puts(seen).iter().filter(|put| put.json()["output"]["bytesize"] == 6).count() > 2).await;
    let last = puts(&seen).pop().expect("a keep-alive");
    assert_eq!(last.state(), "running");
    covers(&last, "hello\n");
    finish(trace).await;
}

#[tokio::test]
async fn a_log_that_gitlab_takes_needs_no_keep_alive() {
    let (site, log) = site(|_| None);
    let trace = open(site.job(), Start::Continue(b"0\n".to_vec()));
    for n in 1..6 {
        put(&mut trace.writer(), &format!("{n}\n"));
        site.until(|_| log.len() == 2 * (n + 1)).await;
    }
    finish(trace).await;
    assert_eq!(puts(&site.seen()).len(), 1, "only the final one");
}

#[tokio::test]
async fn gitlabs_interval_is_kept_unless_it_is_nonsense() {
    let (site, _) = site(|seen| {
        let nonsense = if seen.body.as_ref() == b"1" { "0" } else { "soon" };
        seen.is_patch().then(|| {
            answer(202).with("X-GitLab-Trace-Update-Interval", if seen.body.as_ref() == b"3" { "1" } else { nonsense })
        })
    });
    let trace = open(site.job(), Start::Fresh);
    for n in 1..=4 {
        put(&mut trace.writer(), &n.to_string());
        site.until(|seen| patches(seen).len() == n).await;
    }
    let seen = patches(&site.seen());
    assert!(seen[3].at - seen[2].at >= Duration::from_secs(1));
}

#[tokio::test]
async fn bytes_that_gitlab_lost_are_sent_again() {
    let log = Log::default();
    let kept = log.clone();
    let mut lost = false;
    let site = Site::start(move |seen| {
        let reply = kept.serve(seen);
        if !lost && kept.len() > 10 {
            lost = true;
            kept.0.lock().expect("not poisoned").truncate(4);
        }
        reply
    });
    let trace = open(site.job(), Start::Fresh);
    put(&mut trace.writer(), "hello, this is lost\n");
    site.until(|seen| !patches(seen).is_empty()).await;
    put(&mut trace.writer(), "and more\n");
    finish(trace).await;
    assert_eq!(log.text(), "hello, this is lost\nand more\n");
    let seen = patches(&site.seen());
    assert!(seen.iter().any(|patch| range(patch).0 == 4), "from Range on");
    covers(site.seen().last().expect("an update"), &log.text());
}

#[tokio::test]
async fn a_patch_whose_answer_is_lost_is_not_stored_twice() {
    let log = Log::default();
    let kept = log.clone();
    let mut calls = 0;
    let site = Site::start(move |seen| {
        let reply = kept.serve(seen);
        calls += 1;
        if calls % 2 == 1 { Reply::Cut } else { reply }
    });
    let trace = open(site.job(), Start::Fresh);
    for n in 0..5 {
        put(&mut trace.writer(), &format!("line {n}\n"));
        let length = 7 * (n + 1);
        site.until(|_| log.len() >= length).await;
    }
    assert_eq!(finish(trace).await, Finished::Accepted);
    assert_eq!(log.text(), "line 0\nline 1\nline 2\nline 3\nline 4\n");
}

#[tokio::test]
async fn a_broken_server_loses_nothing_of_the_log() {
    let mut calls = 0;
    let (site, log) = site(move |_| {
        calls += 1;
        match calls % 9 {
            0..=4 => Some(answer(500)),
            5 => Some(Reply::Cut),
            6 => Some(answer(400)),
            _ => None,
        }
    });
    let trace = open(site.job(), Start::Fresh);
    let mut expected = String::new();
    for n in 0..20 {
        let line = format!("line {n}\n");
        put(&mut trace.writer(), &line);
        expected += &line;
        if n % 5 == 0 {
            let length = expected.len();
            site.until(|_| log.len() >= length).await;
        }
    }
    assert_eq!(finish(trace).await, Finished::Accepted);
    assert_eq!(log.text(), expected);
}

#[tokio::test]
async fn a_gitlab_that_is_away_and_comes_back_gets_everything() {
    let (mut site, log) = site(|_| None);
    let timing = Timing { final_rounds: 100_000, ..quick() };
    let trace = open(job_with(&site, timing), Start::Fresh);
    put(&mut trace.writer(), "before\n");
    site.until(|seen| !patches(seen).is_empty()).await;
    site.go_away();
    put(&mut trace.writer(), "while it is away\n");
    let mut ending = tokio::spawn(async move { trace.finish(Final::success()).await });
    let early = tokio::time::timeout(Duration::from_millis(300), &mut ending).await;
    assert!(early.is_err(), "it cannot end while GitLab is away");
    site.come_back().await;
    assert_eq!(ending.await.expect("ends").expect("taken"), Finished::Accepted);
    assert_eq!(log.text(), "before\nwhile it is away\n");
    assert_eq!(finals(&site.seen()).len(), 1);
}

#[tokio::test]
async fn a_hanging_gitlab_holds_up_neither_the_log_nor_the_end_for_good() {
    let mut hangs = 0;
    let (site, log) = site(move |seen| {
        hangs += 1;
        (hangs <= 2 || (seen.is_put() && hangs % 2 == 0)).then_some(Reply::Hang)
    });
    let timing = Timing { update: Duration::from_millis(200), ..quick() };
    let trace = open(job_with(&site, timing), Start::Fresh);
    put(&mut trace.writer(), "hello\n");
    site.until(|_| log.len() == 6).await;
    put(&mut trace.writer(), "world\n");
    assert_eq!(finish(trace).await, Finished::Accepted);
    assert_eq!(log.text(), "hello\nworld\n");
}

#[tokio::test]
async fn writing_never_waits_for_a_hanging_gitlab() {
    let (site, _) = site(|_| Some(Reply::Hang));
    let trace = open(site.job(), Start::Fresh);
    let mut writer = trace.writer();
    for _ in 0..1000 {
        put(&mut writer, "a line that is written while GitLab hangs\n");
    }
}

#[tokio::test]
async fn while_gitlab_persists_the_log_the_same_update_is_repeated() {
    let mut persisting = 0;
    let (site, _) = site(move |seen| {
        persisting += i32::from(seen.is_put());
        (seen.is_put() && persisting <= 3)
            .then(|| answer(202).with("X-GitLab-Trace-Update-Interval", i32::from(persisting == 2)))
    });
    let trace = open(site.job(), Start::Continue(b"hello\n".to_vec()));
    let features = Features::default();
    let end = Final::failed(FailureReason::ScriptFailure, Some(7), &features);
    assert_eq!(trace.finish(end).await.expect("taken"), Finished::Accepted);
    let sent = finals(&site.seen());
    assert_eq!(sent.len(), 4);
    assert!(sent.iter().all(|update| update.body == sent[0].body), "the same body");
    assert!(sent[2].at - sent[1].at >= Duration::from_secs(1), "the wait is honoured");
    assert_eq!(
        (&sent[0].json()["exit_code"], &sent[0].json()["failure_reason"]),
        (&json!(7), &json!("script_failure"))
    );
}

#[tokio::test]
async fn a_log_that_differs_is_sent_again_from_the_start() {
    let log = Log::default();
    let kept = log.clone();
    let mut differed = false;
    let site = Site::start(move |seen| {
        if seen.is_put() && !differed {
            differed = true;
            kept.0.lock().expect("not poisoned").clear();
            return answer(412);
        }
        kept.serve(seen)
    });
    let trace = open(site.job(), Start::Continue(b"hello\n".to_vec()));
    put(&mut trace.writer(), "world\n");
    assert_eq!(finish(trace).await, Finished::Accepted);
    assert_eq!(log.text(), "hello\nworld\n");
    let seen = site.seen();
    assert_eq!(finals(&seen).len(), 2);
    let between = patches(&seen).pop().expect("a patch");
    assert_eq!(range(&between).0, 0);
}

#[tokio::test]
async fn the_final_state_is_tried_in_rounds_and_then_given_up() {
    let (site, _) = site(|seen| seen.is_put().then(|| answer(500)));
    let timing = Timing { final_rounds: 3, ..quick() };
    let trace = open(job_with(&site, timing), Start::Continue(b"x".to_vec()));
    let error = trace.finish(Final::success()).await.expect_err("never taken");
    assert!(matches!(error, Error::GaveUp { rounds: 3, .. }), "{error}");
    let ids: std::collections::BTreeSet<_> =
        finals(&site.seen()).iter().map(|put| put.header("X-Request-Id").to_owned()).collect();
    assert!(
        (3..=4).contains(&ids.len()),
        "a call for each round, and one more that got on with the log: {}",
        ids.len()
    );
}

#[tokio::test]
async fn a_canceling_job_is_told_once_and_still_ends_in_order() {
    let log = Log::default();
    let kept = log.clone();
    let site = Site::start(move |seen| match kept.serve(seen) {
        reply @ Reply::Answer { .. } => reply.with("Job-Status", "canceling"),
        other => other,
    });
    let trace = open(site.job(), Start::Fresh);
    put(&mut trace.writer(), "hello\n");
    let mut signal = trace.signal();
    signal.wait_for(|signal| *signal == Signal::Canceling).await.expect("told");
    put(&mut trace.writer(), "after_script\n");
    site.until(|_| log.len() > 6).await;
    assert_eq!(*trace.signal().borrow(), Signal::Canceling);
    let end = Final::failed(FailureReason::JobCanceled, None, &Features::default());
    assert_eq!(trace.finish(end).await.expect("taken"), Finished::Accepted);
    assert_eq!(log.text(), "hello\nafter_script\n");
    assert_eq!(finals(&site.seen())[0].json()["failure_reason"], "unknown_failure");
}

#[tokio::test]
async fn a_canceled_job_aborts_and_its_final_update_may_be_refused() {
    let forbidden = |_: &Seen| Some(reply(403, &json!({"message": "403 Forbidden"})).with("Job-Status", "canceled"));
    let (site, _) = site(forbidden);
    let trace = open(site.job(), Start::Fresh);
    put(&mut trace.writer(), "hello\n");
    trace.signal().wait_for(|signal| *signal == Signal::Aborted).await.expect("told");
    let before = site.seen().len();
    put(&mut trace.writer(), "more\n");
    let finished = trace.finish(Final::success()).await.expect("an end");
    assert!(matches!(&finished, Finished::Refused(why) if why.contains("403 Forbidden")), "{finished:?}");
    let seen = site.seen();
    assert_eq!(seen.len(), before + 1, "one final update and nothing else");
    assert!(seen.last().expect("it").is_put());
}

#[tokio::test]
async fn an_aborted_job_does_not_wait_long_for_a_broken_gitlab() {
    let (site, _) = site(|seen| Some(answer(if seen.is_patch() { 403 } else { 500 })));
    let timing = Timing { final_min: Duration::from_hours(1), final_max: Duration::from_hours(1), ..quick() };
    let trace = open(job_with(&site, timing), Start::Fresh);
    put(&mut trace.writer(), "hello\n");
    trace.signal().wait_for(|signal| *signal == Signal::Aborted).await.expect("told");
    assert!(matches!(trace.finish(Final::success()).await, Ok(Finished::Refused(_))));
}

#[tokio::test]
async fn a_refused_keep_alive_aborts() {
    for status in [403, 404] {
        let (site, _) = site(move |seen| seen.is_put().then(|| answer(status)));
        let trace = open(site.job(), Start::Fresh);
        trace.signal().wait_for(|signal| *signal == Signal::Aborted).await.expect("told");
    }
}

#[tokio::test]
async fn a_missing_log_does_not_stop_the_job() {
    let (site, _) = site(|seen| seen.is_patch().then(|| answer(404)));
    let trace = open(site.job(), Start::Fresh);
    put(&mut trace.writer(), "hello\n");
    site.until(|seen| patches(seen).len() > 2).await;
    assert_eq!(*trace.signal().borrow(), Signal::Running);
    assert_eq!(finish(trace).await, Finished::Accepted);
}

#[tokio::test]
async fn a_job_changes_hands_with_its_log_whole() {
    let (site, log) = site(|_| None);
    let first = open(site.job(), Start::Fresh);
    put(&mut first.writer(), "waiting for an executor\n");
    let so_far = first.detach().await.expect("the log");
    assert_eq!(so_far, b"waiting for an executor\n");
    let second = open(site.job(), Start::Continue(so_far));
    put(&mut second.writer(), "running\n");
    assert_eq!(finish(second).await, Finished::Accepted);
    assert_eq!(log.text(), "waiting for an executor\nrunning\n");
    covers(site.seen().last().expect("an update"), &log.text());
}

#[tokio::test]
async fn a_hand_over_does_not_wait_for_a_hanging_gitlab() {
    let (site, _) = site(|_| Some(Reply::Hang));
    let timing = Timing { hand_over: Duration::from_millis(20), ..quick() };
    let trace = open(job_with(&site, timing), Start::Fresh);
    put(&mut trace.writer(), "one\n");
    assert_eq!(trace.detach().await.expect("the log"), b"one\n");
}

#[tokio::test]
async fn a_hand_over_while_gitlab_is_away_loses_nothing() {
    let (mut site, log) = site(|_| None);
    site.go_away();
    let first = open(site.job(), Start::Fresh);
    put(&mut first.writer(), "one\n");
    let so_far = first.detach().await.expect("the log");
    site.come_back().await;
    let second = open(site.job(), Start::Continue(so_far));
    put(&mut second.writer(), "two\n");
    finish(second).await;
    assert_eq!(log.text(), "one\ntwo\n");
}

#[tokio::test]
async fn a_lost_agents_job_goes_on_at_gitlabs_size_without_a_checksum() {
    let (site, log) = site(|_| None);
    log.0.lock().expect("not poisoned").extend_from_slice(b"from a lost agent");
    let trace = open(site.job(), Start::TakeOver { open_section: Some("step_script".into()) });
    put(&mut trace.writer(), "here we go\n");
    assert_eq!(finish(trace).await, Finished::Accepted);
    let text = log.text();
    assert!(text.starts_with("from a lost agent\n\x1b[0;msection_end:"), "{text:?}");
    assert!(text.contains(":step_script\r\x1b[0K") && text.ends_with("\x1b[0Khere we go\n"), "{text:?}");
    let last = site.seen().pop().expect("an update");
    assert_eq!((last.json().get("checksum"), &last.json()["output"]), (None, &json!({})));
}

#[tokio::test]
async fn a_lost_agent_that_wrote_nothing_leaves_an_empty_log_to_take_over() {
    let (site, log) = site(|_| None);
    let trace = open(site.job(), Start::TakeOver { open_section: None });
    put(&mut trace.writer(), "x");
    finish(trace).await;
    let text = log.text();
    assert!(text.starts_with("\n\x1b[0;msection_end:") && text.ends_with("\x1b[0Kx"), "{text:?}");
}

#[tokio::test]
async fn a_taken_over_log_that_gitlab_then_loses_ends_the_job_with_that_reason() {
    let (site, log) = site(|_| None);
    log.0.lock().expect("not poisoned").extend_from_slice(b"from a lost agent");
    let trace = open(site.job(), Start::TakeOver { open_section: None });
    let base = 17 + 1 + take_over(None, 1_700_000_000).len();
    site.until(|_| log.len() == base).await;
    log.0.lock().expect("not poisoned").truncate(5);
    put(&mut trace.writer(), "more\n");
    trace.signal().wait_for(|signal| *signal == Signal::Aborted).await.expect("told");
    let error = trace.finish(Final::success()).await.expect_err("lost");
    assert!(matches!(&error, Error::LogLost { why } if why.contains("5 bytes of the 17")), "{error}");
    let last = finals(&site.seen()).pop().expect("an update");
    assert_eq!((last.state().as_str(), &last.json()["failure_reason"]), ("failed", &json!("runner_system_failure")));
}

#[tokio::test]
async fn a_taken_over_log_that_gitlab_finds_different_ends_the_job_with_that_reason() {
    let mut first = true;
    let (site, _) = site(move |seen| (seen.is_put() && std::mem::take(&mut first)).then(|| answer(412)));
    let timing = Timing { keep_alive: Duration::from_mins(10), ..quick() };
    let trace = open(job_with(&site, timing), Start::TakeOver { open_section: None });
    let error = trace.finish(Final::success()).await.expect_err("lost");
    assert!(matches!(error, Error::LogLost { .. }), "{error}");
}

#[tokio::test]
async fn a_dropped_trace_tells_gitlab_nothing_more() {
    let (site, _) = site(|_| None);
    let timing = Timing { trace_interval: Duration::from_millis(1), keep_alive: Duration::ZERO, ..quick() };
    let trace = open(job_with(&site, timing), Start::Fresh);
    let mut signal = trace.signal();
    site.until(|seen| seen.len() > 2).await;
    drop(trace);
    assert!(signal.changed().await.is_err(), "the loop is gone");
    assert!(finals(&site.seen()).is_empty());
}

#[tokio::test]
async fn a_log_that_cannot_be_made_is_one_clear_line() {
    let (site, _) = site(|_| None);
    let options = options(Start::Fresh, 1, Masks::default());
    let options = trace::Options { directory: "/nowhere/at/all".into(), ..options };
    let error = Trace::open(site.job(), options).expect_err("no such directory");
    assert!(error.to_string().starts_with("cannot create the job's log in /nowhere/at/all: "), "{error}");
}
