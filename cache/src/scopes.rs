//! Which scopes a store has.

use std::time::Duration;

use crate::{
    deadline::Deadline,
    error::Error,
    reference,
    scope::Scope,
    store::{Entry, Store},
};

/// Where all scopes lie.
const ROOT: &str = "v1/";

/// Lists the scopes that have caches, in the order of their object names. Needs a store that lets us see all of them.
pub async fn scopes<S: Store>(store: &S, limit: Duration) -> Result<Vec<Scope>, Error> {
    let deadline = Deadline::after(limit);
    let mut scopes = Vec::new();
    for scope in discover(store, &deadline, &mut Vec::new()).await? {
        if first(store, &scope.all_refs(), "", &deadline).await?.is_some() {
            scopes.push(scope);
        }
    }
    Ok(scopes)
}

/// Finds the scopes that have an object, with one request for each; `warnings` gets what belongs to none.
pub(crate) async fn discover<S: Store>(
    store: &S,
    deadline: &Deadline,
    warnings: &mut Vec<String>,
) -> Result<Vec<Scope>, Error> {
    let (mut scopes, mut after) = (Vec::new(), String::new());
    while let Some(entry) = first(store, ROOT, &after, deadline).await? {
        let Some(prefix) = prefix_of(&entry.key) else {
            warnings.push(format!("{}: belongs to no scope and is left alone", entry.key));
            after = entry.key;
            continue;
        };
        match named(store, prefix, deadline).await? {
            Some(scope) => scopes.push(scope),
            None => warnings.push(format!("{prefix}: is the name of no scope and is left alone")),
        }
        after = behind(prefix);
    }
    Ok(scopes)
}

async fn first<S: Store>(store: &S, prefix: &str, after: &str, deadline: &Deadline) -> Result<Option<Entry>, Error> {
    let listing = deadline.within("look for scopes", store.list(prefix, after, 1)).await?;
    Ok(listing.into_iter().next())
}

/// Gives `v1/<project>/<protection>/` of an object's name.
fn prefix_of(name: &str) -> Option<&str> {
    let (third, _) = name.match_indices('/').nth(2)?;
    Some(&name[..=third])
}

/// Gives a name that comes behind all objects of a prefix and before all others: `0` is the character after `/`.
fn behind(prefix: &str) -> String {
    format!("{}0", prefix.trim_end_matches('/'))
}

/// Gives the scope of a prefix. Of a long name the prefix has the hash only, but every ref has the name.
async fn named<S: Store>(store: &S, prefix: &str, deadline: &Deadline) -> Result<Option<Scope>, Error> {
    if let Some(scope) = Scope::of_prefix(prefix) {
        return Ok(Some(scope));
    }
    let Some(entry) = first(store, &format!("{prefix}refs/"), "", deadline).await? else { return Ok(None) };
    match reference::find(store, &entry.key, deadline).await {
        Ok(found) => Ok(found.map(|found| found.scope).filter(|scope| scope.prefix() == prefix)),
        Err(Error::Damaged { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
