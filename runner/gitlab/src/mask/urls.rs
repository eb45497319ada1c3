//! Second stage: secrets in the query of a URL.

use super::marked::Next;
use memchr::memchr2_iter;

/// Parameters whose values are secret, in lower case.
const KEYS: [&[u8]; 6] = [
    b"private_token",
    b"authenticity_token",
    b"rss_token",
    b"x-amz-signature",
    b"x-amz-credential",
    b"x-amz-security-token",
];

/// What follows a `?` or `&`.
enum Key {
    /// A secret parameter; its value begins after so many bytes.
    Secret(usize),
    /// The text ends within what may be one.
    Undecided,
    Other,
}

/// Finds the next `?key=` or `&key=`.
pub(super) fn next(text: &[u8], last: bool) -> Next {
    for mark in memchr2_iter(b'?', b'&', text) {
        match key(&text[mark + 1..]) {
            Key::Secret(length) => return Next::Secret(mark + 1 + length),
            Key::Undecided if !last => return Next::Decided(mark),
            Key::Undecided | Key::Other => {}
        }
    }
    Next::Decided(text.len())
}

/// White space and control characters end a value as `?` and `&` do.
pub(super) fn is_value(byte: u8) -> bool {
    byte > b' ' && !matches!(byte, b'?' | b'&' | 0x7f)
}

fn key(rest: &[u8]) -> Key {
    for key in KEYS {
        let common = rest.len().min(key.len());
        if !rest[..common].eq_ignore_ascii_case(&key[..common]) {
            continue;
        }
        match rest.get(key.len()) {
            Some(b'=') => return Key::Secret(key.len() + 1),
            None => return Key::Undecided,
            Some(_) => {}
        }
    }
    Key::Other
}
