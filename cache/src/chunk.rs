//! Cutting content where the content itself says, so that an insertion moves only the cuts around it.
//!
//! `FastCDC` in its version of 2020 (crate `fastcdc`, pinned: other cut points would deduplicate against nothing that
//! is stored), average 64 KiB, at least 16, at most 256. A file or a rest below 64 KiB stays whole.

use std::{iter, ops::Range};

use fastcdc::v2020::FastCDC;

const MIN: usize = 16 << 10;
/// A file, or the rest of one, that is shorter is one chunk.
const AVERAGE: usize = 64 << 10;
/// The longest chunk.
pub(crate) const MAX: usize = 256 << 10;

/// Gives the chunks at the front of `content`, in order. With `last` they are all of it; without, more follows, and the
/// rest whose cut it would decide, less than [`MAX`], is left.
pub(crate) fn cut(content: &[u8], last: bool) -> impl Iterator<Item = Range<usize>> {
    let cutter = FastCDC::new(content, MIN, AVERAGE, MAX);
    let mut start = 0;
    iter::from_fn(move || {
        let left = content.len() - start;
        if left == 0 || (!last && left < MAX) {
            return None;
        }
        let end = if left < AVERAGE { content.len() } else { cutter.cut(start, left).1 };
        Some(std::mem::replace(&mut start, end)..end)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn chunks(content: &[u8]) -> Vec<Vec<u8>> {
        cut(content, true).map(|range| content[range].to_vec()).collect()
    }

    /// Bytes that look random and are the same everywhere.
    fn noise(length: usize, mut state: u64) -> Vec<u8> {
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state.to_be_bytes()[0]
        };
        (0..length).map(|_| next()).collect()
    }

    #[test]
    fn the_cut_points_are_those_of_every_earlier_version() {
        let lengths: Vec<usize> = chunks(&noise(1_000_000, 1)).iter().map(Vec::len).collect();
        assert_eq!(lengths, GOLDEN);
        assert_eq!(chunks(&vec![0; 600_000]).iter().map(Vec::len).collect::<Vec<_>>(), [MAX, MAX, 600_000 - 2 * MAX]);
    }

    const GOLDEN: [usize; 12] =
        [125_811, 78_145, 101_666, 83_949, 47_712, 79_075, 41_827, 73_610, 78_850, 68_194, 98_023, 123_138];

    #[test]
    fn what_is_small_stays_whole() {
        assert!(chunks(b"").is_empty());
        for length in [1, MIN, AVERAGE - 1] {
            assert_eq!(chunks(&noise(length, 2)).len(), 1);
        }
    }

    #[test]
    fn an_insertion_changes_only_the_chunks_around_it() {
        let before = noise(2_000_000, 3);
        let mut after = before.clone();
        after.splice(1_000_000..1_000_000, *b"inserted");
        let known: std::collections::HashSet<_> = chunks(&before).into_iter().collect();
        assert!(chunks(&after).iter().filter(|chunk| !known.contains(*chunk)).count() <= 2);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn the_chunks_in_order_are_the_input(length in 0_usize..1_500_000, seed: u64, around in AVERAGE - 2..AVERAGE + 3) {
            for length in [length, around] {
                let content = noise(length, seed);
                let chunks = chunks(&content);
                prop_assert!(chunks.iter().all(|chunk| (1..=MAX).contains(&chunk.len())));
                prop_assert_eq!(chunks.concat(), content);
            }
        }

        #[test]
        fn windows_are_cut_as_the_whole(length in 0_usize..3_000_000, seed: u64, window in MAX..1_000_000) {
            let content = noise(length, seed);
            let (mut chunks, mut start) = (Vec::new(), 0);
            while start < length {
                let end = length.min(start + window);
                for range in cut(&content[start..end], end == length) {
                    chunks.push(content[start..][range].to_vec());
                }
                start = chunks.iter().map(Vec::len).sum();
            }
            prop_assert_eq!(chunks, self::chunks(&content));
        }
    }
}
