//! Artifacts: up, and down into the next job.

use crate::lone::{Lone, ended, says};
use warmstart_tests::gitlab::{ArtifactSpec, JobSpec, JobState};

#[tokio::test]
async fn artifacts_of_one_job_are_there_in_the_next() {
    let lone = Lone::start().await;
    let make = JobSpec::script([
        "mkdir -p out/bin",
        "echo '#!/bin/sh' > out/bin/tool",
        "chmod 755 out/bin/tool",
        "ln -s bin/tool out/link",
    ]);
    let make = lone.gitlab.add_job(make.name("make").artifact_paths(["out/"]));
    let agent = lone.agent();
    let finished = lone.gitlab.wait_finished(make).await;
    lone.ends_clean(agent, make).await;
    ended(&finished, JobState::Success);
    assert_eq!((finished.artifacts.len(), finished.artifacts[0].filename.as_str()), (1, "artifacts.zip"));
    let finished = lone.run(JobSpec::script(["test -x out/link && echo it is here"]).needs(make)).await;
    ended(&finished, JobState::Success);
    says(&finished, "Downloading artifacts for make");
    says(&finished, "it is here\n");
}

#[tokio::test]
async fn each_entry_is_uploaded_when_its_result_fits() {
    let lone = Lone::start().await;
    let spec = JobSpec::script(["echo x > file", "echo '<testsuites/>' > junit.xml", "exit 1"]);
    let spec = spec.artifacts(ArtifactSpec::archive(["file"]).name("good"));
    let spec = spec.artifacts(ArtifactSpec::archive(["file"]).name("$CI_JOB_NAME-bad").when("on_failure"));
    let finished = lone.run(spec.report("junit", ["junit.xml"])).await;
    ended(&finished, JobState::Failed);
    let names: Vec<&str> = finished.artifacts.iter().map(|upload| upload.filename.as_str()).collect();
    assert_eq!(names, ["job-bad.zip", "junit.xml.gz"]);
    assert_eq!(finished.artifacts[1].kind, "junit");
}

#[tokio::test]
async fn nothing_to_upload_is_said_and_no_failure() {
    let lone = Lone::start().await;
    let finished = lone.run(JobSpec::script(["true"]).artifact_paths(["missing/"])).await;
    ended(&finished, JobState::Success);
    says(&finished, "missing/: no matching files.");
    says(&finished, "No files to upload");
    assert!(finished.artifacts.is_empty());
}

#[tokio::test]
async fn untracked_files_are_found() {
    let lone = Lone::start().await;
    let spec = JobSpec::script(["echo x > new-file", "echo y >> README.md"]);
    let finished = lone.run(spec.artifacts(ArtifactSpec::archive(Vec::<String>::new()).untracked())).await;
    ended(&finished, JobState::Success);
    says(&finished, "untracked: found 1 files");
    assert_eq!(finished.artifacts.len(), 1);
}

#[tokio::test]
async fn a_link_planted_by_the_job_leads_nowhere() {
    let lone = Lone::start().await;
    let spec = JobSpec::script(["ln -s /etc out", "cd ..", "mv demo real", "ln -s /etc demo"]);
    let finished = lone.run(spec.artifact_paths(["out/passwd", "passwd"])).await;
    assert!(finished.artifacts.is_empty(), "{}", finished.text());
}
