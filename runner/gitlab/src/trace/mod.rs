//! A job's log on its way to GitLab (protocol §1.7), and the job's end (§1.8).

mod finish;
mod log;
mod position;
mod sender;
mod stamp;
mod text;
mod writer;

use crate::client::JobClient;
use crate::mask::Masks;
use crate::{Error, sections, update::Final};
use log::Log;
use position::Position;
use sender::Sender;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

pub use crate::update::Signal;
pub use finish::Finished;
pub use stamp::Stream;
pub(crate) use stamp::stamped;
pub use writer::Writer;

/// How a log is kept and sent.
#[derive(Debug)]
pub struct Options {
    /// Bytes after which the log is cut and a notice ends it.
    pub output_limit: u64,
    /// `CI_DEBUG_TRACE` or `CI_DEBUG_SERVICES` is on: GitLab shows the log to few people only.
    pub debug: bool,
    /// `FF_TIMESTAMPS` is on: every line begins with its time and stream (protocol §2.7).
    pub timestamps: bool,
    /// Where the log's (unlinked) temporary file is made.
    pub directory: PathBuf,
    /// How the log begins.
    pub start: Start,
    /// What must not be seen in it.
    pub masks: Masks,
}

/// GitLab Runner's default limit of a log (protocol §2.7).
pub const OUTPUT_LIMIT: u64 = 4 * 1024 * 1024;

/// How a log begins.
#[derive(Debug)]
pub enum Start {
    /// Empty, here and at GitLab.
    Fresh,
    /// With this log so far, already masked and with its timestamps; GitLab may have less of it, never more.
    Continue(Vec<u8>),
    /// Somewhere after what a lost process sent. GitLab's size is the truth; the log goes on with a newline, a
    /// colour reset and the end of the open section. No checksum is ever sent.
    TakeOver {
        /// The section that the lost process last said was open.
        open_section: Option<String>,
    },
}

/// What writers and the sending loop have in common.
#[derive(Debug)]
struct Shared {
    log: Mutex<Log>,
    timestamps: bool,
    /// Counts the writers.
    writers: AtomicUsize,
    masks: Mutex<Masks>,
    /// Counts the changes of `masks`, so that a write need not lock them.
    masks_version: AtomicUsize,
}

impl Shared {
    /// Bytes and checksum of the log.
    fn size(&self) -> (u64, u32) {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        (log.bytes(), log.checksum())
    }

    fn masks(&self) -> (usize, Masks) {
        let masks = self.masks.lock().unwrap_or_else(PoisonError::into_inner);
        (self.masks_version.load(Ordering::Acquire), masks.clone())
    }

    /// The whole log.
    fn text(&self) -> Result<Vec<u8>, Error> {
        self.check()?;
        let file = self.log.lock().unwrap_or_else(PoisonError::into_inner).file();
        let length = usize::try_from(self.size().0).unwrap_or(usize::MAX);
        Ok(log::read(&file, 0, length)?.into())
    }

    /// Fails if the log's file ever did.
    fn check(&self) -> Result<(), Error> {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.check().map_err(|source| Error::File { what: "write the job's log".into(), source })
    }
}

/// A job's log: a file here, sent to GitLab in the background, with keep-alives while it is silent.
///
/// Dropping it stops everything at once and tells GitLab nothing (a job that belongs to somebody else now).
#[derive(Debug)]
pub struct Trace {
    shared: Arc<Shared>,
    signal: watch::Receiver<Signal>,
    stored: watch::Receiver<u64>,
    stop: CancellationToken,
    sender: AbortOnDropHandle<Sender>,
}

impl Trace {
    /// Makes the file and begins to send. Must be called within a tokio runtime. GitLab need not be there.
    pub fn open(client: JobClient, options: Options) -> Result<Self, Error> {
        let mut log = Log::create(&options.directory, options.output_limit)?;
        let position = begin(&mut log, &options.start, options.timestamps)
            .map_err(|source| Error::File { what: "write the beginning of the job's log".into(), source })?;
        let masks = Mutex::new(options.masks);
        let shared = Arc::new(Shared {
            log: Mutex::new(log),
            timestamps: options.timestamps,
            writers: AtomicUsize::new(0),
            masks,
            masks_version: AtomicUsize::new(0),
        });
        let sender = Sender::new(client, &shared, options.debug, position);
        let (stop, signal, stored) = (CancellationToken::new(), sender.signal(), sender.stored());
        let sender = AbortOnDropHandle::new(tokio::spawn(sender.run(stop.clone())));
        Ok(Self { shared, signal, stored, stop, sender })
    }

