//! Whether a manifest makes sense. An enemy may have written it: nothing here trusts anything.

use super::{Chunk, Content, Frame, Hole, Manifest, Node, Pack, RESERVED, Record};
use crate::{chunk, confined::split, error::printable, pack};

/// The longest path, as the kernel has it.
pub(crate) const MAX_PATH: usize = 4095;
/// The longest name and value of an attribute.
const MAX_ATTRIBUTE: (usize, usize) = (255, 64 << 10);
/// The longest component of a path.
const MAX_NAME: usize = 255;

/// Gives the first thing that is wrong.
pub(super) fn check(manifest: &Manifest) -> Result<(), String> {
    manifest.packs.iter().try_for_each(check_pack)?;
    manifest.frames.iter().try_for_each(|frame| check_frame(manifest, frame))?;
    for (at, record) in manifest.records().enumerate() {
        check_record(manifest, at, &record).map_err(|reason| format!("path {}: {reason}", show(record.path)))?;
    }
    Ok(())
}

/// Gives a path in a form that is safe to print.
pub(crate) fn show(path: &[u8]) -> String {
    printable(&String::from_utf8_lossy(&path[..path.len().min(200)]))
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

fn check_record(manifest: &Manifest, at: usize, record: &Record<'_>) -> Result<(), &'static str> {
    check_path(record.path)?;
    let before = at.checked_sub(1).map(|before| manifest.path(before));
    if before.is_some_and(|before| before >= record.path) {
        return Err("comes twice or out of order");
    }
    // Most paths are neighbours of the one before, whose parent was checked.
    if before.is_none_or(|before| split(before).0 != split(record.path).0) {
        check_parents(manifest, at, record.path)?;
    }
    // The greatest number means "leave it" to chown.
    if record.mode > 0o7777 || record.uid == u32::MAX || record.gid == u32::MAX || record.mtime.1 >= 1_000_000_000 {
        return Err("has a mode, an owner or a time that cannot be");
    }
    check_attributes(&record.attributes)?;
    check_node(manifest, at, &record.node)
}

fn check_node(manifest: &Manifest, at: usize, node: &Node<'_>) -> Result<(), &'static str> {
    match node {
        Node::Directory | Node::Device { major: 0, minor: 0 } => Ok(()),
        Node::File { size, chunks, holes } => check_file(manifest, *size, chunks, holes),
        Node::Symlink { target } => match target.len() {
            1..=MAX_PATH if !target.contains(&0) => Ok(()),
            _ => Err("has a link's target that cannot be"),
        },
        Node::Link { to } => match earlier(manifest, at, to) {
            Some(Content::File { .. }) => Ok(()),
            _ => Err("is another name of no file before it"),
        },
        Node::Device { .. } => Err("is a device"),
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
fn check_parents(manifest: &Manifest, at: usize, path: &[u8]) -> Result<(), &'static str> {
    let mut parent = split(path).0;
    while !parent.is_empty() {
        match earlier(manifest, at, parent) {
            Some(Content::Directory) => return Ok(()),
            Some(_) => return Err("lies below what is no directory"),
            None => parent = split(parent).0,
        }
    }
    Ok(())
}

/// Finds a path among those before `at`: only they are known to be in order.
fn earlier<'m>(manifest: &'m Manifest, at: usize, path: &[u8]) -> Option<&'m Content> {
    let rows = &manifest.rows[..at];
    rows.binary_search_by(|row| manifest.text(row.path).cmp(path)).ok().map(|found| &rows[found].content)
}

fn check_attributes(attributes: &[(&[u8], &[u8])]) -> Result<(), &'static str> {
    let (name, value) = MAX_ATTRIBUTE;
    let bad = |(own, content): &(&[u8], &[u8])| {
        own.is_empty() || own.len() > name || own.contains(&0) || content.len() > value
    };
    if attributes.iter().any(bad) || !attributes.is_sorted_by(|one, next| one.0 < next.0) {
        return Err("has attributes that cannot be");
    }
    Ok(())
}

fn check_file(manifest: &Manifest, size: u64, chunks: &[Chunk], holes: &[Hole]) -> Result<(), &'static str> {
    let mut sum = 0_u64;
    for chunk in chunks {
        let frame = manifest.frames.get(chunk.frame as usize).ok_or("has a chunk in no frame")?;
        let end = u64::from(chunk.offset) + u64::from(chunk.length);
        if chunk.length == 0 || chunk.length as usize > chunk::MAX || end > u64::from(frame.raw) {
            return Err("has a chunk that does not fit its frame");
        }
        sum += u64::from(chunk.length);
    }
    check_holes(size, chunks, holes)?;
    let empty: u64 = holes.iter().map(|hole| hole.length).sum();
    if sum.checked_add(empty) == Some(size) { Ok(()) } else { Err("has chunks of another size than its own") }
}

