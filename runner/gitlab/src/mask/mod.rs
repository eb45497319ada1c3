//! What must not be seen in a log (protocol §2.7, masking).

use std::io::{self, Write};

/// What to look for. Cheap to clone.
#[derive(Clone, Default)]
pub struct Masks {}

impl std::fmt::Debug for Masks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Masks(…)")
    }
}

impl Masks {
    /// Values (masked variables, expanded) and token prefixes (`features.token_mask_prefixes`), to which GitLab's
    /// own prefixes are added.
    pub fn new<V, P>(values: V, prefixes: P) -> Self
    where
        V: IntoIterator<Item: AsRef<str>>,
        P: IntoIterator<Item: AsRef<str>>,
    {
        let _ = (values.into_iter().count(), prefixes.into_iter().count());
        todo!()
    }
}

/// A writer that masks what goes through it, across write boundaries, in constant memory.
#[derive(Debug)]
pub struct Masker<W: Write> {
    inner: W,
}

impl<W: Write> Masker<W> {
    /// Masks what is written to `inner`.
    pub fn new(inner: W, masks: &Masks) -> Self {
        let _ = masks;
        Self { inner }
    }

    /// Writes what is held back and gives the inner writer back.
    pub fn finish(self) -> io::Result<W> {
        Ok(self.inner)
    }
}

impl<W: Write> Write for Masker<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.inner.write(bytes)
    }

    /// Flushes the inner writer; what is held back stays so.
    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
