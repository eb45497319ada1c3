//! Content-addressed, deduplicated, verified dependency caches.
//!
//! [`save()`] stores the files of a directory under a key, [`restore()`] brings them back on another machine:
//! complete and verified, or not at all. Neither should ever fail a job. The format is described in
//! `docs/cache-format.md`.

mod archive;
mod chunk;
mod collect;
mod confined;
mod deadline;
mod digest;
mod error;
mod history;
mod list;
mod manifest;
mod options;
mod pack;
mod prefix;
mod reference;
mod remove;
mod restore;
mod save;
mod scope;
mod scopes;
mod select;
pub mod sidecar;
mod stat_record;
mod stats;
pub mod store;
mod token;
mod verify;

pub use archive::{Exported, export, import};
pub use collect::{Amount, CollectOptions, Collected, CollectedScope, Cost, Policy, gc};
pub use digest::Digest;
pub use error::{Error, Source};
pub use history::{History, Version, history};
pub use list::{Cached, Listing, list};
pub use options::{Limits, Progress, RestoreOptions, Restored, SaveOptions, Saved, Selection};
pub use prefix::newest_with_prefix;
pub use remove::{Removed, remove};
pub use restore::{Staged, restore, stage};
pub use save::save;
pub use scope::{Key, Protection, Scope};
pub use scopes::scopes;
pub use stat_record::Records;
pub use stats::{Stats, stats};
pub use token::Token;
pub use verify::{Damage, Hurt, Verified, VerifiedScope, VerifyOptions, verify};
