//! Running a pipeline: each job enters the queue when those before it have ended.

use super::{JobReport, Pipeline, PipelineJob, When};
use crate::gitlab::{FakeGitlab, JobId};
use anyhow::{Context, Result};
use bytes::Bytes;
use std::collections::BTreeMap;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

/// What happens while a pipeline runs.
#[derive(Clone, Debug)]
pub enum Event {
    /// A job entered the queue.
    Queued {
        /// The job.
        job: JobId,
        /// Its name.
        name: String,
    },
    /// Bytes were appended to a job's log; [`crate::gitlab::display::Terminal`] makes them fit to be read.
    Log {
        /// The job.
        job: JobId,
        /// Its name.
        name: String,
        /// The new bytes, as stored.
        bytes: Bytes,
    },
    /// A job has ended.
    Finished {
        /// The job.
        job: JobId,
        /// Its name.
        name: String,
        /// How it ended.
        report: Box<JobReport>,
    },
}

/// What became of a job.
#[derive(Clone, Copy)]
enum Fate {
    Running,
    Ended { job: JobId, passes: bool },
    Skipped,
}

/// Runs a pipeline for the head of `main` of `project` and gives the reports in the order the jobs ended. Jobs whose
/// `when` does not fit the results before them are left out. Waits as long as a job takes.
pub async fn run(
    gitlab: &FakeGitlab,
    project: &str,
    pipeline: &Pipeline,
    mut on_event: impl FnMut(Event),
) -> Result<Vec<JobReport>> {
    let id = gitlab.new_pipeline();
    let (sender, mut pieces) = unbounded_channel();
    let mut fates: BTreeMap<&str, Fate> = BTreeMap::new();
    let mut reports = Vec::new();
    loop {
        start_what_can(gitlab, project, id, pipeline, &mut fates, &sender, &mut on_event);
        if !fates.values().any(|fate| matches!(fate, Fate::Running)) {
            return Ok(reports);
        }
        let (index, job, piece): Piece = pieces.recv().await.context("follow the jobs' logs")?;
        let of = &pipeline.jobs[index];
        let name = of.name.clone();
        if let Some(bytes) = piece {
            on_event(Event::Log { job, name, bytes });
            continue;
        }
        let report = JobReport::new(job, &of.name, &of.stage, of.allow_failure, gitlab.wait_finished(job).await);
        fates.insert(&of.name, Fate::Ended { job, passes: report.passes() });
        reports.push(report.clone());
        on_event(Event::Finished { job, name, report: Box::new(report) });
    }
}

/// Index of the job in the pipeline, its id, new bytes of its log; none when it has ended.
type Piece = (usize, JobId, Option<Bytes>);

/// Queues every job whose time has come; a job that is left out may be what another waits for.
fn start_what_can<'a>(
    gitlab: &FakeGitlab,
    project: &str,
    id: u64,
    pipeline: &'a Pipeline,
    fates: &mut BTreeMap<&'a str, Fate>,
    sender: &UnboundedSender<Piece>,
    on_event: &mut impl FnMut(Event),
) {
    for (index, job) in pipeline.jobs.iter().enumerate() {
        if fates.contains_key(job.name.as_str()) {
            continue;
        }
        match decide(pipeline, job, fates) {
            None => {}
            Some(false) => drop(fates.insert(&job.name, Fate::Skipped)),
            Some(true) => {
                fates.insert(&job.name, Fate::Running);
                let needs = pipeline.downloads(job).into_iter().filter_map(|name| match fates.get(name) {
                    Some(Fate::Ended { job, .. }) => Some(*job),
                    _ => None,
                });
                let spec = job.spec.clone().project(project).pipeline(id);
                let queued = gitlab.add_job(needs.fold(spec, crate::gitlab::JobSpec::needs));
                on_event(Event::Queued { job: queued, name: job.name.clone() });
                follow(gitlab, index, queued, sender.clone());
            }
        }
    }
}

/// Whether a job runs; none while the jobs before it have not ended.
fn decide(pipeline: &Pipeline, job: &PipelineJob, fates: &BTreeMap<&str, Fate>) -> Option<bool> {
    let (mut failed, mut skipped) = (false, false);
    for name in pipeline.before(job) {
        match fates.get(name)? {
            Fate::Running => return None,
            Fate::Ended { passes, .. } => failed |= !passes,
            // By `needs`, a job left out is as good as failed; by stages, it is not there.
            Fate::Skipped => skipped |= job.needs.is_some(),
        }
    }
    Some(match job.when {
        When::OnSuccess => !failed && !skipped && !any_failed_before(pipeline, job, fates),
        When::OnFailure => failed,
        When::Always => true,
        When::Never => false,
    })
}

/// Whether a job of an earlier stage has failed, for jobs that go by stages.
fn any_failed_before(pipeline: &Pipeline, job: &PipelineJob, fates: &BTreeMap<&str, Fate>) -> bool {
    let failed = |name: &&str| matches!(fates.get(name), Some(Fate::Ended { passes: false, .. }));
    job.needs.is_none() && pipeline.before(job).iter().any(failed)
}

/// Sends a job's log, piece by piece, and then its end.
fn follow(gitlab: &FakeGitlab, index: usize, job: JobId, sender: UnboundedSender<Piece>) {
    let mut log = gitlab.subscribe(job);
    tokio::spawn(async move {
        while let Some(bytes) = log.recv().await {
            if sender.send((index, job, Some(bytes))).is_err() {
                return;
            }
        }
        // The pipeline is not listening any more: nobody wants to know.
        let _ = sender.send((index, job, None));
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gitlab::pipeline::parse;

    const YAML: &str = "stages: [one, two]\na: { stage: one, script: a }\nb: { stage: two, script: b }\n\
        c: { stage: two, script: c, when: on_failure }\nd: { stage: two, script: d, when: always }\n";

    fn decisions(passes: Option<bool>) -> Vec<Option<bool>> {
        let pipeline = parse(YAML).expect("a pipeline");
        let fate = passes.map_or(Fate::Running, |passes| Fate::Ended { job: JobId(1), passes });
        let fates = BTreeMap::from([("a", fate)]);
        pipeline.jobs[1..].iter().map(|job| decide(&pipeline, job, &fates)).collect()
    }

    #[test]
    fn a_job_waits_for_earlier_stages_and_goes_by_their_results() {
        assert_eq!(decisions(None), [None, None, None]);
        assert_eq!(decisions(Some(true)), [Some(true), Some(false), Some(true)]);
        assert_eq!(decisions(Some(false)), [Some(false), Some(true), Some(true)]);
    }
}
