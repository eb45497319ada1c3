//! Stores by address.

use std::{fmt, ops::Range, path::Path};

use bytes::Bytes;
use url::Url;

use super::{Directory, Entry, Error, Etag, Http, Memory, Object, S3, Store};
use crate::token::Token;

/// Credentials for S3 that come from elsewhere than this machine. `Debug` shows no secret.
#[derive(Clone, Default)]
pub struct Credentials {
    /// The access key's id.
    pub access_key_id: String,
    /// The access key's secret.
    pub secret_access_key: String,
    /// The token of a session.
    pub session_token: Option<String>,
    /// The bucket's region; `us-east-1` where nobody says.
    pub region: Option<String>,
    /// The address of an S3-compatible store; buckets are then named in the path.
    pub endpoint: Option<String>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Credentials")
            .field("access_key_id", &self.access_key_id)
            .field("region", &self.region)
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

/// One of the stores there are.
#[derive(Clone, Debug)]
pub enum AnyStore {
    /// In a directory of this machine.
    Directory(Directory),
    /// Behind a sidecar.
    Http(Http),
    /// In this process.
    Memory(Memory),
    /// In S3, or what speaks like it.
    S3(S3),
}

/// Opens the store at `file:///directory`, `s3://bucket/prefix`, `unix:///socket`, `http(s)://host:port` or `memory:`.
///
/// The token of a sidecar's port is `WARMSTART_CACHE_TOKEN`.
/// An address in S3 takes `?endpoint=URL&region=NAME`. Without `credentials` the usual AWS chain applies
/// (environment, profile, container, instance). No request is sent yet.
pub async fn open(url: &str, credentials: Option<&Credentials>) -> Result<AnyStore, Error> {
    let error = |reason: &str| Error::Address { url: url.to_owned(), reason: reason.to_owned() };
    let address = Url::parse(url).map_err(|_| error("is no URL"))?;
    match address.scheme() {
        "memory" => Ok(AnyStore::Memory(Memory::new())),
        "s3" => Box::pin(S3::open(&address, credentials)).await.map(AnyStore::S3),
        "unix" | "http" | "https" => Http::open(&address, Token::from_environment()?).map(AnyStore::Http),
        "file" => {
            let path = address.to_file_path().map_err(|()| error("names no directory of this machine"))?;
            if path == Path::new("/") {
                return Err(error("is the root directory"));
            }
            Directory::open(path).map(AnyStore::Directory)
        }
        _ => Err(error("names no kind of store")),
    }
}

/// Calls the same method of whichever store it is.
macro_rules! dispatch {
    ($self:ident, $store:ident => $call:expr) => {
        match $self {
            AnyStore::Directory($store) => $call.await,
            AnyStore::Memory($store) => $call.await,
            // The futures of clients are large; nobody else should pay for their size.
            AnyStore::Http($store) => Box::pin($call).await,
            AnyStore::S3($store) => Box::pin($call).await,
        }
    };
}

impl Store for AnyStore {
    async fn get(&self, key: &str, range: Option<Range<u64>>) -> Result<Option<Object>, Error> {
        dispatch!(self, store => store.get(key, range))
    }

    async fn put(&self, key: &str, bytes: Bytes) -> Result<Etag, Error> {
        dispatch!(self, store => store.put(key, bytes))
    }

    async fn put_if_absent(&self, key: &str, bytes: Bytes) -> Result<Option<Etag>, Error> {
        dispatch!(self, store => store.put_if_absent(key, bytes))
    }

    async fn put_if_match(&self, key: &str, bytes: Bytes, etag: &Etag) -> Result<Option<Etag>, Error> {
        dispatch!(self, store => store.put_if_match(key, bytes, etag))
    }

    async fn list(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<Entry>, Error> {
        dispatch!(self, store => store.list(prefix, after, limit))
    }

    async fn touch(&self, key: &str) -> Result<bool, Error> {
        dispatch!(self, store => store.touch(key))
    }

    async fn delete(&self, key: &str) -> Result<(), Error> {
        dispatch!(self, store => store.delete(key))
    }
}
