//! Where the command line keeps stat records: in this user's cache directory, outside of what is saved.

use std::{env, path::PathBuf};

use warmstart_cache::Records;

/// Gives the place of the records of a store: `$WARMSTART_CACHE_RECORDS`, else `$XDG_CACHE_HOME/warmstart-cache`, else
/// `~/.cache/warmstart-cache`. An empty variable, or no home, means that none are kept.
pub(super) fn records(store: &str) -> Option<Records> {
    let directory = match env::var_os("WARMSTART_CACHE_RECORDS") {
        Some(directory) => PathBuf::from(directory),
        None => user_cache()?.join("warmstart-cache"),
    };
    (!directory.as_os_str().is_empty()).then(|| Records::new(directory, store))
}

fn user_cache() -> Option<PathBuf> {
    let given = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    given("XDG_CACHE_HOME").or_else(|| Some(given("HOME")?.join(".cache")))
}
