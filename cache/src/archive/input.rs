//! An archive's bytes, decompressed and bounded.

use std::{
    cell::Cell,
    io::{self, BufRead as _, BufReader, Read},
    rc::Rc,
};

/// The first bytes of a zstd frame, and of gzip's.
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// Bytes of headers that may stand before an entry: names and extended headers are kept in memory.
const MAX_HEADERS: u64 = 1 << 20;

/// Takes away zstd's compression, if there is any.
pub(super) fn decompress<'input>(input: impl Read + 'input) -> io::Result<Box<dyn Read + 'input>> {
    let mut input = BufReader::with_capacity(128 << 10, input);
    let start = input.fill_buf()?;
    if start.starts_with(&GZIP) {
        return Err(io::Error::other("it is gzip: pipe it through gunzip"));
    }
    if start.starts_with(&ZSTD) { Ok(Box::new(zstd::Decoder::with_buffer(input)?)) } else { Ok(Box::new(input)) }
}

/// How much may be read before the next entry is there.
#[derive(Clone, Debug)]
pub(super) struct Allowance(Rc<Cell<u64>>);

impl Allowance {
    pub(super) fn new() -> Self {
        Self(Rc::new(Cell::new(MAX_HEADERS)))
    }

    /// Allows an entry's content and the headers of the next one.
    pub(super) fn renew(&self, size: u64) {
        self.0.set(size.saturating_add(MAX_HEADERS));
    }
}

/// Reads no more than is allowed: an enemy's headers could fill the memory otherwise.
pub(super) struct Bounded<R> {
    pub(super) inner: R,
    pub(super) allowance: Allowance,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let left = &self.allowance.0;
        let wanted = usize::try_from(left.get()).unwrap_or(usize::MAX).min(bytes.len());
        if wanted == 0 && !bytes.is_empty() {
            return Err(io::Error::other("an entry's headers are larger than 1 MiB"));
        }
        let read = self.inner.read(&mut bytes[..wanted])?;
        left.set(left.get() - read as u64);
        Ok(read)
    }
}
