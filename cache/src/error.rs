//! What can go wrong, and what to do about it.

use std::path::PathBuf;

/// The reason behind an [`Error`], as the layer below gave it.
pub type Source = Box<dyn std::error::Error + Send + Sync>;

/// Everything this crate fails with. A cache that is missing or damaged is no error: see [`crate::Restored`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A store's address that names no store.
    #[error(
        "store address {url:?}: {reason}; use file:///directory, s3://bucket/prefix, unix:///socket or http(s)://host:port"
    )]
    Address {
        /// The address as it was given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A scope, a key, an object's name or a pattern that breaks its rules.
    #[error("{what} {name:?}: {reason}")]
    Name {
        /// The kind of name.
        what: &'static str,
        /// The name as it was given.
        name: String,
        /// The rule it breaks.
        reason: &'static str,
    },
    /// The store does not answer, or not in time. Trying again may help.
    #[error("{action}: no answer ({reason}); check the store's address, the network and that the store is up")]
    Unreachable {
        /// What was attempted on what.
        action: String,
        /// Why there is no answer.
        reason: String,
        /// The client's own error.
        #[source]
        source: Option<Source>,
    },
    /// The store refuses these credentials.
    #[error("{action}: denied ({reason}); check the credentials and what they may do in this bucket")]
    Denied {
        /// What was attempted on what.
        action: String,
        /// The store's reason.
        reason: String,
        /// The client's own error.
        #[source]
        source: Option<Source>,
    },
    /// The store answered with an error.
    #[error("{action}: {reason}")]
    Refused {
        /// What was attempted on what.
        action: String,
        /// The store's reason.
        reason: String,
        /// Whether the same request may succeed a moment later.
        retryable: bool,
        /// The client's own error.
        #[source]
        source: Option<Source>,
    },
    /// A file or directory of this machine could not be used.
    #[error("{action} {}: {source}", path.display())]
    File {
        /// What was attempted.
        action: &'static str,
        /// On which path.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// An object that is not what its name or its reader's limits say.
    #[error("{object}: {reason}")]
    Damaged {
        /// The object's key in the store.
        object: String,
        /// How it shows.
        reason: String,
    },
    /// More than a limit allows.
    #[error("{what} is over the limit of {limit}")]
    Limit {
        /// What is too large, with its figure.
        what: String,
        /// The limit.
        limit: u64,
    },
    /// The time given for the whole operation is over.
    #[error("{action}: not done after {seconds} s; the store is slow or the cache is large")]
    Deadline {
        /// What was under way.
        action: String,
        /// The time that was given.
        seconds: u64,
    },
}

impl Error {
    /// Whether the same call may succeed a moment later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused { retryable, .. } => *retryable,
            _ => false,
        }
    }

    pub(crate) fn file(action: &'static str, path: impl Into<PathBuf>, source: impl Into<std::io::Error>) -> Self {
        Self::File { action, path: path.into(), source: source.into() }
    }

    pub(crate) fn damaged(object: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Damaged { object: printable(&object.into()), reason: printable(&reason.into()) }
    }
}

/// Whoever wrote the object chose the words: it must not write on people's terminals, nor further lines into a log.
pub(crate) fn printable(text: &str) -> String {
    text.replace(char::is_control, "\u{fffd}")
}
