//! An S3 server that costs next to nothing: objects lie in memory, reads copy no bytes before the kernel does.
//!
//! Every bucket exists and every signature is right. It knows PUT (also conditional, and copies), GET with ranges,
//! HEAD, DELETE, both listings and a bucket's location: what the measured programs use. `/-/counters` tells what
//! went through it, `/-/clear` forgets all objects; no bucket is called `-`.

mod answer;
mod body;
mod list;
mod objects;
mod process;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use anyhow::{Context as _, Result};
use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, Method, Response, StatusCode, header, request::Parts},
    serve::ListenerExt as _,
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

use objects::{Object, Objects};
pub(crate) use process::Process;

/// What went through the server since it began, and what it holds.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Counters {
    /// Requests answered.
    pub(crate) requests: u64,
    /// Bytes of bodies received, without the framing of signed chunks.
    pub(crate) received: u64,
    /// Bytes of objects sent.
    pub(crate) sent: u64,
    /// Bytes of all objects held.
    pub(crate) stored: u64,
}

#[derive(Debug, Default)]
struct Server {
    objects: Objects,
    requests: AtomicU64,
    received: AtomicU64,
    sent: AtomicU64,
}

/// Answers until the process ends.
pub(crate) async fn run(listener: TcpListener) -> Result<()> {
    let router = Router::new().fallback(answer).with_state(Arc::<Server>::default());
    let listener = listener.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    axum::serve(listener, router).await.context("serve")
}

async fn answer(State(server): State<Arc<Server>>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    match parts.uri.path() {
        "/-/counters" => return Response::new(Body::from(serde_json::to_vec(&server.counters()).unwrap_or_default())),
        "/-/clear" => {
            server.objects.clear();
            return answer::empty(StatusCode::NO_CONTENT);
        }
        _ => {}
    }
    server.requests.fetch_add(1, Ordering::Relaxed);
    let path = parts.uri.path().trim_start_matches('/');
    match path.split_once('/').filter(|(_, key)| !key.is_empty()) {
        Some(_) => server.object(path, &parts, body).await,
        None => server.bucket(path.trim_end_matches('/'), &parts),
    }
}

impl Server {
    fn counters(&self) -> Counters {
        Counters {
            requests: self.requests.load(Ordering::Relaxed),
            received: self.received.load(Ordering::Relaxed),
            sent: self.sent.load(Ordering::Relaxed),
            stored: self.objects.size(),
        }
    }

    fn bucket(&self, bucket: &str, parts: &Parts) -> Response<Body> {
        let query = parts.uri.query().unwrap_or_default();
        match parts.method {
            Method::GET if query.starts_with("location") => {
                answer::xml(StatusCode::OK, "<LocationConstraint xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"/>")
            }
            Method::GET => answer::xml(StatusCode::OK, &list::list(&self.objects, bucket, &list::Query::parse(query))),
            Method::HEAD | Method::PUT => answer::empty(StatusCode::OK),
            _ => answer::error(StatusCode::NOT_IMPLEMENTED, "NotImplemented"),
        }
    }

    async fn object(&self, name: &str, parts: &Parts, body: Body) -> Response<Body> {
        match parts.method {
            Method::GET => self.get(name, &parts.headers, false),
            Method::HEAD => self.get(name, &parts.headers, true),
            Method::PUT => self.put(name, &parts.headers, body).await,
            Method::DELETE => {
                self.objects.remove(name);
                answer::empty(StatusCode::NO_CONTENT)
            }
            _ => answer::error(StatusCode::NOT_IMPLEMENTED, "NotImplemented"),
        }
    }

    fn get(&self, name: &str, headers: &HeaderMap, head: bool) -> Response<Body> {
        let Some(object) = self.objects.get(name) else {
            return if head {
                answer::empty(StatusCode::NOT_FOUND)
            } else {
                answer::error(StatusCode::NOT_FOUND, "NoSuchKey")
            };
        };
        let response = answer::object(&object, headers, head);
        if !head && let Some(size) = response.headers().get(header::CONTENT_LENGTH) {
            let size = size.to_str().ok().and_then(|size| size.parse().ok()).unwrap_or(0);
            self.sent.fetch_add(size, Ordering::Relaxed);
        }
        response
    }

    async fn put(&self, name: &str, headers: &HeaderMap, body: Body) -> Response<Body> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        if let Some(source) = text("x-amz-copy-source") {
            return self.copy(source.trim_start_matches('/'), name);
        }
        let bytes = match body::read(headers, body).await {
            Ok(bytes) => bytes,
            Err(error) => return answer::error(StatusCode::BAD_REQUEST, &answer::escape(&format!("{error:#}"))),
        };
        self.received.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        let admit = |found: Option<&Object>| match (text("if-none-match"), text("if-match")) {
            (Some(_), _) => found.is_none(),
            (None, Some(etag)) => found.is_some_and(|found| found.etag == etag),
            (None, None) => true,
        };
        match self.objects.put(name, bytes, admit) {
            Some(object) => {
                Response::builder().header(header::ETAG, object.etag).body(Body::empty()).unwrap_or_default()
            }
            None => answer::error(StatusCode::PRECONDITION_FAILED, "PreconditionFailed"),
        }
    }

    fn copy(&self, source: &str, name: &str) -> Response<Body> {
        let Some(Object { bytes, .. }) = self.objects.get(source) else {
            return answer::error(StatusCode::NOT_FOUND, "NoSuchKey");
        };
        let etag = self.objects.put(name, Bytes::clone(&bytes), |_| true).map(|object| object.etag).unwrap_or_default();
        answer::xml(
            StatusCode::OK,
            &format!("<CopyObjectResult><ETag>{}</ETag></CopyObjectResult>", answer::escape(&etag)),
        )
    }
}
