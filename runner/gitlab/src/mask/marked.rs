//! Second and third stage: secrets of any text, which a mark before them gives away.

use super::MASKED;

/// What a text without secrets at its beginning holds.
pub(super) enum Next {
    /// A mark ends after so many bytes: what follows is secret.
    Secret(usize),
    /// No secret begins in so many bytes; what is behind them may be the beginning of a mark.
    Decided(usize),
}

/// One stream's state.
#[derive(Default)]
pub(super) struct Stage {
    /// What may be the beginning of a mark.
    held: Vec<u8>,
    /// Within a secret: its `[MASKED]` is out already.
    inside: bool,
}

impl std::fmt::Debug for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Stage({} held)", self.held.len())
    }
}

impl Stage {
    /// `next` finds marks; a secret ends with the first byte that is not `secret`.
    pub(super) fn pass(
        &mut self,
        piece: &[u8],
        out: &mut Vec<u8>,
        next: impl Fn(&[u8]) -> Next,
        secret: impl Fn(u8) -> bool,
    ) {
        if self.held.is_empty() {
            let decided = self.mask(piece, out, next, secret);
            self.held.extend_from_slice(&piece[decided..]);
            return;
        }
        let mut text = std::mem::take(&mut self.held);
        text.extend_from_slice(piece);
        let decided = self.mask(&text, out, next, secret);
        text.drain(..decided);
        self.held = text;
    }

    /// Masks the decided part of `text` and says how long it is.
    fn mask(
        &mut self,
        text: &[u8],
        out: &mut Vec<u8>,
        next: impl Fn(&[u8]) -> Next,
        secret: impl Fn(u8) -> bool,
    ) -> usize {
        let mut done = 0;
        loop {
            if self.inside {
                let Some(length) = text[done..].iter().position(|&byte| !secret(byte)) else { return text.len() };
                self.inside = false;
                done += length;
            }
            match next(&text[done..]) {
                Next::Secret(length) => {
                    out.extend_from_slice(&text[done..done + length]);
                    out.extend_from_slice(MASKED.as_bytes());
                    done += length;
                    self.inside = true;
                }
                Next::Decided(length) => {
                    out.extend_from_slice(&text[done..done + length]);
                    return done + length;
                }
            }
        }
    }
}
