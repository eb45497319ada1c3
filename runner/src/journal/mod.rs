//! What a runner must not forget, in a store: jobs, executors, and what the runner itself is.
//!
//! | key | content | written |
//! |---|---|---|
//! | `jobs/<id>` | [`Job`] | at acquire (put if absent), offer, ack, script, loss and end; deleted when the end is settled |
//! | `executors/<id>` | [`Executor`] | before its launch, at registration, at each job it takes; deleted when it is gone |
//! | `runner/identity` | [`Identity`] | once |
//! | `tokens/<sha256>` | [`Token`] of the entry whose configured token has that hash | before and after each renewal |
//! | `runner/port` | the port of the agents' API | when it is chosen |
//!
//! An executor's record is also the intent of its launch. All are JSON, `{"version": 1, "record": …}`; unknown fields
//! are ignored, so a runner of an earlier version can read what a later one wrote. Payloads and tokens are in it: the
//! directory store is private to its user.

mod identity;
mod lock;
mod tokens;

use crate::ownership::{Executor, Job};
use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::collections::BTreeMap;
use std::time::Duration;
use warmstart_cache::store::{self, AnyStore, Store};

pub use identity::Identity;
pub(crate) use identity::random_hex;
pub use lock::Lock;
pub use tokens::Token;

/// The version of the records.
const VERSION: u32 = 1;

/// A store that takes longer is treated as one that failed: agents are waiting for the answer.
const LIMIT: Duration = Duration::from_secs(20);

/// Why the journal could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store's own reason.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// No answer in time.
    #[error("no answer from the state store for {key} within {} s", LIMIT.as_secs())]
    Slow {
        /// The key.
        key: String,
    },
    /// A record that is not what it should be.
    #[error("record {key} in the state store is not readable: {reason}")]
    Record {
        /// The key.
        key: String,
        /// Why.
        reason: String,
    },
    /// Another job's record is where a new one should be written.
    #[error("the state store already has another {key}")]
    Taken {
        /// The key.
        key: String,
    },
    /// The directory cannot be locked, or another runner has it.
    #[error("{0}")]
    Lock(String),
}

/// The journal in its store.
#[derive(Clone, Debug)]
pub struct Journal {
    store: AnyStore,
}

#[derive(Deserialize, Serialize)]
struct Versioned<T> {
    version: u32,
    record: T,
}

impl Journal {
    /// Opens the journal at `file:///directory` or `s3://bucket/prefix`.
    pub async fn open(url: &str) -> Result<Self, Error> {
        Ok(Self { store: Box::pin(store::open(url, None)).await? })
    }

    /// All jobs and executors. An unreadable record is left where it is and reported in the log: a runner that did
    /// not start for it would lose all the others.
    pub async fn load(&self) -> Result<(Vec<Job>, BTreeMap<String, Executor>), Error> {
        let jobs = self.load_all::<Job>("jobs/").await?;
        let executors = self.load_all::<Executor>("executors/").await?;
        Ok((jobs.into_values().collect(), executors))
    }

    async fn load_all<T: DeserializeOwned>(&self, prefix: &str) -> Result<BTreeMap<String, T>, Error> {
        let mut records = BTreeMap::new();
        for entry in within(prefix, store::list_all(&self.store, prefix)).await? {
            match self.read(&entry.key).await {
                Ok(Some(record)) => drop(records.insert(entry.key[prefix.len()..].to_owned(), record)),
                Ok(None) => {}
                Err(error @ Error::Record { .. }) => tracing::error!("{error}; it is left out"),
                Err(error) => return Err(error),
            }
        }
        Ok(records)
    }

    /// Writes a new job. A record of the same job is fine (the answer to an earlier try was lost), another is not.
    pub async fn create(&self, job: &Job) -> Result<(), Error> {
        let key = job_key(job.id);
        let bytes = encode(&key, job)?;
        if within(&key, self.store.put_if_absent(&key, bytes.clone())).await?.is_some() {
            return Ok(());
        }
        match self.read::<Job>(&key).await? {
            Some(known) if known.url != job.url || known.token != job.token => Err(Error::Taken { key }),
            _ => within(&key, self.store.put(&key, bytes)).await.map(drop),
        }
    }

    /// Writes a job.
    pub async fn write(&self, job: &Job) -> Result<(), Error> {
        self.put(&job_key(job.id), job).await
    }

    /// Deletes a job.
    pub async fn remove(&self, job: u64) -> Result<(), Error> {
        let key = job_key(job);
        within(&key, self.store.delete(&key)).await
    }

    /// Writes an executor.
    pub async fn write_executor(&self, id: &str, executor: &Executor) -> Result<(), Error> {
        self.put(&format!("executors/{id}"), executor).await
    }

    /// Deletes an executor.
    pub async fn remove_executor(&self, id: &str) -> Result<(), Error> {
        let key = format!("executors/{id}");
        within(&key, self.store.delete(&key)).await
    }

    /// The port that an earlier runner chose.
    pub async fn port(&self) -> Result<Option<u16>, Error> {
        self.read("runner/port").await
    }

    /// Keeps the port: running agents know no other.
    pub async fn keep_port(&self, port: u16) -> Result<(), Error> {
        self.put("runner/port", &port).await
    }

    async fn put<T: Serialize>(&self, key: &str, record: &T) -> Result<(), Error> {
        within(key, self.store.put(key, encode(key, record)?)).await.map(drop)
    }

