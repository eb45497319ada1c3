//! `warmstart-cache list`

use std::fmt::Write as _;

use warmstart_cache::{Cached, Listing, list, store};

use super::{
    Failure, Outcome,
    args::{ScopeArguments, TimeArguments},
    output::{Output, count, size},
};

/// Lists the newest cache of every key in a scope.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    scope: ScopeArguments,
    #[command(flatten)]
    time: TimeArguments,
}

/// Lists, one line per key.
pub(super) async fn run(url: &str, arguments: Arguments, output: Output) -> Result<Outcome, Failure> {
    let scope = arguments.scope.scope(None)?;
    let store = store::open(url, None).await?;
    let listing = list(&store, &scope, arguments.time.deadline).await?;
    output.warnings(&listing.warnings);
    output.result(&table(&listing, &scope.to_string()), &listing);
    Ok(Outcome::Done)
}

fn table(listing: &Listing, scope: &str) -> String {
    let mut text = String::new();
    for Cached { key, created, files, bytes, .. } in &listing.caches {
        let (files, bytes) = (count(*files, "file", "files"), size(*bytes));
        let _ = writeln!(text, "{created:<24}  {bytes:>12}  {files:>14}  {key}");
    }
    let total = listing.caches.iter().map(|cached| cached.bytes).sum();
    let _ = write!(text, "{} in {scope}, {}", count(listing.caches.len() as u64, "cache", "caches"), size(total));
    text
}
