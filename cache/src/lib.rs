//! Content-addressed, deduplicated, verified dependency caches.
//!
//! [`save()`] stores the files of a directory under a key, [`restore()`] brings them back on another machine:
//! complete and verified, or not at all. Neither should ever fail a job. The format is described in
//! `docs/cache-format.md`.

mod digest;
mod error;
mod options;
mod restore;
mod save;
mod scope;
pub mod store;

pub use digest::Digest;
pub use error::{Error, Source};
pub use options::{Base, Limits, Progress, RestoreOptions, Restored, SaveOptions, Saved, Selection};
pub use restore::restore;
pub use save::save;
pub use scope::{Key, Protection, Scope};
