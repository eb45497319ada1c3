//! What an agent is given with a job.

use crate::Holding;
use crate::settings::Settings;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use warmstart_gitlab::client::{ClientCertificate, Options};
use warmstart_gitlab::secret::Secret;

/// A job for an agent.
#[derive(Debug, Deserialize, Serialize)]
pub struct Assignment {
    /// The job and its generation.
    #[serde(flatten)]
    pub holding: Holding,
    /// GitLab's answer to the job request, untouched: a [`warmstart_gitlab::payload::Job`].
    pub payload: Box<RawValue>,
    /// GitLab's correlation id of the job request.
    pub correlation_id: String,
    /// Where and as whom to report.
    pub gitlab: GitLab,
    /// Seconds of the job's timeout that are left, counted from GitLab's 201; never an absolute time.
    pub seconds_left: u64,
    /// How the log goes on.
    pub log: Log,
    /// The runner entry's settings for its jobs.
    pub settings: Settings,
    /// Where caches are kept; none when the runner has no cache store.
    pub cache: Option<CacheStore>,
}

/// Where and as whom to report.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct GitLab {
    /// GitLab's URL as configured.
    pub url: String,
    /// PEM of the configured CA, if one is.
    #[serde(default)]
    pub ca: Option<String>,
    /// The configured client certificate, if one is.
    #[serde(default)]
    pub client_certificate: Option<ClientCertificate>,
    /// The runner's name (`name` of its `[[runners]]` entry), for the log's header.
    pub runner_name: String,
    /// The short form of the runner's token (protocol §1.2).
    pub short_token: String,
    /// The runner manager's system id.
    pub system_id: String,
    /// Smallest number that no other running job of the same runner token has (`CI_CONCURRENT_ID`).
    pub concurrent_id: u32,
    /// The same among the running jobs of the project (`CI_CONCURRENT_PROJECT_ID`).
    pub concurrent_project_id: u32,
    /// A digest of runner token, system id, project and concurrent project id: the `<unique>` of protocol §4.8,
    /// so that the agent can name its volumes without ever seeing the runner's token.
    pub volume_prefix: String,
}

impl GitLab {
    /// How to connect to it.
    #[must_use]
    pub fn options(&self) -> Options {
        let (ca_pem, client_certificate) = (self.ca.clone(), self.client_certificate.clone());
        Options { ca_pem, client_certificate, ..Options::default() }
    }
}

/// How the job's log goes on.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Log {
    /// The runner's own lines, at most 64 KiB, are the whole log so far: checksum and size cover everything.
    Continue(String),
    /// An earlier agent wrote to it and was lost. The server's stored size is the truth; no checksum is sent.
    TakeOver {
        /// The section that the lost agent last said was open.
        open_section: Option<String>,
    },
}

/// Where caches are kept.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct CacheStore {
    /// `file:///directory` or `s3://bucket/prefix`.
    pub url: String,
    /// Credentials for this job's scopes; none where the store needs none or the usual AWS chain applies.
    #[serde(default)]
    pub credentials: Option<Credentials>,
}

/// AWS credentials for this job only.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[expect(missing_docs, reason = "the fields are AWS's")]
pub struct Credentials {
    pub access_key_id: String,
    pub secret_access_key: Secret,
    pub session_token: Option<Secret>,
    pub region: String,
    /// Endpoint of an S3-compatible store.
    pub endpoint: Option<String>,
}
