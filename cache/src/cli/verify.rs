//! `warmstart-cache verify`

use std::time::Instant;

use warmstart_cache::{Amount, Damage, Scope, Verified, VerifyOptions, store, verify};

use super::{
    Failure, Outcome,
    output::{Output, count, since, size, with_progress},
};

/// Keys that are named for one damaged object; JSON has all.
const NAMED: usize = 3;

/// Reads everything that is stored and names what is damaged, and which keys it hurts.
///
/// Ends with 4 if something is damaged. The next save of a key that was hurt, after a restore that found it, writes
/// what is damaged again.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Verify this scope only: <project>/protected or <project>/unprotected [default: all of the store].
    #[arg(long, value_name = "SCOPE")]
    scope: Option<Scope>,
}

/// Verifies, and says what was found.
pub(super) async fn run(url: &str, arguments: Arguments, output: Output) -> Result<Outcome, Failure> {
    let start = Instant::now();
    let options = VerifyOptions::default();
    let store = store::open(url, None).await?;
    let scopes = arguments.scope.as_ref().map(std::slice::from_ref);
    let verified = with_progress("reading", options.progress.clone(), verify(&store, scopes, &options)).await?;
    output.warnings(&verified.warnings);
    output.result(&sentence(&verified, start), &verified);
    let damage: Vec<_> = verified.scopes.iter().flat_map(|scope| &scope.damage).map(line).collect();
    if damage.is_empty() { Ok(Outcome::Done) } else { Err(Failure::Error(damage.join("\nerror: "))) }
}

fn sentence(verified: &Verified, start: Instant) -> String {
    let (mut read, mut unreferenced, mut damage) = ([Amount::default(); 3], Amount::default(), 0);
    for scope in &verified.scopes {
        for (all, one) in read.iter_mut().zip([scope.refs, scope.manifests, scope.packs]) {
            *all += one;
        }
        unreferenced += scope.unreferenced;
        damage += scope.damage.len() as u64;
    }
    let [refs, manifests, packs] = read;
    format!(
        "Read {}, {} and {} ({}) in {} and {}: {}; nothing refers to {} ({}).",
        count(refs.objects, "ref", "refs"),
        count(manifests.objects, "manifest", "manifests"),
        count(packs.objects, "pack", "packs"),
        size(refs.bytes + manifests.bytes + packs.bytes),
        count(verified.scopes.len() as u64, "scope", "scopes"),
        since(start),
        if damage == 0 { "no damage".to_owned() } else { format!("{} damaged", count(damage, "object", "objects")) },
        count(unreferenced.objects, "object", "objects"),
        size(unreferenced.bytes),
    )
}

fn line(damage: &Damage) -> String {
    let keys = damage.hurts.iter().take(NAMED).map(|hurt| {
        let old = if hurt.newest { "" } else { " (an older version)" };
        format!("{}{old}", hurt.key)
    });
    let named = keys.collect::<Vec<_>>().join(", ");
    let more = damage.hurts.len().saturating_sub(NAMED);
    let hurts = match (damage.hurts.len(), more) {
        (0, _) => "hurts no key".to_owned(),
        (_, 0) => format!("hurts {named}"),
        _ => format!("hurts {named} and {more} more"),
    };
    format!("{}: {}; {hurts}", damage.object, damage.reason)
}
