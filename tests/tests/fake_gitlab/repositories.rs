//! Real git fetches what the payload names, with the job's token only.

use super::client::{Picked, Talk, success};
use anyhow::{Context, Result, ensure};
use std::path::Path;
use std::process::Stdio;
use tokio::process::Command;
use warmstart_tests::gitlab::{JobSpec, Options, Rule};

async fn git(directory: &Path, arguments: &[&str]) -> Result<String> {
    let output = Command::new("git")
        .args(arguments)
        .current_dir(directory)
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .stdin(Stdio::null())
        .output()
        .await?;
    ensure!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// Fetches a job's refspecs as a runner does, and checks its commit out.
async fn fetch(job: &Picked, directory: &Path) -> Result<()> {
    let info = &job.payload["git_info"];
    let text = |name: &str| info[name].as_str().with_context(|| format!("no {name}"));
    let format = format!("--object-format={}", text("repo_object_format")?);
    git(directory, &["init", "--quiet", &format]).await?;
    git(directory, &["remote", "add", "origin", text("repo_url")?]).await?;
    let depth = format!("--depth={}", info["depth"]);
    let mut arguments = vec!["fetch", "--quiet", "origin"];
    arguments.extend(info["refspecs"].as_array().into_iter().flatten().filter_map(|refspec| refspec.as_str()));
    if info["depth"] != 0 {
        arguments.push(&depth);
    }
    git(directory, &arguments).await?;
    git(directory, &["checkout", "--quiet", text("sha")?]).await?;
    Ok(())
}

#[tokio::test]
async fn a_job_fetches_its_pipeline_ref_shallowly() -> Result<()> {
    let mut talk = Talk::start(Options::default()).await?;
    let repository = talk.gitlab.repo("group/demo");
    repository.commit(&[("src/one.txt", "1")], "One");
    repository.commit(&[("src/two.txt", "2")], "Two");
    let job = talk.begin(JobSpec::script(["true"]).depth(1)).await?;
    let directory = tempfile::tempdir()?;
    fetch(&job, directory.path()).await?;
    assert_eq!(std::fs::read_to_string(directory.path().join("src/one.txt"))?, "1");
    assert_eq!(git(directory.path(), &["rev-list", "--count", "HEAD"]).await?, "1");
    talk.gitlab.assert_clean();
    Ok(())
}

#[tokio::test]
async fn branches_tags_and_whole_histories_are_served() -> Result<()> {
    let mut talk = Talk::start(Options::default()).await?;
    let repository = talk.gitlab.repo("group/other");
    repository.branch("feature");
    repository.commit(&[("feature.txt", "f")], "Feature");
    repository.tag("v1");
    repository.branch("main");
    for (name, kind) in [("feature", "branch"), ("v1", "tag")] {
        let job = talk.begin(JobSpec::script(["true"]).project("group/other").git_ref(name).depth(0)).await?;
        assert_eq!(job.payload["git_info"]["ref_type"], kind);
        let directory = tempfile::tempdir()?;
        fetch(&job, directory.path()).await?;
        assert!(directory.path().join("feature.txt").exists());
        assert_eq!(git(directory.path(), &["rev-list", "--count", "HEAD"]).await?, "2");
    }
    Ok(())
}

#[tokio::test]
async fn a_sha256_repository_is_served() -> Result<()> {
    let mut talk = Talk::start(Options::default()).await?;
    drop(talk.gitlab.sha256_repo("group/new"));
    let job = talk.begin(JobSpec::script(["true"]).project("group/new")).await?;
    let directory = tempfile::tempdir()?;
    fetch(&job, directory.path()).await?;
    assert_eq!(git(directory.path(), &["rev-parse", "HEAD"]).await?.len(), 64);
    Ok(())
}

#[tokio::test]
async fn a_submodule_is_found_by_its_relative_url() -> Result<()> {
    let mut talk = Talk::start(Options::default()).await?;
    let library = talk.gitlab.repo("group/library");
    library.commit(&[("lib.txt", "lib")], "Library");
    talk.gitlab.repo("group/demo").add_submodule("library", &library);
    let job = talk.begin(JobSpec::script(["true"])).await?;
    let directory = tempfile::tempdir()?;
    fetch(&job, directory.path()).await?;
    git(directory.path(), &["submodule", "update", "--quiet", "--init", "--depth=1"]).await?;
    assert_eq!(std::fs::read_to_string(directory.path().join("library/lib.txt"))?, "lib");
    Ok(())
}

#[tokio::test]
async fn a_job_that_has_ended_fetches_nothing() -> Result<()> {
    let mut talk = Talk::start(Options::default()).await?;
    let job = talk.begin(JobSpec::script(["true"])).await?;
    talk.update(&job, &success(&job, b"")).await?;
    let directory = tempfile::tempdir()?;
    assert!(fetch(&job, directory.path()).await.is_err());
    talk.gitlab.assert_clean();
    let wrong = Picked { payload: set_url(&job, &talk.gitlab.url()), id: job.id, token: job.token };
    let directory = tempfile::tempdir()?;
    assert!(fetch(&wrong, directory.path()).await.is_err());
    assert!(talk.gitlab.violations().iter().all(|violation| violation.rule == Rule::A75));
    assert!(!talk.gitlab.violations().is_empty());
    Ok(())
}

fn set_url(job: &Picked, url: &str) -> serde_json::Value {
    let mut payload = job.payload.clone();
    payload["git_info"]["repo_url"] =
        format!("{}/group/demo.git", url.replace("://", "://gitlab-ci-token:wrong@")).into();
    payload
}
