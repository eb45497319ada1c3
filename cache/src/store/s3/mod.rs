//! Objects in S3, or in a store that speaks like it.
//!
//! The SDK retries by itself (five attempts, with back-off); nothing here retries again. Its checksums are left
//! off where S3 does not demand them: what this crate stores is verified by its own digests, and many compatible
//! stores know no trailers.

mod address;
mod client;
mod roots;
mod signature;

use std::ops::Range;

use aws_sdk_s3::{
    Client,
    error::{DisplayErrorContext, ProvideErrorMetadata, SdkError},
    operation::get_object::GetObjectOutput,
    primitives::ByteStream,
    types::{MetadataDirective, RequestPayer},
};
use bytes::{Bytes, BytesMut};
use url::Url;

use self::{
    address::{Address, Encryption},
    signature::BodyDigest,
};
use super::{Credentials, Entry, Error, Etag, Object, Store, check_key, check_prefix};

/// A prefix in a bucket.
#[derive(Clone, Debug)]
pub struct S3 {
    client: Client,
    bucket: String,
    prefix: String,
    encryption: Encryption,
    payer: Option<RequestPayer>,
}

impl S3 {
    /// Makes a client for `s3://bucket/prefix?option=value&…`; sends nothing yet. The options are `endpoint`,
    /// `region`, `path-style`, `sse`, `kms-key`, `bucket-key` and `requester-pays`; another one is an error.
    pub async fn open(address: &Url, credentials: Option<&Credentials>) -> Result<Self, Error> {
        let address = Address::parse(address)?;
        let client = client::client(&address, credentials).await?;
        let Address { bucket, prefix, encryption, payer, .. } = address;
        Ok(Self { client, bucket, prefix, encryption, payer })
    }

    fn name(&self, key: &str) -> Result<String, Error> {
        check_key(key)?;
        Ok(self.full(key))
    }

    fn full(&self, key: &str) -> String {
        if self.prefix.is_empty() { key.to_owned() } else { format!("{}/{key}", self.prefix) }
    }

    fn action(&self, verb: &str, key: &str) -> String {
        format!("{verb} s3://{}/{}", self.bucket, self.full(key))
    }

    async fn write(&self, key: &str, bytes: Bytes, condition: Condition<'_>) -> Result<Option<Etag>, Error> {
        let Encryption { method, kms_key, bucket_key } = self.encryption.clone();
        let request = self.client.put_object().bucket(&self.bucket).key(self.name(key)?).body(ByteStream::from(bytes));
        let request = request.set_server_side_encryption(method).set_ssekms_key_id(kms_key);
        let request = request.set_bucket_key_enabled(bucket_key).set_request_payer(self.payer.clone());
        let conditional = !matches!(condition, Condition::None);
        let request = match condition {
            Condition::None => request,
            Condition::Absent => request.if_none_match("*"),
            Condition::Match(etag) => request.if_match(&etag.0),
        };
        let mut request = request.customize();
        if let Some(digest) = BodyDigest::of_key(key) {
            request = request.interceptor(digest);
        }
        match request.send().await {
            Ok(output) => Ok(Some(Etag(output.e_tag.unwrap_or_default()))),
            // 404: the object that should match is gone.
            Err(error) if conditional && matches!(status(&error), Some(412 | 404)) && !no_bucket(&error) => Ok(None),
            Err(error) => Err(explain(self.action("put", key), error)),
        }
    }
}

impl Store for S3 {
    async fn get(&self, key: &str, range: Option<Range<u64>>) -> Result<Option<Object>, Error> {
        let header = match &range {
            Some(range) if range.is_empty() => {
                return Ok(Some(Object { bytes: Bytes::new(), etag: None, modified: None }));
            }
            Some(range) => Some(format!("bytes={}-{}", range.start, range.end - 1)),
            None => None,
        };
        let request = self.client.get_object().bucket(&self.bucket).key(self.name(key)?).set_range(header);
        let request = request.set_request_payer(self.payer.clone());
        match request.send().await {
            Ok(output) => read_body(output, range, self.action("get", key)).await.map(Some),
            Err(error) if status(&error) == Some(404) && !no_bucket(&error) => Ok(None),
            Err(error) if status(&error) == Some(416) => {
                Ok(Some(Object { bytes: Bytes::new(), etag: None, modified: None }))
            }
            Err(error) => Err(explain(self.action("get", key), error)),
        }
    }

    async fn put(&self, key: &str, bytes: Bytes) -> Result<Etag, Error> {
        Ok(self.write(key, bytes, Condition::None).await?.unwrap_or_else(|| Etag(String::new())))
    }

    async fn put_if_absent(&self, key: &str, bytes: Bytes) -> Result<Option<Etag>, Error> {
        self.write(key, bytes, Condition::Absent).await
    }

    async fn put_if_match(&self, key: &str, bytes: Bytes, etag: &Etag) -> Result<Option<Etag>, Error> {
        self.write(key, bytes, Condition::Match(etag)).await
    }

