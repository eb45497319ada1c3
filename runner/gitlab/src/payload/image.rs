//! Images of the payload: the build container's and the services' (protocol §1.6).

use super::{Variable, count, null, text_or_number};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The image of the build container or of a service.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the fields are GitLab's, named as in protocol §1.6")]
pub struct Image {
    #[serde(deserialize_with = "null")]
    pub name: String,
    #[serde(deserialize_with = "null")]
    pub entrypoint: Vec<String>,
    #[serde(deserialize_with = "null")]
    pub pull_policy: Vec<String>,
    #[serde(deserialize_with = "null")]
    pub executor_opts: ExecutorOpts,
    #[serde(deserialize_with = "null")]
    pub ports: Vec<Port>,
    /// Services only: several names separated by spaces or commas.
    #[serde(deserialize_with = "null")]
    pub alias: String,
    /// Services only.
    #[serde(deserialize_with = "null")]
    pub command: Vec<String>,
    /// Services only.
    #[serde(deserialize_with = "null")]
    pub variables: Vec<Variable>,
}

/// A port that an image declares (for web terminals).
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the fields are GitLab's, named as in protocol §1.6")]
pub struct Port {
    #[serde(deserialize_with = "count")]
    pub number: u64,
    #[serde(deserialize_with = "null")]
    pub protocol: String,
    #[serde(deserialize_with = "null")]
    pub name: String,
}

/// Options of an image for one executor; only Docker's are known here.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct ExecutorOpts {
    /// `image:docker:` of the job.
    #[serde(deserialize_with = "null")]
    pub docker: DockerOpts,
    /// Keys of other executors, kept so that the job can be told that they do nothing here.
    #[serde(flatten)]
    pub other: BTreeMap<String, serde_json::Value>,
}

/// `docker: { platform, user }` of an image.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the fields are GitLab's, named as in protocol §1.6")]
pub struct DockerOpts {
    #[serde(deserialize_with = "null")]
    pub platform: String,
    /// A name or a number on the wire.
    #[serde(deserialize_with = "text_or_number")]
    pub user: String,
}
