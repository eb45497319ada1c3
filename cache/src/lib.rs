//! Content-addressed, deduplicated, verified dependency caches.

mod digest;
mod error;
pub mod store;

pub use digest::Digest;
pub use error::{Error, Source};
