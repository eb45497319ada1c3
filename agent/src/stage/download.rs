//! `download_artifacts`: files of the jobs this one depends on (protocol §6.4).

use crate::archive;
use crate::fault::{Fault, causes};
use crate::stage::{Attempts, Execution};
use warmstart_gitlab::artifacts;
use warmstart_gitlab::payload::Dependency;

/// Downloads and extracts the artifacts of every dependency that has some, in order.
pub async fn run(job: &Execution) -> Result<(), Fault> {
    let wanted: Vec<_> = job.order.job.dependencies.iter().filter(|d| !d.artifacts_file.filename.is_empty()).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let mut attempts = Attempts::new(&job.log, job.settings.artifact_download_attempts);
    loop {
        match job.log.section("download_artifacts", "Downloading artifacts", all(job, &wanted)).await {
            Err(fault) => attempts.another(fault).await?,
            done => return done,
        }
    }
}

async fn all(job: &Execution, wanted: &[&Dependency]) -> Result<(), Fault> {
    for dependency in wanted {
        job.log.info(&format!("Downloading artifacts for {} ({})...", dependency.name, dependency.id));
        if let Err(text) = one(job, dependency).await {
            job.log.error(&text);
            return Err(Fault::Exit(1));
        }
    }
    Ok(())
}

async fn one(job: &Execution, dependency: &Dependency) -> Result<(), String> {
    let said = |doing: &str, error: &dyn std::error::Error| format!("{doing}: {}", causes(error));
    let client = job.gitlab.job(dependency.id, &dependency.token);
    let file = tempfile::tempfile_in(&job.host.tmp).map_err(|e| said("cannot create a temporary file", &e))?;
    let mut file = tokio::fs::File::from_std(file);
    let direct = job.variables.flag("FF_USE_DIRECT_DOWNLOAD");
    let bytes = artifacts::download(&client, &mut file, direct).await.map_err(|e| causes(&e))?;
    let file = file.into_std().await;
    let workspace = job.workspace().map_err(|e| said("cannot open the project directory", &e))?;
    let file = job.work.guard(file);
    let extract = move || archive::extract(&workspace, file).map_err(|e| causes(&e));
    let extracted = job.work.run("extract the artifacts", extract).await?;
    let (id, entries) = (dependency.id, extracted.entries);
    job.log.print(&format!("Downloading artifacts from coordinator... ok  id={id} bytes={bytes} entries={entries}"));
    Ok(())
}
