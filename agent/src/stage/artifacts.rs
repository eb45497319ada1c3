//! `upload_artifacts` (protocol §6).

use crate::archive::{self, Collected, Format, Severity, Wanted};
use crate::fault::{Fault, causes};
use crate::job::order::uploads;
use crate::stage::Execution;
use std::path::Path;
use tempfile::NamedTempFile;
use warmstart_gitlab::artifacts::{self, Upload};
use warmstart_gitlab::payload::Artifact;

/// Uploads everything that fits the job's result, in order, up to the first failure.
pub async fn run(job: &Execution, success: bool) -> Result<(), Fault> {
    let wanted = uploads(&job.order.job, success);
    if wanted.is_empty() {
        return Ok(());
    }
    let (name, headline) = if success {
        ("upload_artifacts_on_success", "Uploading artifacts for successful job")
    } else {
        ("upload_artifacts_on_failure", "Uploading artifacts for failed job")
    };
    job.log.section(name, headline, all(job, &wanted)).await
}

async fn all(job: &Execution, wanted: &[&Artifact]) -> Result<(), Fault> {
    for artifact in wanted {
        if let Err(text) = one(job, artifact).await {
            job.log.error(&text);
            return Err(Fault::Exit(1));
        }
    }
    Ok(())
}

async fn one(job: &Execution, artifact: &Artifact) -> Result<(), String> {
    job.log.info("Uploading artifacts...");
    let word = &artifact.artifact_format;
    let unknown = || format!("artifact format \"{word}\" is not supported: expected zip, gzip or raw");
    let format = Format::parse(word).ok_or_else(unknown)?;
    let collected = collect(job, artifact).await?;
    tell(job, &collected);
    if collected.paths.is_empty() {
        return Ok(());
    }
    let archive = pack(job, collected, format).await?;
    let name = artifact.name.as_ref().map(|name| job.expand_path(name));
    let upload = Upload {
        file_name: archive::file_name(name.as_deref(), format),
        format: artifact.artifact_format.clone(),
        kind: artifact.artifact_type.clone(),
        expire_in: artifact.expire_in.clone(),
    };
    send(job, &upload, archive.path()).await
}

async fn send(job: &Execution, upload: &Upload, archive: &Path) -> Result<(), String> {
    let kind = if upload.kind.is_empty() { "archive" } else { &upload.kind };
    let client = job.gitlab.job(job.order.job.id, &job.order.job.token);
    let sent = artifacts::upload(&client, upload, || tokio::fs::File::open(archive)).await;
    sent.map_err(|error| format!("Uploading artifacts as \"{kind}\" to coordinator... {}", causes(&error)))?;
    let id = job.order.job.id;
    job.log.print(&format!("Uploading artifacts as \"{kind}\" to coordinator... 201 Created  id={id}"));
    Ok(())
}

async fn collect(job: &Execution, artifact: &Artifact) -> Result<Collected, String> {
    let expand = |texts: &[String]| texts.iter().map(|text| job.expand_path(text)).collect();
    let untracked = if artifact.untracked { job.untracked().await } else { None };
    let wanted = Wanted { paths: expand(&artifact.paths), exclude: expand(&artifact.exclude), untracked };
    let workspace = job.workspace().map_err(|e| format!("cannot open the project directory: {e}"))?;
    let project = job.directories.project.clone();
    job.work.run("collect the artifacts", move || Ok(archive::collect(&workspace, &project, &wanted))).await
}

async fn pack(job: &Execution, collected: Collected, format: Format) -> Result<NamedTempFile, String> {
    let workspace = job.workspace().map_err(|e| format!("cannot open the project directory: {e}"))?;
    let (directory, level) = (job.host.tmp.clone(), job.settings.artifact_compression);
    let work = job.work.clone();
    let write = move || {
        let file = NamedTempFile::new_in(directory).map_err(|e| causes(&e))?;
        let written = archive::write(&workspace, &collected.paths, format, level, &mut work.guard(file.as_file()));
        written.map_err(|e| causes(&e)).map(|()| file)
    };
    job.work.run("archive the artifacts", write).await
}

fn tell(job: &Execution, collected: &Collected) {
    for message in &collected.messages {
        match message.severity {
            Severity::Info => job.log.print(&message.text),
            Severity::Warning => job.log.warn(&message.text),
            Severity::Error => job.log.error(&message.text),
        }
    }
}
