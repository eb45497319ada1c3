//! From a directory into the store.

use std::path::Path;

use crate::{
    error::Error,
    options::{SaveOptions, Saved, Selection},
    scope::{Key, Scope},
    store::Store,
};

/// Saves what `selection` names in `directory` under `key`. Nothing there is a [`Saved`] that did not save and has
/// a reason; trouble with the store is an error, which should fail no job.
pub async fn save<S: Store>(
    _store: &S,
    scope: &Scope,
    key: &Key,
    _directory: &Path,
    _selection: &Selection,
    _options: &SaveOptions,
) -> Result<Saved, Error> {
    scope.admit(key)?;
    Ok(Saved { key: key.to_string(), reason: Some("saving is not built yet".into()), ..Saved::default() })
}
