//! Reading, compressing and sending at the same time, with bounded memory.
//!
//! Batches are read by a few threads and taken in order; their chunks become frames in order; frames are compressed
//! by a few threads and packed in order; packs are sent by a few requests. So the same tree gives the same packs,
//! however many threads there are. When one part fails the others find their channels closed and end.

use std::{ops::Range, sync::Arc, thread};

use bytes::{Bytes, BytesMut};
use futures_util::{
    StreamExt as _, TryStreamExt as _,
    future::{ready, try_join3},
    stream,
};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::{
    buffers::Buffers,
    frame::Framer,
    read::{Segment, Shared, read_batch},
};
use crate::{
    deadline::{Deadline, blocking},
    error::Error,
    manifest::{Frame, Pack},
    pack::{self, Compressed, Packer},
    scope::Scope,
    store::Store,
};

/// Packs under way at a time; together with the one being filled they are most of a save's memory.
pub(super) const CONNECTIONS: usize = 4;
/// So many batches for each thread are read or wait to be taken, and so many frames are compressed or wait to be packed:
/// one that takes long holds up none but those.
const AHEAD: usize = 2;
/// Threads that read, and threads that compress; beyond it memory grows and the store is the limit.
const MAX_THREADS: usize = 8;

/// New objects in the store, and what lies where.
pub(super) struct Sent<'a> {
    /// What was read, and in which frames it lies.
    pub(super) framer: Framer<'a>,
    /// The new frames and packs, numbered after those of the base.
    pub(super) frames: Vec<Frame>,
    pub(super) packs: Vec<Pack>,
    pub(super) bytes: u64,
}

/// Reads the batches and sends what the framer does not know.
pub(super) async fn send<'a, S: Store>(
    store: &S,
    scope: &Scope,
    shared: &Arc<Shared>,
    batches: Vec<Range<usize>>,
    framer: Framer<'a>,
    packs: usize,
) -> Result<Sent<'a>, Error> {
    let buffers = shared.buffers.clone();
    let (to_compress, raw) = channel(1);
    let (to_send, full) = channel(1);
    let (framer, table, packs) = try_join3(
        read(shared, batches, framer, to_compress),
        compress(raw, &buffers, packs, to_send),
        put_all(store, scope, full, &buffers, &shared.deadline),
    )
    .await?;
    let bytes = packs.iter().map(|pack| u64::from(pack.size)).sum();
    Ok(Sent { framer, frames: table, packs, bytes })
}

/// Reads, and hands over the frames that become full.
async fn read<'a>(
    shared: &Arc<Shared>,
    batches: Vec<Range<usize>>,
    mut framer: Framer<'a>,
    full: Sender<Vec<u8>>,
) -> Result<Framer<'a>, Error> {
    let started = stream::iter(batches).map(|batch| ready(start(shared.clone(), batch))).buffered(AHEAD * threads());
    let mut segments = Box::pin(started.flat_map(receive));
    while let Some(segment) = segments.next().await {
        for frame in framer.take(segment?) {
            // Nobody takes it: the reason is on the other side.
            let _ = full.send(frame).await;
        }
    }
    if let Some(frame) = framer.finish() {
        let _ = full.send(frame).await;
    }
    Ok(framer)
}

/// Starts to read a batch on a thread of its own.
fn start(shared: Arc<Shared>, batch: Range<usize>) -> Receiver<Result<Segment, Error>> {
    let (segments, receiver) = channel(1);
    tokio::task::spawn_blocking(move || {
        let read = read_batch(&shared, batch, |segment| segments.blocking_send(Ok(segment)).map_err(|_| ()));
        if let Err(error) = read {
            let _ = segments.blocking_send(Err(error));
        }
    });
    receiver
}

/// Compresses frames and hands over the packs that become full; gives the table of frames.
async fn compress(
    frames: Receiver<Vec<u8>>,
    buffers: &Arc<Buffers>,
    packs: usize,
    full: Sender<Bytes>,
) -> Result<Vec<Frame>, Error> {
    let start = |raw| compress_one(raw, buffers.clone());
    let mut compressed = Box::pin(receive(frames).map(start).buffered(AHEAD * threads()));
    let mut packer = Packer::new(packs, buffers.pack()).map_err(failed)?;
    while let Some(frame) = compressed.next().await {
        let frame = frame?;
        let is_full = packer.add(&frame).map_err(failed)?;
        buffers.give_frame(frame.bytes);
        if is_full && let Some(pack) = packer.finish(buffers.pack()) {
            let _ = full.send(pack).await;
        }
    }
    if let Some(pack) = packer.finish(BytesMut::new()) {
        let _ = full.send(pack).await;
    }
    Ok(packer.frames)
}

async fn compress_one(raw: Vec<u8>, buffers: Arc<Buffers>) -> Result<Compressed, Error> {
    blocking(move || {
        let bytes = buffers.compress(&raw).map_err(failed)?;
        let length = raw.len();
        buffers.give_frame(raw);
        Ok(Compressed { raw: length, bytes })
    })
    .await
}

fn failed(error: std::io::Error) -> Error {
    Error::file("pack", "files", error)
}

/// Sends packs, and gives their names in order.
async fn put_all<S: Store>(
    store: &S,
    scope: &Scope,
    full: Receiver<Bytes>,
    buffers: &Buffers,
    deadline: &Deadline,
) -> Result<Vec<Pack>, Error> {
    receive(full).map(|pack| put(store, scope, pack, buffers, deadline)).buffered(CONNECTIONS).try_collect().await
}

/// Sends a pack. An object of that name is overwritten on purpose: should it be damaged, it is whole again.
async fn put<S: Store>(
    store: &S,
    scope: &Scope,
    bytes: Bytes,
    buffers: &Buffers,
    deadline: &Deadline,
) -> Result<Pack, Error> {
    let content = bytes.clone();
    let pack = blocking(move || pack::name(&content).map_err(failed)).await?;
    deadline.within("send a pack", store.put(&scope.pack(&pack.digest), bytes.clone())).await?;
    // A store in memory keeps it.
    if let Ok(buffer) = bytes.try_into_mut() {
        buffers.give_pack(buffer);
    }
    Ok(pack)
}

fn receive<T>(receiver: Receiver<T>) -> impl stream::Stream<Item = T> {
    stream::unfold(receiver, async |mut receiver| receiver.recv().await.map(|item| (item, receiver)))
}

fn threads() -> usize {
    thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS)
}
