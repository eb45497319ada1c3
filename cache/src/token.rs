//! The secret that opens a sidecar's port.

use std::{env, fmt};

use crate::{digest::Digest, error::Error};

/// The environment variable that holds the token, for the server and for its clients.
const VARIABLE: &str = "WARMSTART_CACHE_TOKEN";
/// The shortest token; what is shorter can be guessed.
const SHORTEST: usize = 16;

/// A token: 16 characters or more of visible ASCII. It cannot print itself.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// Takes a token as it was given.
    pub fn new(text: impl Into<String>) -> Result<Self, Error> {
        let text = text.into();
        // The name stays out of the error: it is the secret.
        let error = |reason| Err(Error::Name { what: "token", name: "…".to_owned(), reason });
        match () {
            () if text.len() < SHORTEST => error("is shorter than 16 characters"),
            () if !text.bytes().all(|byte| byte.is_ascii_graphic()) => error("has other characters than visible ASCII"),
            () => Ok(Self(text)),
        }
    }

    /// Takes the token from `WARMSTART_CACHE_TOKEN`; none if that is not set or empty.
    pub fn from_environment() -> Result<Option<Self>, Error> {
        let text = env::var_os(VARIABLE).filter(|text| !text.is_empty());
        text.map(|text| Self::new(text.to_string_lossy())).transpose()
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    /// Compares in a time that tells nothing of the token: digests are compared, all their bytes.
    pub(crate) fn is(&self, given: &[u8]) -> bool {
        let (own, given) = (Digest::of(self.0.as_bytes()), Digest::of(given));
        own.0.iter().zip(given.0).fold(0, |differences, (own, given)| differences | (own ^ given)) == 0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Token(…)")
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_compared_whole_and_never_printed() {
        let token = Token::new("hush-hush-hush-hush").unwrap();
        assert!(token.is(b"hush-hush-hush-hush"));
        for other in ["", "hush-hush-hush-husH", "hush-hush-hush-hush ", "hush"] {
            assert!(!token.is(other.as_bytes()), "{other:?}");
        }
        assert!(!format!("{token:?}").contains("hush"));
    }

    #[test]
    fn a_token_that_can_be_guessed_or_not_be_sent_is_refused_without_naming_it() {
        for text in ["", "short-secret", "a secret with blanks", "line\nline\nline\nline"] {
            let error = Token::new(text).unwrap_err().to_string();
            assert!(text.is_empty() || !error.contains(text), "{error}");
        }
    }
}
