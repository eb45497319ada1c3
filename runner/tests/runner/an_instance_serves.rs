//! `warmstart-agent instance` as a process, with the metadata service of its instance.

use super::site::{ROLE, Site};
use anyhow::Result;
use jiff::Timestamp;
use std::net::SocketAddr;
use std::time::Duration;
use tempfile::TempDir;
use tokio::process::Command;
use warmstart_tests::aws::Imds;
use warmstart_tests::gitlab::{FakeGitlab, Finished, JobId, JobSpec, JobState, Options, display};
use warmstart_tests::harness::{BUSYBOX, Process, binary, eventually, host_for_containers};

/// What EC2 says of an instance that it takes back then, and how the log puts it.
fn interruption(left: Duration) -> (String, String) {
    let time = Timestamp::now() + left;
    let item = format!(r#"{{"action": "terminate", "time": "{}"}}"#, time.strftime("%Y-%m-%dT%H:%M:%SZ"));
    (item, format!("This spot instance will be reclaimed at {}", time.strftime("%H:%M:%S UTC")))
}

fn agent(site: &Site, imds: &Imds) -> Result<Process> {
    let mut command = Command::new(binary("warmstart-agent")?);
    command.arg("instance").arg("--directory").arg(site.directory.path().join("agent"));
    command.env("AWS_EC2_METADATA_SERVICE_ENDPOINT", &imds.url).env_remove("AWS_EC2_METADATA_DISABLED");
    Process::start(command, &site.directory.path().join("agent.log"))
}

/// An instance that the runner has launched.
async fn instance(site: &Site) -> Result<Imds> {
    let imds = Imds::start(&site.instance).await?;
    imds.set("user-data", &serde_json::to_string(&site.user_data())?);
    imds.set_role(ROLE, &site.sts.assume_role(ROLE, &site.instance).await?);
    Ok(imds)
}

async fn wait_registered(agent: &Process) {
    eventually("the agent has registered", async || {
        agent.output().contains("registered with the runner").then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_instance_proves_itself_and_leaves_at_once_when_aws_wants_it_back() -> Result<()> {
    let site = Site::start().await?;
    let imds = instance(&site).await?;
    let agent = agent(&site, &imds)?;
    wait_registered(&agent).await;
    assert_eq!(site.sts.requests().len(), 1, "STS itself was asked: {}", agent.output());

    imds.expire_tokens();
    let before = imds.reads("meta-data/spot/instance-action");
    eventually("it asks for its end again, with another token", async || {
        (imds.tokens() > 1 && imds.reads("meta-data/spot/instance-action") > before).then_some(())
    })
    .await;
    imds.set("meta-data/events/recommendations/rebalance", r#"{"noticeTime": "2026-09-18T12:34:56Z"}"#);
    let ended = agent.wait().await?;
    assert!(ended.status.success(), "{}", ended.output);
    assert!(ended.output.contains("may be reclaimed soon"), "{}", ended.output);
    assert!(site.desk.state().executors[&site.instance].doomed, "it gets no more jobs");
    Ok(())
}

/// A job that runs on an instance, until the test lets it end.
struct Running {
    gitlab: FakeGitlab,
    job: JobId,
    imds: Imds,
    agent: Process,
    evidence: TempDir,
    _site: Site,
}

impl Running {
    async fn start() -> Result<Self> {
        let options = Options { listen: vec![SocketAddr::new(host_for_containers()?, 0)], ..Options::default() };
        let (gitlab, evidence) = (FakeGitlab::start(options).await?, tempfile::tempdir()?);
        let entry = format!(
            "[[runners]]\nname = \"test\"\nurl = \"{}\"\ntoken = \"{}\"\n[runners.docker]\nimage = \"{BUSYBOX}\"\n\
             pull_policy = \"if-not-present\"\nvolumes = [\"{}:/evidence\"]\n",
            gitlab.url(),
            gitlab.runner_token(),
            evidence.path().display()
        );
        let script = ["echo the script runs", "until [ -e /evidence/go ]; do sleep 0.1; done"];
        let job = gitlab.add_job(JobSpec::script(script));
        let site = Site::with(&entry).await?;
        let imds = instance(&site).await?;
        let agent = agent(&site, &imds)?;
        gitlab.wait_log_contains(job, "the script runs\n").await;
        Ok(Self { gitlab, job, imds, agent, evidence, _site: site })
    }

    /// Waits for the end of job and agent.
    async fn ends(self, state: JobState) -> Result<Finished> {
        let finished = self.gitlab.wait_finished(self.job).await;
        assert_eq!(finished.state, state, "{}", finished.text());
        let ended = self.agent.wait().await?;
        assert!(ended.status.success(), "{}", ended.output);
        self.gitlab.assert_clean();
        Ok(finished)
    }
}

#[tokio::test]
async fn a_job_that_runs_when_aws_wants_the_instance_back_is_told_and_goes_on() -> Result<()> {
    let running = Running::start().await?;
    let (item, line) = interruption(Duration::from_mins(30));
    running.imds.set("meta-data/spot/instance-action", &item);
    running.gitlab.wait_log_contains(running.job, &line).await;
    std::fs::write(running.evidence.path().join("go"), "")?;
    running.ends(JobState::Success).await?;
    Ok(())
}

#[tokio::test]
async fn a_job_that_would_not_end_before_its_instance_is_stopped_and_says_why() -> Result<()> {
    let running = Running::start().await?;
    let (item, line) = interruption(Duration::from_secs(20));
    running.imds.set("meta-data/spot/instance-action", &item);
    let finished = running.ends(JobState::Failed).await?;
    assert_eq!(finished.failure_reason.as_deref(), Some("runner_system_failure"));
    let text = display::plain(&finished.text());
    assert!(text.contains(&format!("Job failed (system failure): {line}")), "{text}");
    Ok(())
}

#[tokio::test]
async fn an_instance_without_usable_user_data_says_so_in_one_line() -> Result<()> {
    let site = Site::start().await?;
    let imds = instance(&site).await?;
    let right = serde_json::to_value(site.user_data())?;
    let with = |name: &str, value: &str| {
        let mut data = right.clone();
        data[name] = value.into();
        data.to_string()
    };
    for (text, expected) in [
        ("#!/bin/sh\necho hello".to_owned(), "cannot use the instance's user-data"),
        ("{}".to_owned(), "missing field `url`"),
        (with("url", "http://example.com"), "cannot use the instance's user-data"),
        (with("fingerprint", "none"), "cannot use the instance's user-data"),
        (with("sts", "none"), "cannot use the STS endpoint"),
    ] {
        imds.set("user-data", &text);
        let ended = agent(&site, &imds)?.wait().await?;
        let line = ended.output.lines().last().unwrap_or_default().to_owned();
        assert!(!ended.status.success() && line.starts_with("warmstart-agent: ") && line.contains(expected), "{line}");
    }
    let bare = Imds::start(&site.instance).await?;
    let ended = agent(&site, &bare)?.wait().await?;
    assert!(!ended.status.success() && ended.output.contains("this instance has no user-data"), "{}", ended.output);
    Ok(())
}
