//! Runs GitLab jobs through the local Docker daemon and reports to GitLab by itself.
//!
//! The sections cited as `protocol §n` are those of `docs/protocol.md`.

pub mod archive;
pub mod cli;
pub mod docker;
pub mod fault;
pub mod host;
pub mod instance;
pub mod job;
pub mod link;
pub mod log;
pub mod notices;
pub mod purge;
pub mod script;
pub mod signals;
pub mod stage;
pub mod standalone;
pub mod times;
pub mod variables;
pub mod workspace;
