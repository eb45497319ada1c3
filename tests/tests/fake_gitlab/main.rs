//! The fake GitLab judges: a hand-written client that does everything right is clean, and one that breaks a rule is
//! caught; the server answers, misbehaves and serves repositories as it says.

mod answers;
mod client;
mod faults;
mod judges;
mod pipelines;
mod repositories;
