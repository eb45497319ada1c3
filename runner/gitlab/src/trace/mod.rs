//! A job's log on its way to GitLab (protocol §1.7), and the job's end (§1.8).

use crate::client::JobClient;
use crate::mask::Masks;
use crate::{Error, update::Final};
use std::path::PathBuf;
use tokio::sync::watch;

pub use crate::update::Signal;

/// How a log is kept and sent.
#[derive(Debug)]
pub struct Options {
    /// Bytes after which the log is cut and a notice ends it.
    pub output_limit: u64,
    /// `CI_DEBUG_TRACE` or `CI_DEBUG_SERVICES` is on: GitLab shows the log to few people only.
    pub debug: bool,
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
    /// With this log so far, already masked; GitLab may have less of it, never more.
    Continue(Vec<u8>),
    /// Somewhere after what a lost process sent. GitLab's size is the truth; the log goes on with a newline, a
    /// colour reset and the end of the open section. No checksum is ever sent.
    TakeOver {
        /// The section to end first, if one was open.
        open_section: Option<String>,
    },
}

/// How a job ended at GitLab.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Finished {
    /// GitLab has the whole log and the final state.
    Accepted,
    /// GitLab takes nothing more of this job (cancelled, deleted, timed out there). Why, in GitLab's words.
    Refused(String),
}

/// A job's log: a file here, sent to GitLab in the background, with keep-alives while it is silent.
#[derive(Debug)]
pub struct Trace {}

impl Trace {
    /// Makes the file and begins to send. Must be called within a tokio runtime. GitLab need not be there.
    pub fn open(client: JobClient, options: Options) -> Result<Self, Error> {
        let _ = (client, options);
        todo!()
    }

    /// A new stream into the log, masked with its own state.
    #[must_use]
    pub fn writer(&self) -> Writer {
        todo!()
    }

    /// Masks these values too from the next write on, in all writers; what a writer holds back already is looked
    /// through with them.
    pub fn add_masks<I: IntoIterator<Item = S>, S: AsRef<str>>(&self, values: I) {
        let _ = values.into_iter().map(|value| value.as_ref().len());
        todo!()
    }

    /// What GitLab wants of the job; goes forward only.
    #[must_use]
    pub fn signal(&self) -> watch::Receiver<Signal> {
        todo!()
    }

    /// Ends the job: sends what is left of the log, then the final state until GitLab says 200 or refuses for good.
    /// Writers must be closed before; what they write later is lost.
    ///
    /// Fails when GitLab is away for all rounds, or when a part of the log is lost for good.
    pub async fn finish(self, end: Final) -> Result<Finished, Error> {
        let _ = end;
        std::future::ready(()).await;
        todo!()
    }

    /// Hands the job over: stops sending, tries once to send what is left, and gives the log so far for
    /// [`Start::Continue`]. Only for short logs: it is read into memory.
    pub async fn detach(self) -> Result<Vec<u8>, Error> {
        std::future::ready(()).await;
        todo!()
    }
}

/// A masked stream into the log: cheap, synchronous, never blocks for the network. Bytes that may be the beginning
/// of a masked value are held back until that is decided; dropping or closing the writer writes them.
#[derive(Debug)]
pub struct Writer {}

impl Writer {
    /// Writes what is held back.
    ///
    /// Fails when the log's file does (a full disk).
    pub fn close(self) -> std::io::Result<()> {
        todo!()
    }
}

impl std::io::Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let _ = bytes;
        todo!()
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
