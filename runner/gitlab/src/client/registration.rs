//! Registering a runner, and the life of its token (protocol §1.4).

use super::transport::Call;
use super::{Client, Identity};
use crate::secret::Secret;
use crate::{Error, info::Info};
use reqwest::{Method, RequestBuilder};
use serde::{Deserialize, Serialize};

/// A runner to be registered with a legacy registration token.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Registration {
    /// The registration token.
    pub token: Secret,
    /// Shown in GitLab.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Shown in GitLab.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub maintenance_note: String,
    /// Tags, separated by commas. Without any, `run_untagged` must be true for the runner to get jobs.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub tag_list: String,
    /// Whether jobs without tags are taken.
    pub run_untagged: bool,
    /// Whether the runner stays with one project.
    pub locked: bool,
    /// `not_protected` or `ref_protected`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub access_level: String,
    /// Seconds; 0 for none.
    #[serde(skip_serializing_if = "is_zero")]
    pub maximum_timeout: u64,
    /// Whether the runner begins without taking jobs.
    pub paused: bool,
    /// What the runner can do.
    pub info: Info,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// A runner's new authentication token.
#[derive(Clone, Debug, Deserialize)]
pub struct Registered {
    /// The runner's id; 0 where GitLab does not tell (after a reset).
    #[serde(default)]
    pub id: u64,
    /// The token.
    pub token: Secret,
    /// RFC 3339, if the token expires.
    #[serde(default)]
    pub token_expires_at: Option<String>,
}

impl Client {
    /// Exchanges a legacy registration token for a runner.
    ///
    /// An error with status 400 names the fields that GitLab does not like, 403 means a wrong token, 410 that this
    /// GitLab takes no registration tokens.
    pub async fn register(&self, registration: &Registration) -> Result<Registered, Error> {
        let call = self.transport.call("register the runner", Method::POST, "runners");
        self.token_of(&call, &registration.token, registration).await
    }

    /// Takes this machine (a `glrt-` token), or the runner (any other), off GitLab's list.
    pub async fn unregister(&self, identity: &Identity) -> Result<(), Error> {
        let Identity { token, system_id, .. } = identity;
        let ours = token.expose().starts_with("glrt-");
        let path = if ours { "runners/managers" } else { "runners" };
        let call = self.transport.call("unregister the runner", Method::DELETE, path);
        let mut body = serde_json::json!({"token": token.expose()});
        if ours {
            body["system_id"] = system_id.as_str().into();
        }
        let dress = |request: RequestBuilder| request.header("RUNNER-TOKEN", token.expose()).json(&body);
        let response = self.transport.send(&call, dress).await?;
        if response.status() == 204 { Ok(()) } else { Err(call.failure(response).await) }
    }

    /// Exchanges a runner's token for a new one; the old one is worth nothing from then on, so the new one must be
    /// stored before anything else is done.
    pub async fn reset_token(&self, identity: &Identity) -> Result<Registered, Error> {
        let call = self.transport.call("reset the runner's token", Method::POST, "runners/reset_authentication_token");
        self.token_of(&call, &identity.token, &serde_json::json!({"token": identity.token})).await
    }

    async fn token_of(&self, call: &Call, token: &Secret, body: &impl Serialize) -> Result<Registered, Error> {
        let dress = |request: RequestBuilder| {
            let request = request.header("RUNNER-TOKEN", token.expose()).header("Accept", "application/json");
            request.json(body)
        };
        let response = self.transport.send(call, dress).await?;
        if response.status() != 201 {
            return Err(call.failure(response).await);
        }
        response.json().await.map_err(|error| call.transport(&error))
    }
}