    async fn read<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, Error> {
        let object = within(key, self.store.get(key, None)).await?;
        object.map(|object| decode(key, &object.bytes)).transpose()
    }
}

/// Bounds a call. Boxed, because the futures of the S3 client are of tens of kilobytes.
fn within<'a, T: 'a>(
    key: &'a str,
    call: impl Future<Output = Result<T, store::Error>> + Send + 'a,
) -> impl Future<Output = Result<T, Error>> + Send + 'a {
    let call = Box::pin(call);
    async move {
        match tokio::time::timeout(LIMIT, call).await {
            Ok(result) => Ok(result?),
            Err(_) => Err(Error::Slow { key: key.to_owned() }),
        }
    }
}

fn job_key(id: u64) -> String {
    format!("jobs/{id}")
}

fn encode<T: Serialize>(key: &str, record: &T) -> Result<Bytes, Error> {
    let text = serde_json::to_vec(&Versioned { version: VERSION, record });
    text.map(Bytes::from).map_err(|error| Error::Record { key: key.to_owned(), reason: error.to_string() })
}

fn decode<T: DeserializeOwned>(key: &str, bytes: &[u8]) -> Result<T, Error> {
    let unreadable = |error: serde_json::Error| Error::Record { key: key.to_owned(), reason: error.to_string() };
    serde_json::from_slice::<Versioned<T>>(bytes).map(|versioned| versioned.record).map_err(unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Time;
    use crate::ownership::{DEFAULT_POOL, NewExecutor, Sharing};
    use std::path::Path;
    use tempfile::TempDir;

    async fn journal() -> (TempDir, Journal) {
        let directory = tempfile::tempdir().expect("a directory");
        let journal = open_at(directory.path()).await;
        (directory, journal)
    }

    async fn open_at(directory: &Path) -> Journal {
        Journal::open(&format!("file://{}/state", directory.display())).await.expect("a journal")
    }

    /// A record as an early version might have written it, with a field of a later one.
    fn record(token: &str) -> String {
        format!(
            r#"{{"version": 1, "record": {{"id": 7, "entry": "test", "url": "https://gitlab.test", "token": "{token}",
            "acquired": 1000, "waiting": 1000, "timeout": {{"secs": 60, "nanos": 0}}, "generation": 1, "log": "live",
            "payload": {{"id":7, "exact":  [1.50]}}, "phase": {{"waiting": {{}}}}, "of_a_later_version": true}}}}"#
        )
    }

    fn new_executor() -> NewExecutor {
        let (pool, sharing) = (DEFAULT_POOL.to_owned(), Sharing::default());
        NewExecutor { pool, token_sha256: "hash".to_owned(), launch: None, sharing }
    }

    fn job(token: &str) -> Job {
        decode("jobs/7", record(token).as_bytes()).expect("readable")
    }

    #[tokio::test]
    async fn what_is_written_is_read_by_the_next_runner_to_the_byte_of_the_payload() {
        let (directory, journal) = journal().await;
        journal.create(&job("t")).await.expect("written");
        journal.write_executor("local-1", &Executor::new(new_executor(), Time::from_secs(5))).await.expect("written");
        let (jobs, executors) = open_at(directory.path()).await.load().await.expect("readable");
        assert_eq!(jobs[0].payload.as_ref().expect("a payload").get(), r#"{"id":7, "exact":  [1.50]}"#);
        assert_eq!((jobs.len(), executors["local-1"].token_sha256.as_str()), (1, "hash"));
        journal.remove(7).await.expect("deleted");
        journal.remove_executor("local-1").await.expect("deleted");
        let (jobs, executors) = journal.load().await.expect("readable");
        assert!(jobs.is_empty() && executors.is_empty());
    }

    #[tokio::test]
    async fn a_job_is_created_again_after_a_lost_answer_but_never_over_another() {
        let (_directory, journal) = journal().await;
        for _ in 0..2 {
            journal.create(&job("t")).await.expect("written");
        }
        assert!(matches!(journal.create(&job("other")).await, Err(Error::Taken { .. })));
    }

    #[tokio::test]
    async fn an_unreadable_record_does_not_stop_the_others() {
        let (directory, journal) = journal().await;
        journal.create(&job("t")).await.expect("written");
        std::fs::write(directory.path().join("state/jobs/8"), "{").expect("written");
        assert_eq!(journal.load().await.expect("readable").0.len(), 1);
        assert!(directory.path().join("state/jobs/8").exists(), "it is left for people");
    }

    #[tokio::test]
    async fn the_identity_is_made_once() {
        let (directory, journal) = journal().await;
        let first = journal.identity().await.expect("an identity");
        let second = open_at(directory.path()).await.identity().await.expect("an identity");
        assert_eq!((&first.system_id, &first.certificate), (&second.system_id, &second.certificate));
        assert!(warmstart_gitlab::token::is_system_id(&first.system_id));
        assert!(!format!("{first:?}").contains("PRIVATE KEY"));
    }

    #[test]
    fn a_directory_is_one_runners_at_a_time() {
        let directory = tempfile::tempdir().expect("a directory");
        let lock = Lock::take(directory.path()).expect("free");
        let message = Lock::take(directory.path()).expect_err("taken").to_string();
        assert!(message.contains("another warmstart-runner uses it"), "{message}");
        drop(lock);
        Lock::take(directory.path()).expect("free again");
    }
}
