//! A pipeline runs for any runner that takes its jobs, and the program shows it.

use super::client::{Hand, Picked, Talk, failed, running, section, success, timed, zip};
use anyhow::{Context, Result};
use serde_json::Value;
use std::path::Path;
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use warmstart_tests::gitlab::pipeline::{self, Event};
use warmstart_tests::gitlab::{JobState, Options};

const YAML: &str = "\
stages: [build, test, deploy]
build:
  stage: build
  script: make
  artifacts: { paths: [out] }
good:
  stage: test
  script: make good
bad:
  stage: test
  needs: [build]
  script: make bad
deploy:
  stage: deploy
  script: make deploy
clean:
  stage: deploy
  when: always
  script: make clean
";

/// Takes jobs until it is dropped; those named `bad` fail.
async fn work(mut hand: Hand) -> Result<()> {
    loop {
        let answer = hand.ask().await?;
        if answer.status() == 201 {
            carry_out(&hand, &Picked::new(answer.json().await?)?).await?;
        }
    }
}

async fn carry_out(hand: &Hand, job: &Picked) -> Result<()> {
    hand.update(job, &running(job, b"")).await?;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs();
    let log = timed(&format!("{}hello from the script\n", section("step_script", now, now + 2)));
    hand.patch(job, 0, log.as_bytes()).await?;
    for entry in job.payload["artifacts"].as_array().into_iter().flatten() {
        let query = format!(
            "artifact_format={}&artifact_type=archive",
            entry["artifact_format"].as_str().context("no format")?
        );
        hand.upload(job, &query, "artifacts.zip", &zip(&[("out/a", "content")])?).await?;
    }
    let end = match job.payload["job_info"]["name"].as_str() {
        Some("bad") => failed(job, log.as_bytes(), "script_failure", 3),
        _ => success(job, log.as_bytes()),
    };
    hand.update(job, &end).await?;
    Ok(())
}

#[tokio::test]
async fn jobs_run_by_stages_and_results_and_hand_artifacts_on() -> Result<()> {
    let talk = Talk::start(Options::default()).await?;
    let worker = tokio::spawn(work(Hand::new(&talk.gitlab.url(), &talk.gitlab.runner_token())?));
    let mut queued = Vec::new();
    let on_event = |event| {
        if let Event::Queued { job, name } = event {
            queued.push((name, job));
        }
    };
    let reports = pipeline::run(&talk.gitlab, "group/demo", &pipeline::parse(YAML)?, on_event).await?;
    worker.abort();
    let ended: Vec<(&str, JobState)> = reports.iter().map(|r| (r.name.as_str(), r.finished.state)).collect();
    let expected = [
        ("build", JobState::Success),
        ("good", JobState::Success),
        ("bad", JobState::Failed),
        ("clean", JobState::Success),
    ];
    assert_eq!(ended, expected);
    let dependencies = |index: usize| talk.gitlab.payload(queued[index].1)["dependencies"].clone();
    assert_eq!(dependencies(2)[0]["artifacts_file"]["filename"], "artifacts.zip");
    assert_eq!(dependencies(3).as_array().map(Vec::len), Some(3));
    assert_eq!(reports[0].sections, [("step_script".to_owned(), 2.0)]);
    talk.gitlab.assert_clean();
    Ok(())
}

/// Starts the program on a project and works for it; gives its exit code and what it printed.
async fn run_program(yaml: &str, more: &[&str]) -> Result<(Option<i32>, String)> {
    let project = tempfile::tempdir()?;
    std::fs::write(project.path().join(".gitlab-ci.yml"), yaml)?;
    let mut program = Command::new(env!("CARGO_BIN_EXE_fake-gitlab"))
        .arg("--project")
        .arg(project.path())
        .args(more)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut lines = BufReader::new(program.stdout.take().context("no output")?).lines();
    let mut value = async |name: &str| -> Result<String> {
        let line = lines.next_line().await?.with_context(|| format!("no {name}"))?;
        Ok(line.strip_prefix(name).with_context(|| format!("`{line}` is no {name}"))?.to_owned())
    };
    let (url, token) = (value("url: ").await?, value("runner token: ").await?);
    let worker = tokio::spawn(work(Hand::new(&url, &token)?));
    let mut shown = String::new();
    while let Some(line) = lines.next_line().await? {
        shown += &(line + "\n");
    }
    worker.abort();
    Ok((program.wait().await?.code(), shown))
}

fn read_json(path: &Path) -> Result<Value> {
    Ok(serde_json::from_str(&std::fs::read_to_string(path)?)?)
}

#[tokio::test]
async fn the_program_shows_logs_and_writes_seconds() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("seconds.json");
    let file_text = file.to_str().context("no text")?;
    let yaml = "one: { script: make }\n";
    let (code, shown) = run_program(yaml, &["--pipelines", "2", "--json", file_text]).await?;
    assert_eq!(code, Some(0), "{shown}");
    assert!(shown.contains("pipeline 2 of 2"), "{shown}");
    assert_eq!(shown.matches("one │ hello from the script\n").count(), 2, "{shown}");
    assert!(!shown.contains("section_"), "{shown}");
    let json = read_json(&file)?;
    assert_eq!(json["pipelines"].as_array().map(Vec::len), Some(2));
    let job = &json["pipelines"][1][0];
    assert_eq!((&job["name"], &job["state"]), (&"one".into(), &"success".into()));
    assert_eq!(job["sections"][0]["seconds"], 2.0);
    Ok(())
}

#[tokio::test]
async fn the_program_fails_with_its_pipeline() -> Result<()> {
    let (code, shown) = run_program("bad: { script: make }\n", &[]).await?;
    assert_eq!(code, Some(1), "{shown}");
    assert!(shown.contains("bad │ failed (script_failure) after"), "{shown}");
    Ok(())
}
