//! Each rule catches a client that breaks it, and a correct exchange breaks none.

use super::client::{Picked, TIME, Talk, failed, request_id, running, section, success, zip};
use anyhow::Result;
use reqwest::Method;
use serde_json::json;
use std::time::Duration;
use warmstart_tests::gitlab::{ArtifactSpec, Endpoint, Fault, JobId, JobSpec, Matcher, Options, Outage, Rule};

fn spec() -> JobSpec {
    JobSpec::script(["true"])
}

#[tokio::test]
async fn a_correct_exchange_is_clean() -> Result<()> {
    let mut talk = Talk::start(Options::default()).await?;
    let verify = talk.verify_body();
    assert_eq!(talk.post("runners/verify", &verify).await?.status(), 200);
    assert_eq!(talk.ask().await?.status(), 204);
    let spec = spec().artifacts(ArtifactSpec::archive(["out"]).expire_in("1 week")).report("junit", ["r.xml"]);
    let job = talk.begin(spec).await?;

    let head = section("prepare_executor", 5, 6) + &section("get_sources", 6, 9);
    talk.patch(&job, 0, head.as_bytes()).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    talk.update(&job, &running(&job, head.as_bytes())).await?;
    let log = head.clone() + &section("step_script", 9, 11) + &section("upload_artifacts_on_success", 11, 12);
    talk.patch(&job, head.len(), &log.as_bytes()[head.len()..]).await?;
    let archive = zip(&[("out/a", "content")])?;
    let query = "artifact_format=zip&artifact_type=archive&expire_in=1+week";
    assert_eq!(talk.upload(&job, query, "artifacts.zip", &archive).await?.status(), 201);
    let report = gzip(b"<testsuite/>")?;
    assert_eq!(
        talk.upload(&job, "artifact_format=gzip&artifact_type=junit", "junit.xml.gz", &report).await?.status(),
        201
    );
    assert_eq!(talk.update(&job, &success(&job, log.as_bytes())).await?.status(), 200);

    let finished = talk.gitlab.wait_finished(JobId(job.id)).await;
    assert_eq!((finished.state.word(), finished.text()), ("success", log));
    assert_eq!(finished.artifacts.len(), 2);
    talk.gitlab.assert_clean();
    Ok(())
}

#[tokio::test]
async fn a_log_continued_by_another_executor_is_clean() -> Result<()> {
    let mut talk = Talk::start(Options::default()).await?;
    let job = talk.begin(spec()).await?;
    let first = "section_start:9:get_sources\r\x1b[0Kfetching";
    talk.patch(&job, 0, first.as_bytes()).await?;
    // The taker knows nothing of the log and learns its size from the refusal.
    let refusal = talk.patch(&job, 0, b"\n").await?;
    assert_eq!((refusal.status().as_u16(), refusal.headers()["range"].to_str()?), (416, "0-40"));
    let rest = "\n\x1b[0;msection_end:2:get_sources\r\x1b[0K".to_owned() + &section("prepare_executor", 2, 3);
    talk.patch(&job, first.len(), rest.as_bytes()).await?;
    assert_eq!(talk.update(&job, &success(&job, b"")).await?.status(), 200);
    talk.gitlab.assert_clean();
    Ok(())
}

#[tokio::test]
async fn every_rule_catches_a_client_that_breaks_it() -> Result<()> {
    for rule in Rule::ALL {
        let mut talk = Talk::start(options(*rule)).await?;
        break_rule(*rule, &mut talk).await?;
        let broken: Vec<&str> = talk.gitlab.violations().iter().map(|violation| violation.rule.number()).collect();
        let text: Vec<String> = talk.gitlab.violations().iter().map(ToString::to_string).collect();
        assert!(!broken.is_empty(), "{} is not caught: {}", rule.number(), rule.text());
        assert!(
            broken.iter().all(|number| *number == rule.number()),
            "{} broken, found {}",
            rule.number(),
            text.join("\n")
        );
    }
    Ok(())
}

