//! Leaning on packs that an earlier save wrote: which are worth it, and whether they are still there.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use std::time::{Duration, SystemTime};

use super::pipeline::CONNECTIONS;
use crate::{
    deadline::{Deadline, GRACE},
    error::Error,
    manifest::{Manifest, Pack},
    pack::FULL_PACK,
    scope::Scope,
    store::Store,
};

/// A pack of which less is in use is not worth keeping, in percent.
const MIN_LIVE: u64 = 50;
/// So many packs beyond what the content needs do no harm yet.
const SPARE_PACKS: usize = 8;

/// Tells for each pack whether a save should go on using it. What lies in the others is sent again, in new packs, so
/// that neither dead content nor ever smaller packs pile up.
pub(super) fn worth_keeping(manifest: &Manifest) -> Vec<bool> {
    let live = live(manifest);
    let sizes = manifest.packs.iter().map(|pack| u64::from(pack.size));
    let mut keep: Vec<bool> = live.iter().zip(sizes).map(|(live, size)| live * 100 >= size * MIN_LIVE).collect();
    let total: u64 = live.iter().sum();
    let enough = usize::try_from(total / FULL_PACK as u64).unwrap_or(usize::MAX).saturating_add(SPARE_PACKS);
    if keep.iter().filter(|keep| **keep).count() > enough {
        manifest.packs.iter().zip(&mut keep).for_each(|(pack, keep)| *keep &= pack.size as usize >= FULL_PACK / 2);
    }
    keep
}

/// Gives for each pack about how many of its bytes the manifest's files use.
fn live(manifest: &Manifest) -> Vec<u64> {
    let mut places: Vec<_> = manifest.chunks.iter().map(|chunk| (chunk.frame, chunk.offset, chunk.length)).collect();
    places.sort_unstable();
    places.dedup();
    let mut raw = vec![0_u64; manifest.frames.len()];
    for (frame, _, length) in places {
        raw[frame as usize] += u64::from(length);
    }
    let mut live = vec![0; manifest.packs.len()];
    for (frame, used) in manifest.frames.iter().zip(raw) {
        live[frame.pack as usize] += u64::from(frame.size) * used / u64::from(frame.raw.max(1));
    }
    live
}

/// Whether every one of these packs is there and has its size. One that a collection could soon take is made young:
/// only then may a ref lean on it.
pub(super) async fn renew<S: Store>(
    store: &S,
    scope: &Scope,
    packs: &[Pack],
    deadline: &Deadline,
) -> Result<bool, Error> {
    let found = stream::iter(packs.to_vec()).map(|pack| renew_one(store, scope, pack, deadline));
    found.buffer_unordered(4 * CONNECTIONS).try_fold(true, async |all, found| Ok(all && found)).await
}

/// Asks for the last byte and one more: one byte comes only from an object of just this size.
async fn renew_one<S: Store>(store: &S, scope: &Scope, pack: Pack, deadline: &Deadline) -> Result<bool, Error> {
    let (name, size) = (scope.pack(&pack.digest), u64::from(pack.size));
    let end = store.get(&name, Some(size.saturating_sub(1)..size + 1));
    let Some(object) = deadline.within("look for a pack", end).await? else { return Ok(false) };
    if object.bytes.len() != 1 {
        return Ok(false);
    }
    if is_young(object.modified) {
        return Ok(true);
    }
    deadline.within("renew a pack", store.touch(&name)).await
}

/// Whether no collection takes it before the ref is written. A clock that is behind the store's by some hours only
/// makes an object seem younger than it is by as much, and one ahead makes it seem older.
fn is_young(modified: Option<SystemTime>) -> bool {
    let limit: Duration = GRACE / 2;
    modified.is_some_and(|time| SystemTime::now().duration_since(time).unwrap_or_default() < limit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        digest::Digest,
        manifest::{Chunk, Frame},
    };

    /// A manifest of packs with one frame each, by the pack's size and how much of 100 raw bytes is used.
    fn manifest(packs: &[(u32, u32)]) -> Manifest {
        let mut manifest = Manifest::default();
        for ((size, used), pack) in packs.iter().zip(0..) {
            manifest.packs.push(Pack { digest: Digest::of(&[1]), size: *size });
            manifest.frames.push(Frame { pack, offset: 0, size: *size, raw: 100 });
            let chunk = Chunk { frame: pack, offset: 0, length: *used, digest: Digest::of_chunk(&[2]) };
            manifest.chunks.extend([chunk, chunk]);
        }
        manifest
    }

    #[test]
    fn packs_with_little_live_content_are_given_up() {
        assert_eq!(
            worth_keeping(&manifest(&[(1000, 100), (1000, 51), (1000, 49), (1000, 1)])),
            [true, true, false, false]
        );
        assert!(worth_keeping(&Manifest::default()).is_empty());
    }

    #[test]
    fn small_packs_are_joined_once_there_are_many() {
        let large = u32::try_from(FULL_PACK).expect("small");
        let packs: Vec<_> = std::iter::repeat_n((large, 100), 4).chain(std::iter::repeat_n((1000, 100), 8)).collect();
        assert!(worth_keeping(&manifest(&packs)).iter().all(|keep| *keep));
        let more: Vec<_> = packs.into_iter().chain([(1000, 100)]).collect();
        let keep = worth_keeping(&manifest(&more));
        assert_eq!(keep.iter().filter(|keep| **keep).count(), 4);
    }
}
