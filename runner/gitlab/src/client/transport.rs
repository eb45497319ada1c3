//! One HTTP exchange with GitLab: connections, headers common to every call, retries (protocol §1.1).

use super::answer::message;
use super::retry;
use super::{ClientCertificate, Options};
use crate::info::user_agent;
use crate::{Error, Timing, roots};
use backon::{ExponentialBuilder, Retryable};
use reqwest::{Certificate, ClientBuilder, Method, RequestBuilder, Response, StatusCode, Url, tls};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Where to, and by which connections. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Transport {
    base: Url,
    options: Arc<Options>,
    pool: Arc<Mutex<Option<(Instant, reqwest::Client)>>>,
}

/// One logical call: its id stays the same over all attempts.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// For errors and logs: verb and object.
    pub(crate) what: &'static str,
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) id: String,
    /// At most, in all; the retry layer's five unless the call says otherwise.
    pub(crate) attempts: usize,
    /// Until the answer's head; none where the request's body may take long.
    pub(crate) response: Option<Duration>,
    /// Until the end of the answer's body.
    pub(crate) total: Duration,
}

impl Transport {
    /// Fails when the URL or the certificates are no good; connects to nothing.
    pub(crate) fn new(url: &str, options: &Options) -> Result<Self, Error> {
        let setup = |why: String| Error::Setup { url: Url::parse(url).map_or_else(|_| url.into(), |u| shown(&u)), why };
        let base = base_url(url).map_err(setup)?;
        let client = connect(options).map_err(setup)?;
        let pool = Arc::new(Mutex::new(Some((Instant::now(), client))));
        Ok(Self { base, options: Arc::new(options.clone()), pool })
    }

    pub(crate) fn timing(&self) -> &Timing {
        &self.options.timing
    }

    /// The same connections to another server: only scheme, host and port of `url` count (protocol §1.10, 307).
    pub(crate) fn redirected(&self, url: &Url) -> Self {
        let mut base = url.clone();
        base.set_path("/api/v4/");
        base.set_query(None);
        base.set_fragment(None);
        Self { base, ..self.clone() }
    }

    /// A call of a path below `/api/v4/`.
    pub(crate) fn call(&self, what: &'static str, method: Method, path: &str) -> Call {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{path}", self.base.path()));
        let timing = self.timing();
        let id = uuid::Uuid::new_v4().simple().to_string();
        Call { what, method, url, id, attempts: retry::ATTEMPTS, response: Some(timing.response), total: timing.total }
    }

    /// Sends a call that `dress` completes with its headers and its body, anew for each attempt. The last answer is
    /// returned whatever it is.
    pub(crate) async fn send(
        &self,
        call: &Call,
        dress: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<Response, Error> {
        self.send_with(call, |request| std::future::ready(Ok(dress(request)))).await
    }

    /// As [`Self::send`], where making the body takes time or may fail.
    pub(crate) async fn send_with<F, Fut>(&self, call: &Call, dress: F) -> Result<Response, Error>
    where
        F: Fn(RequestBuilder) -> Fut,
        Fut: Future<Output = std::io::Result<RequestBuilder>>,
    {
        let timing = self.timing();
        let attempt = || async {
            let response = self.attempt(call, &dress).await.map_err(Unanswered::No)?;
            if retry::is_retried(response.status().as_u16()) { Err(Unanswered::Later(response)) } else { Ok(response) }
        };
        let outcome = attempt
            .retry(schedule(timing).with_max_times(call.attempts - 1))
            .when(|failed| matches!(failed, Unanswered::Later(_)))
            .adjust(|failed, own| own.map(|own| failed.asked(timing).unwrap_or(own)))
            .notify(|failed, wait| failed.log(call, wait))
            .await;
        match outcome {
            Ok(response) | Err(Unanswered::Later(response)) => Ok(response),
            Err(Unanswered::No(error)) => Err(error),
        }
    }

    async fn attempt<F, Fut>(&self, call: &Call, dress: &F) -> Result<Response, Error>
    where
        F: Fn(RequestBuilder) -> Fut,
        Fut: Future<Output = std::io::Result<RequestBuilder>>,
    {
        let request = self.http()?.request(call.method.clone(), call.url.clone());
        let request = request.header("X-Request-Id", &call.id).timeout(call.total);
        let body = |source| Error::File { what: format!("make the body to {}", call.what), source };
        let sent = dress(request).await.map_err(body)?.send();
        let answered = match call.response {
            Some(limit) => tokio::time::timeout(limit, sent).await,
            None => Ok(sent.await),
        };
        match answered {
            Ok(response) => response.map_err(|error| call.transport(&error)),
            Err(_) => Err(call.unanswered(format!("no answer within {:?}", call.response.unwrap_or_default()))),
        }
    }

    /// The connections; made anew when they are old.
    fn http(&self) -> Result<reqwest::Client, Error> {
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((since, client)) = pool.as_ref()
            && since.elapsed() < self.timing().connection_max_age
        {
            return Ok(client.clone());
        }
        let client = connect(&self.options).map_err(|why| Error::Setup { url: shown(&self.base), why })?;
        *pool = Some((Instant::now(), client.clone()));
        Ok(client)
    }
}

impl Call {
    pub(crate) fn shown(&self) -> String {
        shown(&self.url)
    }

