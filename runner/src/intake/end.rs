//! The end of a job for which the runner speaks: a line in its log, and the final state until GitLab has it.

use super::Voice;
use super::attend::options;
use crate::ownership::{End, Event, Job, Phase, Reason, Start};
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;
use tracing::Instrument as _;
use warmstart_gitlab::Error;
use warmstart_gitlab::client::JobClient;
use warmstart_gitlab::sections::{Level, line};
use warmstart_gitlab::trace::{Finished, Trace};
use warmstart_gitlab::update::{FailureReason, Final, LogState, Update, Verdict};

/// Between two tries once all rounds of the usual procedure have failed.
const PAUSE: Duration = Duration::from_secs(30);

/// Ends a job at GitLab, however long that takes.
pub(super) async fn end(voice: Arc<Voice>, job: Job, start: Start) {
    let span = tracing::info_span!("job", id = job.id, project = job.scope.project);
    let ended = voice.stop.run_until_cancelled(settle(&voice, &job, start).instrument(span)).await;
    // Stopped: the next runner finds it in the journal and ends it.
    if ended.is_some() {
        voice.desk.tell(Event::Ended(job.id)).await;
    }
}

async fn settle(voice: &Voice, job: &Job, start: Start) {
    let Phase::Ending(end) = &job.phase else { return };
    let last = Final::failed(reason(end.reason), None, &job.features);
    let client = match voice.clients.job(job) {
        Ok(client) => client,
        Err(error) => return tracing::error!("the job cannot be ended: {error}"),
    };
    match with_log(voice, job, end, start, client.clone(), last).await {
        Ok(Finished::Accepted) => tracing::info!("GitLab has the job's end"),
        Ok(Finished::Refused(why)) => tracing::info!("GitLab had ended the job already: {why}"),
        Err(error) => {
            tracing::warn!("cannot end the job with its log: {error}; ending it without");
            without_log(&client, last).await;
        }
    }
}

async fn with_log(
    voice: &Voice,
    job: &Job,
    end: &End,
    start: Start,
    client: JobClient,
    last: Final,
) -> Result<Finished, Error> {
    let trace = Trace::open(client, options(voice, job, start))?;
    let mut writer = trace.writer();
    let text = format!("Job failed{}: {}", kind(end.reason), end.text);
    let file = |source| Error::File { what: "write the job's log".to_owned(), source };
    writer.write_all(line(Level::Error, &text).as_bytes()).map_err(file)?;
    writer.close().map_err(file)?;
    trace.finish(last).await
}

/// Sends the state alone until GitLab takes or refuses it.
async fn without_log(client: &JobClient, last: Final) {
    let update = Update { state: last.state, reason: last.reason, exit_code: last.exit_code, log: LogState::default() };
    loop {
        match client.update(&update).await.map(|answer| answer.verdict) {
            Ok(Verdict::Done | Verdict::Persisting | Verdict::Refused(_)) => return,
            Ok(verdict) => tracing::warn!("GitLab did not take the job's end: {verdict:?}; trying again"),
            Err(error) => tracing::warn!("cannot end the job: {error}; trying again"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn reason(reason: Reason) -> FailureReason {
    match reason {
        Reason::System => FailureReason::RunnerSystemFailure,
        Reason::Timeout => FailureReason::JobExecutionTimeout,
        Reason::Canceled => FailureReason::JobCanceled,
    }
}

fn kind(reason: Reason) -> &'static str {
    match reason {
        Reason::System => " (system failure)",
        Reason::Timeout | Reason::Canceled => "",
    }
}