    async fn list(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<Entry>, Error> {
        check_prefix(prefix)?;
        let mut entries = Vec::new();
        let mut token = None;
        while entries.len() < limit {
            let wanted = i32::try_from(limit - entries.len()).unwrap_or(i32::MAX).min(1000);
            let request = self.client.list_objects_v2().bucket(&self.bucket).prefix(self.full(prefix)).max_keys(wanted);
            let start = (!after.is_empty()).then(|| self.full(after));
            let request = request.set_start_after(start).set_continuation_token(token);
            let answer = request.set_request_payer(self.payer.clone()).send().await;
            let page = answer.map_err(|error| explain(self.action("list", prefix), error))?;
            entries.extend(page.contents().iter().filter_map(|object| self.entry(object)));
            token = page.next_continuation_token;
            if token.is_none() {
                break;
            }
        }
        entries.truncate(limit);
        Ok(entries)
    }

    /// Copies the object onto itself: S3 allows that only with something replaced, here the (empty) metadata.
    async fn touch(&self, key: &str) -> Result<bool, Error> {
        let name = self.name(key)?;
        // Keys need no escaping: they consist of characters that stand for themselves in URLs.
        let source = format!("{}/{name}", self.bucket);
        let request = self.client.copy_object().bucket(&self.bucket).key(name).copy_source(source);
        let Encryption { method, kms_key, bucket_key } = self.encryption.clone();
        let request = request.set_server_side_encryption(method).set_ssekms_key_id(kms_key);
        let request = request.set_bucket_key_enabled(bucket_key).set_request_payer(self.payer.clone());
        match request.metadata_directive(MetadataDirective::Replace).send().await {
            Ok(_) => Ok(true),
            Err(error) if status(&error) == Some(404) && !no_bucket(&error) => Ok(false),
            Err(error) => Err(explain(self.action("touch", key), error)),
        }
    }

    async fn delete(&self, key: &str) -> Result<(), Error> {
        let request = self.client.delete_object().bucket(&self.bucket).key(self.name(key)?);
        let request = request.set_request_payer(self.payer.clone());
        match request.send().await {
            Ok(_) => Ok(()),
            Err(error) if status(&error) == Some(404) && !no_bucket(&error) => Ok(()),
            Err(error) => Err(explain(self.action("delete", key), error)),
        }
    }
}

impl S3 {
    fn entry(&self, object: &aws_sdk_s3::types::Object) -> Option<Entry> {
        let key = object.key()?.strip_prefix(&self.prefix)?.trim_start_matches('/').to_owned();
        let modified = object.last_modified().and_then(|time| (*time).try_into().ok());
        let size = object.size().and_then(|size| u64::try_from(size).ok()).unwrap_or(0);
        Some(Entry { key, size, modified: modified.unwrap_or(std::time::UNIX_EPOCH) })
    }
}

/// What has to be true of the object that is there.
enum Condition<'etag> {
    None,
    Absent,
    Match(&'etag Etag),
}

/// Reads at most the range that was asked for, also from a store that answers with the whole object or never ends.
async fn read_body(output: GetObjectOutput, range: Option<Range<u64>>, action: String) -> Result<Object, Error> {
    let whole = output.content_range().is_none();
    if let (Some(range), Some(given)) = (&range, output.content_range())
        && !given.starts_with(&format!("bytes {}-", range.start))
    {
        return Err(Error::damaged(action, format!("asked for bytes from {}, answered {given}", range.start)));
    }
    let (mut skip, limit) = match &range {
        Some(range) => (if whole { range.start } else { 0 }, range.end - range.start),
        None => (0, u64::MAX),
    };
    let etag = output.e_tag.clone().filter(|_| range.is_none()).map(Etag);
    let modified = output.last_modified.and_then(|time| time.try_into().ok());
    let (mut body, mut bytes) = (output.body, BytesMut::new());
    while (bytes.len() as u64) < limit {
        let Some(mut piece) = body.try_next().await.map_err(|error| broken(action.clone(), error))? else { break };
        let skipped = usize::try_from(skip).unwrap_or(usize::MAX).min(piece.len());
        skip -= skipped as u64;
        let _ = piece.split_to(skipped);
        let room = usize::try_from(limit - bytes.len() as u64).unwrap_or(usize::MAX);
        piece.truncate(room);
        bytes.extend_from_slice(&piece);
    }
    Ok(Object { bytes: bytes.freeze(), etag, modified })
}

fn broken(action: String, error: aws_sdk_s3::primitives::ByteStreamError) -> Error {
    Error::Unreachable { action, reason: "the answer broke off".to_owned(), source: Some(error.into()) }
}

fn status<E>(error: &SdkError<E>) -> Option<u16> {
    error.raw_response().map(|response| response.status().as_u16())
}

fn no_bucket<E: ProvideErrorMetadata>(error: &SdkError<E>) -> bool {
    error.code() == Some("NoSuchBucket")
}

/// Sorts the SDK's errors into ours: no answer, denied, or an answer that says no.
fn explain<E>(action: String, error: SdkError<E>) -> Error
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let Some(status) = status(&error) else {
        let reason = root_cause(&error);
        return Error::Unreachable { action, reason, source: Some(error.into()) };
    };
    let code = error.code().unwrap_or("no error code");
    let reason = format!("{code}, status {status}");
    let retryable = status >= 500 || matches!(status, 408 | 409 | 429);
    match status {
        401 | 403 => Error::Denied { action, reason, source: Some(error.into()) },
        _ => Error::Refused { action, reason, retryable, source: Some(error.into()) },
    }
}

/// The innermost message of an error: what a person can act on.
fn root_cause<E: std::error::Error + 'static>(error: &SdkError<E>) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    let text = cause.to_string();
    if text.is_empty() { DisplayErrorContext(error).to_string() } else { text }
}
