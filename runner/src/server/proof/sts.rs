//! The proof of an EC2 instance: a signed request, checked here and answered by STS.

use super::Doubt;
use super::answer::{Reading, read};
use super::request::headers;
use super::role::Role;
use anyhow::{Context, Result, ensure};
use reqwest::header::HeaderMap;
use reqwest::{Client, ClientBuilder};
use std::time::Duration;
use url::Url;
use warmstart_api::Register;
use warmstart_api::proof::{self, BODY};
use warmstart_gitlab::roots;

/// How long STS may take.
const LIMIT: Duration = Duration::from_secs(8);

/// The largest answer of STS: the usual ones have less than 1 KiB.
const ANSWER: usize = 16 * 1024;

/// Asks STS. The endpoint, the deployment and the role are the runner's own; a proof has no say in them.
#[derive(Debug)]
pub struct Sts {
    http: Client,
    endpoint: Url,
    deployment: String,
    role: Role,
}

impl Sts {
    /// Asks at `endpoint`, `https://sts.<region>.amazonaws.com`, about executors of `deployment` that have `role`.
    pub fn new(endpoint: Url, deployment: String, role: Role) -> Result<Self> {
        ensure!(endpoint.path() == "/" && endpoint.has_host(), "`{endpoint}` is not of the form https://host");
        Ok(Self { http: roots::connect(builder, &[]).context("prepare calls to STS")?, endpoint, deployment, role })
    }

    /// Whether the proof was made for this registration, on the instance that it names.
    pub(super) async fn check(&self, request: &Register) -> Result<(), Doubt> {
        let headers = headers(request, &self.deployment, &proof::host(&self.endpoint));
        let headers = headers.map_err(|why| Doubt::Refused(format!("its proof {why}")))?;
        let arn = self.ask(headers).await?;
        match self.role.session(&arn) {
            Some(session) if session == request.executor => Ok(()),
            Some(session) => Err(Doubt::Refused(format!("its proof is that of {session}"))),
            None => {
                Err(Doubt::Refused(format!("its proof is that of {arn}, which is no session of the executors' role")))
            }
        }
    }

    /// The ARN of whoever signed.
    async fn ask(&self, headers: HeaderMap) -> Result<String, Doubt> {
        let away =
            |error: reqwest::Error| Doubt::Unknown(format!("STS at {} does not answer: {error:#}", self.endpoint));
        let request = self.http.post(self.endpoint.clone()).headers(headers).body(BODY);
        let mut answer = request.send().await.map_err(away)?;
        let (status, mut text) = (answer.status().as_u16(), Vec::new());
        while let Some(chunk) = answer.chunk().await.map_err(away)? {
            text.extend_from_slice(&chunk);
            if text.len() > ANSWER {
                return Err(Doubt::Unknown(format!("STS at {} answered more than {ANSWER} bytes", self.endpoint)));
            }
        }
        match read(status, &String::from_utf8_lossy(&text)) {
            Reading::Identity(arn) => Ok(arn),
            Reading::Refusal(why) => Err(Doubt::Refused(format!("STS does not take its proof: {why}"))),
            Reading::Trouble(why) => Err(Doubt::Unknown(format!("STS at {} answered {why}", self.endpoint))),
        }
    }
}

fn builder() -> ClientBuilder {
    Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .timeout(LIMIT)
        .user_agent(concat!("warmstart-runner ", env!("CARGO_PKG_VERSION")))
}
