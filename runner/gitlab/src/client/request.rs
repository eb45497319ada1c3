//! Verify and job request (protocol §1.4, §1.5).

use super::answer::read;
use super::transport::Call;
use super::{Client, Identity, Verified};
use crate::payload::Job;
use crate::secret::Secret;
use crate::{Error, info::Info};
use reqwest::{Method, Response};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// GitLab's answer to a job request, one line of the table in protocol §1.5.
#[derive(Debug)]
pub struct Answer {
    /// The job, if there was one.
    pub acquired: Option<Acquired>,
    /// `X-GitLab-Last-Update`, if the answer had one: to be remembered and sent with the next request.
    pub last_update: Option<String>,
    /// Whether it counts as healthy, for [`super::Health`].
    pub healthy: bool,
    /// Whether GitLab held the request (long polling): then asking again at once is normal.
    pub long_polled: bool,
    /// A line for the log where something is to be said: none after a job or after "no job".
    pub trouble: Option<String>,
}

/// A job that is ours now.
#[derive(Debug)]
pub struct Acquired {
    /// The payload, decoded.
    pub job: Job,
    /// The payload as GitLab sent it.
    pub raw: Box<RawValue>,
    /// The request's id in GitLab's logs; kept for the whole job.
    pub correlation_id: String,
}

/// The body of a call with the runner's token.
#[derive(Serialize)]
struct Body<'a> {
    info: &'a Info,
    token: &'a Secret,
    system_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_update: Option<&'a str>,
}

impl Client {
    /// Asks whether GitLab knows the token, and lets it know what the runner can do (protocol §1.4).
    ///
    /// An error with status 403 means a wrong or removed token, 422 an orphaned runner; any other error only that
    /// it could not be told.
    pub async fn verify(&self, identity: &Identity) -> Result<Verified, Error> {
        let call = self.transport.call("verify the runner's token", Method::POST, "runners/verify");
        let response = self.as_runner(&call, identity, None).await?;
        if response.status() != 200 {
            return Err(call.failure(response).await);
        }
        if !is_json(&response) {
            return Ok(Verified::default()); // an old server says just `200`
        }
        serde_json::from_slice(&read(response).await).map_err(|error| call.misunderstood(error))
    }

    /// Asks for a job (protocol §1.5). `last_update` is the last [`Answer::last_update`] that was there.
    ///
    /// GitLab may hold the call for 50 s and more. Do not drop it: a job may be on its way. Every reaction of the
    /// table in §1.5 is an [`Answer`]; an error means that no request could be made at all.
    pub async fn request_job(&self, identity: &Identity, last_update: Option<&str>) -> Result<Answer, Error> {
        let call = self.transport.call("request a job", Method::POST, "jobs/request");
        let last_update = last_update.filter(|value| !value.is_empty());
        match self.as_runner(&call, identity, last_update).await {
            Ok(response) => Ok(self.answer(&call, response).await),
            Err(error @ Error::Setup { .. }) => Err(error),
            Err(error) => Ok(Answer::trouble(error.to_string(), true)),
        }
    }

    async fn as_runner(&self, call: &Call, identity: &Identity, last_update: Option<&str>) -> Result<Response, Error> {
        let Identity { token, system_id, info } = identity;
        let body = Body { info, token, system_id, last_update };
        let dress = |request: reqwest::RequestBuilder| {
            let request = request.header("RUNNER-TOKEN", token.expose()).header("Accept", "application/json");
            request.json(&body)
        };
        self.transport.send(call, dress).await
    }

    async fn answer(&self, call: &Call, response: Response) -> Answer {
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let last_update = header("X-GitLab-Last-Update").filter(|value| !value.is_empty());
        let long_polled = header("Gitlab-Ci-Builds-Polling").is_some_and(|value| value == "yes");
        let answer = match response.status().as_u16() {
            201 => self.job_of(call, response).await,
            204 | 409 => Answer::nothing(),
            status => Answer::trouble(call.failure(response).await.to_string(), status != 403),
        };
        Answer { last_update, long_polled, ..answer }
    }

    async fn job_of(&self, call: &Call, response: Response) -> Answer {
        let correlation_id = call.correlation_id(&response);
        if !is_json(&response) {
            return Answer::trouble(call.misunderstood("the job is not JSON").to_string(), true);
        }
        let body = match response.bytes().await {
            Ok(body) => body,
            Err(error) => return Answer::trouble(call.transport(&error).to_string(), true),
        };
        match decode(&body) {
            Ok((job, raw)) => Answer { acquired: Some(Acquired { job, raw, correlation_id }), ..Answer::nothing() },
            Err(error) => {
                self.give_back(&body).await;
                Answer::trouble(call.misunderstood(format!("the job cannot be decoded: {error}")).to_string(), true)
            }
        }
    }

    /// Fails a job whose payload cannot be understood, if at least its id and token can: nobody should wait an hour
    /// for GitLab to give it up.
    async fn give_back(&self, payload: &[u8]) {
        #[derive(Deserialize)]
        struct Least {
            id: u64,
            token: Secret,
        }
        let Ok(Least { id, token }) = serde_json::from_slice(payload) else { return };
        if let Err(error) = self.job(id, &token).refuse("the runner cannot read what GitLab sent", true).await {
            tracing::warn!(job = id, %error, "cannot fail a job that cannot be decoded");
        }
    }
}

impl Answer {
    fn nothing() -> Self {
        Self { acquired: None, last_update: None, healthy: true, long_polled: false, trouble: None }
    }

    fn trouble(line: String, healthy: bool) -> Self {
        Self { healthy, trouble: Some(line), ..Self::nothing() }
    }
}

fn decode(body: &[u8]) -> Result<(Job, Box<RawValue>), serde_json::Error> {
    let raw: Box<RawValue> = serde_json::from_slice(body)?;
    Ok((serde_json::from_str(raw.get())?, raw))
}

fn is_json(response: &Response) -> bool {
    let kind = response.headers().get("Content-Type").and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}
