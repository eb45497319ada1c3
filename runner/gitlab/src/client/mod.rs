//! The HTTP client for GitLab's runner API (protocol §1.1, §1.4, §1.5).

mod answer;
mod health;
mod job;
mod registration;
mod request;
mod retry;
pub(crate) mod transport;

pub use health::Health;
pub use job::{JobClient, PatchAnswer, PatchVerdict};
pub use registration::{Registered, Registration};
pub use request::{Acquired, Answer};

use crate::{Error, Timing, info::Info, secret::Secret};
use serde::{Deserialize, Serialize};
use transport::Transport;

/// How to reach GitLab.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// PEM of CA certificates that are trusted besides the system's.
    pub ca_pem: Option<String>,
    /// For servers that ask who calls.
    pub client_certificate: Option<ClientCertificate>,
    /// Waits and limits.
    pub timing: Timing,
}

/// What shows a server who calls, both in PEM.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ClientCertificate {
    /// The certificate, with the chain to its authority behind it.
    pub certificate: String,
    /// Its key, not encrypted.
    pub key: Secret,
}

/// Who asks: one runner manager.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The runner's authentication token.
    pub token: Secret,
    /// Which of the machines that share the token this is (see [`crate::token::is_system_id`]).
    pub system_id: String,
    /// What this runner can do.
    pub info: Info,
}

/// A token that GitLab knows.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
pub struct Verified {
    /// The runner's id; 0 where an old server does not tell.
    #[serde(default)]
    pub id: u64,
    /// RFC 3339, if the token expires.
    pub token_expires_at: Option<String>,
}

/// A client for one GitLab. Clones share connections.
#[derive(Clone, Debug)]
pub struct Client {
    pub(crate) transport: Transport,
}

impl Client {
    /// Makes a client for the GitLab at `url`, as configured: `http` or `https`, a path is kept. No call is made.
    pub fn new(url: &str, options: &Options) -> Result<Self, Error> {
        Ok(Self { transport: Transport::new(url, options)? })
    }

    /// The calls of one job, with its own token. For artifacts of a dependency: that job's id and token.
    #[must_use]
    pub fn job(&self, id: u64, token: &Secret) -> JobClient {
        JobClient { client: self.clone(), id, token: token.clone(), info: Info::default() }
    }
}
