//! `warmstart-cache restore`

use std::time::Instant;

use warmstart_cache::{Error, Key, RestoreOptions, Restored, restore, store};

use super::{
    Failure, Outcome,
    args::{ScopeArguments, WorkArguments},
    output::{Output, count, since, size, with_progress},
    records::records,
};

/// Restores the newest cache of a key, or of the first fallback that has one.
///
/// Everything is verified before the first file appears; what the directory has and the cache has not stays. A miss,
/// damage and trouble with the store leave the directory as it was and end with 0, since a build works without.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The name of the cache.
    #[arg(long)]
    key: String,
    /// A name to try when there is no cache of the key; may be given several times, the first that has one wins.
    #[arg(long, value_name = "KEY")]
    fallback: Vec<String>,
    #[command(flatten)]
    scope: ScopeArguments,
    #[command(flatten)]
    work: WorkArguments,
    /// End with 3 if nothing was restored.
    #[arg(long)]
    fail_on_miss: bool,
    /// Keep setuid and setgid bits.
    #[arg(long)]
    keep_setuid: bool,
}

/// Restores, and says what became of it.
pub(super) async fn run(url: &str, arguments: Arguments, output: Output) -> Result<Outcome, Failure> {
    let start = Instant::now();
    let keys = std::iter::once(arguments.key).chain(arguments.fallback).map(Key::new);
    let keys = keys.collect::<Result<Vec<_>, _>>()?;
    let scope = arguments.scope.scope(keys.first())?;
    let options = RestoreOptions {
        deadline: arguments.work.deadline(),
        keep_setuid: arguments.keep_setuid,
        records: records(url),
        ..RestoreOptions::default()
    };
    let restoring = async {
        match store::open(url, None).await {
            Err(error @ Error::Address { .. }) => Err(error),
            Err(error) => Ok(Restored { reason: Some(error.to_string()), ..Restored::default() }),
            Ok(store) => restore(&store, &scope, &keys, &arguments.work.directory, &options).await,
        }
    };
    let restored = with_progress("restoring", options.progress.clone(), restoring).await?;
    output.warnings(&restored.warnings);
    output.result(&sentence(&restored, start), &restored);
    Ok(if restored.hit || !arguments.fail_on_miss { Outcome::Done } else { Outcome::Miss })
}

fn sentence(restored: &Restored, start: Instant) -> String {
    let reason = restored.reason.as_deref();
    match &restored.key {
        Some(key) => format!(
            "Restored {key}: {}, {}, in {}{}.",
            count(restored.files, "file", "files"),
            size(restored.bytes),
            since(start),
            reason.map(|reason| format!(" ({reason})")).unwrap_or_default()
        ),
        None => format!("Nothing restored: {}.", reason.unwrap_or("no cache")),
    }
}
