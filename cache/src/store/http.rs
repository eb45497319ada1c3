//! Objects in a store that a sidecar offers (see [`crate::sidecar`] and `docs/cache-format.md`).
//!
//! Nothing is tried again here: the server's own store does that.

use std::{ops::Range, path::PathBuf, time::Duration, time::SystemTime};

use bytes::{Bytes, BytesMut};
use jiff::Timestamp;
use reqwest::{
    Certificate, Client, ClientBuilder, Method, RequestBuilder, Response, StatusCode,
    header::{CONTENT_RANGE, ETAG, HeaderMap, HeaderName, IF_MATCH, IF_NONE_MATCH, RANGE},
};
use url::Url;

use super::{Entry, Error, Etag, Object, Store, check_key, check_prefix};
use crate::{
    sidecar::{LARGEST, Line, Listing, MODIFIED, PAGE},
    token::Token,
};

/// The time for a request, a little more than the server gives itself, so that its reason arrives.
const TIME: Duration = Duration::from_secs(330);
const CONNECT: Duration = Duration::from_secs(5);
/// Shorter than the server's patience with idle connections.
const IDLE: Duration = Duration::from_secs(10);
/// The longest page of a listing: a thousand lines of a key, a size and a time.
const LARGEST_PAGE: u64 = 4 << 20;
/// The longest reason that is read of a server that refuses.
const LARGEST_REASON: u64 = 4 << 10;

/// A client of a sidecar.
#[derive(Clone, Debug)]
pub struct Http {
    client: Client,
    /// What the keys are appended to.
    objects: String,
    /// The address, as people know it.
    address: String,
    token: Option<Token>,
}

impl Http {
    /// Makes a client for `unix:///path/of/socket`, `http://host:port` or `https://host:port`; sends nothing yet.
    /// The token is sent to ports only.
    pub fn open(address: &Url, token: Option<Token>) -> Result<Self, Error> {
        let error = |reason: &str| Error::Address { url: shown(address), reason: reason.to_owned() };
        let socket = address.scheme() == "unix";
        if address.query().is_some() || address.fragment().is_some() || !address.username().is_empty() {
            return Err(error("has more than a place; the token belongs into WARMSTART_CACHE_TOKEN"));
        }
        let (client, base, token) = if socket {
            let path = socket_path(address).ok_or_else(|| error("names no socket; write unix:///path/of/socket"))?;
            (connect(&|| plain().unix_socket(path.clone())), "http://sidecar".to_owned(), None)
        } else {
            let base = address.as_str().trim_end_matches('/').to_owned();
            let client = if address.scheme() == "https" { connect_by_tls() } else { connect(&plain) };
            (client, base, token)
        };
        let client = client.map_err(|reason| error(&format!("no client: {}", root_cause(&reason))))?;
        Ok(Self { client, objects: format!("{base}/v1/objects"), address: shown(address), token })
    }

    fn action(&self, verb: &str, key: &str) -> String {
        format!("{verb} {key} at {}", self.address)
    }

    fn request(&self, method: Method, key: &str) -> Result<RequestBuilder, Error> {
        check_key(key)?;
        Ok(self.with_token(self.client.request(method, format!("{}/{key}", self.objects))))
    }

    fn with_token(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.token {
            Some(token) => request.bearer_auth(token.expose()),
            None => request,
        }
    }

    async fn write(&self, key: &str, bytes: Bytes, when: Option<(HeaderName, &str)>) -> Result<Option<Etag>, Error> {
        let action = self.action("put", key);
        let conditional = when.is_some();
        let request = self.request(Method::PUT, key)?.body(bytes);
        let request = when.into_iter().fold(request, |request, (name, value)| request.header(name, value));
        let answer = send(request, &action).await?;
        match answer.status() {
            StatusCode::PRECONDITION_FAILED if conditional => Ok(None),
            StatusCode::NO_CONTENT => Ok(Some(etag(answer.headers()).unwrap_or_else(|| Etag(String::new())))),
            _ => Err(refusal(answer, action).await),
        }
    }

