//! Which end of a text may still grow into one of many words.

/// A set of words, to find where a text may end within one of them.
#[derive(Debug)]
pub(super) struct Needles {
    /// Sorted and unique, so that all words with a common beginning are neighbours.
    sorted: Vec<Vec<u8>>,
    longest: usize,
    first: [bool; 256],
}

impl Needles {
    pub(super) fn new(words: impl Iterator<Item = Vec<u8>>) -> Self {
        let mut sorted: Vec<Vec<u8>> = words.collect();
        sorted.sort_unstable();
        sorted.dedup();
        let longest = sorted.iter().map(Vec::len).max().unwrap_or(0);
        let mut first = [false; 256];
        for word in &sorted {
            first[usize::from(word[0])] = true;
        }
        Self { sorted, longest, first }
    }

    /// Bytes of all words together.
    pub(super) fn size(&self) -> usize {
        self.sorted.iter().map(Vec::len).sum()
    }

    pub(super) fn words(&self) -> &[Vec<u8>] {
        &self.sorted
    }

    /// The first position of `text` from which its rest is the beginning of a longer word; its length if there is none.
    pub(super) fn undecided(&self, text: &[u8]) -> usize {
        let window = text.len().saturating_sub(self.longest.saturating_sub(1));
        (window..text.len()).find(|&at| self.begins(&text[at..])).unwrap_or(text.len())
    }

    fn begins(&self, rest: &[u8]) -> bool {
        if !self.first[usize::from(rest[0])] {
            return false;
        }
        let at = self.sorted.partition_point(|word| word.as_slice() < rest);
        self.sorted[at..].iter().take(2).any(|word| word.len() > rest.len() && word.starts_with(rest))
    }
}
