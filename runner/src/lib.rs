//! Takes GitLab jobs, keeps a fleet of executors, and hands each job to one.
//!
//! | module | what |
//! |---|---|
//! | [`ownership`] | who owns each job: a pure machine |
//! | [`desk`] | the one place where it runs, event by event, each journalled before it counts |
//! | [`journal`] | what must not be forgotten, in a store |
//! | [`intake`] | GitLab: asking for jobs, and speaking for those that no agent has |
//! | [`server`] | the agents' API |
//! | [`fleet`] | how many executors there are: a pure plan and its loop |
//! | [`cloud`] | where executors come from |
//! | [`config`] | the configuration |
//! | [`reap`] | instances that no runner knows |
//! | [`registration`] | how an entry comes into it and goes |
//! | [`run`] | everything put together |

pub mod cli;
pub mod clock;
pub mod cloud;
pub mod config;
pub mod desk;
pub mod fleet;
pub mod intake;
pub mod journal;
pub mod logging;
pub mod ownership;
pub mod reap;
pub mod registration;
pub mod run;
pub mod server;
pub mod stop;

#[cfg(test)]
mod simulation;
