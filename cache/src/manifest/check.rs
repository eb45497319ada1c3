//! Whether a manifest makes sense. An enemy may have written it: nothing here trusts anything.

use super::{Chunk, Frame, Manifest, Node, Pack, RESERVED, Record};
use crate::{chunk, confined::split, pack};

/// The longest path, as the kernel has it.
const MAX_PATH: usize = 4095;
/// The longest component of a path.
const MAX_NAME: usize = 255;

/// Gives the first thing that is wrong.
pub(super) fn check(manifest: &Manifest) -> Result<(), String> {
    manifest.packs.iter().try_for_each(check_pack)?;
    manifest.frames.iter().try_for_each(|frame| check_frame(manifest, frame))?;
    for (position, record) in manifest.records.iter().enumerate() {
        let earlier = &manifest.records[..position];
        check_record(manifest, earlier, record).map_err(|reason| format!("path {}: {reason}", show(&record.path)))?;
    }
    Ok(())
}

/// Gives a path in a form that is safe to print.
pub(crate) fn show(path: &[u8]) -> String {
    let shown = String::from_utf8_lossy(&path[..path.len().min(200)]);
    shown.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
}

fn check_pack(pack: &Pack) -> Result<(), String> {
    if pack.size > pack::MAX_SIZE {
        return Err(format!("names a pack of {} bytes", pack.size));
    }
    Ok(())
}

fn check_frame(manifest: &Manifest, frame: &Frame) -> Result<(), String> {
    let pack = manifest.packs.get(frame.pack as usize).ok_or("has a frame in no pack")?;
    let end = u64::from(frame.offset) + u64::from(frame.size);
    if end > u64::from(pack.size) || frame.size > pack::MAX_FRAME || frame.raw > pack::MAX_RAW {
        return Err("has a frame that does not fit its pack or is too large".into());
    }
    Ok(())
}

fn check_record(manifest: &Manifest, earlier: &[Record], record: &Record) -> Result<(), &'static str> {
    check_path(&record.path)?;
    if earlier.last().is_some_and(|last| last.path >= record.path) {
        return Err("comes twice or out of order");
    }
    check_parents(earlier, &record.path)?;
    // The greatest number means "leave it" to chown.
    if record.mode > 0o7777 || record.uid == u32::MAX || record.gid == u32::MAX || record.mtime.1 >= 1_000_000_000 {
        return Err("has a mode, an owner or a time that cannot be");
    }
    match &record.node {
        Node::Directory => Ok(()),
        Node::File { size, chunks } => check_file(manifest, *size, chunks),
        Node::Symlink { target } => match target.len() {
            1..=MAX_PATH if !target.contains(&0) => Ok(()),
            _ => Err("has a link's target that cannot be"),
        },
        Node::Link { to } => match find(earlier, to) {
            Some(Record { node: Node::File { .. }, .. }) => Ok(()),
            _ => Err("is another name of no file before it"),
        },
    }
}

fn check_path(path: &[u8]) -> Result<(), &'static str> {
    let bad = |name: &[u8]| matches!(name, b"" | b"." | b"..") || name.len() > MAX_NAME || name.contains(&0);
    if path.len() > MAX_PATH || path.split(|byte| *byte == b'/').any(bad) {
        return Err("is not a plain relative path");
    }
    if path.starts_with(RESERVED) { Err("is reserved for restoring") } else { Ok(()) }
}

/// The nearest ancestor in the manifest must be a directory; those above it were checked with it.
fn check_parents(earlier: &[Record], path: &[u8]) -> Result<(), &'static str> {
    let mut parent = split(path).0;
    while !parent.is_empty() {
        match find(earlier, parent) {
            Some(Record { node: Node::Directory, .. }) => return Ok(()),
            Some(_) => return Err("lies below what is no directory"),
            None => parent = split(parent).0,
        }
    }
    Ok(())
}

fn find<'manifest>(records: &'manifest [Record], path: &[u8]) -> Option<&'manifest Record> {
    records.binary_search_by(|record| record.path.as_slice().cmp(path)).ok().map(|at| &records[at])
}

