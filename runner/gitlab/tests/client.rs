//! Verify, job request and the transport below them, over real sockets.

mod support;

use serde_json::json;
use std::time::Duration;
use support::{Reply, Site, answer, identity, json as reply, quick};
use warmstart_gitlab::client::{Client, Identity, Options, Registration};
use warmstart_gitlab::update::{FailureReason, LogState, Signal, State, Update, Verdict};
use warmstart_gitlab::{Error, Timing};

/// Answers with these, one after the other; then with the last one.
fn script(replies: Vec<Reply>) -> impl FnMut(&support::Seen) -> Reply + Send {
    let mut left = std::collections::VecDeque::from(replies);
    move |_| if left.len() > 1 { left.pop_front().expect("more") } else { left[0].clone() }
}

#[tokio::test]
async fn a_call_carries_what_gitlab_demands_of_every_call() {
    let site = Site::start(script(vec![reply(200, &json!({"id": 5, "token_expires_at": null}))]));
    site.client().verify(&identity()).await.expect("verified");
    site.client().verify(&identity()).await.expect("verified");
    let seen = site.seen();
    assert_eq!((seen[0].method.as_str(), seen[0].path.as_str()), ("POST", "/api/v4/runners/verify"));
    assert!(seen[0].header("User-Agent").starts_with("warmstart "));
    assert_eq!(seen[0].header("Content-Type"), "application/json");
    assert_eq!(seen[0].header("Accept"), "application/json");
    assert_eq!(seen[0].header("RUNNER-TOKEN"), "glrt-t1_secret");
    assert_eq!(seen[0].json()["token"], "glrt-t1_secret");
    assert_eq!(seen[0].json()["system_id"], "s_0123456789ab");
    assert_eq!(seen[0].json()["info"]["executor"], "docker");
    assert_eq!(seen[0].json()["info"]["features"]["refspecs"], true);
    assert_eq!(seen[0].json()["info"]["features"]["session"], false);
    let ids: Vec<&str> = seen.iter().map(|seen| seen.header("X-Request-Id")).collect();
    assert!(
        ids.iter().all(|id| id.len() == 32 && id.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)))
    );
    assert_ne!(ids[0], ids[1]);
}

#[tokio::test]
async fn verify_tells_a_good_token_from_a_bad_one() {
    let of = async |reply: Reply| Site::start(script(vec![reply])).client().verify(&identity()).await;
    let good =
        of(reply(200, &json!({"id": 5, "token": "t", "token_expires_at": "2030-01-01T00:00:00Z"}))).await.expect("ok");
    assert_eq!((good.id, good.token_expires_at.as_deref()), (5, Some("2030-01-01T00:00:00Z")));
    assert_eq!(of(answer(200).body("200")).await.expect("an old server").id, 0);
    let bad = of(reply(403, &json!({"message": "403 Forbidden"}))).await.expect_err("a bad token");
    assert_eq!(bad.status(), Some(403));
    assert!(bad.to_string().ends_with("answered 403: 403 Forbidden"), "{bad}");
    assert_eq!(of(answer(422)).await.expect_err("orphaned").status(), Some(422));
}

#[tokio::test]
async fn a_busy_server_is_asked_again_at_most_five_times_with_the_same_request() {
    for status in [408, 429, 500, 502, 503, 504, 520] {
        let site = Site::start(script(vec![answer(status)]));
        let error = site.client().verify(&identity()).await.expect_err("never");
        assert_eq!(error.status(), Some(status));
        let seen = site.seen();
        assert_eq!(seen.len(), 5, "{status}");
        assert!(
            seen.iter()
                .all(|one| one.body == seen[0].body && one.header("X-Request-Id") == seen[0].header("X-Request-Id"))
        );
    }
    for status in [400, 401, 403, 404, 409, 413, 416, 422, 501, 505, 511, 307] {
        let site = Site::start(script(vec![answer(status)]));
        site.client().verify(&identity()).await.expect_err("never");
        assert_eq!(site.seen().len(), 1, "{status}");
    }
}