/// Limits that the rule's case runs into.
fn options(rule: Rule) -> Options {
    let options = Options::default();
    match rule {
        Rule::A22 => Options { check_interval: Some(Duration::from_mins(1)), ..options },
        Rule::B24 => Options { unhealthy_interval: Some(Duration::from_mins(1)), ..options },
        Rule::A32 => Options { update_interval: 60, ..options },
        Rule::A33 => Options { silence: Duration::ZERO, update_interval: 0, ..options },
        Rule::B52 => Options { abort_grace: Duration::ZERO, ..options },
        _ => options,
    }
}

/// Breaks this rule and no other. The match makes the compiler demand a case for every rule.
#[expect(clippy::too_many_lines, reason = "a table")]
async fn break_rule(rule: Rule, talk: &mut Talk) -> Result<()> {
    match rule {
        Rule::A1 => drop(talk.call(Method::GET, "jobs/nothing").send().await?),
        Rule::A2 => {
            let job = talk.begin(spec()).await?;
            let call = talk.patch_call(&job, 0, b"log").build()?;
            let mut call = call;
            call.headers_mut().insert("content-type", "application/json".parse()?);
            talk.http.execute(call).await?;
        }
        Rule::A3 => {
            let job = talk.begin(spec()).await?;
            let id = request_id();
            for (start, bytes) in [(0, b"a"), (1, b"b")] {
                let mut call = talk.patch_call(&job, start, bytes).build()?;
                call.headers_mut().insert("x-request-id", id.parse()?);
                talk.http.execute(call).await?;
            }
        }
        Rule::A4 => {
            let body = talk.verify_body();
            let call = talk.runner_call(Method::POST, "runners/verify", &body).header("JOB-TOKEN", "glcbt-x");
            call.send().await?;
        }
        Rule::B5 => {
            talk.gitlab.misbehave(Matcher::on(Endpoint::Verify), Fault::status_with(503, "Retry-After", "60"));
            let (id, body) = (request_id(), talk.verify_body());
            for _ in 0..2 {
                let mut call = talk.runner_call(Method::POST, "runners/verify", &body).build()?;
                call.headers_mut().insert("x-request-id", id.parse()?);
                talk.http.execute(call).await?;
            }
        }
        Rule::B6 => {
            talk.gitlab.misbehave(Matcher::on(Endpoint::Verify).forever(), Fault::DropBefore);
            for _ in 0..3 {
                let body = talk.verify_body();
                assert!(talk.post("runners/verify", &body).await.is_err(), "a cut connection gave an answer");
            }
        }
        Rule::A10 => {
            let mut body = talk.verify_body();
            body["system_id"] = "x_0123456789ab".into();
            talk.post("runners/verify", &body).await?;
        }
        Rule::A11 => {
            let body = json!({ "token": talk.gitlab.runner_token() });
            talk.runner_call(Method::DELETE, "runners", &body).send().await?;
        }
        Rule::A12 => {
            let mut body = talk.verify_body();
            talk.post("runners/verify", &body).await?;
            body["system_id"] = "s_ba9876543210".into();
            talk.post("runners/verify", &body).await?;
        }
        Rule::A13 => {
            let body = json!({ "token": talk.gitlab.registration_token(), "run_untagged": true, "locked": false,
                "paused": false, "info": super::client::info(), "description": "" });
            talk.post("runners", &body).await?;
        }
        Rule::A20 => {
            let mut body = talk.request_body();
            body["info"]["executor"] = "shell".into();
            talk.post("jobs/request", &body).await?;
        }
        Rule::A21 => {
            talk.ask().await?;
            talk.gitlab.add_job(spec());
            // Another value than the one given; the same connection, so no new process.
            let mut body = talk.request_body();
            body["last_update"] = "queue-0".into();
            talk.post("jobs/request", &body).await?;
        }
        Rule::A22 => {
            talk.ask().await?;
            talk.gitlab.add_job(spec());
            talk.ask().await?;
        }
        Rule::B24 => {
            talk.gitlab.misbehave(Matcher::on(Endpoint::JobRequest).times(3), Fault::status(403));
            for _ in 0..4 {
                talk.ask().await?;
            }
        }
        Rule::A28 => {
            let job = talk.pick(spec()).await?;
            talk.patch(&job, 0, b"log").await?;
        }
        Rule::A30 => {
            let job = talk.begin(spec()).await?;
            let mut call = talk.patch_call(&job, 0, b"log").build()?;
            call.headers_mut().insert("content-range", "0-3".parse()?);
            talk.http.execute(call).await?;
        }
        Rule::A31 => {
            let job = talk.begin(spec().variable("CI_DEBUG_TRACE", "true")).await?;
            talk.patch(&job, 0, b"log").await?;
        }
        Rule::A32 => {
            let job = talk.begin(spec()).await?;
            for (start, byte) in b"abcde".iter().enumerate() {
                talk.patch(&job, start, &[*byte]).await?;
            }
            talk.update(&job, &running(&job, b"abcde")).await?;
            talk.update(&job, &success(&job, b"abcde")).await?;
        }
        Rule::A33 => {
            let job = talk.begin(spec()).await?;
            talk.patch(&job, 0, b"log").await?;
        }
        Rule::B34 => {
            let job = talk.begin(spec()).await?;
            talk.gitlab.misbehave(Matcher::on(Endpoint::Trace), Fault::Truncate(1));
            talk.patch(&job, 0, b"log").await?;
            for _ in 0..2 {
                assert_eq!(talk.patch(&job, 3, b"more").await?.status(), 416);
            }
        }
        Rule::A35 => {
            let job = talk.begin(spec().masked("SECRET", "s3cr3tvalue")).await?;
            talk.finish(&job, b"the value is s3cr3tvalue").await?;
        }
        Rule::B37 => {
            let job = talk.begin(spec()).await?;
            talk.finish(&job, b"0123456789\n\x1b[33;1mJob's log exceeded limit of 5 bytes.\n").await?;
        }
        Rule::A38 => {
            let job = talk.begin_timed(spec()).await?;
            talk.finish(&job, format!("{TIME} 01O 1%\r\n{TIME} 00O Running\n{TIME} 01O+2%\n").as_bytes()).await?;
        }
        Rule::A40 => {
            let job = talk.begin(spec()).await?;
            talk.finish(&job, b"log").await?;
            talk.update(&job, &success(&job, b"log")).await?;
        }
        Rule::A41 => {
            let job = talk.begin(spec()).await?;
            talk.update(&job, &failed(&job, b"", "bad_luck", 1)).await?;
        }
        Rule::B42 => {
            let job = talk.begin(spec()).await?;
            talk.gitlab.misbehave(Matcher::on(Endpoint::FinalUpdate), Fault::Accepted202 { interval: 60 });
            for _ in 0..2 {
                talk.update(&job, &success(&job, b"")).await?;
            }
        }
        Rule::B43 => {
            let job = talk.begin(spec()).await?;
            talk.gitlab.misbehave(Matcher::on(Endpoint::FinalUpdate).times(2), Fault::PreconditionFailed412);
            talk.patch(&job, 0, b"log").await?;
            for _ in 0..2 {
                talk.update(&job, &success(&job, b"log")).await?;
            }
        }
        Rule::B44 => {
            let job = talk.begin(spec()).await?;
            talk.gitlab.misbehave(Matcher::on(Endpoint::FinalUpdate), Fault::status(500));
            for _ in 0..2 {
                talk.update(&job, &success(&job, b"")).await?;
            }
        }
        Rule::B52 => {
            let job = talk.begin(spec()).await?;
            talk.gitlab.force_cancel(JobId(job.id));
            for _ in 0..2 {
                assert_eq!(talk.patch(&job, 0, b"log").await?.status(), 403);
            }
        }
        Rule::A60 => {
            let job = talk.begin(spec().artifact_paths(["out"])).await?;
            let archive = zip(&[("out/a", "content")])?;
            talk.upload(&job, "artifact_format=zip&artifact_type=archive", "other.zip", &archive).await?;
        }
        Rule::A61 => {
            let job = talk.begin(spec().artifact_paths(["out"])).await?;
            let archive = zip(&[("../a", "content")])?;
            talk.upload(&job, "artifact_format=zip&artifact_type=archive", "artifacts.zip", &archive).await?;
        }
        Rule::A63 => {
            let (dependency, job) = with_dependency(talk).await?;
            talk.gitlab.misbehave(Matcher::on(Endpoint::Download), Fault::status(400));
            for _ in 0..2 {
                talk.download(dependency, &job.token, "?direct_download=true").await?;
            }
        }
        Rule::A75 => {
            let url = format!("{}/group/demo.git/info/refs?service=git-upload-pack", talk.gitlab.url());
            let answer = talk.http.get(url).basic_auth("gitlab-ci-token", Some("glcbt-wrong")).send().await?;
            assert_eq!(answer.status(), 401);
        }
    }
    Ok(())
}

