//! What must not be seen in a log (protocol §2.7, masking).
//!
//! Bytes pass three stages: `values`, `urls`, `prefixes`. Each sees its stream in pieces of any size and holds
//! back only what may still become part of something to mask; so memory is bounded by the longest value, and the
//! result does not depend on where the pieces were cut.

mod marked;
mod needles;
mod prefixes;
mod urls;
mod values;

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::sync::Arc;

/// What stands where something was.
pub const MASKED: &str = "[MASKED]";

/// The prefixes of GitLab's own tokens; those of the payload (`features.token_mask_prefixes`) come on top.
const DEFAULT_PREFIXES: [&str; 14] = [
    "glpat-",
    "gloas-",
    "gldt-",
    "glrt-",
    "glcbt-",
    "glrtr-",
    "glptt-",
    "glft-",
    "glimt-",
    "glagent-",
    "glsoat-",
    "glffct-",
    "_gitlab_session=",
    "gltok-",
];

/// Pieces of this size pass the stages: bounds memory whatever a single write brings.
pub(crate) const PIECE: usize = 64 * 1024;

/// What to look for. Cheap to clone.
#[derive(Clone)]
pub struct Masks {
    plain: Arc<BTreeSet<String>>,
    values: values::Values,
    prefixes: prefixes::Prefixes,
}

impl std::fmt::Debug for Masks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Masks({} values)", self.plain.len())
    }
}

impl Default for Masks {
    /// No values; GitLab's own token prefixes and URL parameters are masked all the same.
    fn default() -> Self {
        Self::new([""; 0], [""; 0])
    }
}

impl Masks {
    /// Values (masked variables, expanded) and token prefixes (`features.token_mask_prefixes`), to which GitLab's
    /// own prefixes are added. Values are trimmed, empty ones ignored.
    pub fn new<V, P>(values: V, prefixes: P) -> Self
    where
        V: IntoIterator<Item: AsRef<str>>,
        P: IntoIterator<Item: AsRef<str>>,
    {
        let plain = trimmed(values).collect();
        let own = DEFAULT_PREFIXES.iter().map(|&prefix| prefix.to_owned());
        let all = trimmed(prefixes).chain(own);
        Self { values: values::Values::new(&plain), plain: Arc::new(plain), prefixes: prefixes::Prefixes::new(all) }
    }

    /// The masks of a payload as it came: its token, its masked variables (unexpanded) and its token prefixes.
    #[must_use]
    pub fn of_job(job: &crate::payload::Job) -> Self {
        let masked = job.variables.iter().filter(|variable| variable.masked).map(|variable| variable.value.as_str());
        let token = std::iter::once(job.token.expose());
        Self::new(masked.chain(token), &job.features.token_mask_prefixes)
    }

    /// The same with more values.
    #[must_use]
    pub fn with<V: IntoIterator<Item: AsRef<str>>>(&self, values: V) -> Self {
        let plain: BTreeSet<String> = self.plain.iter().cloned().chain(trimmed(values)).collect();
        if plain.len() == self.plain.len() {
            return self.clone();
        }
        Self { values: values::Values::new(&plain), plain: Arc::new(plain), prefixes: self.prefixes.clone() }
    }
}

fn trimmed<V: IntoIterator<Item: AsRef<str>>>(values: V) -> impl Iterator<Item = String> {
    let trimmed = values.into_iter().map(|value| value.as_ref().trim().to_owned());
    trimmed.filter(|value| !value.is_empty())
}

/// One stream's way through the stages.
#[derive(Debug)]
pub(crate) struct Pipeline {
    masks: Masks,
    values: values::Stage,
    urls: marked::Stage,
    prefixes: marked::Stage,
    between: [Vec<u8>; 2],
}

impl Pipeline {
    pub(crate) fn new(masks: &Masks) -> Self {
        Self {
            masks: masks.clone(),
            values: values::Stage::default(),
            urls: marked::Stage::default(),
            prefixes: marked::Stage::default(),
            between: [Vec::new(), Vec::new()],
        }
    }

    /// Looks for these from now on; what is held back is looked through with them.
    pub(crate) fn set_masks(&mut self, masks: &Masks) {
        self.masks = masks.clone();
    }

    /// Passes `piece` through; appends to `out` what is decided.
    pub(crate) fn feed(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        self.pass(piece, false, out);
    }

    /// Appends what was held back: the stream ends.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) {
        self.pass(&[], true, out);
    }

    fn pass(&mut self, piece: &[u8], last: bool, out: &mut Vec<u8>) {
        let [first, second] = &mut self.between;
        first.clear();
        second.clear();
        self.values.pass(&self.masks.values, piece, last, first);
        self.urls.pass(first, second, |text| urls::next(text, last), urls::is_value);
        self.prefixes.pass(second, out, |text| self.masks.prefixes.next(text, last), prefixes::is_token);
    }
}

/// A writer that masks what goes through it, across write boundaries, in constant memory.
///
/// What is held back is written by [`Masker::finish`] only: a dropped masker keeps it to itself.
#[derive(Debug)]
pub struct Masker<W: Write> {
    inner: W,
    pipeline: Pipeline,
    out: Vec<u8>,
}

impl<W: Write> Masker<W> {
    /// Masks what is written to `inner`.
    pub fn new(inner: W, masks: &Masks) -> Self {
        Self { inner, pipeline: Pipeline::new(masks), out: Vec::new() }
    }

    /// Writes what is held back and gives the inner writer back.
    pub fn finish(mut self) -> io::Result<W> {
        self.out.clear();
        self.pipeline.finish(&mut self.out);
        self.inner.write_all(&self.out)?;
        Ok(self.inner)
    }
}

impl<W: Write> Write for Masker<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = &bytes[..bytes.len().min(PIECE)];
        self.out.clear();
        self.pipeline.feed(piece, &mut self.out);
        self.inner.write_all(&self.out)?;
        Ok(piece.len())
    }

    /// Flushes the inner writer; what is held back stays so.
    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests;
