//! What the metadata service of this EC2 instance says (version 2 alone: with tokens).

use crate::fault::causes;
use anyhow::{Context, Result, anyhow, bail};
use aws_config::imds::Client;
use aws_config::imds::client::error::ImdsError;
use aws_config::imds::credentials::ImdsCredentialsProvider;
use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use warmstart_api::user_data::UserData;

/// How long a question at the start is repeated: while an instance boots, the service may not answer at once.
const PATIENCE: Duration = Duration::from_mins(1);

/// The pause before it is repeated.
const PAUSE: Duration = Duration::from_secs(1);

/// The instance metadata service. Clones share the token.
#[derive(Clone, Debug)]
pub struct Metadata {
    imds: Arc<Mutex<Client>>,
}

impl Default for Metadata {
    fn default() -> Self {
        Self::new()
    }
}

impl Metadata {
    /// At the address of every instance, or that in `AWS_EC2_METADATA_SERVICE_ENDPOINT`. Nothing is asked yet.
    #[must_use]
    pub fn new() -> Self {
        Self { imds: Arc::new(Mutex::new(client())) }
    }

    /// `i-…`.
    pub async fn instance_id(&self) -> Result<String> {
        self.fact("meta-data/instance-id").await
    }

    /// `eu-central-1`.
    pub async fn region(&self) -> Result<String> {
        self.fact("meta-data/placement/region").await
    }

    /// What the runner wrote at the launch.
    pub async fn user_data(&self) -> Result<UserData> {
        let text = self.ask("user-data").await?.context(
            "this instance has no user-data: a Warmstart runner writes it at the launch, and `run` needs no runner",
        )?;
        serde_json::from_str(&text)
            .context("cannot use the instance's user-data, which a Warmstart runner should have written")
    }

    /// The present credentials of the instance's role.
    pub async fn credentials(&self) -> Result<Credentials> {
        let role = self.get("meta-data/iam/security-credentials/").await?;
        let role = role.context("this instance has no role: its instance profile names one, which the runner sets")?;
        let provider = ImdsCredentialsProvider::builder().imds_client(self.client()).profile(&role).build();
        let credentials = provider.provide_credentials().await;
        credentials.map_err(|error| anyhow!("cannot get credentials of the instance's role {role}: {}", causes(&error)))
    }

    /// A text below `/latest/`; none where there is none.
    pub async fn get(&self, path: &str) -> Result<Option<String>> {
        let path = format!("/latest/{path}");
        let mut answer = self.client().get(&path).await;
        // Its token is not valid any more, and the client would use it for hours.
        if status(&answer) == Some(401) {
            *self.lock() = client();
            answer = self.client().get(&path).await;
        }
        match (status(&answer), answer) {
            (_, Ok(text)) => Ok(Some(text.into())),
            (Some(404), _) => Ok(None),
            (Some(status), _) => bail!("the instance metadata service answered {status} to {path}"),
            (None, Err(error)) => Err(anyhow!(
                "cannot read {path} from the instance metadata service, which only EC2 instances have: {}",
                causes(&error)
            )),
        }
    }

    fn client(&self) -> Client {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Client> {
        self.imds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn fact(&self, path: &str) -> Result<String> {
        self.ask(path).await?.with_context(|| format!("the instance metadata service knows no {path}"))
    }

    /// As [`Metadata::get`], with patience.
    async fn ask(&self, path: &str) -> Result<Option<String>> {
        let begin = Instant::now();
        loop {
            match self.get(path).await {
                Err(error) if begin.elapsed() < PATIENCE => tracing::warn!("{error:#}; trying again"),
                answer => return answer,
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// A client without a token. It tries once; whoever asks tries again.
fn client() -> Client {
    Client::builder().max_attempts(1).build()
}

/// The status of an answer that is an error.
fn status<T>(answer: &Result<T, ImdsError>) -> Option<u16> {
    match answer {
        Err(ImdsError::ErrorResponse(answer)) => Some(answer.response().status().as_u16()),
        _ => None,
    }
}
