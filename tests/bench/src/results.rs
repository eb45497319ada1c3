//! What was measured, kept between runs so that a report can be written from two of them.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{corpus::Size, machine::Machine, measure::Cost};

/// What is measured of every peer.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub(crate) enum Step {
    /// The first version into an empty store.
    SaveFirst,
    /// The first version on a fresh file system.
    RestoreFirst,
    /// The same again after it was restored, in the same job.
    SaveUnchanged,
    /// The second version after the first was restored, in the same job.
    SaveSecond,
    /// The second version, saved on top of the first.
    RestoreSecond,
}

impl Step {
    pub(crate) const ALL: [Self; 5] =
        [Self::SaveFirst, Self::RestoreFirst, Self::SaveUnchanged, Self::SaveSecond, Self::RestoreSecond];

    /// What it is, for people.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::SaveFirst => "Save, cold",
            Self::RestoreFirst => "Restore",
            Self::SaveUnchanged => "Save, nothing changed, after a restore in the same job",
            Self::SaveSecond => "Save of the second version, after a restore of the first",
            Self::RestoreSecond => "Restore of the second version",
        }
    }
}

/// The costs of a peer: by step, one per round.
pub(crate) type Costs = BTreeMap<Step, Vec<Cost>>;

/// One corpus and what the peers did with it.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Measured {
    pub(crate) name: String,
    pub(crate) first: Size,
    pub(crate) second: Size,
    pub(crate) changes: Size,
    pub(crate) peers: BTreeMap<String, Costs>,
}

/// A run over all corpora.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Comparison {
    pub(crate) machine: Machine,
    pub(crate) rounds: usize,
    /// Version by peer.
    pub(crate) versions: BTreeMap<String, String>,
    /// Peers that could not be measured.
    pub(crate) missing: Vec<String>,
    pub(crate) corpora: Vec<Measured>,
}

/// One size of tree in the growth series.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Point {
    pub(crate) size: Size,
    pub(crate) save: Cost,
    pub(crate) restore: Cost,
}

/// The growth series.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Growth {
    pub(crate) machine: Machine,
    /// More and more small files.
    pub(crate) files: Vec<Point>,
    /// More and more bytes in large files.
    pub(crate) bytes: Vec<Point>,
    /// Sizes that were left out, and why.
    pub(crate) skipped: Vec<String>,
}

/// Keeps a result as `name` in `directory`.
pub(crate) fn keep<T: Serialize>(directory: &Path, name: &str, result: &T) -> Result<()> {
    let path = directory.join(name);
    std::fs::write(&path, serde_json::to_vec(result)?).with_context(|| format!("write {}", path.display()))
}

/// Gives the result of an earlier run; none if there is none, or only one of another version of this program.
pub(crate) fn kept<T: DeserializeOwned>(directory: &Path, name: &str) -> Option<T> {
    serde_json::from_slice(&std::fs::read(directory.join(name)).ok()?).ok()
}
