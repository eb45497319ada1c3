//! GitLab's runner API: the only code that knows GitLab's wire format.
//!
//! The sections cited as `protocol §n` are those of `docs/protocol.md`.
//!
//! | module | what |
//! |---|---|
//! | [`client`] | the calls with the runner's token (verify, job request), and [`client::Client::job`] for those of a job |
//! | [`payload`] | the job as GitLab hands it out |
//! | [`flags`] | GitLab Runner's feature flags |
//! | [`trace`] | a job's log on its way to GitLab, and the final state |
//! | [`mask`] | what must not be seen in a log |
//! | [`sections`] | the log's colours, lines and sections |
//! | [`artifacts`] | upload and download |
//! | [`update`] | states, failure reasons, and what GitLab answers to them |

pub mod artifacts;
pub mod client;
mod error;
pub mod flags;
pub mod info;
pub mod mask;
pub mod payload;
pub mod roots;
pub mod secret;
pub mod sections;
mod timing;
pub mod token;
pub mod trace;
pub mod update;

pub use error::Error;
pub use timing::Timing;
