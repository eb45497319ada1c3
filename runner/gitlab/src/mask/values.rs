//! First stage: the values of masked variables.
//!
//! Every byte that belongs to an occurrence of a value disappears; occurrences that overlap become one `[MASKED]`. So
//! nothing of a value remains, however values contain or overlap each other.

use super::MASKED;
use super::needles::Needles;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The compiled values.
#[derive(Clone, Debug)]
pub(super) struct Values(Option<Arc<Needles>>);

impl Values {
    pub(super) fn new(values: &BTreeSet<String>) -> Self {
        let words = || values.iter().map(|value| value.as_bytes().to_vec());
        Self((!values.is_empty()).then(|| Arc::new(Needles::new(words()))))
    }
}

/// One stream's state.
#[derive(Default)]
pub(super) struct Stage {
    /// What may be the beginning of a value.
    held: Vec<u8>,
    /// So many bytes of it belong to an occurrence whose `[MASKED]` is out already.
    covered: usize,
}

impl std::fmt::Debug for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Stage({} held)", self.held.len())
    }
}

impl Stage {
    pub(super) fn pass(&mut self, values: &Values, piece: &[u8], last: bool, out: &mut Vec<u8>) {
        self.held.extend_from_slice(piece);
        let decided = match &values.0 {
            Some(needles) => self.mask(needles, last, out),
            None => self.held.len(),
        };
        if self.covered < decided {
            out.extend_from_slice(&self.held[self.covered..decided]);
        }
        self.covered = self.covered.saturating_sub(decided);
        self.held.drain(..decided);
    }

    /// Masks what begins in the decided part of the held bytes; says how long that part is.
    fn mask(&mut self, needles: &Needles, last: bool, out: &mut Vec<u8>) -> usize {
        let text = &self.held;
        let decided = if last { text.len() } else { needles.undecided(text) };
        let mut from = 0;
        while from < decided {
            let Some(found) = needles.find(text, from) else { break };
            if found.start >= decided {
                break;
            }
            if found.start >= self.covered {
                out.extend_from_slice(&text[self.covered..found.start]);
                out.extend_from_slice(MASKED.as_bytes());
            }
            self.covered = self.covered.max(found.end);
            from = found.start + 1;
        }
        decided
    }
}