    /// A writer of the runner's own lines.
    #[must_use]
    pub fn writer(&self) -> Writer {
        self.stream(Stream::Runner)
    }

    /// A new writer into the log, masked with its own state. What it writes goes into the log in whole lines where
    /// the log has timestamps.
    #[must_use]
    pub fn stream(&self, stream: Stream) -> Writer {
        Writer::new(&self.shared, stream)
    }

    /// Masks these values too from the next write on, in all writers; what a writer holds back already is looked
    /// through with them.
    pub fn add_masks<V: IntoIterator<Item: AsRef<str>>>(&self, values: V) {
        let mut masks = self.shared.masks.lock().unwrap_or_else(PoisonError::into_inner);
        *masks = masks.with(values);
        self.shared.masks_version.fetch_add(1, Ordering::Release);
    }

    /// What GitLab wants of the job; goes forward only.
    #[must_use]
    pub fn signal(&self) -> watch::Receiver<Signal> {
        self.signal.clone()
    }

    /// How many bytes of the log here GitLab has; ends when sending does.
    #[must_use]
    pub fn stored(&self) -> watch::Receiver<u64> {
        self.stored.clone()
    }

    /// How many bytes the log here has. What a writer holds back is not among them.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.shared.size().0
    }

    /// The log so far, for [`Start::Continue`]. Only for short logs: it is read into memory.
    pub fn so_far(&self) -> Result<Vec<u8>, Error> {
        self.shared.text()
    }

    /// Ends the job: sends what is left of the log, then the final state until GitLab says 200 or refuses for good.
    /// Writers must be closed before; what they write later is dropped.
    ///
    /// A job whose log's file failed (a full disk) is reported failed whatever `end` says, and then this fails too.
    /// So it does when GitLab is away for all rounds, or when a part of the log is lost for good.
    pub async fn finish(self, end: Final) -> Result<Finished, Error> {
        let shared = Arc::clone(&self.shared);
        let written = shared.check();
        let end = if written.is_ok() { end } else { end.or_system_failure() };
        let finished = self.stopped().await?.finish(end).await?;
        written.map(|()| finished)
    }

    /// Hands the job over: stops sending, tries for a moment to send what is left, and gives the log so far for
    /// [`Start::Continue`]. Writers must be closed before. Only for short logs: it is read into memory.
    pub async fn detach(self) -> Result<Vec<u8>, Error> {
        let shared = Arc::clone(&self.shared);
        let mut sender = self.stopped().await?;
        let limit = sender.timing().hand_over;
        match tokio::time::timeout(limit, sender.flush()).await {
            Ok(Ok(())) => {}
            Ok(Err(why)) => tracing::warn!("{why}; the next owner of the job sends it"),
            Err(_) => {
                tracing::warn!("GitLab did not take the log within {limit:?}; the next owner of the job sends it");
            }
        }
        shared.text()
    }

    async fn stopped(self) -> Result<Sender, Error> {
        self.shared.log.lock().unwrap_or_else(PoisonError::into_inner).seal();
        self.stop.cancel();
        let stopped = self.sender.await;
        stopped.map_err(|error| Error::File { what: "go on sending the job's log".into(), source: error.into() })
    }
}

/// Writes the beginning of a log and says where it lies in GitLab's.
fn begin(log: &mut Log, start: &Start, timestamps: bool) -> std::io::Result<Position> {
    match start {
        Start::Fresh => Ok(Position::whole()),
        Start::Continue(so_far) => log.begin_with(so_far).map(|()| Position::whole()),
        Start::TakeOver { open_section } => {
            let now = jiff::Timestamp::now().as_second();
            let ends = sections::take_over(open_section.as_deref(), now);
            let ends = if timestamps { stamped(&ends) } else { ends };
            log.append(&format!("\n{ends}")).map(|()| Position::taken_over())
        }
    }
}
