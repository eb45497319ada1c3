//! EC2 as the runner's cloud, against moto behind a proxy that is in a bad mood.

mod account;
mod cloud;
mod fleet;
mod jobs;
