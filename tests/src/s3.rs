//! An S3 store in memory that can be made to wait, and tells what was asked of it.
//!
//! Every bucket exists and every signature is right. It knows what the cache needs: PUT, GET with ranges, listings.

use crate::harness::{eventually, serve};
use anyhow::Result;
use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, Response, StatusCode, header};
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

/// Largest object.
const LIMIT: usize = 64 << 20;

/// Content and time of each object, by `bucket/key`.
type Objects = BTreeMap<String, (Bytes, Timestamp)>;

/// The store. It ends with the value.
#[derive(Debug)]
pub struct S3 {
    inner: Arc<Inner>,
    url: String,
    _server: AbortOnDropHandle<()>,
}

#[derive(Debug)]
struct Inner {
    objects: Mutex<Objects>,
    calls: Mutex<Vec<Call>>,
    /// Calls whose key contains this wait.
    held: watch::Sender<Option<&'static str>>,
}

/// A call to the store.
#[derive(Clone, Debug)]
pub struct Call {
    /// `GET`, `PUT`, …
    pub method: Method,
    /// The object's name, `bucket/key`; of a listing its prefix.
    pub name: String,
    /// Whether it was answered, not only received.
    pub answered: bool,
}

impl S3 {
    /// Starts an empty store.
    pub async fn start() -> Result<Self> {
        let held = watch::Sender::new(None);
        let inner = Arc::new(Inner { objects: Mutex::default(), calls: Mutex::default(), held });
        let (address, server) = serve(Router::new().fallback(answer).with_state(inner.clone())).await?;
        let url = format!("s3://bucket/caches?endpoint=http://{address}&region=us-east-1");
        Ok(Self { inner, url, _server: server })
    }

    /// The store's address for the agent; credentials are any.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Lets calls wait whose object or prefix contains `part`, until [`S3::release`].
    pub fn hold(&self, part: &'static str) {
        self.inner.held.send_replace(Some(part));
    }

    /// Answers what waits, and everything from now on.
    pub fn release(&self) {
        self.inner.held.send_replace(None);
    }

    /// All calls so far, in the order of their arrival.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        lock(&self.inner.calls).clone()
    }

    /// How many objects were written so far.
    #[must_use]
    pub fn writes(&self) -> usize {
        self.calls().iter().filter(|call| call.method == Method::PUT).count()
    }

    /// Waits for a GET of an object whose name contains `part` after the first `seen` calls: received, or `answered` too.
    pub async fn wait_read(&self, part: &str, seen: usize, answered: bool) {
        eventually(&format!("{part} is read from the store"), async || {
            let calls = self.calls();
            let mut news = calls.iter().skip(seen);
            news.any(|call| call.method == Method::GET && call.name.contains(part) && call.answered >= answered)
                .then_some(())
        })
        .await;
    }
}

async fn answer(State(inner): State<Arc<Inner>>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().trim_start_matches('/').to_owned();
    let listed = parts.uri.query().unwrap_or_default().contains("list-type=2").then(|| query(&parts.uri, "prefix"));
    let name = listed.as_ref().map_or(path.clone(), |prefix| format!("{}/{prefix}", path.trim_end_matches('/')));
    let call = Call { method: parts.method.clone(), name: name.clone(), answered: false };
    let at = {
        let mut calls = lock(&inner.calls);
        calls.push(call);
        calls.len() - 1
    };
    let _ = inner.held.subscribe().wait_for(|part| part.is_none_or(|part| !name.contains(part))).await;
    let answer = match parts.method {
        Method::GET if listed.is_some() => list(&lock(&inner.objects), &name, &query(&parts.uri, "start-after")),
        Method::GET | Method::HEAD => get(&lock(&inner.objects), &name, &parts.headers),
        Method::PUT => put(&inner, name, &parts.headers, body).await,
        _ => plain(StatusCode::NOT_IMPLEMENTED, ""),
    };
    lock(&inner.calls)[at].answered = true;
    answer
}

fn list(objects: &Objects, prefix: &str, after: &str) -> Response<Body> {
    let mut contents = String::new();
    for (name, (bytes, modified)) in objects.iter().filter(|(name, _)| name.starts_with(prefix)) {
        let key = name.split_once('/').map_or("", |(_, key)| key);
        if key > after {
            let size = bytes.len();
            let _ = write!(
                contents,
                "<Contents><Key>{key}</Key><Size>{size}</Size><LastModified>{modified:.3}</LastModified></Contents>"
            );
        }
    }
    let open = "<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><IsTruncated>false</IsTruncated>";
    plain(StatusCode::OK, &format!("{open}{contents}</ListBucketResult>"))
}

fn get(objects: &Objects, name: &str, headers: &HeaderMap) -> Response<Body> {
    let Some((bytes, modified)) = objects.get(name) else {
        return plain(StatusCode::NOT_FOUND, "<Error><Code>NoSuchKey</Code></Error>");
    };
    let size = bytes.len();
    let range =
        headers.get(header::RANGE).and_then(|range| range.to_str().ok()?.strip_prefix("bytes=")?.split_once('-'));
    let Some((first, last)) = range else { return found(StatusCode::OK, bytes.clone(), None, *modified) };
    let first = first.parse().unwrap_or(0);
    let end = last.parse::<usize>().map_or(size, |last| size.min(last + 1));
    if first >= end {
        return plain(StatusCode::RANGE_NOT_SATISFIABLE, "<Error><Code>InvalidRange</Code></Error>");
    }
    let range = format!("bytes {first}-{}/{size}", end - 1);
    found(StatusCode::PARTIAL_CONTENT, bytes.slice(first..end), Some(range), *modified)
}

async fn put(inner: &Inner, name: String, headers: &HeaderMap, body: Body) -> Response<Body> {
    let Ok(bytes) = to_bytes(body, LIMIT).await else { return plain(StatusCode::BAD_REQUEST, "") };
    let mut objects = lock(&inner.objects);
    if headers.contains_key(header::IF_NONE_MATCH) && objects.contains_key(&name) {
        return plain(StatusCode::PRECONDITION_FAILED, "<Error><Code>PreconditionFailed</Code></Error>");
    }
    let now = Timestamp::now();
    objects.insert(name, (bytes, now));
    found(StatusCode::OK, Bytes::new(), None, now)
}

fn found(status: StatusCode, bytes: Bytes, range: Option<String>, modified: Timestamp) -> Response<Body> {
    let modified = modified.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let response = Response::builder().status(status).header(header::ETAG, "\"1\"");
    let mut response = response.header(header::LAST_MODIFIED, modified);
    if let Some(range) = range {
        response = response.header(header::CONTENT_RANGE, range);
    }
    response.body(Body::from(bytes)).unwrap_or_default()
}

fn plain(status: StatusCode, xml: &str) -> Response<Body> {
    Response::builder().status(status).body(Body::from(xml.to_owned())).unwrap_or_default()
}

fn query(uri: &axum::http::Uri, name: &str) -> String {
    let pairs = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    pairs.filter(|(key, _)| key == name).map(|(_, value)| value.into_owned()).next().unwrap_or_default()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
