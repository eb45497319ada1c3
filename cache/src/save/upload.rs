//! Sending packs while the files are read.

use std::{io, sync::Arc};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::sync::mpsc;

use super::read::Reader;
use crate::{
    deadline::{Deadline, blocking},
    error::Error,
    manifest::Manifest,
    pack::Packed,
    scope::Scope,
    store::Store,
};

/// Packs under way at a time; together with the one being filled they are a save's memory.
pub(super) const CONNECTIONS: usize = 4;

/// What is in the store now, but for the manifest.
pub(super) struct Sent {
    pub(super) manifest: Manifest,
    pub(super) bytes: u64,
    pub(super) warnings: Vec<String>,
}

/// Reads and sends at the same time. When sending fails, reading ends; when reading fails, what is under way is sent
/// in vain and belongs to nothing.
pub(super) async fn send<S: Store>(
    store: &S,
    scope: &Scope,
    reader: Reader,
    base: Arc<Manifest>,
    deadline: Deadline,
) -> Result<Sent, Error> {
    let (packs, full) = mpsc::channel::<Packed>(1);
    let closed = |_| io::Error::from(io::ErrorKind::BrokenPipe);
    let reading = blocking(move || reader.read(&base, |pack| packs.blocking_send(pack).map_err(closed)));
    let sending = stream::unfold(full, async |mut full| full.recv().await.map(|pack| (pack, full)))
        .map(|pack| put(store, scope, pack, &deadline))
        .buffer_unordered(CONNECTIONS)
        .try_fold(0, async |sum, bytes| Ok(sum + bytes));
    let (read, sent) = futures_util::future::join(reading, sending).await;
    // Reading fails because sending did, so that is the reason to give.
    let bytes = sent?;
    let output = read?;
    Ok(Sent { manifest: output.manifest, bytes, warnings: output.warnings })
}

/// Sends a pack. An object of that name is overwritten on purpose: should it be damaged, it is whole again.
async fn put<S: Store>(store: &S, scope: &Scope, pack: Packed, deadline: &Deadline) -> Result<u64, Error> {
    let size = pack.bytes.len() as u64;
    deadline.within("send a pack", store.put(&scope.pack(&pack.digest), pack.bytes)).await?;
    Ok(size)
}
