//! The log's file: everything a job printed, its checksum, and its limit (protocol §2.7, limit and encoding).

use crate::Error;
use crate::sections::limit_notice;
use bytes::Bytes;
use rustix::fs::FallocateFlags;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

/// Most bytes of the disk that are reserved for a log.
const RESERVED: u64 = 8 << 20;
/// Room for the notice of the limit.
const NOTICE: u64 = 4096;

/// An append-only log in an unlinked file: nothing of it stays behind, whatever happens to the process.
#[derive(Debug)]
pub(super) struct Log {
    file: Arc<File>,
    bytes: u64,
    checksum: crc32fast::Hasher,
    limit: u64,
    /// Nothing more is taken: the limit is reached, or the job is over.
    full: bool,
    /// The first failure of the file. From then on the log has a hole, and its job cannot end well.
    broken: Option<(std::io::ErrorKind, String)>,
    /// The writer of the last entry.
    last: Option<usize>,
}

impl Log {
    pub(super) fn create(directory: &Path, limit: u64) -> Result<Self, Error> {
        let what = || format!("create the job's log in {}", directory.display());
        let file = tempfile::tempfile_in(directory).map_err(|source| Error::File { what: what(), source })?;
        reserve(&file, limit);
        let checksum = crc32fast::Hasher::new();
        Ok(Self { file: Arc::new(file), bytes: 0, checksum, limit, full: false, broken: None, last: None })
    }

    /// Appends; at the limit it appends what fits and the notice, and drops everything from then on.
    pub(super) fn append(&mut self, text: &str) -> std::io::Result<()> {
        let room = self.limit.saturating_sub(self.bytes);
        if self.full || text.is_empty() {
            return self.check();
        }
        if (text.len() as u64) < room {
            return self.write(text.as_bytes());
        }
        let room = usize::try_from(room).unwrap_or(usize::MAX);
        self.full = true;
        self.write(&text.as_bytes()[..text.floor_char_boundary(room)])?;
        self.write(limit_notice(self.limit).as_bytes())
    }

    /// Appends a writer's entries.
    pub(super) fn append_entries(&mut self, writer: usize, entries: &str) -> std::io::Result<()> {
        if !entries.is_empty() {
            self.last = Some(writer);
        }
        self.append(entries)
    }

    /// Whether the last entry is that writer's.
    pub(super) fn is_last(&self, writer: usize) -> bool {
        self.last == Some(writer)
    }

    /// Appends what is in the log already elsewhere; its notice too, if it was full.
    pub(super) fn begin_with(&mut self, log: &[u8]) -> std::io::Result<()> {
        self.full = log.len() as u64 >= self.limit;
        self.write(log)
    }

    /// Drops what is written from now on: checksum and size are final.
    pub(super) fn seal(&mut self) {
        self.full = true;
    }

    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.check()?;
        if let Err(error) = self.file.write_all_at(bytes, self.bytes) {
            self.broken = Some((error.kind(), error.to_string()));
            return Err(error);
        }
        self.checksum.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Fails if an earlier write did.
    pub(super) fn check(&self) -> std::io::Result<()> {
        match &self.broken {
            Some((kind, why)) => Err(std::io::Error::new(*kind, why.clone())),
            None => Ok(()),
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn checksum(&self) -> u32 {
        self.checksum.clone().finalize()
    }

    /// A way to read what is written, without holding the log.
    pub(super) fn file(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }
}

/// Takes room on the disk for the log, up to what is usual: a job that fills the disk is told so in its log. Where the
/// room is not to be had the log may fail later.
fn reserve(file: &File, limit: u64) {
    let wanted = limit.saturating_add(NOTICE).min(RESERVED);
    if let Err(error) = rustix::fs::fallocate(file, FallocateFlags::KEEP_SIZE, 0, wanted) {
        tracing::debug!("no room is reserved for the job's log: {error}");
    }
}

/// Reads a part of a log that is known to be written.
pub(super) fn read(file: &File, offset: u64, length: usize) -> Result<Bytes, Error> {
    let mut part = vec![0; length];
    let read = file.read_exact_at(&mut part, offset);
    read.map_err(|source| Error::File { what: "read the job's log".into(), source })?;
    Ok(part.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(limit: u64) -> Log {
        Log::create(&std::env::temp_dir(), limit).expect("a log")
    }

    fn content(log: &Log) -> String {
        let length = usize::try_from(log.bytes()).expect("small");
        String::from_utf8(read(&log.file(), 0, length).expect("reads").to_vec()).expect("UTF-8")
    }

    #[test]
    fn checksum_and_size_are_those_of_the_vectors() {
        let mut log = log(100);
        assert_eq!((log.checksum(), log.bytes()), (0, 0));
        log.append("hel").expect("writes");
        log.append("lo\n").expect("writes");
        assert_eq!((log.checksum(), log.bytes()), (0x363a_3020, 6));
        let mut other = self::log(100);
        other.append("123456789").expect("writes");
        assert_eq!(other.checksum(), 0xcbf4_3926);
    }

    #[test]
    fn at_the_limit_the_log_is_cut_between_characters_and_a_notice_ends_it() {
        let notice = limit_notice(10);
        let cases = [
            (vec!["123456789"], "123456789", false),
            (vec!["1234567890"], "1234567890", true),
            (vec!["12345678901", "later"], "1234567890", true),
            (vec!["12345678é", "é"], "12345678é", true),
            (vec!["123456789é"], "123456789", true),
            (vec!["12345678", "🦀", "later"], "12345678", true),
        ];
        for (writes, kept, full) in cases {
            let mut log = log(10);
            for text in &writes {
                log.append(text).expect("writes");
            }
            let expected = if full { format!("{kept}{notice}") } else { kept.to_owned() };
            assert_eq!(content(&log), expected, "{writes:?}");
            assert_eq!(log.checksum(), crc32fast::hash(expected.as_bytes()), "{writes:?}");
        }
    }

    #[test]
    fn a_log_that_goes_on_keeps_its_checksum_and_its_limit() {
        let mut log = log(10);
        log.begin_with(b"12345").expect("writes");
        log.append("67890").expect("writes");
        log.append("later").expect("writes");
        assert_eq!(content(&log), format!("1234567890{}", limit_notice(10)));
    }

    #[test]
    fn a_failed_write_is_not_forgotten() {
        let mut log = log(10);
        log.file = Arc::new(File::open("/dev/null").expect("opens for reading only"));
        log.append("x").expect_err("not writable");
        assert!(log.check().is_err() && log.append("y").is_err() && log.bytes() == 0);
    }
}
