//! A job as the machine and the journal know it.

use crate::clock::Time;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use std::sync::Arc;
use std::time::Duration;
use warmstart_api::Holding;
use warmstart_gitlab::payload::Features;
use warmstart_gitlab::secret::Secret;

use super::Scope;
use super::executor::default_pool;

/// A job that GitLab has just handed out.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "described in Job")]
pub struct NewJob {
    pub id: u64,
    pub entry: String,
    pub url: String,
    pub token: Secret,
    pub scope: Scope,
    pub pool: String,
    pub timeout: Duration,
    pub correlation_id: String,
    pub features: Features,
    pub debug: bool,
    pub timestamps: bool,
    pub payload: Arc<RawValue>,
}

/// A job from GitLab's 201 until its end is settled. This is also its record in the journal.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Job {
    /// GitLab's id.
    pub id: u64,
    /// The `[[runners]]` entry that asked for it.
    pub entry: String,
    /// GitLab's URL.
    pub url: String,
    /// The job token.
    pub token: Secret,
    /// Whose it is, as far as sharing an executor goes.
    #[serde(default)]
    pub scope: Scope,
    /// The pool whose executors may run it.
    #[serde(default = "default_pool")]
    pub pool: String,
    /// Smallest number that no other job of the entry had (`CI_CONCURRENT_ID`).
    #[serde(default)]
    pub concurrent_id: u32,
    /// The same within the project (`CI_CONCURRENT_PROJECT_ID`).
    #[serde(default)]
    pub concurrent_project_id: u32,
    /// When GitLab handed it out.
    pub acquired: Time,
    /// Since when it waits for an executor; moved by a loss.
    pub waiting: Time,
    /// GitLab's timeout.
    pub timeout: Duration,
    /// GitLab's correlation id of the job request.
    #[serde(default)]
    pub correlation_id: String,
    /// What the server understands: the reasons it accepts.
    #[serde(default)]
    pub features: Features,
    /// Whether the log is one with restricted visibility (protocol §1.7).
    #[serde(default)]
    pub debug: bool,
    /// Whether lines of the log carry their time (protocol §2.7).
    #[serde(default)]
    pub timestamps: bool,
    /// GitLab's answer, untouched; dropped at the barrier, because nobody may start the job again after it.
    #[serde(default, with = "raw")]
    pub payload: Option<Arc<RawValue>>,
    /// Rises with every offer.
    pub generation: u32,
    /// How often it was lost before its script.
    #[serde(default)]
    pub losses: u32,
    /// What is known of its log.
    pub log: Log,
    /// How it is to end as soon as GitLab was told that it runs: that must come first.
    #[serde(skip)]
    pub refused: Option<End>,
    /// Whether the runner is handing its part of the log over just now.
    #[serde(skip)]
    pub detaching: bool,
    /// Who has it.
    pub phase: Phase,
}

/// What the runner knows of a job's log.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Log {
    /// This process is writing it.
    Live,
    /// Exactly this, written by the runner alone.
    Known(String),
    /// Only the server knows; an agent or an earlier runner wrote to it.
    Server {
        /// The section that was open.
        section: Option<String>,
    },
}

/// Who has a job.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The runner's: it waits for an executor.
    Waiting {
        /// Whether GitLab was told that it runs.
        #[serde(skip)]
        reported: bool,
    },
    /// Offered to an agent that has not acknowledged it.
    Offered {
        /// The agent.
        to: Holder,
        /// When.
        since: Time,
    },
    /// The agent's, its script has not begun.
    Held {
        /// The agent.
        by: Holder,
        /// Its lease.
        #[serde(skip)]
        lease: Lease,
    },
    /// The agent's, its script may have begun.
    Scripting {
        /// The agent.
        by: Holder,
        /// Its lease.
        #[serde(skip)]
        lease: Lease,
    },
    /// The runner's: it tells GitLab that the job failed.
    Ending(End),
}

/// One run of the agent on an executor.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Holder {
    /// The cloud's id of the executor.
    pub executor: String,
    /// The run id of the agent's process.
    pub run: String,
}

/// When an agent was last heard about its job. Memory only: a new runner starts all leases afresh.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Lease {
    /// The last sign of life.
    pub renewed: Time,
    /// Whether the lease was renewed by the end of a storm and not by its agent.
    pub forgiven: bool,
    /// The log section that was open.
    pub section: Option<String>,
}

/// How the runner ends a job.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct End {
    /// The reason for GitLab.
    pub reason: Reason,
    /// The line in the job's log.
    pub text: String,
}

/// Why the runner ends a job.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Something of ours failed.
    System,
    /// The job's time is over.
    Timeout,
    /// The user canceled it.
    Canceled,
}

impl End {
    /// An end for a fault of ours.
    pub fn system(text: impl Into<String>) -> Self {
        Self { reason: Reason::System, text: text.into() }
    }
}

impl Job {
    /// When the job's timeout is over.
    #[must_use]
    pub fn deadline(&self) -> Time {
        self.acquired + self.timeout
    }

    /// The job with its generation.
    #[must_use]
    pub fn holding(&self) -> Holding {
        Holding { job: self.id, generation: self.generation }
    }

    /// The agent that has the job or is offered it.
    #[must_use]
    pub fn holder(&self) -> Option<&Holder> {
        match &self.phase {
            Phase::Offered { to: by, .. } | Phase::Held { by, .. } | Phase::Scripting { by, .. } => Some(by),
            Phase::Waiting { .. } | Phase::Ending(_) => None,
        }
    }

    /// The lease under which an agent has the job.
    #[must_use]
    pub fn lease(&self) -> Option<&Lease> {
        match &self.phase {
            Phase::Held { lease, .. } | Phase::Scripting { lease, .. } => Some(lease),
            _ => None,
        }
    }

    /// The same, to renew it.
    pub(super) fn lease_mut(&mut self) -> Option<&mut Lease> {
        match &mut self.phase {
            Phase::Held { lease, .. } | Phase::Scripting { lease, .. } => Some(lease),
            _ => None,
        }
    }

    /// Whether an executor is needed for it and could be given it now.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        matches!(self.phase, Phase::Waiting { .. })
    }

    /// Whether it may be offered: waiting, reported, and nobody writes its log.
    pub(super) fn is_offerable(&self) -> bool {
        matches!(self.phase, Phase::Waiting { reported: true }) && !self.detaching
    }
}

impl Phase {
    /// The phase in one word.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Waiting { .. } => "waiting",
            Self::Offered { .. } => "offered",
            Self::Held { .. } => "held",
            Self::Scripting { .. } => "scripting",
            Self::Ending(_) => "ending",
        }
    }
}

/// `Arc<RawValue>` as the JSON it is.
mod raw {
    use super::{Arc, Deserialize, Deserializer, RawValue, Serialize, Serializer};

    #[expect(clippy::ref_option, reason = "serde passes the field by reference")]
    pub(super) fn serialize<S: Serializer>(payload: &Option<Arc<RawValue>>, to: S) -> Result<S::Ok, S::Error> {
        payload.as_deref().serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Arc<RawValue>>, D::Error> {
        Ok(Option::<Box<RawValue>>::deserialize(from)?.map(Arc::from))
    }
}