fn check_file(manifest: &Manifest, size: u64, chunks: &[Chunk]) -> Result<(), &'static str> {
    let mut sum = 0_u64;
    for chunk in chunks {
        let frame = manifest.frames.get(chunk.frame as usize).ok_or("has a chunk in no frame")?;
        let end = u64::from(chunk.offset) + u64::from(chunk.length);
        if chunk.length == 0 || chunk.length as usize > chunk::MAX || end > u64::from(frame.raw) {
            return Err("has a chunk that does not fit its frame");
        }
        sum += u64::from(chunk.length);
    }
    if sum == size { Ok(()) } else { Err("has chunks of another size than its own") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;

    fn record(path: &str, node: Node) -> Record {
        Record { path: path.into(), mode: 0o644, uid: 0, gid: 0, mtime: (0, 0), node }
    }

    fn file(path: &str) -> Record {
        record(path, Node::File { size: 0, chunks: Vec::new() })
    }

    fn verdict(records: Vec<Record>) -> Result<(), String> {
        check(&Manifest { records, ..Manifest::default() })
    }

    #[test]
    fn paths_that_leave_the_directory_are_refused() {
        for path in ["", "/", "/etc/passwd", "..", "../x", "a/../b", "a/./b", "a//b", "a/", "a\0b", "."] {
            assert!(verdict(vec![file(path)]).is_err(), "{path:?}");
        }
        assert!(verdict(vec![file(&"a".repeat(256))]).is_err());
        assert!(verdict(vec![file(&"a/".repeat(2048))]).is_err());
        assert!(verdict(vec![file(".warmstart-restore-1/x")]).is_err());
        assert!(verdict(vec![file("...")]).is_ok());
    }

    #[test]
    fn a_path_comes_once_and_in_order() {
        assert!(verdict(vec![file("a"), file("a")]).is_err());
        assert!(verdict(vec![file("b"), file("a")]).is_err());
        assert!(verdict(vec![file("a"), file("a-b"), file("b/c")]).is_ok());
    }

    #[test]
    fn nothing_lies_below_a_file_or_a_link_of_the_same_manifest() {
        let link = || record("a", Node::Symlink { target: b"/etc".to_vec() });
        assert!(verdict(vec![link(), file("a/passwd")]).is_err());
        assert!(verdict(vec![link(), file("a-b"), file("a/deep/down")]).is_err());
        assert!(verdict(vec![file("a"), file("a/b")]).is_err());
        assert!(verdict(vec![record("a", Node::Directory), file("a-b"), file("a/deep/down")]).is_ok());
    }

    #[test]
    fn a_hard_link_names_an_earlier_file() {
        let link = |to: &str| record("b", Node::Link { to: to.into() });
        for to in ["/etc/passwd", "../x", "c", "b", "missing"] {
            assert!(verdict(vec![file("a"), link(to), file("c")]).is_err(), "{to}");
        }
        assert!(verdict(vec![record("a", Node::Directory), link("a")]).is_err());
        assert!(verdict(vec![file("a"), link("a")]).is_ok());
    }

    #[test]
    fn chunks_lie_within_frames_and_frames_within_packs() {
        let digest = Digest::of(b"");
        let verdict = |pack: u32, frame: Frame, chunk: Chunk| {
            let node = Node::File { size: 5, chunks: vec![chunk] };
            let packs = vec![Pack { digest, size: pack }];
            check(&Manifest { packs, frames: vec![frame], records: vec![record("a", node)] })
        };
        let frame = Frame { pack: 0, offset: 10, size: 20, raw: 50 };
        let chunk = Chunk { frame: 0, offset: 45, length: 5, digest };
        assert_eq!(verdict(30, frame, chunk), Ok(()));
        assert!(verdict(29, frame, chunk).is_err());
        assert!(verdict(u32::MAX, frame, chunk).is_err());
        assert!(verdict(30, Frame { pack: 1, ..frame }, chunk).is_err());
        assert!(verdict(30, Frame { offset: u32::MAX, ..frame }, chunk).is_err());
        assert!(verdict(30, Frame { raw: u32::MAX, ..frame }, chunk).is_err());
        assert!(verdict(30, frame, Chunk { frame: 1, ..chunk }).is_err());
        assert!(verdict(30, frame, Chunk { offset: 46, ..chunk }).is_err());
        assert!(verdict(30, frame, Chunk { offset: u32::MAX, ..chunk }).is_err());
        assert!(verdict(30, frame, Chunk { length: 4, ..chunk }).is_err());
    }
}