    /// Asks for one page.
    async fn page(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<Entry>, Error> {
        let action = self.action("list", prefix);
        let request = self.client.get(&self.objects).query(&[("prefix", prefix), ("after", after)]);
        let answer = send(self.with_token(request.query(&[("limit", limit)])), &action).await?;
        if answer.status() != StatusCode::OK {
            return Err(refusal(answer, action).await);
        }
        let text = read(answer, LARGEST_PAGE, &action).await?;
        let page: Option<Listing> = serde_json::from_slice(&text).ok();
        let entries = page.and_then(|page| page.objects.into_iter().map(entry).collect());
        entries.ok_or_else(|| Error::damaged(action, "the answer is no listing; is this the address of a sidecar?"))
    }
}

impl Store for Http {
    async fn get(&self, key: &str, range: Option<Range<u64>>) -> Result<Option<Object>, Error> {
        let action = self.action("get", key);
        let mut request = self.request(Method::GET, key)?;
        if let Some(range) = &range {
            if range.is_empty() {
                return Ok(Some(Object { bytes: Bytes::new(), etag: None, modified: None }));
            }
            request = request.header(RANGE, format!("bytes={}-{}", range.start, range.end - 1));
        }
        let answer = send(request, &action).await?;
        match (answer.status(), range) {
            (StatusCode::NOT_FOUND, _) => Ok(None),
            (StatusCode::RANGE_NOT_SATISFIABLE, Some(_)) => {
                Ok(Some(Object { bytes: Bytes::new(), etag: None, modified: None }))
            }
            (StatusCode::OK, None) => object(answer, LARGEST, &action).await.map(Some),
            (StatusCode::PARTIAL_CONTENT, Some(range)) => part(answer, &range, &action).await.map(Some),
            _ => Err(refusal(answer, action).await),
        }
    }

    async fn put(&self, key: &str, bytes: Bytes) -> Result<Etag, Error> {
        Ok(self.write(key, bytes, None).await?.unwrap_or_else(|| Etag(String::new())))
    }

    async fn put_if_absent(&self, key: &str, bytes: Bytes) -> Result<Option<Etag>, Error> {
        self.write(key, bytes, Some((IF_NONE_MATCH, "*"))).await
    }

    async fn put_if_match(&self, key: &str, bytes: Bytes, etag: &Etag) -> Result<Option<Etag>, Error> {
        self.write(key, bytes, Some((IF_MATCH, &etag.0))).await
    }

