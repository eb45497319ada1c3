//! From a request to its answer.

use std::{
    ops::Range,
    time::{Duration, SystemTime},
};

use hyper::{
    Request, Response, StatusCode,
    body::Incoming,
    header::{AUTHORIZATION, CONTENT_RANGE, CONTENT_TYPE, ETAG, WWW_AUTHENTICATE},
    http::request::Parts,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::{sync::OwnedSemaphorePermit, time::timeout};

use super::{
    LARGEST, Shared,
    content::{Content, announced, discard, read},
    request::{Call, Refusal, When, parse, quote},
};
use crate::{
    error::Error,
    store::{Entry, Etag, Object, Store},
};

/// The time for everything that a request needs: its turn, its content, the store.
const TIME: Duration = Duration::from_mins(5);
/// When an object was last written, as RFC 3339 with all digits of the second that the store knows.
pub(crate) const MODIFIED: &str = "warmstart-modified";

/// What a listing gives.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Listing {
    pub(crate) objects: Vec<Line>,
}

/// An object in a listing.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Line {
    pub(crate) key: String,
    pub(crate) size: u64,
    pub(crate) modified: String,
}

type Answer = Result<Response<Content>, Refusal>;

/// Answers a request, whatever it is.
pub(super) async fn answer<S: Store>(shared: &Shared<S>, request: Request<Incoming>) -> Response<Content> {
    let (parts, mut body) = request.into_parts();
    let answer = timeout(TIME, shared.answer(&parts, &mut body)).await;
    match answer.unwrap_or_else(|_| Err((StatusCode::GATEWAY_TIMEOUT, "the store takes too long".to_owned()))) {
        Ok(answer) => answer,
        Err((status, reason)) => {
            tracing::debug!(%status, "{}: {reason}", parts.method);
            discard(&mut body).await;
            refusal(status, reason)
        }
    }
}

impl<S: Store> Shared<S> {
    /// 1. Who asks? 2. For what? 3. May clients do that? 4. There is memory for it: do it.
    async fn answer(&self, parts: &Parts, body: &mut Incoming) -> Answer {
        self.authenticate(parts)?;
        let call = parse(parts)?;
        self.access.check(&call).map_err(forbidden)?;
        match call {
            Call::Get { key, range } => self.get(&key, range).await,
            Call::Put { key, when } => self.put(&key, &when, body).await,
            Call::List { prefix, after, limit } => {
                let _share = self.share(1 << 20).await?;
                self.store.list(&prefix, &after, limit).await.map(listing).map_err(|error| explain(&error))
            }
            Call::Touch { key } => {
                let there = self.store.touch(&key).await.map_err(|error| explain(&error))?;
                Ok(empty(if there { StatusCode::NO_CONTENT } else { StatusCode::NOT_FOUND }))
            }
            Call::Delete { key } => {
                self.store.delete(&key).await.map_err(|error| explain(&error))?;
                Ok(empty(StatusCode::NO_CONTENT))
            }
        }
    }

    fn authenticate(&self, parts: &Parts) -> Result<(), Refusal> {
        let Some(token) = &self.token else { return Ok(()) };
        let shown = parts.headers.get(AUTHORIZATION).and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
        match shown {
            Some(shown) if token.is(shown) => Ok(()),
            Some(_) => Err((StatusCode::UNAUTHORIZED, "the token is not the one of this server".to_owned())),
            None => Err((StatusCode::UNAUTHORIZED, "no token; set WARMSTART_CACHE_TOKEN".to_owned())),
        }
    }

    /// Waits until there is memory for so many bytes.
    async fn share(&self, bytes: u64) -> Result<OwnedSemaphorePermit, Refusal> {
        let share = u32::try_from(bytes.div_ceil(1 << 10)).unwrap_or(u32::MAX);
        let share = self.memory.clone().acquire_many_owned(share).await;
        share.map_err(|_| (StatusCode::SERVICE_UNAVAILABLE, "the server ends".to_owned()))
    }

    async fn get(&self, key: &str, range: Option<Range<u64>>) -> Answer {
        let share = self.share(range.as_ref().map_or(LARGEST, |range| range.end - range.start)).await?;
        let found = match &range {
            Some(range) => self.store.get(key, Some(range.clone())).await,
            None => self.whole(key).await,
        };
        match found.map_err(|error| explain(&error))? {
            Some(object) if object.bytes.is_empty() && range.is_some() => Ok(empty(StatusCode::RANGE_NOT_SATISFIABLE)),
            Some(object) => Ok(given(object, range, share)),
            None => Ok(empty(StatusCode::NOT_FOUND)),
        }
    }

