//! GitLab's runner API: the only code that knows GitLab's wire format.
//!
//! The sections cited as `protocol §n` are those of `docs/protocol.md`.

pub mod payload;
pub mod secret;
