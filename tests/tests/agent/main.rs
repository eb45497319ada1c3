//! Jobs run by `warmstart-agent run` as a real process, with real Docker and the fake GitLab as the judge.

mod artifacts;
mod caches;
mod cleanup;
mod compatibility;
mod ecr;
mod hidden_restore;
mod hostile;
mod large;
mod limits;
mod lone;
mod pipelines;
mod pulls;
mod script;
mod services;
mod settings;
mod sidecar;
mod sources;
mod stops;
mod trouble;
mod volumes;
