//! Work on files that keeps a thread busy. Dropping its future stops nothing: the thread would go on after the job.

use std::io::{Error, Read, Result, Seek, SeekFrom, Write};
use std::time::Duration;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long the end of a job waits for a thread to notice it.
const PATIENCE: Duration = Duration::from_mins(1);

/// The threads of a job. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Work {
    stop: CancellationToken,
    threads: TaskTracker,
}

impl Work {
    /// Does it on a thread. What takes long reads or writes through [`Work::guard`].
    pub async fn run<T: Send + 'static>(
        &self,
        doing: &str,
        work: impl FnOnce() -> std::result::Result<T, String> + Send + 'static,
    ) -> std::result::Result<T, String> {
        let done = self.threads.spawn_blocking(work).await.map_err(|e| e.to_string());
        done.flatten().map_err(|e| format!("cannot {doing}: {e}"))
    }

    /// A file, or something like it, of which no call succeeds after the job's end.
    pub fn guard<T>(&self, inner: T) -> Guarded<T> {
        Guarded { inner, stop: self.stop.clone() }
    }

    /// Stops what is under way, and waits until it has noticed.
    pub async fn end(&self) {
        self.stop.cancel();
        self.threads.close();
        if timeout(PATIENCE, self.threads.wait()).await.is_err() {
            tracing::warn!("work on a job's files goes on after its end");
        }
    }
}

/// Given by [`Work::guard`].
#[derive(Debug)]
pub struct Guarded<T> {
    inner: T,
    stop: CancellationToken,
}

impl<T> Guarded<T> {
    fn inner(&mut self) -> Result<&mut T> {
        if self.stop.is_cancelled() { Err(Error::other("the job is over")) } else { Ok(&mut self.inner) }
    }
}

impl<T: Read> Read for Guarded<T> {
    fn read(&mut self, bytes: &mut [u8]) -> Result<usize> {
        self.inner()?.read(bytes)
    }
}

impl<T: Write> Write for Guarded<T> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        self.inner()?.write(bytes)
    }

    fn flush(&mut self) -> Result<()> {
        self.inner()?.flush()
    }
}

impl<T: Seek> Seek for Guarded<T> {
    fn seek(&mut self, to: SeekFrom) -> Result<u64> {
        self.inner()?.seek(to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_end_waits_for_a_thread_which_can_do_nothing_more() {
        let (work, started) = (Work::default(), CancellationToken::new());
        let (mut zeros, begun) = (work.guard(std::io::repeat(0)), started.clone());
        let doing = work.clone();
        let endless = tokio::spawn(async move {
            let work = move || {
                begun.cancel();
                std::io::copy(&mut zeros, &mut std::io::sink()).map_err(|error| error.to_string())
            };
            doing.run("count zeros", work).await
        });
        started.cancelled().await;
        work.end().await;
        assert_eq!(endless.await.expect("no panic"), Err("cannot count zeros: the job is over".to_owned()));
    }
}
