//! Whether an agent is on the executor that it names.

mod answer;
mod request;
mod role;
mod sts;

use super::session::Sessions;
use crate::fleet::hash;
use crate::ownership::State;
use warmstart_api::Register;

pub use role::Role;
pub use sts::Sts;

/// How executors prove what they are.
#[derive(Debug)]
pub enum Prover {
    /// By the token in the environment of a `local` executor, whose hash is journalled.
    Token,
    /// By a request that the role of an EC2 instance signed (see [`warmstart_api::proof`]).
    Sts(Sts),
}

/// Why an agent is not let in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Doubt {
    /// It is not what it says; the reason is for our log only.
    Refused(String),
    /// Nobody can say now. It may ask again.
    Unknown(String),
}

impl Prover {
    /// Checks the proof of an agent that registers. STS is only asked about executors that are known here.
    pub(super) async fn check(&self, state: &State, sessions: &Sessions, request: &Register) -> Result<(), Doubt> {
        let executor = state.executors.get(&request.executor);
        match (self, executor.map(|executor| executor.token_sha256.as_str())) {
            (Self::Token, Some(known)) if !known.is_empty() && sessions.same(known, &hash(&request.proof)) => Ok(()),
            (Self::Token, Some(_)) => Err(Doubt::Refused("not the executor's token".to_owned())),
            (Self::Token, None) => Err(Doubt::Refused("no such executor".to_owned())),
            (Self::Sts(sts), Some(_)) => sts.check(request).await,
            // An instance may be up before the answer to its launch is here, or that answer is lost.
            (Self::Sts(_), None) => Err(Doubt::Unknown("the cloud has not named it yet".to_owned())),
        }
    }
}