/// Holes come in order, apart from each other, end within the file, and begin where a chunk ends.
fn check_holes(size: u64, chunks: &[Chunk], holes: &[Hole]) -> Result<(), &'static str> {
    let (mut end, mut filled, mut chunks) = (0_u64, 0_u64, chunks.iter());
    for (position, hole) in holes.iter().enumerate() {
        let data = hole.start.checked_sub(end).ok_or("has holes out of order")?;
        let after = hole.start.checked_add(hole.length).filter(|after| *after <= size && hole.length > 0);
        if data == 0 && position > 0 {
            return Err("has holes out of order");
        }
        let wanted = filled.saturating_add(data);
        while filled < wanted {
            filled += u64::from(chunks.next().ok_or("has a hole where no chunk ends")?.length);
        }
        if filled != wanted {
            return Err("has a hole where no chunk ends");
        }
        end = after.ok_or("has a hole that does not fit it")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;

    fn record<'m>(path: &'m str, node: Node<'m>) -> Record<'m> {
        let (path, attributes) = (path.as_bytes(), Vec::new());
        Record { path, mode: 0o644, uid: 0, gid: 0, mtime: (0, 0), attributes, node }
    }

    fn content(size: u64, chunks: Vec<Chunk>, holes: Vec<Hole>) -> Node<'static> {
        Node::File { size, chunks: chunks.into(), holes: holes.into() }
    }

    fn file(path: &str) -> Record<'_> {
        record(path, content(0, Vec::new(), Vec::new()))
    }

    fn manifest(records: &[Record<'_>]) -> Manifest {
        let mut manifest = Manifest::default();
        for record in records {
            manifest.push(record);
        }
        manifest
    }

    fn verdict(records: &[Record<'_>]) -> Result<(), String> {
        check(&manifest(records))
    }

    #[test]
    fn paths_that_leave_the_directory_are_refused() {
        for path in ["", "/", "/etc/passwd", "..", "../x", "a/../b", "a/./b", "a//b", "a/", "a\0b", "."] {
            assert!(verdict(&[file(path)]).is_err(), "{path:?}");
        }
        assert!(verdict(&[file(&"a".repeat(256))]).is_err());
        assert!(verdict(&[file(&"a/".repeat(2048))]).is_err());
        assert!(verdict(&[file(".warmstart-restore-1/x")]).is_err());
        assert!(verdict(&[file("...")]).is_ok());
    }

    #[test]
    fn a_path_comes_once_and_in_order() {
        assert!(verdict(&[file("a"), file("a")]).is_err());
        assert!(verdict(&[file("b"), file("a")]).is_err());
        assert!(verdict(&[file("a"), file("a-b"), file("b/c")]).is_ok());
    }

    #[test]
    fn nothing_lies_below_a_file_or_a_link_of_the_same_manifest() {
        let link = || record("a", Node::Symlink { target: b"/etc" });
        assert!(verdict(&[link(), file("a/passwd")]).is_err());
        assert!(verdict(&[link(), file("a-b"), file("a/deep/down")]).is_err());
        assert!(verdict(&[file("a"), file("a/b")]).is_err());
        assert!(verdict(&[record("a", Node::Directory), file("a-b"), file("a/deep/down")]).is_ok());
    }

    #[test]
    fn a_hard_link_names_an_earlier_file() {
        let link = |to: &'static str| record("b", Node::Link { to: to.as_bytes() });
        for to in ["/etc/passwd", "../x", "c", "b", "missing"] {
            assert!(verdict(&[file("a"), link(to), file("c")]).is_err(), "{to}");
        }
        assert!(verdict(&[record("a", Node::Directory), link("a")]).is_err());
        assert!(verdict(&[file("a"), link("a")]).is_ok());
    }

    #[test]
    fn chunks_lie_within_frames_and_frames_within_packs() {
        let digest = Digest::of(b"");
        let verdict = |pack: u32, frame: Frame, chunk: Chunk| {
            let packs = vec![Pack { digest, size: pack }];
            let file = record("a", content(5, vec![chunk], Vec::new()));
            check(&Manifest { packs, frames: vec![frame], ..manifest(&[file]) })
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

    #[test]
    fn holes_lie_between_chunks_and_within_the_file() {
        let digest = Digest::of(b"");
        let verdict = |size: u64, lengths: &[u32], holes: &[(u64, u64)]| {
            let chunks = lengths.iter().map(|length| Chunk { frame: 0, offset: 0, length: *length, digest }).collect();
            let holes = holes.iter().map(|(start, length)| Hole { start: *start, length: *length }).collect();
            let (packs, frames) = (vec![Pack { digest, size: 9 }], vec![Frame { pack: 0, offset: 0, size: 9, raw: 9 }]);
            check(&Manifest { packs, frames, ..manifest(&[record("a", content(size, chunks, holes))]) })
        };
        assert_eq!(verdict(100, &[], &[(0, 100)]), Ok(()));
        assert_eq!(verdict(20, &[2, 3, 5], &[(5, 10)]), Ok(()));
        assert_eq!(verdict(20, &[5, 5], &[(0, 3), (8, 4), (17, 3)]), Ok(()));
        assert!(verdict(20, &[5, 5], &[(4, 10)]).is_err());
        assert!(verdict(20, &[5, 5], &[(5, 11)]).is_err());
        assert!(verdict(20, &[5, 5], &[(5, 5), (10, 5)]).is_err());
        assert!(verdict(20, &[5, 5], &[(15, 5), (5, 5)]).is_err());
        assert!(verdict(20, &[5, 5], &[(5, 10), (15, 0)]).is_err());
        assert!(verdict(u64::MAX, &[], &[(0, u64::MAX), (u64::MAX, 1)]).is_err());
        assert!(verdict(4, &[5], &[(5, u64::MAX)]).is_err());
        assert!(verdict(10, &[5], &[(50, 5)]).is_err());
    }

    #[test]
    fn only_the_device_of_overlays_and_sorted_attributes_pass() {
        let device = |major, minor| verdict(&[record("a", Node::Device { major, minor })]);
        assert!(device(0, 0).is_ok() && device(1, 3).is_err());
        let with = |attributes| verdict(&[Record { attributes, ..file("a") }]);
        assert!(with(vec![(b"user.a", b"1"), (b"user.b", b"")]).is_ok());
        assert!(with(vec![(b"user.b", b"1"), (b"user.a", b"")]).is_err());
        assert!(with(vec![(b"user.a", b"1"), (b"user.a", b"")]).is_err());
        assert!(with(vec![(b"", b"1")]).is_err());
        assert!(with(vec![(b"user.a", &[0; (64 << 10) + 1])]).is_err());
    }
}
