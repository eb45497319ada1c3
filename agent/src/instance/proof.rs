//! The proof that this is the instance it says it is (see [`warmstart_api::proof`]).

use super::metadata::Metadata;
use anyhow::{Context, Result};
use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4::SigningParams;
use std::time::SystemTime;
use url::Url;
use warmstart_api::proof::{self, BODY, CONTENT_TYPE, DEPLOYMENT, Proof, RUN};
use warmstart_gitlab::secret::Secret;

/// The instance's role, which signs.
#[derive(Clone, Debug)]
pub struct Role {
    /// Where its credentials come from.
    pub metadata: Metadata,
    /// The region that the signature is for.
    pub region: String,
    /// The STS endpoint that the runner asks.
    pub sts: Url,
    /// The deployment that the signature is for.
    pub deployment: String,
}

impl Role {
    /// Signs for a run of this agent. STS takes it for a few minutes.
    pub async fn prove(&self, run: &str) -> Result<Secret> {
        let credentials = self.metadata.credentials().await?;
        let proof = self.signed(credentials, run, SystemTime::now())?;
        Ok(serde_json::to_string(&proof).context("write the proof")?.into())
    }

    fn signed(&self, credentials: Credentials, run: &str, time: SystemTime) -> Result<Proof> {
        let doing = "sign the proof of this instance";
        let identity = credentials.into();
        let settings = SigningSettings::default();
        let parameters = SigningParams::builder().identity(&identity).region(&self.region).name("sts").time(time);
        let parameters = parameters.settings(settings).build().context(doing)?.into();
        let host = proof::host(&self.sts);
        let headers =
            [("content-type", CONTENT_TYPE), ("host", &host), (DEPLOYMENT, self.deployment.as_str()), (RUN, run)];
        let body = SignableBody::Bytes(BODY.as_bytes());
        let request = SignableRequest::new("POST", self.sts.as_str(), headers.into_iter(), body).context(doing)?;
        let (added, _) = sign(request, &parameters).context(doing)?.into_parts();
        let added = added.headers();
        let all = headers.into_iter().chain(added).map(|(name, value)| (name.to_owned(), value.into()));
        Ok(Proof { headers: all.collect() })
    }
}
