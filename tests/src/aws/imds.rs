//! The metadata service of an instance (version 2 alone: nothing without a token).

use super::{Moto, RoleCredentials};
use crate::harness::serve;
use anyhow::Result;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio_util::task::AbortOnDropHandle;

const TTL: &str = "x-aws-ec2-metadata-token-ttl-seconds";
const TOKEN: &str = "x-aws-ec2-metadata-token";

/// One instance's service. It ends with the value.
#[derive(Debug)]
pub struct Imds {
    /// For `AWS_EC2_METADATA_SERVICE_ENDPOINT`.
    pub url: String,
    inner: Arc<Mutex<Inner>>,
    _server: AbortOnDropHandle<()>,
}

#[derive(Debug, Default)]
struct Inner {
    items: BTreeMap<String, String>,
    tokens: BTreeSet<String>,
    given: usize,
    reads: Vec<String>,
}

impl Imds {
    /// Starts the service of an instance that has nothing but its id and region.
    pub async fn start(id: &str) -> Result<Self> {
        let inner = Arc::<Mutex<Inner>>::default();
        let (address, server) = serve(Router::new().fallback(answer).with_state(inner.clone())).await?;
        let this = Self { url: format!("http://{address}"), inner, _server: server };
        this.set("meta-data/instance-id", id);
        this.set("meta-data/placement/region", Moto::REGION);
        Ok(this)
    }

    /// Sets an item below `/latest/`, such as `user-data` or `meta-data/spot/instance-action`.
    pub fn set(&self, item: &str, text: &str) {
        lock(&self.inner).items.insert(format!("/latest/{item}"), text.to_owned());
    }

    /// Gives the instance a role.
    pub fn set_role(&self, role: &str, credentials: &RoleCredentials) {
        let path = "meta-data/iam/security-credentials/";
        self.set(path, role);
        let text = serde_json::json!({
            "Code": "Success", "LastUpdated": "2026-01-01T00:00:00Z", "Type": "AWS-HMAC",
            "AccessKeyId": credentials.access_key_id, "SecretAccessKey": credentials.secret_access_key,
            "Token": credentials.session_token, "Expiration": credentials.expiration,
        });
        self.set(&format!("{path}{role}"), &text.to_string());
    }

    /// Lets every token that was given out expire.
    pub fn expire_tokens(&self) {
        lock(&self.inner).tokens.clear();
    }

    /// How many tokens were given out.
    #[must_use]
    pub fn tokens(&self) -> usize {
        lock(&self.inner).given
    }

    /// How often an item below `/latest/` was read, whether or not it was there.
    #[must_use]
    pub fn reads(&self, item: &str) -> usize {
        let path = format!("/latest/{item}");
        lock(&self.inner).reads.iter().filter(|read| **read == path).count()
    }
}

async fn answer(State(inner): State<Arc<Mutex<Inner>>>, method: Method, uri: Uri, headers: HeaderMap) -> Response {
    let mut inner = lock(&inner);
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
    match (method, uri.path()) {
        (Method::PUT, "/latest/api/token") => {
            let Some(ttl) = header(TTL) else { return StatusCode::BAD_REQUEST.into_response() };
            inner.given += 1;
            let token = format!("token-{}", inner.given);
            inner.tokens.insert(token.clone());
            ([(TTL, ttl.to_owned())], token).into_response()
        }
        (Method::GET, path) => {
            if !header(TOKEN).is_some_and(|token| inner.tokens.contains(token)) {
                return StatusCode::UNAUTHORIZED.into_response();
            }
            inner.reads.push(path.to_owned());
            inner.items.get(path).cloned().ok_or(StatusCode::NOT_FOUND).into_response()
        }
        _ => StatusCode::METHOD_NOT_ALLOWED.into_response(),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