/// A finished job with an archive, and a running one that needs it.
pub(crate) async fn with_dependency(talk: &mut Talk) -> Result<(u64, Picked)> {
    let first = talk.begin(spec().artifact_paths(["out"])).await?;
    let archive = zip(&[("out/a", "content")])?;
    talk.upload(&first, "artifact_format=zip&artifact_type=archive", "artifacts.zip", &archive).await?;
    talk.update(&first, &success(&first, b"")).await?;
    let second = talk.begin(spec().needs(JobId(first.id))).await?;
    Ok((first.id, second))
}

pub(crate) fn gzip(content: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, content)?;
    Ok(encoder.finish()?)
}

type Case = (&'static str, Rule, fn(JobSpec) -> JobSpec, &'static [u8]);

/// Logs that break A35 or A40 in the other ways, and one that does not.
#[tokio::test]
async fn a_stored_log_is_judged_as_a_whole() -> Result<()> {
    let cases: &[Case] = &[
        ("a token", Rule::A35, |spec| spec, b"use glpat-abc"),
        ("no UTF-8", Rule::A35, |spec| spec, b"\xff"),
        ("an open section", Rule::A35, |spec| spec, b"section_start:1:get_sources\r\x1b[0K"),
        (
            "a section not wanted",
            Rule::A35,
            JobSpec::without_sections,
            b"section_start:1:get_sources\r\x1b[0Ksection_end:1:get_sources\r\x1b[0K",
        ),
    ];
    for (name, rule, spec_of, log) in cases {
        let mut talk = Talk::start(Options::default()).await?;
        let job = talk.begin(spec_of(spec())).await?;
        talk.finish(&job, log).await?;
        let violations = talk.gitlab.violations();
        assert_eq!(violations.iter().map(|violation| violation.rule).collect::<Vec<_>>(), [*rule], "{name}");
    }
    let mut talk = Talk::start(Options::default()).await?;
    let job = talk.begin(spec().masked("SECRET", "s3cr3tvalue")).await?;
    talk.finish(&job, "[MASKED] glpat-[MASKED] é".as_bytes()).await?;
    talk.gitlab.assert_clean();
    Ok(())
}

