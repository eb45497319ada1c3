//! How this run of the agent announces itself to the runner.

use crate::instance::proof::Role;
use anyhow::Result;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use warmstart_api::client::{Error, Link};
use warmstart_api::{Holding, Register, Registered, VERSION};
use warmstart_gitlab::secret::Secret;

/// How long one proof is used: AWS takes a signature for five minutes.
const FRESH: Duration = Duration::from_mins(2);

/// The pause before a proof that could not be made is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// What proves who this is.
#[derive(Clone, Debug)]
pub enum Proof {
    /// The token that the runner put into this process's environment.
    Token(Secret),
    /// The role of this EC2 instance.
    Role(Box<Role>),
}

/// Who this is. Clones are the same run.
#[derive(Clone, Debug)]
pub struct Announcement {
    /// To the runner.
    pub link: Link,
    /// The executor's id.
    pub executor: String,
    run: String,
    proof: Proof,
}

impl Announcement {
    /// Draws the id of a new run.
    #[must_use]
    pub fn new(link: Link, executor: String, proof: Proof) -> Self {
        Self { link, executor, run: uuid::Uuid::new_v4().to_string(), proof }
    }

    /// Registers with the runner, with the job that is held, if one is. Tried until it is answered or `within` is over,
    /// with a fresh proof now and then.
    pub async fn register(&self, holding: Option<Holding>, within: Duration) -> Result<Registered> {
        let until = Instant::now() + within;
        loop {
            let left = || until.saturating_duration_since(Instant::now());
            let proof = match self.prove().await {
                Err(error) if !left().is_zero() => {
                    tracing::warn!("{error:#}; trying again");
                    sleep(PAUSE.min(left())).await;
                    continue;
                }
                proof => proof?,
            };
            match self.link.register(&self.request(proof, holding), left().min(FRESH)).await {
                Err(Error::Unreachable { .. }) if !left().is_zero() => {}
                answer => return Ok(answer?),
            }
        }
    }

    async fn prove(&self) -> Result<Secret> {
        match &self.proof {
            Proof::Token(token) => Ok(token.clone()),
            Proof::Role(role) => role.prove(&self.run).await,
        }
    }

    fn request(&self, proof: Secret, holding: Option<Holding>) -> Register {
        Register {
            version: VERSION,
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            executor: self.executor.clone(),
            run_id: self.run.clone(),
            proof,
            holding,
        }
    }
}
