//! Which scopes a store has.

use std::time::Duration;

use crate::{deadline::Deadline, error::Error, reference, scope::Scope, store::Store};

/// Lists the scopes that have caches, one or two requests for each, in the order of their object names. Needs a
/// store that lets us see all of them.
pub async fn scopes<S: Store>(store: &S, limit: Duration) -> Result<Vec<Scope>, Error> {
    let deadline = Deadline::after(limit);
    let (mut scopes, mut after) = (Vec::new(), String::new());
    loop {
        let next = deadline.within("list the scopes", store.list("v1/", &after, 1)).await?;
        let Some(entry) = next.first() else { return Ok(scopes) };
        let prefix: String = entry.key.split_inclusive('/').take(3).collect();
        scopes.extend(named(store, &prefix, &deadline).await?);
        // Behind everything in it: `~` comes after all that a scope's objects begin with.
        after = format!("{prefix}~");
    }
}

/// Reads a scope's name from one of its refs: object names of long projects are hashed.
async fn named<S: Store>(store: &S, prefix: &str, deadline: &Deadline) -> Result<Option<Scope>, Error> {
    let refs = format!("{prefix}refs/");
    let listing = deadline.within("list the scopes", store.list(&refs, "", 1)).await?;
    let Some(entry) = listing.first() else { return Ok(None) };
    match reference::read(store, &entry.key, deadline).await {
        Ok(found) => Ok(Some(found.scope).filter(|scope| scope.prefix() == prefix)),
        Err(Error::Damaged { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