/// A log, the offset at which another executor took over, and whether the lines' timestamps are right.
#[tokio::test]
async fn timestamps_are_judged_up_to_the_limit_and_through_a_take_over() -> Result<()> {
    let line = |text: &str| format!("{TIME} 00O {text}\n");
    let notice = "\n\x1b[33;1mJob's log exceeded limit of 40 bytes.\n";
    let cases = [
        (line("a"), String::new(), true),
        ("a\n".to_owned(), String::new(), false),
        (format!("{}{}{notice}", line("a"), &TIME[..6]), String::new(), true),
        (format!("{}{}", line("a"), &TIME[..6]), format!("\n{}", line("\x1b[0;mb")), true),
        (line("a"), format!("\n\x1b[0;mb{}", line("c")), false),
    ];
    for (log, more, right) in cases {
        let mut talk = Talk::start(Options::default()).await?;
        let job = talk.begin_timed(spec()).await?;
        talk.patch(&job, 0, log.as_bytes()).await?;
        if !more.is_empty() {
            talk.patch(&job, log.len(), more.as_bytes()).await?;
        }
        let whole = log + &more;
        talk.update(&job, &success(&job, whole.as_bytes())).await?;
        let found: Vec<_> = talk.gitlab.violations().iter().map(|violation| violation.rule).collect();
        assert_eq!(found, if right { vec![] } else { vec![Rule::A38] }, "{whole:?}");
    }
    let mut talk = Talk::start(Options::default()).await?;
    let job = talk.begin(spec()).await?;
    talk.finish(&job, line("not wanted").as_bytes()).await?;
    assert_eq!(talk.gitlab.violations()[0].rule, Rule::A38);
    Ok(())
}

