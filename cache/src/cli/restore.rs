//! `warmstart-cache restore`

use std::time::Instant;

use warmstart_cache::{
    Error, Key, RestoreOptions, Restored, Scope, newest_with_prefix, restore,
    store::{self, AnyStore},
};

use super::{
    Failure, Outcome,
    args::{DirectoryArguments, ScopeArguments, SizeArguments, TimeArguments},
    env,
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
    #[arg(long, env = env::KEY)]
    key: String,
    /// A name to try when there is no cache of the key; may be given several times, the first that has one wins.
    #[arg(long, env = env::FALLBACK, value_name = "KEY", value_delimiter = '\n')]
    fallback: Vec<String>,
    /// The beginning of names to try after all fallbacks: the newest cache among them wins.
    #[arg(long, env = env::FALLBACK_PREFIX, value_name = "PREFIX", value_delimiter = '\n')]
    fallback_prefix: Vec<String>,
    #[command(flatten)]
    scope: ScopeArguments,
    #[command(flatten)]
    directory: DirectoryArguments,
    #[command(flatten)]
    size: SizeArguments,
    #[command(flatten)]
    time: TimeArguments,
    /// End with 3 if nothing was restored.
    #[arg(long)]
    fail_on_miss: bool,
    /// Keep setuid and setgid bits.
    #[arg(long)]
    keep_setuid: bool,
    /// Restore only these: files, directories and globs as for save, ! in front excludes [default: everything].
    #[arg(value_name = "PATH")]
    paths: Vec<String>,
}

/// Restores, and says what became of it.
pub(super) async fn run(url: &str, arguments: Arguments, output: Output) -> Result<Outcome, Failure> {
    let start = Instant::now();
    let keys = std::iter::once(&arguments.key).chain(&arguments.fallback).map(Key::new);
    let keys = keys.collect::<Result<Vec<_>, _>>()?;
    arguments.fallback_prefix.iter().try_for_each(|prefix| Key::new(prefix).map(drop))?;
    let scope = arguments.scope.scope(keys.first())?;
    let options = RestoreOptions {
        deadline: arguments.time.deadline,
        limits: arguments.size.limits(),
        keep_setuid: arguments.keep_setuid,
        records: records(url),
        paths: arguments.paths.clone(),
        ..RestoreOptions::default()
    };
    let restoring = async {
        match store::open(url, None).await {
            Err(error @ Error::Address { .. }) => Err(error),
            Err(error) => Ok(Restored { reason: Some(error.to_string()), ..Restored::default() }),
            Ok(store) => restore_any(&store, &scope, &keys, &arguments, &options).await,
        }
    };
    let restored = with_progress("restoring", options.progress.clone(), restoring).await?;
    output.warnings(&restored.warnings);
    output.result(&sentence(&restored, start), &restored);
    Ok(if restored.hit || !arguments.fail_on_miss { Outcome::Done } else { Outcome::Miss })
}

/// Tries the keys, then the newest cache of each prefix, all in the time that was given.
async fn restore_any(
    store: &AnyStore,
    scope: &Scope,
    keys: &[Key],
    arguments: &Arguments,
    options: &RestoreOptions,
) -> Result<Restored, Error> {
    let start = Instant::now();
    let directory = &arguments.directory.directory;
    let mut restored = restore(store, scope, keys, directory, options).await?;
    for prefix in &arguments.fallback_prefix {
        let left = options.deadline.saturating_sub(start.elapsed());
        if restored.hit || left.is_zero() {
            break;
        }
        let next = match newest_with_prefix(store, scope, prefix, left).await {
            Ok(Some(key)) => {
                let (deadline, asked) = (options.deadline.saturating_sub(start.elapsed()), keys.first().cloned());
                let options = RestoreOptions { deadline, asked, ..options.clone() };
                restore(store, scope, &[key], directory, &options).await?
            }
            Ok(None) => Restored { reason: Some(format!("no cache for {prefix}…")), ..Restored::default() },
            Err(error) => Restored { reason: Some(error.to_string()), ..Restored::default() },
        };
        restored = after(restored, next);
    }
    Ok(restored)
}

/// Takes the later answer and keeps the reasons of both.
fn after(first: Restored, next: Restored) -> Restored {
    let reasons: Vec<_> = first.reason.into_iter().chain(next.reason).collect();
    let reason = (!reasons.is_empty()).then(|| reasons.join("; "));
    Restored { exact: false, reason, ..next }
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
