//! Many words at once: where the next one is, and which end of a text may still grow into one.

use aho_corasick::packed::{self, Searcher};
use aho_corasick::{AhoCorasick, AhoCorasickKind, Input, MatchKind};
use std::ops::Range;

/// Vector instructions look for the first bytes of all words together; with fewer bytes than these, too much of an
/// ordinary text is worth a closer look.
const ENOUGH: usize = 3;

/// A table for every state of an automaton is quickest, and takes about 1 KiB for each byte of the words: for few
/// bytes only.
const SMALL: usize = 4 * 1024;

/// A set of words, none of them empty.
#[derive(Debug)]
pub(super) struct Needles {
    /// Sorted and unique, so that all words with a common beginning are neighbours.
    sorted: Vec<Vec<u8>>,
    longest: usize,
    first: [bool; 256],
    search: Search,
}

#[derive(Debug)]
enum Search {
    Packed(Searcher),
    Automaton(AhoCorasick),
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
        Self { search: Search::new(&sorted), sorted, longest, first }
    }

    /// Where the first word is that begins at `from` or behind; of several that begin there, the longest.
    pub(super) fn find(&self, text: &[u8], from: usize) -> Option<Range<usize>> {
        let found = match &self.search {
            Search::Packed(searcher) => searcher.find_in(text, (from..text.len()).into()),
            Search::Automaton(automaton) => automaton.find(Input::new(text).range(from..)),
        };
        found.map(|found| found.range())
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

impl Search {
    fn new(words: &[Vec<u8>]) -> Self {
        Self::packed(words).map_or_else(|| Self::automaton(words), Self::Packed)
    }

    /// None where the words are too many or too short, or the processor is another one.
    fn packed(words: &[Vec<u8>]) -> Option<Searcher> {
        let enough = words.iter().all(|word| word.len() >= ENOUGH);
        let build =
            || packed::Config::new().match_kind(packed::MatchKind::LeftmostLongest).builder().extend(words).build();
        enough.then(build).flatten()
    }

    /// Its pace does not depend on the text: with the library's own prefilter it would, by half and more.
    fn automaton(words: &[Vec<u8>]) -> Self {
        let small = words.iter().map(Vec::len).sum::<usize>() <= SMALL;
        let kind = if small { AhoCorasickKind::DFA } else { AhoCorasickKind::ContiguousNFA };
        let mut search = AhoCorasick::builder();
        search.match_kind(MatchKind::LeftmostLongest).kind(Some(kind)).prefilter(false);
        let search = search.build(words);
        Self::Automaton(search.expect("a payload is far smaller than the 2 GiB an automaton can hold"))
    }
}