#[tokio::test]
async fn a_final_update_with_another_checksum_or_size_is_caught() -> Result<()> {
    for (log, rules) in
        [(&b"other"[..], vec![Rule::A40, Rule::A35]), (b"LOG", vec![Rule::A35]), (b"", vec![Rule::A40, Rule::A35])]
    {
        let mut talk = Talk::start(Options::default()).await?;
        let job = talk.begin(spec()).await?;
        talk.patch(&job, 0, b"log").await?;
        talk.update(&job, &success(&job, log)).await?;
        assert_eq!(talk.gitlab.violations().iter().map(|v| v.rule).collect::<Vec<_>>(), rules);
    }
    Ok(())
}

#[tokio::test]
async fn retries_are_judged_by_what_was_answered() -> Result<()> {
    // Status of the first answer, and whether the same call may come again.
    for (status, clean) in [(500, true), (429, true), (501, false), (403, false), (422, false)] {
        let mut talk = Talk::start(Options::default()).await?;
        let job = talk.begin(spec()).await?;
        talk.gitlab.misbehave(Matcher::on(Endpoint::Trace), Fault::status(status));
        let id = request_id();
        for _ in 0..2 {
            let mut call = talk.patch_call(&job, 0, b"log").build()?;
            call.headers_mut().insert("x-request-id", id.parse()?);
            talk.http.execute(call).await?;
        }
        assert_eq!(talk.gitlab.violations().is_empty(), clean, "{status}: {:?}", talk.gitlab.violations());
    }
    Ok(())
}

#[tokio::test]
async fn a_log_is_whole_after_lost_answers_truncation_and_reset() -> Result<()> {
    let mut talk = Talk::start(Options::default()).await?;
    let job = talk.begin(spec()).await?;
    talk.gitlab.misbehave(Matcher::on(Endpoint::Trace), Fault::DropAfter);
    assert!(talk.patch(&job, 0, b"one ").await.is_err());
    assert_eq!(talk.patch(&job, 0, b"one ").await?.headers()["range"], "0-4");
    talk.gitlab.misbehave(Matcher::on(Endpoint::Trace), Fault::Truncate(2));
    assert_eq!(talk.patch(&job, 4, b"two").await?.status(), 202);
    // Nothing is left to send, and the server does not have it: it says so at the end.
    assert_eq!(talk.update(&job, &success(&job, b"one two")).await?.status(), 412);
    assert_eq!(talk.patch(&job, 0, b"one two").await?.status(), 202);
    assert_eq!(talk.update(&job, &success(&job, b"one two")).await?.status(), 200);
    assert_eq!(&talk.gitlab.log(JobId(job.id))[..], b"one two");
    talk.gitlab.assert_clean();
    Ok(())
}

#[tokio::test]
async fn a_lost_final_answer_may_be_repeated() -> Result<()> {
    let mut talk = Talk::start(Options::default()).await?;
    let job = talk.begin(spec()).await?;
    talk.gitlab.misbehave(Matcher::on(Endpoint::FinalUpdate), Fault::DropAfter);
    assert!(talk.update(&job, &success(&job, b"")).await.is_err());
    tokio::time::sleep(Duration::from_secs(1)).await;
    let answer = talk.update(&job, &success(&job, b"")).await?;
    assert_eq!((answer.status().as_u16(), &answer.headers()["job-status"]), (403, &"success".parse()?));
    talk.gitlab.assert_clean();
    Ok(())
}

#[tokio::test]
async fn an_outage_is_no_fault_of_the_client() -> Result<()> {
    let mut talk = Talk::start(Options { silence: Duration::ZERO, update_interval: 0, ..Options::default() }).await?;
    let job = talk.begin(spec()).await?;
    talk.gitlab.outage(Outage::Status500).await;
    assert_eq!(talk.patch(&job, 0, b"log").await?.status(), 500);
    talk.gitlab.recover().await;
    assert_eq!(talk.patch(&job, 0, b"log").await?.status(), 202);
    talk.gitlab.assert_clean();
    Ok(())
}