#[tokio::test]
async fn the_wait_that_an_answer_asks_for_is_honoured() {
    let site = Site::start(script(vec![answer(429).with("Retry-After", 1), reply(200, &json!({"id": 5}))]));
    site.client().verify(&identity()).await.expect("in the end");
    let seen = site.seen();
    assert_eq!(seen.len(), 2);
    assert!(seen[1].at - seen[0].at >= Duration::from_secs(1));

    let reset = jiff::Timestamp::now() + Duration::from_secs(2);
    let date = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&reset).expect("a date");
    let limited = answer(429).with("RateLimit-ResetTime", date).with("Retry-After", 600);
    let site = Site::start(script(vec![limited, reply(200, &json!({"id": 5}))]));
    site.client().verify(&identity()).await.expect("in the end");
    assert!(jiff::Timestamp::now().as_second() >= reset.as_second());
}

#[tokio::test]
async fn a_lost_answer_is_not_asked_for_again_here() {
    let site = Site::start(script(vec![Reply::Cut]));
    let error = site.client().verify(&identity()).await.expect_err("no answer");
    assert!(matches!(error, Error::Transport { .. }) && error.is_retryable(), "{error}");
    assert_eq!(site.seen().len(), 1);
    let mut site = site;
    site.go_away();
    let error = site.client().verify(&identity()).await.expect_err("refused");
    assert!(error.to_string().contains("cannot connect"), "{error}");
    assert!(!error.to_string().contains('\n'), "{error}");
}

#[tokio::test]
async fn a_hanging_server_is_given_up_after_the_response_limit() {
    let site = Site::start(script(vec![Reply::Hang]));
    let timing = Timing { response: Duration::from_millis(50), ..quick() };
    let client = Client::new(&site.url(), &Options { timing, ..Options::default() }).expect("a client");
    let answer = client.request_job(&identity(), None).await.expect("an answer of a kind");
    assert!(
        answer.healthy && answer.acquired.is_none() && answer.trouble.expect("a line").contains("no answer within")
    );
}

#[tokio::test]
async fn a_path_of_the_installation_is_kept() {
    let site = Site::start(script(vec![answer(204)]));
    let client = Client::new(&format!("{}/gitlab/", site.url()), &Options::default()).expect("a client");
    client.request_job(&identity(), None).await.expect("an answer");
    assert_eq!(site.seen()[0].path, "/gitlab/api/v4/jobs/request");
}

#[tokio::test]
async fn old_connections_are_given_up() {
    let site = Site::start(script(vec![answer(204)]));
    let timing = Timing { connection_max_age: Duration::ZERO, ..quick() };
    let client = Client::new(&site.url(), &Options { timing, ..Options::default() }).expect("a client");
    for _ in 0..2 {
        client.request_job(&identity(), None).await.expect("an answer");
    }
    assert_eq!(site.seen().len(), 2);
}

#[tokio::test]
async fn a_job_comes_decoded_and_as_it_was_sent() {
    let payload = json!({"id": 5_000_000_000_u64, "token": "glcbt-x", "news": [1, 2]});
    let created = reply(201, &payload).with("X-Request-Id", "theirs").with("X-GitLab-Last-Update", "abc");
    let site = Site::start(script(vec![created]));
    let answer = site.client().request_job(&identity(), Some("before")).await.expect("an answer");
    let acquired = answer.acquired.expect("a job");
    assert_eq!((acquired.job.id, acquired.job.token.expose()), (5_000_000_000, "glcbt-x"));
    assert_eq!((acquired.correlation_id.as_str(), acquired.raw.get()), ("theirs", payload.to_string().as_str()));
    assert_eq!((answer.last_update.as_deref(), answer.healthy, answer.trouble), (Some("abc"), true, None));
    let seen = &site.seen()[0];
    assert_eq!(seen.json()["last_update"], "before");
    assert!(seen.body.len() < 32 * 1024 && seen.json().get("session").is_none());
}

