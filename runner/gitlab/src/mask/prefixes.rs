//! Third stage: what follows the prefix of a token.

use super::marked::Next;
use super::needles::Needles;
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
}

impl Prefixes {
    pub(super) fn new(prefixes: impl Iterator<Item = String>) -> Self {
        let mut ordered: Vec<Vec<u8>> = prefixes.map(String::into_bytes).collect();
        ordered.sort_by(|a, b| a.len().cmp(&b.len()).then_with(|| a.cmp(b)));
        ordered.dedup();
        ordered.truncate(MOST);
        Self(Arc::new(Compiled { needles: Needles::new(ordered.iter().cloned()), ordered }))
    }

    /// Finds the next prefix that a token follows.
    pub(super) fn next(&self, text: &[u8], last: bool) -> Next {
        let decided = if last { text.len() } else { self.0.undecided(text) };
        let mut from = 0;
        while let Some(found) = self.0.needles.find(text, from)
            && found.start < decided
        {
            if let Some(length) = self.0.prefix_of_token(&text[found.start..]) {
                return Next::Secret(found.start + length);
            }
            from = found.start + 1;
        }
        Next::Decided(decided)
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

/// What tokens are made of.
pub(super) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'=' | b'-')
}
