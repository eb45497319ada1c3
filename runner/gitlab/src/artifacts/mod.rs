//! Artifacts: up (protocol §1.10) and down (§1.11).

mod download;
mod tries;
mod upload;

use tries::Tries;

pub use download::download;
pub use upload::{Upload, upload};
