//! Streams into a log.

use super::Shared;
use super::stamp::{Stamper, Stream};
use super::text::Text;
use crate::mask::{PIECE, Pipeline};
use jiff::Timestamp;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

/// A masked stream into the log: cheap, synchronous, never blocks for the network. Bytes that may be the beginning
/// of a masked value are held back until that is decided, and with timestamps the beginning of a line; dropping or
/// closing the writer writes them.
#[derive(Debug)]
pub struct Writer {
    shared: Arc<Shared>,
    /// Which of the shared masks the pipeline has.
    masks: usize,
    pipeline: Pipeline,
    text: Text,
    /// Where lines carry their time.
    stamper: Option<Stamper>,
    number: usize,
    masked: Vec<u8>,
    decoded: String,
    entries: String,
}

impl Writer {
    pub(super) fn new(shared: &Arc<Shared>, stream: Stream) -> Self {
        let (masks, current) = shared.masks();
        Self {
            shared: Arc::clone(shared),
            masks,
            pipeline: Pipeline::new(&current),
            text: Text::default(),
            stamper: shared.timestamps.then(|| Stamper::new(stream)),
            number: shared.writers.fetch_add(1, Ordering::Relaxed),
            masked: Vec::new(),
            decoded: String::new(),
            entries: String::new(),
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
        let mut log = self.shared.log.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(stamper) = &mut self.stamper else { return log.append(&self.decoded) };
        self.entries.clear();
        stamper.push(&self.decoded, Timestamp::now(), log.is_last(self.number), &mut self.entries);
        if last {
            stamper.finish(&mut self.entries);
        }
        log.append_entries(self.number, &self.entries)
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

#[cfg(test)]
mod tests {
    use super::super::log::Log;
    use super::super::stamp::tests::joined;
    use super::*;
    use crate::mask::{Masker, Masks};
    use proptest::prelude::*;
    use std::io::Write;
    use std::sync::Mutex;
    use std::sync::atomic::AtomicUsize;

    /// The log after these writes of one stream.
    fn logged(masks: &Masks, pieces: &[Vec<u8>]) -> String {
        let shared = Arc::new(Shared {
            log: Mutex::new(Log::create(&std::env::temp_dir(), u64::MAX).expect("a log")),
            timestamps: true,
            writers: AtomicUsize::new(0),
            masks: Mutex::new(masks.clone()),
            masks_version: AtomicUsize::new(0),
        });
        let mut writer = Writer::new(&shared, Stream::Stdout);
        for piece in pieces {
            writer.write_all(piece).expect("written");
        }
        writer.close().expect("written");
        String::from_utf8(shared.text().expect("the log")).expect("UTF-8")
    }

    /// What a stream's bytes are in the log, without any timestamps.
    fn masked(masks: &Masks, bytes: &[u8]) -> String {
        let mut masker = Masker::new(Vec::new(), masks);
        masker.write_all(bytes).expect("a Vec takes all");
        let text = String::from_utf8_lossy(&masker.finish().expect("a Vec takes all")).into_owned();
        if text.is_empty() || text.ends_with('\n') { text } else { text + "\n" }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn however_a_stream_is_cut_into_writes_its_log_has_the_same_masked_lines(
            writes in prop::collection::vec(prop_oneof![
                "(secret|line one\nline two|sec|glpat-|ret|one|\n|\r| ){0,4}".prop_map(String::into_bytes),
                prop::collection::vec(any::<u8>(), 0..4),
                // Two of them are more than a line may hold.
                Just(b"long ".repeat(1000)),
            ], 0..16),
        ) {
            let masks = Masks::new(["secret", "line one\nline two"], [""; 0]);
            let log = logged(&masks, &writes);
            prop_assert_eq!(joined(&log), masked(&masks, &writes.concat()));
            prop_assert!(!log.contains("secret"));
        }
    }
}
