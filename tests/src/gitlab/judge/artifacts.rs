//! Uploads and downloads (A60, A61, A63).

use super::{Found, when};
use crate::gitlab::call::Call;
use crate::gitlab::entries::ArtifactSpec;
use crate::gitlab::job::{JobId, Upload};
use crate::gitlab::rules::Rule;
use std::collections::HashMap;
use std::io::{Cursor, Read};

/// What is remembered of a job's uploads and downloads.
#[derive(Debug, Default)]
pub(in crate::gitlab) struct ArtifactJudge {
    /// Entries that are stored and whose answer was not lost.
    stored: Vec<usize>,
    /// The furthest entry so far.
    furthest: usize,
    /// An upload was refused: the job may fail for it.
    pub(in crate::gitlab) refused: bool,
    /// Failed download attempts per dependency.
    failed: HashMap<JobId, u32>,
}

impl ArtifactJudge {
    /// Judges an upload against the job's entries; `answered` tells that its success reaches the caller.
    pub(in crate::gitlab) fn upload(
        &mut self,
        call: &Call,
        upload: &Upload,
        entries: &[ArtifactSpec],
        answered: bool,
    ) -> Found {
        let mut found = Found::new();
        match entries.iter().position(|entry| fits(entry, call, upload)) {
            None => found.push((Rule::A60, describe_misfit(call, upload, entries))),
            Some(index) => {
                let again = self.stored.contains(&index);
                found.extend(when(again, Rule::A60, || format!("entry {index} of the payload is uploaded again")));
                found.extend(when(index < self.furthest, Rule::A60, || {
                    format!("entry {index} of the payload is uploaded after entry {}", self.furthest)
                }));
                self.furthest = self.furthest.max(index);
                if answered {
                    self.stored.push(index);
                }
            }
        }
        found.extend(judge_content(upload).map(|what| (Rule::A61, what)));
        found
    }

    /// Judges the stored uploads by the job's result (A60: each entry's `when`).
    pub(in crate::gitlab) fn judge_when(&self, entries: &[ArtifactSpec], success: bool, timed_out: bool) -> Found {
        let misfit = |entry: &ArtifactSpec| match entry.when.as_str() {
            "on_success" => !success && !self.refused && !timed_out,
            "on_failure" => success,
            _ => false,
        };
        let wrong = self.stored.iter().filter(|index| entries.get(**index).is_some_and(misfit));
        wrong.map(|index| (Rule::A60, format!("entry {index} is uploaded, which its `when` excludes"))).collect()
    }

    /// Judges a download attempt of a dependency. `stages` is how often the whole stage may run.
    pub(in crate::gitlab) fn download(&mut self, dependency: JobId, direct: bool, stages: u32) -> Found {
        let failed = self.failed.get(&dependency).copied().unwrap_or_default();
        let again = direct && failed > 0 && stages <= 1;
        when(again, Rule::A63, || format!("direct_download on attempt {}", failed + 1)).into_iter().collect()
    }

    /// A download attempt failed (not by a redirect).
    pub(in crate::gitlab) fn download_failed(&mut self, dependency: JobId) {
        *self.failed.entry(dependency).or_default() += 1;
    }
}

fn fits(entry: &ArtifactSpec, call: &Call, upload: &Upload) -> bool {
    let format = call.parameter("artifact_format");
    let expiry = call.parameter("expire_in");
    entry.kind == upload.kind
        && entry.format.as_deref() == format.as_deref()
        && entry.expire_in.as_deref().filter(|text| !text.is_empty()) == expiry.as_deref()
        && file_name(entry).is_none_or(|name| name == upload.filename)
}

/// The upload's name (protocol §6.3); none when it depends on the job's environment.
fn file_name(entry: &ArtifactSpec) -> Option<String> {
    let name = entry.name.as_deref().unwrap_or("artifacts");
    if name.contains(['$', '~', '`', '\\']) {
        return None;
    }
    let base =
        name.trim_end_matches('/').rsplit('/').next().filter(|base| !matches!(*base, "" | ".")).unwrap_or("default");
    let suffix = match entry.format.as_deref() {
        Some("gzip") => ".gz",
        Some("raw") => "",
        _ => ".zip",
    };
    Some(format!("{base}{suffix}"))
}

fn describe_misfit(call: &Call, upload: &Upload, entries: &[ArtifactSpec]) -> String {
    let wanted: Vec<String> = entries
        .iter()
        .map(|entry| {
            let name = file_name(entry).unwrap_or_else(|| "…".to_owned());
            format!(
                "{} {} {} {}",
                entry.kind,
                entry.format.as_deref().unwrap_or("-"),
                name,
                entry.expire_in.as_deref().unwrap_or("-")
            )
        })
        .collect();
    format!(
        "the upload `{}` with query `{}` fits no entry of the payload ({})",
        upload.filename,
        call.query,
        wanted.join("; ")
    )
}

/// What is wrong with an upload's content.
fn judge_content(upload: &Upload) -> Option<String> {
    match upload.format.as_str() {
        "zip" => judge_zip(&upload.bytes).err(),
        "gzip" => {
            let mut content = Vec::new();
            let read = flate2::read::MultiGzDecoder::new(&upload.bytes[..]).read_to_end(&mut content);
            read.err().map(|error| format!("{}: {error}", upload.filename))
        }
        "raw" => None,
        other => Some(format!("{}: the server knows no format {other}", upload.filename)),
    }
}

fn judge_zip(bytes: &[u8]) -> Result<(), String> {
    let mut archive =
        zip::ZipArchive::new(Cursor::new(bytes)).map_err(|error| format!("the zip cannot be read: {error}"))?;
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(|error| format!("zip entry {index}: {error}"))?;
        let name = entry.name().map_err(|error| format!("zip entry {index}: {error}"))?.into_owned();
        if name.starts_with('/') || name.split('/').any(|part| part == "..") {
            return Err(format!("zip entry `{name}` is not within the project"));
        }
        std::io::copy(&mut entry, &mut std::io::sink()).map_err(|error| format!("zip entry `{name}`: {error}"))?;
    }
    Ok(())
}