    async fn list(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<Entry>, Error> {
        check_prefix(prefix)?;
        let mut entries: Vec<Entry> = Vec::new();
        while entries.len() < limit {
            let wanted = (limit - entries.len()).min(PAGE);
            let after = entries.last().map_or(after, |entry| entry.key.as_str());
            let page = self.page(prefix, after, wanted).await?;
            let last = page.len() < wanted;
            entries.extend(page);
            if last {
                break;
            }
        }
        entries.truncate(limit);
        Ok(entries)
    }

    async fn touch(&self, key: &str) -> Result<bool, Error> {
        let action = self.action("touch", key);
        let answer = send(self.request(Method::POST, key)?, &action).await?;
        match answer.status() {
            StatusCode::NO_CONTENT => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            _ => Err(refusal(answer, action).await),
        }
    }

    async fn delete(&self, key: &str) -> Result<(), Error> {
        let action = self.action("delete", key);
        let answer = send(self.request(Method::DELETE, key)?, &action).await?;
        match answer.status() {
            StatusCode::NO_CONTENT | StatusCode::NOT_FOUND => Ok(()),
            _ => Err(refusal(answer, action).await),
        }
    }
}

/// An address without what may be secret in it.
fn shown(address: &Url) -> String {
    let mut address = address.clone();
    let _ = address.set_username("");
    let _ = address.set_password(None);
    address.set_query(None);
    address.set_fragment(None);
    address.into()
}

fn socket_path(address: &Url) -> Option<PathBuf> {
    let path = address.as_str().strip_prefix("unix:")?;
    let path = Url::parse(&format!("file:{path}")).ok()?.to_file_path().ok()?;
    (address.host_str().unwrap_or_default().is_empty() && path.file_name().is_some()).then_some(path)
}

fn builder() -> ClientBuilder {
    Client::builder()
        .user_agent(concat!("warmstart-cache/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .timeout(TIME)
        .connect_timeout(CONNECT)
        .tcp_keepalive(Duration::from_secs(30))
        .pool_idle_timeout(IDLE)
}

/// Without TLS no certificates are looked for: an image need not have any.
fn plain() -> ClientBuilder {
    builder().tls_certs_only(std::iter::empty())
}

fn connect(builder: &dyn Fn() -> ClientBuilder) -> Result<Client, reqwest::Error> {
    builder().build()
}

/// Takes the roots of this machine, and where it has none, Mozilla's, which are compiled in.
fn connect_by_tls() -> Result<Client, reqwest::Error> {
    builder().build().or_else(|_| {
        let mozilla = webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter();
        builder().tls_certs_only(mozilla.filter_map(|root| Certificate::from_der(root).ok())).build()
    })
}

async fn send(request: RequestBuilder, action: &str) -> Result<Response, Error> {
    request.send().await.map_err(|error| unreachable(action, error))
}

fn unreachable(action: &str, error: reqwest::Error) -> Error {
    let error = error.without_url();
    let reason = if error.is_timeout() { "timed out".to_owned() } else { root_cause(&error) };
    Error::Unreachable { action: action.to_owned(), reason, source: Some(error.into()) }
}

/// The innermost message of an error: what a person can act on.
fn root_cause(error: &reqwest::Error) -> String {
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |cause| cause.source());
    causes.last().map(ToString::to_string).unwrap_or_default()
}

/// Reads at most `limit` bytes, whatever the server sends.
async fn read(mut answer: Response, limit: u64, action: &str) -> Result<Bytes, Error> {
    let mut bytes = BytesMut::new();
    while let Some(piece) = answer.chunk().await.map_err(|error| unreachable(action, error))? {
        bytes.extend_from_slice(&piece);
        if bytes.len() as u64 > limit {
            return Err(Error::damaged(action, format!("the answer has more than {limit} bytes")));
        }
    }
    Ok(bytes.freeze())
}

async fn object(answer: Response, limit: u64, action: &str) -> Result<Object, Error> {
    let etag = etag(answer.headers());
    let modified = text(answer.headers(), MODIFIED).and_then(time);
    Ok(Object { bytes: read(answer, limit, action).await?, etag, modified })
}

async fn part(answer: Response, range: &Range<u64>, action: &str) -> Result<Object, Error> {
    let given = text(answer.headers(), CONTENT_RANGE.as_str()).unwrap_or_default();
    if !given.starts_with(&format!("bytes {}-", range.start)) {
        return Err(Error::damaged(action, format!("asked for bytes from {}, answered {given:?}", range.start)));
    }
    let object = object(answer, range.end - range.start, action).await?;
    Ok(Object { etag: None, ..object })
}

/// Sorts the server's statuses into errors.
async fn refusal(answer: Response, action: String) -> Error {
    let status = answer.status();
    let said = read(answer, LARGEST_REASON, &action).await.unwrap_or_default();
    let said = String::from_utf8_lossy(&said).replace(char::is_control, " ");
    let reason = if said.is_empty() { format!("status {status}") } else { said };
    match status.as_u16() {
        401 | 403 => Error::Denied { action, reason, source: None },
        502 | 504 => Error::Unreachable { action, reason, source: None },
        code => Error::Refused { action, reason, retryable: matches!(code, 408 | 429 | 503), source: None },
    }
}

fn text<'headers>(headers: &'headers HeaderMap, name: &str) -> Option<&'headers str> {
    headers.get(name)?.to_str().ok()
}

fn etag(headers: &HeaderMap) -> Option<Etag> {
    text(headers, ETAG.as_str()).map(|etag| Etag(etag.to_owned()))
}

fn time(text: &str) -> Option<SystemTime> {
    text.parse::<Timestamp>().ok().and_then(|time| time.try_into().ok())
}

fn entry(line: Line) -> Option<Entry> {
    Some(Entry { modified: time(&line.modified)?, key: line.key, size: line.size })
}
