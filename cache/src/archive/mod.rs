//! Caches as archives (tar in zstd), for people who arrive or leave.
//!
//! Both ways lead through a private directory: an export is a restore, so what is written was verified; an import
//! is a save, so what is stored is what any save would have stored.

mod entry;
mod input;
mod pack;
mod private;
mod unpack;

use std::{
    io::{self, Read, Write},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use serde::Serialize;

use self::private::Private;
use crate::{
    deadline::blocking,
    error::Error,
    options::{RestoreOptions, SaveOptions, Saved, Selection},
    restore::restore,
    save::save,
    scope::{Key, Scope},
    store::Store,
};

/// What an export came to. That there is no cache is an answer and no error.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Exported {
    /// Whether the archive was written.
    pub exported: bool,
    /// The key.
    pub key: String,
    /// Files in it, links included, directories not.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes of the archive.
    pub archive: u64,
    /// Why nothing was exported; one line.
    pub reason: Option<String>,
    /// What is not quite as it was saved; one line each.
    pub warnings: Vec<String>,
}

/// Writes the newest cache of a key to `output`, as a tar archive compressed by zstd. The tree is restored into a
/// private directory in `temporary` first, which needs as much room as its files; nothing is written before
/// everything has been verified.
pub async fn export<S: Store>(
    store: &S,
    scope: &Scope,
    key: &Key,
    output: impl Write + Send + 'static,
    temporary: &Path,
    options: &RestoreOptions,
) -> Result<Exported, Error> {
    let private = Private::new(temporary)?;
    let options = RestoreOptions { keep_setuid: true, ..options.clone() };
    let restored = restore(store, scope, std::slice::from_ref(key), private.path(), &options).await?;
    let mut exported = Exported { key: key.to_string(), warnings: restored.warnings, ..Exported::default() };
    if !restored.hit {
        exported.reason = restored.reason;
        return Ok(exported);
    }
    (exported.files, exported.bytes) = (restored.files, restored.bytes);
    let written = Counted::default();
    let (output, count) = (written.around(output), written.0);
    let mut warnings = blocking(move || pack::pack(private.path(), output)).await?;
    exported.warnings.append(&mut warnings);
    exported.archive = count.load(Ordering::Relaxed);
    exported.exported = true;
    Ok(exported)
}

/// Saves what an archive holds, tar as it is or compressed by zstd, under a key. `name` stands for the archive in
/// messages. It is unpacked into a private directory in `temporary` first. An archive that names anything outside
/// itself is refused before anything is stored.
pub async fn import<S: Store>(
    store: &S,
    scope: &Scope,
    key: &Key,
    archive: (&str, impl Read + Send + 'static),
    temporary: &Path,
    options: &SaveOptions,
) -> Result<Saved, Error> {
    scope.admit(key)?;
    let private = Private::new(temporary)?;
    let ((name, input), limits) = ((archive.0.to_owned(), archive.1), options.limits);
    let (private, mut warnings) = blocking(move || {
        let warnings = unpack::unpack(&name, input, private.path(), limits)?;
        Ok((private, warnings))
    })
    .await?;
    let everything = Selection { paths: vec![".".to_owned()], untracked: Vec::new() };
    let mut saved = save(store, scope, key, private.path(), &everything, options).await?;
    warnings.append(&mut saved.warnings);
    // Removing it takes a while and has to happen before we return.
    blocking(move || {
        drop(private);
        Ok(())
    })
    .await?;
    Ok(Saved { warnings, ..saved })
}

/// Counts what passes through a writer.
#[derive(Debug, Default)]
struct Counted(Arc<AtomicU64>);

impl Counted {
    fn around<W: Write>(&self, inner: W) -> impl Write + use<W> {
        Counting { inner, count: self.0.clone() }
    }
}

struct Counting<W> {
    inner: W,
    count: Arc<AtomicU64>,
}

impl<W: Write> Write for Counting<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.count.fetch_add(written as u64, Ordering::Relaxed);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
