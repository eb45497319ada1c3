//! `warmstart-cache info`

use std::fmt::Write as _;

use warmstart_cache::{History, Version, history, store};

use super::{
    Failure, Outcome,
    args::{CacheArguments, TimeArguments},
    output::{Output, count, size},
};

/// Shows the versions of a key, newest first.
///
/// Only the newest is ever restored; the older ones stay until `gc` removes them.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    cache: CacheArguments,
    #[command(flatten)]
    time: TimeArguments,
}

/// Shows, one line per version.
pub(super) async fn run(url: &str, arguments: Arguments, output: Output) -> Result<Outcome, Failure> {
    let (scope, key) = arguments.cache.scope_and_key()?;
    let store = store::open(url, None).await?;
    let history = history(&store, &scope, &key, arguments.time.deadline).await?;
    output.warnings(&history.warnings);
    output.result(&table(&history, &scope.to_string()), &history);
    Ok(Outcome::Done)
}

fn table(history: &History, scope: &str) -> String {
    let mut text = String::new();
    for version in &history.versions {
        let _ = writeln!(text, "{}", line(version));
    }
    let versions = history.versions.iter().filter(|version| !version.tombstone).count() as u64;
    let _ = write!(text, "{} of {} in {scope}", count(versions, "version", "versions"), history.key);
    if history.versions.first().is_some_and(|newest| newest.tombstone) {
        text.push_str(", removed since: a restore finds none");
    }
    text
}

fn line(version: &Version) -> String {
    let Version { created, files, bytes, stored, manifest, writer, .. } = version;
    let Some(manifest) = manifest else { return format!("{created:<24}  removed by {writer}") };
    let (files, bytes) = (count(*files, "file", "files"), size(*bytes));
    let stored = stored.map_or_else(|| "unreadable".to_owned(), |stored| format!("{} stored", size(stored)));
    let digest = manifest.get(..12).unwrap_or(manifest);
    format!("{created:<24}  {bytes:>12}  {files:>14}  {stored:>19}  {digest}  {writer}")
}