    /// Gives a whole object, but never reads more of it than the format allows.
    async fn whole(&self, key: &str) -> Result<Option<Object>, Error> {
        let size =
            self.store.list(key, "", 1).await?.into_iter().find(|entry| entry.key == key).map(|entry| entry.size);
        match size {
            None => Ok(None),
            Some(size) if size > LARGEST => Err(Error::damaged(key, format!("has {size} bytes, more than {LARGEST}"))),
            Some(_) => self.store.get(key, None).await,
        }
    }

    async fn put(&self, key: &str, when: &When, body: &mut Incoming) -> Answer {
        let terms = self.access.terms(key, when).map_err(forbidden)?;
        let length = announced(body, terms.largest)?;
        let _share = self.share(length).await?;
        let (bytes, digest) = read(body, length).await?;
        if terms.digest.is_some_and(|expected| expected != digest) {
            return Err((StatusCode::BAD_REQUEST, format!("{key}: the content's SHA-256 is {digest}")));
        }
        let written = match when {
            When::Always => self.store.put(key, bytes).await.map(Some),
            When::Absent => self.store.put_if_absent(key, bytes).await,
            When::Match(etag) => self.store.put_if_match(key, bytes, etag).await,
        };
        match written.map_err(|error| explain(&error))? {
            Some(etag) => Ok(with_etag(empty(StatusCode::NO_CONTENT), &etag)),
            None => Ok(empty(StatusCode::PRECONDITION_FAILED)),
        }
    }
}

fn empty(status: StatusCode) -> Response<Content> {
    let mut answer = Response::new(Content::default());
    *answer.status_mut() = status;
    answer
}

fn with_header(
    mut answer: Response<Content>,
    name: impl hyper::header::IntoHeaderName,
    text: &str,
) -> Response<Content> {
    if let Ok(value) = text.parse() {
        answer.headers_mut().insert(name, value);
    }
    answer
}

fn with_etag(answer: Response<Content>, etag: &Etag) -> Response<Content> {
    with_header(answer, ETAG, &quote(etag))
}

/// An object, or the part of it that was asked for and is there.
fn given(object: Object, range: Option<Range<u64>>, share: OwnedSemaphorePermit) -> Response<Content> {
    let last = range.map(|range| (range.start, range.start + object.bytes.len() as u64 - 1));
    let mut answer = Response::new(Content::new(object.bytes, share));
    if let Some((first, last)) = last {
        *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
        answer = with_header(answer, CONTENT_RANGE, &format!("bytes {first}-{last}/*"));
    }
    if let Some(modified) = object.modified {
        answer = with_header(answer, MODIFIED, &time(modified));
    }
    match object.etag {
        Some(etag) => with_etag(answer, &etag),
        None => answer,
    }
}

fn listing(entries: Vec<Entry>) -> Response<Content> {
    let line = |Entry { key, size, modified }| Line { key, size, modified: time(modified) };
    let objects = entries.into_iter().map(line).collect();
    let text = serde_json::to_string(&Listing { objects }).unwrap_or_default();
    with_header(Response::new(text.into()), CONTENT_TYPE, "application/json")
}

fn time(time: SystemTime) -> String {
    Timestamp::try_from(time).unwrap_or(Timestamp::UNIX_EPOCH).to_string()
}

fn forbidden(reason: String) -> Refusal {
    (StatusCode::FORBIDDEN, reason)
}

/// Sorts the store's errors into statuses that its client sorts back.
fn explain(error: &Error) -> Refusal {
    let status = match error {
        Error::Name { .. } => StatusCode::BAD_REQUEST,
        Error::Denied { .. } => StatusCode::FORBIDDEN,
        Error::Unreachable { .. } => StatusCode::BAD_GATEWAY,
        Error::Deadline { .. } => StatusCode::GATEWAY_TIMEOUT,
        _ if error.is_retryable() => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    (status, error.to_string())
}

fn refusal(status: StatusCode, reason: String) -> Response<Content> {
    let mut answer = Response::new(reason.into());
    *answer.status_mut() = status;
    if status == StatusCode::UNAUTHORIZED {
        answer = with_header(answer, WWW_AUTHENTICATE, "Bearer");
    }
    with_header(answer, CONTENT_TYPE, "text/plain; charset=utf-8")
}
