//! A restored tree that waits to be renamed into place.

use std::{io, path::Path, sync::Arc};

use jiff::Timestamp;

use super::{failure, write::Writer};
use crate::{
    confined::Root,
    deadline::blocking,
    digest::Digest,
    error::Error,
    options::Restored,
    scope::{Key, Scope},
    stat_record::{Moment, Records, Stat, StatRecord},
};

/// A cache that was fetched and verified and waits to be renamed into place, or the reason why there is none. Dropped,
/// it leaves nothing behind; that may take a while and blocks.
#[derive(Debug)]
pub struct Staged {
    pub(super) restored: Restored,
    pub(super) tree: Option<Tree>,
    pub(super) notes: Option<Notes>,
    /// Whether any of the keys had something damaged.
    pub(super) damaged: bool,
    /// Whether any of the keys was missed for another reason than that there is nothing.
    pub(super) failed: bool,
}

/// Where the stat record goes.
#[derive(Debug)]
pub(super) struct Notes {
    pub(super) records: Records,
    pub(super) scope: Scope,
    /// The key that a save will ask for.
    pub(super) asked: Key,
}

/// A tree in its staging directory, and what a stat record of it says.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) writer: Arc<Writer>,
    pub(super) found: Key,
    pub(super) manifest: Digest,
    pub(super) created: Timestamp,
    /// What its files look like, if somebody wants to know.
    pub(super) stats: Vec<Option<Stat>>,
    /// Where its paths are in the whole manifest, and how many that has; none if it is the whole.
    pub(super) places: Option<(Vec<u32>, usize)>,
}

impl Staged {
    /// Gives what there is to commit, as the restore will report it.
    #[must_use]
    pub fn restored(&self) -> &Restored {
        &self.restored
    }

    /// Tells whether a cache was missed for another reason than that there is none: trying again may help.
    #[must_use]
    pub fn failed(&self) -> bool {
        self.failed
    }

    /// Renames everything into `directory`, or, if that fails, nothing.
    pub async fn commit(self, directory: &Path) -> Result<Restored, Error> {
        let Self { restored, tree, notes, damaged, .. } = self;
        let root = Root::open(directory).map_err(|error| Error::file("open the directory", directory, error))?;
        blocking(move || {
            // With a record of what is damaged, the next save would not send it again.
            if let Some(notes) = notes.as_ref().filter(|_| damaged || tree.is_some()) {
                notes.records.remove(&notes.scope, &notes.asked, &root);
            }
            let Some(tree) = tree else { return Ok(restored) };
            let found = tree.found.clone();
            Ok(match tree.commit(&root, notes.as_ref()) {
                Ok(mut warnings) => {
                    warnings.splice(0..0, restored.warnings);
                    Restored { warnings, ..restored }
                }
                Err(error) => Restored { reason: Some(failure(&found, &error)), ..Restored::default() },
            })
        })
        .await
    }
}

impl Tree {
    fn commit(self, root: &Root, notes: Option<&Notes>) -> Result<Vec<String>, Error> {
        // From here on others may write to the files. One whose own rename changes its time is read by the next save.
        let moment = Moment::now();
        let warnings = self.writer.commit(root)?;
        if let Some(notes) = notes
            && let Err(error) = moment.and_then(|moment| self.note(notes, root, moment))
        {
            tracing::warn!("what was restored is not noted, the next save reads everything: {error}");
        }
        Ok(warnings)
    }

    fn note(self, notes: &Notes, root: &Root, moment: Moment) -> io::Result<()> {
        let stats = match self.places {
            None => self.stats,
            Some((places, count)) => {
                let mut all = vec![None; count];
                places.iter().zip(self.stats).for_each(|(at, stat)| all[*at as usize] = stat);
                all
            }
        };
        let record = StatRecord::new(&notes.scope, &self.found, self.manifest, self.created, moment, stats);
        notes.records.store(&notes.asked, root, &record)
    }
}
