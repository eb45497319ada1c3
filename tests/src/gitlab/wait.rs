//! Waiting for what happens to a job, and explaining what did not.

use super::job::JobId;
use super::state::{Shared, State};
use bytes::Bytes;
use std::fmt::Write;
use std::sync::Arc;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// How much of a log a panic shows.
const SHOWN: usize = 16 << 10;

/// Waits until `look` finds something; panics with everything known when patience ends.
pub(super) async fn expect<T>(
    shared: &Shared,
    what: &str,
    job: Option<JobId>,
    look: impl FnMut(&State) -> Option<T>,
) -> T {
    let patience = shared.options.patience;
    let found = tokio::time::timeout(patience, shared.until(look)).await;
    found.unwrap_or_else(|_| panic!("waited {patience:?} for {what}\n{}", shared.read(|state| explain(state, job))))
}

/// What there is to know about a job that did not do what a test expects.
pub(super) fn explain(state: &State, job: Option<JobId>) -> String {
    let mut text = String::new();
    if let Some(job) = job.and_then(|id| state.jobs.get(&id)) {
        let reason = job.failure_reason.as_deref().unwrap_or("no reason");
        let log = String::from_utf8_lossy(&job.log[job.log.len().saturating_sub(SHOWN)..]).into_owned();
        let _ =
            writeln!(text, "job {} `{}` is {} ({reason}); its log ends:\n{log}\n", job.id, job.spec.name, job.state);
    }
    let _ = writeln!(text, "the last requests:");
    for request in state.requests.iter().rev().take(20).rev() {
        let status = request.status.map_or_else(|| "no answer".to_owned(), |code| code.to_string());
        let age = request.at.elapsed();
        let _ = writeln!(text, "  {age:.1?} ago: {} {} → {status}", request.method, request.path);
    }
    let _ = writeln!(text, "broken rules: {}", state.violations.len());
    for violation in &state.violations {
        let _ = writeln!(text, "  {violation}");
    }
    text
}

/// The log of a job as it grows; ends when the job has ended.
pub(super) fn subscribe(shared: Arc<Shared>, id: JobId) -> UnboundedReceiver<Bytes> {
    let (sender, receiver) = unbounded_channel();
    tokio::spawn(async move {
        let mut seen = 0;
        loop {
            let look = |state: &State| more(state, id, seen);
            let Some(bytes) = shared.until(look).await else { return };
            seen += bytes.len();
            if sender.send(bytes).is_err() {
                return;
            }
        }
    });
    receiver
}

/// New bytes, or the end (`Some(None)`), or nothing yet.
#[expect(clippy::option_option, reason = "the outer one is that of `Shared::until`")]
fn more(state: &State, id: JobId, seen: usize) -> Option<Option<Bytes>> {
    let Some(job) = state.jobs.get(&id) else { return Some(None) };
    if job.log.len() > seen {
        return Some(Some(Bytes::copy_from_slice(&job.log[seen..])));
    }
    job.state.is_final().then_some(None)
}
