//! Bytes become text: what is not UTF-8 becomes U+FFFD (protocol §2.7), also where a character is cut by a write.

/// One stream's decoder; holds back at most 3 bytes.
#[derive(Debug, Default)]
pub(super) struct Text {
    held: Vec<u8>,
}

impl Text {
    /// Appends to `out` the text of what is held back and `bytes`; at the end of the stream also a cut character.
    pub(super) fn decode(&mut self, bytes: &[u8], last: bool, out: &mut String) {
        if self.held.is_empty() {
            let rest = decode(bytes, last, out);
            self.held.extend_from_slice(rest);
            return;
        }
        let mut joined = std::mem::take(&mut self.held);
        joined.extend_from_slice(bytes);
        let rest = decode(&joined, last, out).len();
        joined.drain(..joined.len() - rest);
        self.held = joined;
    }
}

/// Decodes, and gives back the beginning of a character at the end, if more may come.
fn decode<'a>(bytes: &'a [u8], last: bool, out: &mut String) -> &'a [u8] {
    let mut rest = bytes;
    for chunk in bytes.utf8_chunks() {
        out.push_str(chunk.valid());
        let invalid = chunk.invalid();
        rest = &rest[chunk.valid().len() + invalid.len()..];
        if invalid.is_empty() {
            continue;
        }
        if rest.is_empty() && !last && is_cut(invalid) {
            return invalid;
        }
        out.push(char::REPLACEMENT_CHARACTER);
    }
    rest
}

/// Whether more bytes could make these a character: only then has `from_utf8` no definite error.
fn is_cut(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn text_in_pieces_equals_the_lossy_text_of_the_whole(
            words in prop::collection::vec(prop_oneof![
                "[aé€🦀]{1,3}".prop_map(String::into_bytes),
                prop::collection::vec(any::<u8>(), 1..3),
                Just("🦀".as_bytes()[..3].to_vec()),
            ], 0..12),
            size in 1..5_usize,
        ) {
            let bytes = words.concat();
            let (mut text, mut out) = (Text::default(), String::new());
            for piece in bytes.chunks(size) {
                text.decode(piece, false, &mut out);
                prop_assert!(text.held.len() < 4);
            }
            text.decode(&[], true, &mut out);
            prop_assert_eq!(out, String::from_utf8_lossy(&bytes));
        }
    }
}
