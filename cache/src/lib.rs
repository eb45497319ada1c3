//! Content-addressed, deduplicated, verified dependency caches.
//!
//! [`save()`] stores the files of a directory under a key, [`restore()`] brings them back on another machine:
//! complete and verified, or not at all. Neither should ever fail a job. The format is described in
//! `docs/cache-format.md`.

mod chunk;
mod confined;
mod deadline;
mod digest;
mod error;
mod list;
mod manifest;
mod options;
mod pack;
mod reference;
mod restore;
mod save;
mod scope;
mod select;
pub mod sidecar;
mod stat_record;
pub mod store;
mod token;

pub use digest::Digest;
pub use error::{Error, Source};
pub use list::{Cached, Listing, list};
pub use options::{Limits, Progress, RestoreOptions, Restored, SaveOptions, Saved, Selection};
pub use restore::{Staged, restore, stage};
pub use save::save;
pub use scope::{Key, Protection, Scope};
pub use stat_record::Records;
pub use token::Token;
