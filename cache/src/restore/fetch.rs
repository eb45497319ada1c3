//! From the store to the workers: ranges of packs, many at a time, bounded by their bytes.

use std::sync::{
    Arc, Mutex,
    mpsc::{Receiver, Sender, channel},
};

use bytes::Bytes;
use futures_util::{
    StreamExt as _, TryStreamExt as _,
    future::{Either, join_all, select},
    stream,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    plan::{Plan, Run},
    worker::Worker,
    write::Writer,
};
use crate::{
    deadline::{Deadline, blocking},
    error::Error,
    scope::Scope,
    store::Store,
};

/// Requests under way at a time.
const CONNECTIONS: usize = 32;
/// Bytes of packs in memory at a time, those that are still to come included.
const BUDGET: usize = 64 << 20;
/// More workers gain nothing: each has a frame of its own in memory, and the file system is one.
const MAX_WORKERS: usize = 16;

/// A range of a pack, and its share of the budget.
pub(super) struct Fetched {
    pub(super) run: usize,
    pub(super) object: String,
    pub(super) bytes: Bytes,
    #[expect(dead_code, reason = "given back when dropped")]
    share: OwnedSemaphorePermit,
}

/// Fetches and writes all content. Every thread that writes has ended when this returns, also after an error.
pub(super) async fn fetch<S: Store>(
    store: &S,
    scope: &Scope,
    writer: &Arc<Writer>,
    deadline: &Deadline,
) -> Result<(), Error> {
    let plan = Arc::new(Plan::new(writer.manifest()));
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(MAX_WORKERS);
    let (queue, fetched) = channel();
    let reading = Box::pin(read(store, scope, writer, &plan, deadline, workers, queue));
    let writing = Box::pin(write(writer, &plan, workers, fetched));
    match select(reading, writing).await {
        Either::Left((read, writing)) => {
            if read.is_err() {
                writer.stop();
            }
            let written = writing.await;
            read.and(written)
        }
        // Workers end before the reading only when one has failed.
        Either::Right((written, _)) => written,
    }
}

async fn read<S: Store>(
    store: &S,
    scope: &Scope,
    writer: &Writer,
    plan: &Plan,
    deadline: &Deadline,
    workers: usize,
    queue: Sender<Fetched>,
) -> Result<(), Error> {
    let budget = Arc::new(Semaphore::new(BUDGET));
    let runs = stream::iter(plan.order(workers)).map(|run| {
        let (budget, Run { pack, start, end, .. }) = (budget.clone(), &plan.runs[run]);
        let object = scope.pack(&writer.manifest().packs[*pack as usize].digest);
        async move {
            let share = budget.acquire_many_owned(end - start).await;
            let share = share.map_err(|error| Error::file("share", "memory", std::io::Error::other(error)))?;
            let bytes = read_range(store, &object, *start, *end, deadline).await?;
            Ok(Fetched { run, object, bytes, share })
        }
    });
    // Nobody takes it only after a worker has failed, whose error is the one to give.
    runs.buffer_unordered(CONNECTIONS)
        .try_for_each(async |fetched| {
            let _ = queue.send(fetched);
            Ok(())
        })
        .await
}

async fn read_range<S: Store>(
    store: &S,
    object: &str,
    start: u32,
    end: u32,
    deadline: &Deadline,
) -> Result<Bytes, Error> {
    let range = u64::from(start)..u64::from(end);
    let found = deadline.within("read a pack", store.get(object, Some(range))).await?;
    let bytes = found.ok_or_else(|| Error::damaged(object, "is missing"))?.bytes;
    if bytes.len() != (end - start) as usize {
        return Err(Error::damaged(object, "is not as long as its manifest says"));
    }
    Ok(bytes)
}

/// Makes what needs no content, while the first ranges come in, and then works on these with all cores.
async fn write(
    writer: &Arc<Writer>,
    plan: &Arc<Plan>,
    workers: usize,
    fetched: Receiver<Fetched>,
) -> Result<(), Error> {
    let preparing = writer.clone();
    blocking(move || preparing.prepare()).await?;
    let fetched = Arc::new(Mutex::new(fetched));
    let work = (0..workers).map(|_| {
        let (writer, plan, fetched) = (writer.clone(), plan.clone(), fetched.clone());
        blocking(move || Worker::new(&writer, &plan)?.work(&fetched))
    });
    // All have ended when this has, also after an error of one.
    join_all(work).await.into_iter().collect()
}