#[tokio::test]
async fn every_reaction_to_a_job_request_is_gitlabs() {
    // status, content type, body → healthy, something to log
    let cases = [
        (204, "", "", true, false),
        (403, "application/json", "{\"message\":\"403 Forbidden\"}", false, true),
        (409, "application/json", "{}", true, false),
        (422, "", "", true, true),
        (429, "", "", true, true),
        (503, "", "", true, true),
        (500, "", "", true, true),
        (400, "", "", true, true),
        (201, "text/plain", "{\"id\":1}", true, true),
        (201, "application/json", "{\"id\":", true, true),
    ];
    for (status, kind, body, healthy, trouble) in cases {
        let site = Site::start(script(vec![answer(status).with("Content-Type", kind).body(body)]));
        let answer = site.client().request_job(&identity(), None).await.expect("an answer");
        assert!(answer.acquired.is_none(), "{status}");
        assert_eq!((answer.healthy, answer.trouble.is_some()), (healthy, trouble), "{status} {body}");
        assert!(site.seen()[0].json().get("last_update").is_none(), "omitted when empty");
    }
    let site = Site::start(script(vec![Reply::Cut]));
    let answer = site.client().request_job(&identity(), None).await.expect("an answer");
    assert!(answer.healthy && answer.trouble.is_some());
}

#[tokio::test]
async fn a_long_poll_is_waited_for_and_told() {
    let held = answer(204).with("Gitlab-Ci-Builds-Polling", "yes").with("X-GitLab-Last-Update", "v2");
    let site = Site::start(move |_| {
        std::thread::sleep(Duration::from_millis(1500)); // the server holds the request
        held.clone()
    });
    let answer = site.client().request_job(&identity(), Some("v1")).await.expect("an answer");
    assert!(answer.long_polled && answer.trouble.is_none());
    assert_eq!(answer.last_update.as_deref(), Some("v2"));
}

#[tokio::test]
async fn a_job_that_cannot_be_decoded_is_failed_and_not_left_to_time_out() {
    let broken = json!({"id": 7, "token": "glcbt-x", "steps": "nonsense"});
    let site = Site::start(move |seen| if seen.is_put() { answer(200) } else { reply(201, &broken) });
    let answer = site.client().request_job(&identity(), None).await.expect("an answer");
    assert!(answer.acquired.is_none() && answer.trouble.expect("a line").contains("cannot be decoded"));
    let states: Vec<_> = site.seen().iter().filter(|seen| seen.is_put()).map(support::Seen::state).collect();
    assert_eq!(states, ["running", "failed"]);
}

#[tokio::test]
async fn a_registration_sends_what_is_set_and_brings_a_token() {
    let site = Site::start(script(vec![reply(201, &json!({"id": 5, "token": "glrtr-new", "token_expires_at": null}))]));
    let registration = Registration { token: "GR1348941x".into(), tag_list: "a,b".into(), ..Registration::default() };
    let registered = site.client().register(&registration).await.expect("registered");
    assert_eq!((registered.id, registered.token.expose()), (5, "glrtr-new"));
    let seen = site.seen().pop().expect("a request");
    assert_eq!((seen.method.as_str(), seen.path.as_str()), ("POST", "/api/v4/runners"));
    let mut body = seen.json();
    body.as_object_mut().expect("an object").remove("info").expect("info is sent");
    let expected =
        json!({"token": "GR1348941x", "tag_list": "a,b", "run_untagged": false, "locked": false, "paused": false});
    assert_eq!(body, expected);
    let site = Site::start(script(vec![reply(400, &json!({"message": {"tags": ["too many", "odd"]}}))]));
    let error = site.client().register(&registration).await.expect_err("refused");
    assert!(error.to_string().ends_with("answered 400: tags: too many; odd"), "{error}");
}

