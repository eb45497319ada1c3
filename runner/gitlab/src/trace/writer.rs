//! Streams into a log.

use super::Shared;
use super::text::Text;
use crate::mask::{PIECE, Pipeline};
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

/// A masked stream into the log: cheap, synchronous, never blocks for the network. Bytes that may be the beginning
/// of a masked value are held back until that is decided; dropping or closing the writer writes them.
#[derive(Debug)]
pub struct Writer {
    shared: Arc<Shared>,
    /// Which of the shared masks the pipeline has.
    masks: usize,
    pipeline: Pipeline,
    text: Text,
    masked: Vec<u8>,
    decoded: String,
}

impl Writer {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        let (masks, current) = shared.masks();
        Self {
            shared: Arc::clone(shared),
            masks,
            pipeline: Pipeline::new(&current),
            text: Text::default(),
            masked: Vec::new(),
            decoded: String::new(),
        }
    }

    /// Writes what is held back.
    ///
    /// Fails when the log's file does (a full disk).
    pub fn close(mut self) -> io::Result<()> {
        self.end()
    }

    fn end(&mut self) -> io::Result<()> {
        self.refresh();
        self.masked.clear();
        self.pipeline.finish(&mut self.masked);
        self.append(true)
    }

    fn refresh(&mut self) {
        if self.shared.masks_version.load(Ordering::Acquire) != self.masks {
            let (version, current) = self.shared.masks();
            self.masks = version;
            self.pipeline.set_masks(&current);
        }
    }

    fn append(&mut self, last: bool) -> io::Result<()> {
        self.decoded.clear();
        self.text.decode(&self.masked, last, &mut self.decoded);
        self.shared.log.lock().unwrap_or_else(PoisonError::into_inner).append(&self.decoded)
    }
}

impl io::Write for Writer {
    /// Takes all of it, in pieces of bounded size. Fails when the log's file does, now or earlier.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.refresh();
        for piece in bytes.chunks(PIECE) {
            self.masked.clear();
            self.pipeline.feed(piece, &mut self.masked);
            self.append(false)?;
        }
        Ok(bytes.len())
    }

    /// Does nothing: what is held back must stay so.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            tracing::warn!(%error, "cannot write the end of a stream to the job's log");
        }
    }
}
