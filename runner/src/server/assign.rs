//! What an agent is given with a job.

use crate::clock::Time;
use crate::config::Entry;
use crate::intake::entry_is_gone;
use crate::ownership::{self, End, Job};
use serde_json::value::RawValue;
use warmstart_api::Assignment;
use warmstart_api::assignment::{CacheStore, GitLab, Log};
use warmstart_gitlab::token;

/// Puts an assignment together, or says why the job must end instead.
pub(super) fn assignment(job: &Job, entry: Option<&Entry>, system_id: &str, now: Time) -> Result<Assignment, End> {
    let entry = entry.ok_or_else(|| entry_is_gone(&job.entry))?;
    let payload: Option<Box<RawValue>> = job.payload.as_deref().map(ToOwned::to_owned);
    Ok(Assignment {
        holding: job.holding(),
        payload: payload.ok_or_else(|| End::system("The job's payload is not here any more."))?,
        correlation_id: job.correlation_id.clone(),
        gitlab: gitlab(job, entry, system_id),
        seconds_left: job.deadline().since(now).as_secs(),
        log: log(&job.log),
        settings: entry.settings.clone(),
        cache: entry.cache.clone().map(|url| CacheStore { url, credentials: None }),
    })
}

fn gitlab(job: &Job, entry: &Entry, system_id: &str) -> GitLab {
    GitLab {
        url: entry.url.clone(),
        ca: entry.ca.clone(),
        client_certificate: entry.client_certificate.clone(),
        runner_name: entry.name.clone(),
        short_token: token::short(entry.token.expose()).to_owned(),
        system_id: system_id.to_owned(),
        concurrent_id: job.concurrent_id,
        concurrent_project_id: job.concurrent_project_id,
        volume_prefix: token::volume_prefix(
            entry.token.expose(),
            system_id,
            job.scope.project,
            job.concurrent_project_id,
        ),
    }
}

fn log(log: &ownership::Log) -> Log {
    match log {
        ownership::Log::Known(text) => Log::Continue(text.clone()),
        ownership::Log::Server { section } => Log::TakeOver { open_section: section.clone() },
        ownership::Log::Live => Log::TakeOver { open_section: None },
    }
}
