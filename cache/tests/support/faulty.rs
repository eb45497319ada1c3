//! A real store whose answers can be spoilt on the way.

use std::{
    ops::Range,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use warmstart_cache::store::{Entry, Error, Etag, Memory, Object, Store};

/// What happens to calls that contain a text.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Reading gives something else.
    Answer(String, fn(Bytes) -> Bytes),
    /// Reading gives the bytes so far behind those of the range.
    Shift(String, i64),
    /// Reading gives all bytes instead of those of the range.
    Whole(String),
    /// The answer takes so long.
    Delay(String, Duration),
    /// The answer never comes.
    Hang(String),
    /// Writing fails.
    RefuseWrites(String),
}

/// Memory, with faults.
#[derive(Clone, Debug, Default)]
pub struct Faulty {
    pub inner: Memory,
    pub faults: Arc<Mutex<Vec<Fault>>>,
    /// Every call, as verb and key.
    pub calls: Arc<Mutex<Vec<String>>>,
}

impl Faulty {
    pub fn add(&self, fault: Fault) {
        self.faults.lock().expect("lock").push(fault);
    }

    pub fn clear(&self) {
        self.faults.lock().expect("lock").clear();
        self.calls.lock().expect("lock").clear();
    }

    /// How many calls begin with this.
    pub fn count(&self, verb: &str) -> usize {
        self.calls.lock().expect("lock").iter().filter(|call| call.starts_with(verb)).count()
    }

    async fn enter(&self, verb: &str, key: &str) -> Result<(), Error> {
        self.calls.lock().expect("lock").push(format!("{verb} {key}"));
        let faults = self.faults.lock().expect("lock").clone();
        let call = format!("{verb} {key}");
        for fault in faults {
            match fault {
                Fault::Hang(part) if call.contains(&part) => std::future::pending().await,
                Fault::Delay(part, time) if call.contains(&part) => tokio::time::sleep(time).await,
                Fault::RefuseWrites(part) if verb == "put" && key.contains(&part) => {
                    let (action, reason) = (format!("put {key}"), "SlowDown, status 503".to_owned());
                    return Err(Error::Refused { action, reason, retryable: true, source: None });
                }
                _ => {}
            }
        }
        Ok(())
    }
}

impl Store for Faulty {
    async fn get(&self, key: &str, range: Option<Range<u64>>) -> Result<Option<Object>, Error> {
        self.enter("get", key).await?;
        let faults = self.faults.lock().expect("lock").clone();
        let other = |range: Range<u64>, fault: &Fault| match fault {
            Fault::Shift(part, by) if key.contains(part) => {
                range.start.saturating_add_signed(*by)..range.end.saturating_add_signed(*by)
            }
            Fault::Whole(part) if key.contains(part) => 0..u64::MAX,
            _ => range,
        };
        let range = range.map(|range| faults.iter().fold(range, other));
        let Some(mut object) = self.inner.get(key, range).await? else { return Ok(None) };
        for fault in &faults {
            match fault {
                Fault::Answer(part, spoil) if key.contains(part) => object.bytes = spoil(object.bytes),
                _ => {}
            }
        }
        Ok(Some(object))
    }

    async fn put(&self, key: &str, bytes: Bytes) -> Result<Etag, Error> {
        self.enter("put", key).await?;
        self.inner.put(key, bytes).await
    }

    async fn put_if_absent(&self, key: &str, bytes: Bytes) -> Result<Option<Etag>, Error> {
        self.enter("put", key).await?;
        self.inner.put_if_absent(key, bytes).await
    }

    async fn put_if_match(&self, key: &str, bytes: Bytes, etag: &Etag) -> Result<Option<Etag>, Error> {
        self.enter("put", key).await?;
        self.inner.put_if_match(key, bytes, etag).await
    }

    async fn list(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<Entry>, Error> {
        self.enter("list", prefix).await?;
        self.inner.list(prefix, after, limit).await
    }

    async fn touch(&self, key: &str) -> Result<bool, Error> {
        self.enter("touch", key).await?;
        self.inner.touch(key).await
    }

    async fn delete(&self, key: &str) -> Result<(), Error> {
        self.enter("delete", key).await?;
        self.inner.delete(key).await
    }
}