    pub(crate) fn transport(&self, error: &reqwest::Error) -> Error {
        self.unanswered(reasons(error))
    }

    pub(crate) fn unanswered(&self, why: String) -> Error {
        Error::Transport { what: self.what, url: self.shown(), why }
    }

    pub(crate) fn misunderstood(&self, why: impl std::fmt::Display) -> Error {
        Error::Answer { what: self.what, url: self.shown(), why: format!("{why}") }
    }

    /// The error that an answer with an unwanted status is; reads GitLab's reason from its body.
    pub(crate) async fn failure(&self, response: Response) -> Error {
        let status = response.status().as_u16();
        let message = message(response).await;
        Error::Status { what: self.what, url: self.shown(), status, message }
    }

    /// The request's id: GitLab's own where it tells, for both logs to agree.
    pub(crate) fn correlation_id(&self, response: &Response) -> String {
        let theirs = response.headers().get("X-Request-Id").and_then(|id| id.to_str().ok());
        theirs.filter(|id| !id.is_empty()).unwrap_or(&self.id).to_owned()
    }
}

/// Why an attempt is not the last word.
enum Unanswered {
    /// A status that is asked for again.
    Later(Response),
    /// No answer at all: not asked again here.
    No(Error),
}

impl Unanswered {
    fn asked(&self, timing: &Timing) -> Option<Duration> {
        let Self::Later(response) = self else { return None };
        let asked = retry::asked(response.headers(), jiff::Timestamp::now());
        asked.map(|wait| wait.min(timing.retry_header_max))
    }

