//! The newest cache whose key begins in some way: for people at a command line, never for GitLab's keys.

use std::time::Duration;

use futures_util::{StreamExt as _, stream};

use crate::{
    deadline::Deadline,
    error::Error,
    reference::{self, CONNECTIONS},
    scope::{Key, Scope},
    store::Store,
};

/// Finds the key of the newest cache whose key begins with `prefix`; `None` if there is none. Damaged refs are passed
/// over, and so are keys that the scope does not admit.
pub async fn newest_with_prefix<S: Store>(
    store: &S,
    scope: &Scope,
    prefix: &str,
    limit: Duration,
) -> Result<Option<Key>, Error> {
    Key::new(prefix)?;
    let deadline = Deadline::after(limit);
    let mut names = Vec::new();
    for start in scope.refs_with_prefix(prefix) {
        names.append(&mut reference::newest_of_each(store, &start, &deadline).await?);
    }
    // Names end in the time, counted down: the newest first, whatever the key.
    names.sort_by(|one, other| time_of(one).cmp(time_of(other)));
    let mut refs =
        stream::iter(names).map(|name| reference::read_in(store, scope, name, &deadline)).buffered(CONNECTIONS);
    while let Some(found) = refs.next().await {
        match found {
            Ok((reference, Some(_))) => {
                let key = reference.key;
                if key.as_str().starts_with(prefix) && scope.admit(&key).is_ok() {
                    return Ok(Some(key));
                }
            }
            Ok((_, None)) | Err(Error::Damaged { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

fn time_of(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or_default()
}
