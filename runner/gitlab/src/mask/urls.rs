//! Second stage: secrets in the query of a URL.

use super::MASKED;
use memchr::memchr2;

/// Parameters whose values are secret, in lower case.
const KEYS: [&[u8]; 6] = [
    b"private_token",
    b"authenticity_token",
    b"rss_token",
    b"x-amz-signature",
    b"x-amz-credential",
    b"x-amz-security-token",
];

/// One stream's state.
#[derive(Default)]
pub(super) struct Stage {
    /// What may be the beginning of `?key=`.
    held: Vec<u8>,
    /// Within a secret: its `[MASKED]` is out already.
    inside: bool,
}

impl std::fmt::Debug for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Stage({} held)", self.held.len())
    }
}

/// What follows a `?` or `&`.
enum Key {
    /// A secret parameter; its value begins after so many bytes.
    Secret(usize),
    /// The text ends within what may be one.
    Undecided,
    Other,
}

impl Stage {
    pub(super) fn pass(&mut self, piece: &[u8], last: bool, out: &mut Vec<u8>) {
        if self.held.is_empty() {
            let decided = self.mask(piece, last, out);
            self.held.extend_from_slice(&piece[decided..]);
            return;
        }
        let mut text = std::mem::take(&mut self.held);
        text.extend_from_slice(piece);
        let decided = self.mask(&text, last, out);
        text.drain(..decided);
        self.held = text;
    }

    /// Masks the decided part of `text` and says how long it is.
    fn mask(&mut self, text: &[u8], last: bool, out: &mut Vec<u8>) -> usize {
        let mut done = 0;
        let mut from = 0;
        loop {
            if self.inside {
                let Some(length) = text[done..].iter().position(|&byte| ends_value(byte)) else { return text.len() };
                self.inside = false;
                done += length;
                from = done;
            }
            let Some(mark) = memchr2(b'?', b'&', &text[from..]).map(|at| from + at) else { break };
            match key(&text[mark + 1..]) {
                Key::Secret(length) => {
                    out.extend_from_slice(&text[done..=mark + length]);
                    out.extend_from_slice(MASKED.as_bytes());
                    done = mark + 1 + length;
                    self.inside = true;
                }
                Key::Undecided if !last => {
                    out.extend_from_slice(&text[done..mark]);
                    return mark;
                }
                Key::Undecided | Key::Other => from = mark + 1,
            }
        }
        out.extend_from_slice(&text[done..]);
        text.len()
    }
}

/// White space and control characters end a value as `?` and `&` do.
fn ends_value(byte: u8) -> bool {
    byte <= b' ' || matches!(byte, b'?' | b'&' | 0x7f)
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
