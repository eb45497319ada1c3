//! Extended attributes, for callers that ask for them.

use std::{fmt::Display, os::fd::OwnedFd};

use rustix::{
    buffer::spare_capacity,
    fs::{lgetxattr, llistxattr},
    io::Errno,
};

use crate::{
    confined::{Handles, Root, path_at},
    manifest::MAX_ATTRIBUTES,
    select::Entry,
};

/// Name and value.
pub(super) type Attribute = (Vec<u8>, Vec<u8>);

/// Sorted by name; or why a path is left out.
pub(super) type Attributes = Result<Vec<Attribute>, String>;

/// The most that the kernel gives of all names together, and of a value.
const MAX: usize = 64 << 10;

/// Gives the attributes of each entry.
pub(super) fn read(root: &Root, entries: &[Entry]) -> Vec<Attributes> {
    let (mut handles, mut buffer) = (Handles::new(root), Vec::with_capacity(MAX));
    let mut read = |entry: &Entry| {
        let (parent, name) = handles.parent(&entry.path).map_err(unreadable)?;
        of_name(parent, name, &mut buffer)
    };
    entries.iter().map(&mut read).collect()
}

/// Reads the attributes of a name in a directory, also of a link or a device: those cannot be opened for it.
fn of_name(parent: &OwnedFd, name: &[u8], buffer: &mut Vec<u8>) -> Attributes {
    let path = path_at(parent, name);
    buffer.clear();
    match llistxattr(&*path, spare_capacity(buffer)) {
        Err(Errno::NOTSUP) => return Ok(Vec::new()),
        listed => listed.map_err(unreadable)?,
    };
    let names: Vec<_> = buffer.split(|byte| *byte == 0).filter(|name| !name.is_empty()).map(<[u8]>::to_vec).collect();
    if names.len() > MAX_ATTRIBUTES {
        return Err(format!("has more than {MAX_ATTRIBUTES} extended attributes and is left out"));
    }
    let mut attributes = Vec::with_capacity(names.len());
    for name in names {
        buffer.clear();
        lgetxattr(&*path, &*name, spare_capacity(buffer)).map_err(unreadable)?;
        attributes.push((name, buffer.clone()));
    }
    attributes.sort_unstable();
    Ok(attributes)
}

fn unreadable(error: impl Display) -> String {
    format!("has extended attributes that cannot be read, and is left out: {error}")
}
