//! Every variable of the environment that the command line reads.
//!
//! An option that is given wins over its variable, and an empty variable counts as none: pipelines set empty ones
//! easily. The table in `docs/cache.md` is for people. The SDK reads `AWS_*`, `HTTPS_PROXY` and the like by itself.

use std::ffi::OsStr;

use clap::Command;

/// Where the caches are (`--store`).
pub(super) const STORE: &str = "WARMSTART_CACHE_STORE";
/// Who shares the caches (`--scope`).
pub(super) const SCOPE: &str = "WARMSTART_CACHE_SCOPE";
/// The name of the cache to save or restore (`--key`).
pub(super) const KEY: &str = "WARMSTART_CACHE_KEY";
/// A name to try when the key has no cache (`--fallback`); several in lines of their own.
pub(super) const FALLBACK: &str = "WARMSTART_CACHE_FALLBACK";
/// The beginning of such names (`--fallback-prefix`); several in lines of their own.
pub(super) const FALLBACK_PREFIX: &str = "WARMSTART_CACHE_FALLBACK_PREFIX";
/// The time for everything (`--deadline`).
pub(super) const DEADLINE: &str = "WARMSTART_CACHE_DEADLINE";
/// The most that a cache may hold (`--max-size`).
pub(super) const MAX_SIZE: &str = "WARMSTART_CACHE_MAX_SIZE";
/// Where archives are unpacked (`--tmp`), before `TMPDIR`.
pub(super) const TMP: &str = "WARMSTART_CACHE_TMP";
/// What goes to the log, as `tracing` has it: `warmstart_cache=debug`.
pub(super) const LOG: &str = "WARMSTART_LOG";
/// GitLab's number of the project: the default scope's name.
pub(super) const CI_PROJECT_ID: &str = "CI_PROJECT_ID";
/// GitLab's directory of the project: what paths are relative to.
pub(super) const CI_PROJECT_DIR: &str = "CI_PROJECT_DIR";

/// Lets empty variables count as none, and keeps values out of help texts: they may be nobody's business.
pub(super) fn tame(command: Command) -> Command {
    let command = command.mut_args(|argument| {
        let empty = |name: &OsStr| std::env::var_os(name).is_some_and(|value| value.is_empty());
        let argument = argument.hide_env_values(true);
        if argument.get_env().is_some_and(empty) { argument.env(None::<&'static str>) } else { argument }
    });
    command.mut_subcommands(tame)
}
