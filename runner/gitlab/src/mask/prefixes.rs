//! Third stage: what follows the prefix of a token.

use super::MASKED;
use super::needles::Needles;
use aho_corasick::{AhoCorasick, AhoCorasickKind, Input, MatchKind};
use std::sync::Arc;

/// GitLab looks for so many prefixes, the shortest first.
const MOST: usize = 15;

/// The compiled prefixes.
#[derive(Clone, Debug)]
pub(super) struct Prefixes(Arc<Compiled>);

#[derive(Debug)]
struct Compiled {
    /// Shortest first: where several fit, the first that a token follows counts.
    ordered: Vec<Vec<u8>>,
    needles: Needles,
    search: AhoCorasick,
}

impl Prefixes {
    pub(super) fn new(prefixes: impl Iterator<Item = String>) -> Self {
        let mut ordered: Vec<Vec<u8>> = prefixes.map(String::into_bytes).collect();
        ordered.sort_by(|a, b| a.len().cmp(&b.len()).then_with(|| a.cmp(b)));
        ordered.dedup();
        ordered.truncate(MOST);
        // Measured: `g` is too frequent in logs for a prefilter to pay (220 MB/s with it, 450 without).
        let mut search = AhoCorasick::builder();
        search.match_kind(MatchKind::LeftmostFirst).kind(Some(AhoCorasickKind::DFA)).prefilter(false);
        let search = search.build(&ordered);
        let search = search.expect("fifteen prefixes are far smaller than the 2 GiB an automaton can hold");
        Self(Arc::new(Compiled { needles: Needles::new(ordered.iter().cloned()), ordered, search }))
    }
}

impl Compiled {
    /// The length of the prefix at the beginning of `text` that a token follows.
    fn prefix_of_token(&self, text: &[u8]) -> Option<usize> {
        let fits =
            |prefix: &&Vec<u8>| text.starts_with(prefix) && text.get(prefix.len()).is_some_and(|&byte| is_token(byte));
        self.ordered.iter().find(fits).map(Vec::len)
    }

    /// The first position from which the rest of `text` may grow to a prefix with a token.
    fn undecided(&self, text: &[u8]) -> usize {
        let whole = self.ordered.iter().filter(|prefix| text.ends_with(prefix)).map(Vec::len).max();
        self.needles.undecided(text).min(text.len() - whole.unwrap_or(0))
    }
}

/// One stream's state.
#[derive(Default)]
pub(super) struct Stage {
    /// What may be the beginning of a prefix.
    held: Vec<u8>,
    /// Within a token: its `[MASKED]` is out already.
    inside: bool,
}

impl std::fmt::Debug for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Stage({} held)", self.held.len())
    }
}

impl Stage {
    pub(super) fn pass(&mut self, prefixes: &Prefixes, piece: &[u8], last: bool, out: &mut Vec<u8>) {
        if self.held.is_empty() {
            let decided = self.mask(&prefixes.0, piece, last, out);
            self.held.extend_from_slice(&piece[decided..]);
            return;
        }
        let mut text = std::mem::take(&mut self.held);
        text.extend_from_slice(piece);
        let decided = self.mask(&prefixes.0, &text, last, out);
        text.drain(..decided);
        self.held = text;
    }

    /// Masks the decided part of `text` and says how long it is.
    fn mask(&mut self, prefixes: &Compiled, text: &[u8], last: bool, out: &mut Vec<u8>) -> usize {
        let decided = if last { text.len() } else { prefixes.undecided(text) };
        let mut done = 0;
        let mut from = 0;
        loop {
            if self.inside {
                let Some(length) = text[done..].iter().position(|&byte| !is_token(byte)) else { return text.len() };
                self.inside = false;
                done += length;
                from = done;
            }
            let Some(found) = prefixes.search.find(Input::new(text).range(from..)) else { break };
            let at = found.start();
            if at >= decided {
                break;
            }
            let Some(length) = prefixes.prefix_of_token(&text[at..]) else {
                from = at + 1;
                continue;
            };
            out.extend_from_slice(&text[done..at + length]);
            out.extend_from_slice(MASKED.as_bytes());
            done = at + length;
            self.inside = true;
        }
        let decided = decided.max(done);
        out.extend_from_slice(&text[done..decided]);
        decided
    }
}

/// What tokens are made of.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'=' | b'-')
}
