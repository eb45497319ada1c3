//! STS that checks signatures, as the real one does: moto does not.

use super::sigv4::Request;
use super::{Moto, RoleCredentials};
use crate::harness::serve;
use anyhow::Result;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio_util::task::AbortOnDropHandle;

/// How far `x-amz-date` may be from now, in seconds.
const SKEW: i64 = 300;

/// In front of moto. It ends with the value.
#[derive(Debug)]
pub struct Sts {
    /// `http://127.0.0.1:port`.
    pub url: String,
    inner: Arc<Inner>,
    _server: AbortOnDropHandle<()>,
}

#[derive(Debug)]
struct Inner {
    moto: Moto,
    known: Mutex<BTreeMap<String, RoleCredentials>>,
    requests: Mutex<Vec<Request>>,
    answer: Mutex<Option<(u16, String)>>,
}

impl Sts {
    /// Starts one with a moto of its own.
    pub async fn start() -> Result<Self> {
        let (known, requests, answer) = Default::default();
        let inner = Arc::new(Inner { moto: Moto::start()?, known, requests, answer });
        let (address, server) = serve(Router::new().fallback(handle).with_state(inner.clone())).await?;
        Ok(Self { url: format!("http://{address}"), inner, _server: server })
    }

    /// Credentials of a role, whose signatures are known here.
    pub async fn assume_role(&self, role: &str, session: &str) -> Result<RoleCredentials> {
        let credentials = self.inner.moto.assume_role(role, session).await?;
        lock(&self.inner.known).insert(credentials.access_key_id.clone(), credentials.clone());
        Ok(credentials)
    }

    /// Answers this to everything from now on; `None`: what is right.
    pub fn answer(&self, answer: Option<(u16, &str)>) {
        *lock(&self.inner.answer) = answer.map(|(status, text)| (status, text.to_owned()));
    }

    /// All requests so far.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.inner.requests).clone()
    }
}

async fn handle(State(inner): State<Arc<Inner>>, headers: HeaderMap, body: String) -> (StatusCode, String) {
    let text = |value: &axum::http::HeaderValue| value.to_str().unwrap_or_default().to_owned();
    let headers = headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
    let request = Request { headers, body };
    lock(&inner.requests).push(request.clone());
    let scripted = lock(&inner.answer).clone();
    if let Some((status, text)) = scripted {
        return (StatusCode::from_u16(status).unwrap_or_default(), text);
    }
    let caller = signer(&lock(&inner.known), &request);
    let identity = match caller {
        Ok(access_key_id) => inner.moto.call_as(&access_key_id, "sts", "GetCallerIdentity", &[]).await,
        Err(why) => return (StatusCode::FORBIDDEN, refusal(why)),
    };
    identity.map_or_else(
        |error| (StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}")),
        |identity| (StatusCode::OK, identity),
    )
}

fn refusal(why: &str) -> String {
    format!(
        r#"<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>SignatureDoesNotMatch</Code><Message>{why}</Message></Error></ErrorResponse>"#
    )
}

/// Whose signature this is.
fn signer(known: &BTreeMap<String, RoleCredentials>, request: &Request) -> Result<String, &'static str> {
    let header = |name: &str| request.headers.get(name).map(String::as_str).unwrap_or_default();
    let authorization = header("authorization");
    let part =
        |name| authorization.split([' ', ',']).find_map(|part: &str| part.strip_prefix(name)).unwrap_or_default();
    let (key, scope) = part("Credential=").split_once('/').ok_or("no credential")?;
    let signed: Vec<&str> = part("SignedHeaders=").split(';').collect();
    let credentials = known.get(key).ok_or("unknown access key")?;
    if header("x-amz-security-token") != credentials.session_token {
        return Err("another session token");
    }
    let day = header("x-amz-date").split('T').next().unwrap_or_default();
    if scope != format!("{day}/{}/sts/aws4_request", Moto::REGION) {
        return Err("credential of another scope");
    }
    let is_new =
        jiff::fmt::strtime::parse("%Y%m%dT%H%M%S%z", format!("{}+0000", header("x-amz-date").trim_end_matches('Z')))
            .and_then(|time| time.to_timestamp())
            .is_ok_and(|time| (time.as_second() - Timestamp::now().as_second()).abs() <= SKEW);
    if !is_new {
        return Err("signature expired");
    }
    let must =
        request.headers.keys().filter(|name| name.starts_with("x-") || *name == "host" || *name == "content-type");
    if must.clone().any(|name| !signed.contains(&name.as_str())) {
        return Err("a header that must be signed is not");
    }
    let expected = request.signature(&credentials.secret_access_key, scope, &signed);
    if part("Signature=") == expected { Ok(key.to_owned()) } else { Err("another signature") }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
