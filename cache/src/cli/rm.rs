//! `warmstart-cache rm`

use warmstart_cache::{Removed, remove, store};

use super::{
    Failure, Outcome,
    args::{CacheArguments, TimeArguments},
    output::{Output, count, size},
};

/// Removes a key: restores miss from now on, until it is saved again.
///
/// Nothing is deleted at once, so that restores under way can finish: `gc` frees what no other cache uses once the
/// removal is two days old. Removing a key that has no cache is fine.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    cache: CacheArguments,
    #[command(flatten)]
    time: TimeArguments,
}

/// Removes, and says what that means.
pub(super) async fn run(url: &str, arguments: Arguments, output: Output) -> Result<Outcome, Failure> {
    let (scope, key) = arguments.cache.scope_and_key()?;
    let store = store::open(url, None).await?;
    let removed = remove(&store, &scope, &key, arguments.time.deadline).await?;
    output.result(&sentence(&removed), &removed);
    Ok(Outcome::Done)
}

fn sentence(removed: &Removed) -> String {
    let Removed { key, files, bytes, .. } = removed;
    match &removed.reason {
        Some(reason) => format!("Nothing to remove: {reason}."),
        None => format!(
            "Removed {key}: {}, {}; gc frees in two days what no other cache uses.",
            count(*files, "file", "files"),
            size(*bytes)
        ),
    }
}