    fn log(&self, call: &Call, wait: Duration) {
        let Self::Later(response) = self else { return };
        let status = response.status().as_u16();
        tracing::warn!(url = call.shown(), status, ?wait, "cannot {} yet, trying again", call.what);
    }
}

fn schedule(timing: &Timing) -> ExponentialBuilder {
    let schedule = ExponentialBuilder::new().with_min_delay(timing.retry_min).with_max_delay(timing.retry_max);
    schedule.with_factor(2.0).with_jitter()
}

/// The API's root for a configured URL (protocol §1.1, base URL).
fn base_url(configured: &str) -> Result<Url, String> {
    let trimmed = configured.trim().trim_end_matches('/');
    let trimmed = trimmed.strip_suffix("/ci").unwrap_or(trimmed);
    let url = Url::parse(&format!("{trimmed}/api/v4/")).map_err(|error| format!("the URL is not one: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("the scheme must be http or https, not {}", url.scheme()));
    }
    Ok(url)
}

/// A URL without user info, query and fragment: as it may be logged.
pub(crate) fn shown(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{host}{port}{}", url.scheme(), url.path())
}

/// A pool of connections.
fn connect(options: &Options) -> Result<reqwest::Client, String> {
    let (extra, identity) = (certificates(options)?, identity(options)?);
    roots::connect(|| builder(options, identity.clone()), &extra).map_err(|error| reasons(&error))
}

fn builder(options: &Options, identity: Option<tls::Identity>) -> ClientBuilder {
    let builder = reqwest::Client::builder()
        .user_agent(user_agent())
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .connect_timeout(options.timing.connect)
        .tcp_keepalive(Duration::from_secs(30))
        .pool_idle_timeout(Duration::from_secs(90))
        .tls_version_min(tls::Version::TLS_1_2);
    match identity {
        Some(identity) => builder.identity(identity),
        None => builder,
    }
}

fn identity(options: &Options) -> Result<Option<tls::Identity>, String> {
    let Some(ClientCertificate { certificate, key }) = &options.client_certificate else { return Ok(None) };
    let identity = tls::Identity::from_pem(format!("{certificate}\n{}\n", key.expose()).as_bytes());
    identity.map(Some).map_err(|error| format!("the client certificate: {}", reasons(&error)))
}

fn certificates(options: &Options) -> Result<Vec<Certificate>, String> {
    let Some(pem) = &options.ca_pem else { return Ok(Vec::new()) };
    let found = Certificate::from_pem_bundle(pem.as_bytes()).map_err(|error| format!("the CA: {}", reasons(&error)))?;
    if found.is_empty() { Err("the CA: no PEM certificate in it".into()) } else { Ok(found) }
}

/// An error and its causes, without the URL (its query may be secret).
fn reasons(error: &reqwest::Error) -> String {
    let kind = match error {
        error if error.is_timeout() => "timed out",
        error if error.is_connect() => "cannot connect",
        error if error.is_body() || error.is_decode() => "the body broke off",
        error if error.is_builder() => "cannot be built",
        _ => "failed",
    };
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    let mut text = causes.fold(kind.to_owned(), |text, cause| format!("{text}: {cause}"));
    text.retain(|letter| !letter.is_control());
    text
}

/// Whether a status sends the caller elsewhere.
pub(crate) fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configured_url_becomes_the_root_of_the_api() {
        let cases = [
            ("https://gitlab.test", "https://gitlab.test/api/v4/"),
            ("https://gitlab.test///", "https://gitlab.test/api/v4/"),
            ("http://gitlab.test:8080/ci", "http://gitlab.test:8080/api/v4/"),
            ("http://gitlab.test/ci/", "http://gitlab.test/api/v4/"),
            ("https://host/gitlab/", "https://host/gitlab/api/v4/"),
        ];
        for (configured, expected) in cases {
            assert_eq!(base_url(configured).map(String::from), Ok(expected.to_owned()));
        }
        for refused in ["", "gitlab.test", "ftp://gitlab.test", "/gitlab"] {
            assert!(base_url(refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn a_call_keeps_the_path_of_the_installation_and_has_an_id_of_its_own() {
        let transport = Transport::new("https://host/gitlab", &Options::default()).expect("a client");
        let call = transport.call("test", Method::GET, "jobs/1/trace");
        assert_eq!(call.url.as_str(), "https://host/gitlab/api/v4/jobs/1/trace");
        assert_eq!(call.id.len(), 32);
        assert_ne!(call.id, transport.call("test", Method::GET, "jobs/1/trace").id);
    }

    #[test]
    fn a_url_is_shown_without_its_secrets() {
        let url = Url::parse("https://user:secret@host:8443/path?token=secret#secret").expect("a URL");
        assert_eq!(shown(&url), "https://host:8443/path");
    }

    #[test]
    fn a_bad_setup_is_one_clear_line() {
        let error = |url: &str, options: &Options| Transport::new(url, options).expect_err("refused").to_string();
        assert_eq!(
            error("ftp://user:secret@host/?x", &Options::default()),
            "cannot make a client for GitLab at ftp://host/: the scheme must be http or https, not ftp"
        );
        let options = Options { ca_pem: Some("nonsense".into()), ..Options::default() };
        assert!(error("https://host", &options).ends_with("the CA: no PEM certificate in it"));
    }
}
