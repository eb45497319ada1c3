//! Files that outlive a job: artifacts and caches (protocol §6.1, §5).

use super::null;
use serde::{Deserialize, Serialize};

/// One upload (protocol §6.1).
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the fields are GitLab's, named as in protocol §6.1")]
pub struct Artifact {
    /// `None` when the payload has no name: the archive is then called `artifacts`.
    pub name: Option<String>,
    #[serde(deserialize_with = "null")]
    pub untracked: bool,
    #[serde(deserialize_with = "null")]
    pub paths: Vec<String>,
    #[serde(deserialize_with = "null")]
    pub exclude: Vec<String>,
    #[serde(deserialize_with = "null")]
    pub when: When,
    #[serde(deserialize_with = "null")]
    pub expire_in: String,
    #[serde(deserialize_with = "null")]
    pub artifact_type: String,
    /// `zip`, `gzip`, `raw`, or empty, which means zip.
    #[serde(deserialize_with = "null")]
    pub artifact_format: String,
}

/// One cache (protocol §5).
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the fields are GitLab's, named as in protocol §5")]
pub struct Cache {
    #[serde(deserialize_with = "null")]
    pub key: String,
    #[serde(deserialize_with = "null")]
    pub untracked: bool,
    /// `pull-push`, `pull`, `push`, a variable, or empty, which means `pull-push`.
    #[serde(deserialize_with = "null")]
    pub policy: String,
    #[serde(deserialize_with = "null")]
    pub paths: Vec<String>,
    #[serde(deserialize_with = "null")]
    pub when: When,
    /// Whether protected and unprotected branches share it; the server's suffix of the key says the same.
    #[serde(deserialize_with = "null")]
    pub unprotect: bool,
    #[serde(deserialize_with = "null")]
    pub fallback_keys: Vec<String>,
}

/// The result of the script on which a cache is saved or an artifact uploaded.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", from = "String")]
pub enum When {
    /// After success.
    #[default]
    OnSuccess,
    /// After failure or cancellation.
    OnFailure,
    /// In both cases.
    Always,
    /// In neither: what an unknown word means, as in GitLab Runner.
    Never,
}

impl From<String> for When {
    fn from(word: String) -> Self {
        match word.as_str() {
            "" | "on_success" => Self::OnSuccess,
            "on_failure" => Self::OnFailure,
            "always" => Self::Always,
            _ => Self::Never,
        }
    }
}

impl When {
    /// Tells whether something with this `when` is done after a script that succeeded or not.
    #[must_use]
    pub fn fits(self, success: bool) -> bool {
        match self {
            Self::OnSuccess => success,
            Self::OnFailure => !success,
            Self::Always => true,
            Self::Never => false,
        }
    }
}
