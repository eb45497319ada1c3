//! `warmstart-cache stats`

use std::fmt::Write as _;

use serde::Serialize;
use warmstart_cache::{Stats, scopes, stats, store};

use super::{
    Failure, Outcome,
    args::{ScopeArguments, TimeArguments},
    output::{Output, count, size},
};

/// Adds up what a scope holds, and what storing things once and compressed saves.
///
/// Reads all refs and manifests of the scope, and none of the content.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    scope: ScopeArguments,
    /// Every scope of the store instead of one.
    #[arg(long, conflicts_with = "scope")]
    all_scopes: bool,
    #[command(flatten)]
    time: TimeArguments,
}

/// What programs get.
#[derive(Debug, Serialize)]
struct Report {
    scopes: Vec<Stats>,
}

/// Adds up, one paragraph per scope.
pub(super) async fn run(url: &str, arguments: Arguments, output: Output) -> Result<Outcome, Failure> {
    let limit = arguments.time.deadline;
    let store = store::open(url, None).await?;
    let wanted = if arguments.all_scopes { scopes(&store, limit).await? } else { vec![arguments.scope.scope(None)?] };
    let mut report = Report { scopes: Vec::new() };
    for scope in &wanted {
        report.scopes.push(stats(&store, scope, limit).await?);
    }
    report.scopes.iter().for_each(|stats| output.warnings(&stats.warnings));
    output.result(&sentences(&report.scopes), &report);
    Ok(Outcome::Done)
}

fn sentences(all: &[Stats]) -> String {
    let mut text = String::new();
    for stats in all {
        let Stats { scope, keys, versions, objects, stored, bytes, deduplication, compression, .. } = stats;
        let (keys, versions) = (count(*keys, "key", "keys"), count(*versions, "version", "versions"));
        let (objects, stored, bytes) = (count(*objects, "object", "objects"), size(*stored), size(*bytes));
        let _ = write!(text, "{scope}: {keys}, {versions} of {bytes}, stored as {stored} in {objects}");
        if *compression > 0.0 {
            let _ = write!(text, " (shared {deduplication:.1} times, compressed {compression:.1} times)");
        }
        text.push('\n');
    }
    if all.is_empty() { "No scope has a cache.".to_owned() } else { text.trim_end().to_owned() }
}
