//! A part of a cache, chosen by patterns.

use std::collections::HashMap;

use crate::{
    error::Error,
    manifest::{Manifest, Node},
    select::Names,
};

/// What of a manifest is to be restored.
pub(super) struct Subset {
    pub(super) manifest: Manifest,
    /// The places of its paths in the whole manifest, and how many that has; none if it is the whole.
    pub(super) places: Option<(Vec<u32>, usize)>,
    /// Patterns that nothing matches, one line each.
    pub(super) warnings: Vec<String>,
}

impl Subset {
    /// Takes what the patterns name; everything, if there are none.
    pub(super) fn of(whole: Manifest, patterns: &[String]) -> Result<Self, Error> {
        if patterns.is_empty() {
            return Ok(Self { manifest: whole, places: None, warnings: Vec::new() });
        }
        let paths = || (0..whole.len()).map(|at| whole.path(at));
        let mut names = Names::new(patterns, &paths());
        let places: Vec<_> = (0..).zip(paths()).filter(|(_, path)| names.has(path)).map(|(at, _)| at).collect();
        let warnings = names.warnings();
        if places.is_empty() {
            return Err(Error::Name { what: "paths", name: patterns.join(" "), reason: "match nothing in it" });
        }
        Ok(Self { manifest: part(&whole, &places), places: Some((places, whole.len())), warnings })
    }
}

/// Gives a manifest of these records. A link to a file that is not among them becomes that file.
fn part(whole: &Manifest, places: &[u32]) -> Manifest {
    let mut part = Manifest::default();
    (part.packs, part.frames) = (whole.packs.clone(), whole.frames.clone());
    // Names of files in the whole, and in the part.
    let mut names: HashMap<&[u8], &[u8]> = HashMap::new();
    for at in places {
        let mut record = whole.record(*at as usize);
        if let Node::Link { to } = record.node {
            if let Some(first) = names.get(&to) {
                record.node = Node::Link { to: first };
            } else {
                let Some(file) = whole.find(to) else { continue };
                record.node = whole.record(file).node;
                names.insert(to, record.path);
            }
        } else {
            names.insert(record.path, record.path);
        }
        part.push(&record);
    }
    part
}
