//! `warmstart-cache gc`

use std::time::{Duration, Instant};

use warmstart_cache::{Amount, CollectOptions, Collected, Cost, Policy, Scope, gc, store};

use super::{
    Failure, Outcome,
    args::parse_size,
    output::{Output, count, since, size, with_progress},
};

/// Removes caches that are too old or too many, and what no cache needs.
///
/// It is safe beside running saves and restores, and may be stopped and started at any time. Nothing that was in use
/// within 48 hours is removed, so a key whose newest cache is too old ends now and is removed by a run two days
/// later. Without limits only that goes which no cache refers to.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Keep caches that were saved within this time, such as 30d or "2weeks 3days". A save without changes counts
    /// once a day.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    max_age: Option<Duration>,
    /// Keep at most this many different versions of a key; only the newest is ever restored.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    keep: Option<u64>,
    /// Keep at most this much of a scope, such as 50GiB; old versions go first, then the oldest keys.
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    max_size: Option<u64>,
    /// Only say what would be removed.
    #[arg(long)]
    dry_run: bool,
    /// Collect in this scope only: <project>/protected or <project>/unprotected [default: in all of the store].
    #[arg(long, value_name = "SCOPE")]
    scope: Option<Scope>,
}

/// Collects, and says what became of it.
pub(super) async fn run(url: &str, arguments: Arguments, output: Output) -> Result<Outcome, Failure> {
    let start = Instant::now();
    let Arguments { max_age, keep, max_size, dry_run, scope } = arguments;
    let policy = Policy { max_age, keep, max_bytes: max_size };
    let options = CollectOptions { dry_run, ..CollectOptions::default() };
    let store = store::open(url, None).await?;
    let scopes = scope.as_ref().map(std::slice::from_ref);
    let collecting = gc(&store, scopes, &policy, &options);
    let collected = with_progress("removing", options.progress.clone(), collecting).await?;
    output.warnings(&collected.warnings);
    for scope in &collected.scopes {
        output.warnings(&scope.warnings);
    }
    output.result(&sentence(&collected, start), &collected);
    failed(&collected).map_or(Ok(Outcome::Done), |reason| Err(Failure::Error(reason)))
}

fn sentence(collected: &Collected, start: Instant) -> String {
    let (mut removed, mut kept, mut waiting, mut ended) = (Amount::default(), Amount::default(), Amount::default(), 0);
    for scope in &collected.scopes {
        removed += scope.removed;
        kept += scope.kept;
        waiting += scope.waiting;
        ended += scope.ended;
    }
    let (would, will) = if collected.dry_run { ("Would remove", "would end") } else { ("Removed", "ended") };
    let Cost { list, get, put, delete, bytes_read } = collected.cost;
    format!(
        "{would} {}, {}, and {will} {}; {} remain, {}, of which {} wait for two days; in {} and {}, with {list} \
         list, {get} get, {put} put and {delete} delete requests and {} read.",
        objects(removed),
        size(removed.bytes),
        count(ended, "key", "keys"),
        objects(kept),
        size(kept.bytes),
        size(waiting.bytes),
        count(collected.scopes.len() as u64, "scope", "scopes"),
        since(start),
        size(bytes_read),
    )
}

fn objects(amount: Amount) -> String {
    count(amount.objects, "object", "objects")
}

/// Says where it did not get to the end.
fn failed(collected: &Collected) -> Option<String> {
    let failed = collected.scopes.iter().filter_map(|scope| scope.error.as_ref().map(|error| (scope, error)));
    let lines: Vec<_> = failed
        .map(|(scope, error)| match scope.removed.objects {
            0 => format!("removed nothing from {}: {error}", scope.scope),
            some => format!("stopped in {} after {}: {error}", scope.scope, count(some, "object", "objects")),
        })
        .collect();
    (!lines.is_empty()).then(|| lines.join("\nerror: "))
}
