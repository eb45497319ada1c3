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
    /// Checks the proof of an agent that registers. An executor must be known here, so STS is not asked about others.
    pub(super) async fn check(&self, state: &State, sessions: &Sessions, request: &Register) -> Result<(), Doubt> {
        let Some(executor) = state.executors.get(&request.executor) else {
            return Err(Doubt::Refused("no such executor".to_owned()));
        };
        match self {
            Self::Token => {
                let known = executor.token_sha256.as_str();
                let same = !known.is_empty() && sessions.same(known, &hash(&request.proof));
                if same { Ok(()) } else { Err(Doubt::Refused("not the executor's token".to_owned())) }
            }
            Self::Sts(sts) => sts.check(request).await,
        }
    }
}
