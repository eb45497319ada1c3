//! Finding out which manifests say what is not so: whole packs were held against what all of them say.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Check, Damage, VerifiedScope,
    claims::{Claims, Frames},
    manifests::Uses,
};
use crate::{digest::Digest, error::Error, manifest::Manifest, store::Store};

impl<S: Store> Check<'_, S> {
    /// Names the manifests that told one of `lies`, which are about packs.
    pub(super) async fn blame(
        &self,
        lies: &BTreeMap<Digest, Frames>,
        uses: &Uses,
        done: &mut VerifiedScope,
    ) -> Result<(), Error> {
        let suspects: BTreeSet<_> = lies.keys().filter_map(|pack| uses.packs.get(pack)).flatten().copied().collect();
        for suspect in suspects {
            let Some(manifest) = self.load(suspect).await? else { continue };
            let object = self.scope.manifest(&suspect);
            if let Some(pack) = liar(&manifest, lies)
                && done.damage.iter().all(|damage| damage.object != object)
            {
                let reason = format!("says of pack {pack} what is not so");
                let hurts = uses.manifests.get(&suspect).cloned().unwrap_or_default();
                done.damage.push(Damage { object, reason, hurts, missing: false });
            }
        }
        Ok(())
    }
}

/// Gives the pack that the manifest tells a lie about.
fn liar(manifest: &Manifest, lies: &BTreeMap<Digest, Frames>) -> Option<Digest> {
    let said = Claims::of(manifest).packs;
    let tells = |(pack, lies): &(&Digest, &Frames)| {
        let Some(said) = said.get(pack) else { return false };
        // A frame that is none is told by whoever names it, a chunk that is not there by whoever has it.
        lies.iter().any(|(place, pieces)| {
            said.get(place).is_some_and(|said| pieces.is_empty() || pieces.iter().any(|piece| said.contains(piece)))
        })
    };
    lies.iter().find(tells).map(|(pack, _)| *pack)
}