#[tokio::test]
async fn unregistering_takes_the_machine_or_a_legacy_runner_away() {
    let site = Site::start(script(vec![answer(204)]));
    site.client().unregister(&identity()).await.expect("gone");
    site.client().unregister(&Identity { token: "legacy".into(), ..identity() }).await.expect("gone");
    let seen = site.seen();
    assert_eq!((seen[0].method.as_str(), seen[0].path.as_str()), ("DELETE", "/api/v4/runners/managers"));
    assert_eq!(seen[0].json(), json!({"token": "glrt-t1_secret", "system_id": "s_0123456789ab"}));
    assert_eq!((seen[1].path.as_str(), seen[1].json()), ("/api/v4/runners", json!({"token": "legacy"})));
    let refusing = Site::start(script(vec![answer(403)]));
    assert_eq!(refusing.client().unregister(&identity()).await.expect_err("refused").status(), Some(403));
}

#[tokio::test]
async fn a_token_is_reset() {
    let site = Site::start(script(vec![reply(
        201,
        &json!({"token": "glrt-new", "token_expires_at": "2030-01-01T00:00:00Z"}),
    )]));
    let registered = site.client().reset_token(&identity()).await.expect("reset");
    assert_eq!(
        (registered.token.expose(), registered.token_expires_at.as_deref()),
        ("glrt-new", Some("2030-01-01T00:00:00Z"))
    );
    assert_eq!(site.seen()[0].path, "/api/v4/runners/reset_authentication_token");
}

#[tokio::test]
async fn an_update_says_what_gitlab_expects() {
    let site = Site::start(script(vec![answer(200)]));
    let job = site.job();
    job.update(&Update::running()).await.expect("an answer");
    let log = LogState { checksum: Some(0x363a_3020), bytes: 6 };
    let failed = Update { state: State::Failed, reason: Some(FailureReason::ScriptFailure), exit_code: Some(3), log };
    job.update(&failed).await.expect("an answer");
    job.update(&Update { state: State::Success, exit_code: Some(0), reason: None, log }).await.expect("an answer");
    let seen = site.seen();
    assert_eq!((seen[0].method.as_str(), seen[0].path.as_str()), ("PUT", "/api/v4/jobs/1001"));
    assert_eq!(seen[0].header("JOB-TOKEN"), "glcbt-test");
    let body = |n: usize| {
        let mut body = seen[n].json();
        assert_eq!(body["info"]["name"], "warmstart");
        body.as_object_mut().expect("an object").remove("info");
        body
    };
    assert_eq!(body(0), json!({"token": "glcbt-test", "state": "running", "output": {}}));
    let output = json!({"checksum": "crc32:363a3020", "bytesize": 6});
    assert_eq!(
        body(1),
        json!({"token": "glcbt-test", "state": "failed", "failure_reason": "script_failure", "exit_code": 3,
        "checksum": "crc32:363a3020", "output": output})
    );
    assert_eq!(
        body(2),
        json!({"token": "glcbt-test", "state": "success", "checksum": "crc32:363a3020", "output": output})
    );
}

#[tokio::test]
async fn the_answer_to_an_update_is_a_value() {
    let of = async |reply: Reply| {
        Site::start(script(vec![reply])).job().update(&Update::running()).await.expect("an answer")
    };
    assert_eq!(of(answer(200).with("Job-Status", "canceling")).await.signal, Signal::Canceling);
    assert_eq!(of(answer(200).with("Job-Status", "canceled")).await.signal, Signal::Aborted);
    assert_eq!(of(answer(202).with("X-GitLab-Trace-Update-Interval", 4)).await.interval, Some(Duration::from_secs(4)));
    assert_eq!(of(answer(412)).await.verdict, Verdict::LogDiffers);
    assert!(matches!(of(answer(403)).await.verdict, Verdict::Refused(_)));
    assert!(matches!(of(answer(404)).await.verdict, Verdict::Refused(_)));
    assert!(matches!(of(answer(409)).await.verdict, Verdict::Failed(_)));
}
