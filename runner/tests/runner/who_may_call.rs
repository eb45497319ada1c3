//! What the agents' API refuses.

use super::support::{Bench, SOON};
use anyhow::Result;
use warmstart_api::Holding;
use warmstart_api::client::{Error, Link};
use warmstart_tests::gitlab::JobSpec;

#[tokio::test]
async fn only_the_executor_itself_with_its_token_and_only_for_its_own_job() -> Result<()> {
    let bench = Bench::start("max = 2").await?;
    let jobs = [0, 1].map(|_| bench.gitlab.add_job(JobSpec::script(["true"])));
    let mut agent = bench.agent(&[]).await?;
    let other = bench.agent(&[&agent.id]).await?;
    let work = agent.take().await?;

    let without_session: Link = agent_link(&bench, &agent.id)?;
    assert!(matches!(without_session.next(SOON).await, Err(Error::Session("next"))));
    assert!(matches!(other.link.script(work.holding(), SOON).await, Err(Error::Stale("script"))));
    let unknown = Holding { job: 1, generation: 1 };
    assert!(matches!(agent.link.ack(unknown, SOON).await, Err(Error::Stale("ack"))));

    let token = std::mem::replace(&mut agent.token, other.token.clone());
    assert!(matches!(agent.register(None).await, Err(Error::Refused { .. })), "another executor's token");
    agent.token = String::new();
    assert!(matches!(agent.register(None).await, Err(Error::Refused { .. })), "no token");
    agent.token = token;
    agent.id = "local-000000000000".to_owned();
    assert!(matches!(agent.register(None).await, Err(Error::Refused { .. })), "no such executor");
    agent.link.script(work.holding(), SOON).await?;
    for job in jobs {
        bench.gitlab.expect_loss(job);
    }
    Ok(())
}

#[tokio::test]
async fn requests_that_are_too_large_or_no_json_are_refused_and_do_no_harm() -> Result<()> {
    let bench = Bench::start("").await?;
    bench.wait_log("runner is up").await;
    let kept: serde_json::Value = serde_json::from_slice(&std::fs::read(bench.file("state/runner/port"))?)?;
    let url = format!("https://127.0.0.1:{}/v1/register", kept["record"]);
    let http = reqwest::Client::builder().tls_danger_accept_invalid_certs(true).build()?;
    let post = async |body: String| http.post(&url).header("content-type", "application/json").body(body).send().await;
    assert_eq!(post("x".repeat(100_000)).await?.status(), 413);
    for body in ["", "{", "[]", "{}", r#"{"version":1}"#] {
        assert!(post(body.to_owned()).await?.status().is_client_error(), "{body}");
    }
    let huge =
        format!(r#"{{"version":1,"agent_version":"","executor":"{}","run_id":"r","proof":"p"}}"#, "e".repeat(10_000));
    assert_eq!(post(huge).await?.status(), 403);
    assert_eq!(http.get(&url).send().await?.status(), 405);
    Ok(())
}

fn agent_link(bench: &Bench, id: &str) -> Result<Link> {
    let text = std::fs::read_to_string(bench.file("executors").join(id).join("work/env"))?;
    let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(&format!("{name}="))).unwrap_or_default();
    Ok(Link::new(value("WARMSTART_RUNNER_URL"), value("WARMSTART_RUNNER_FINGERPRINT"))?)
}
