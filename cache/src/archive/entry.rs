//! What an entry of an archive asks for: pure decisions about names and times, which an enemy may have written.

use std::{
    borrow::Cow,
    io::{self, Read},
};

use tar::{Entry, EntryType};

use crate::confined::join;

/// The longest path, as the kernel has it.
const MAX_PATH: usize = 4095;

/// What to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Node {
    Directory,
    /// With the entry's content.
    File,
    /// As it is, wherever it points: nothing is ever written through one.
    Symlink {
        target: Vec<u8>,
    },
    /// Another name of the file at an earlier path.
    Link {
        to: Vec<u8>,
    },
    /// A device, a pipe: not for caches.
    Special,
    /// Words about other entries.
    Nothing,
}

/// Owner, mode and time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Attributes {
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime: (i64, u32),
}

/// Gives the path below the target, empty for the target itself; refuses one that is not below it.
pub(super) fn clean(path: &[u8]) -> Result<Vec<u8>, &'static str> {
    if path.first() == Some(&b'/') {
        return Err("is an absolute path");
    }
    if path.len() > MAX_PATH {
        return Err("has a longer path than can be");
    }
    let mut cleaned = Vec::new();
    for component in path.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => return Err("leads out of the archive"),
            _ if component.contains(&0) || component.len() > 255 => return Err("has a name that cannot be"),
            _ => cleaned = join(&cleaned, component),
        }
    }
    Ok(cleaned)
}

/// Tells what an entry is.
pub(super) fn node(entry: &Entry<'_, impl Read>) -> Result<Node, &'static str> {
    let link = || entry.link_name_bytes().map(Cow::into_owned).ok_or("is a link to nothing");
    Ok(match entry.header().entry_type() {
        EntryType::Directory => Node::Directory,
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => Node::File,
        EntryType::Symlink => Node::Symlink { target: link()? },
        EntryType::Link => Node::Link { to: clean(&link()?)? },
        EntryType::Char | EntryType::Block | EntryType::Fifo => Node::Special,
        EntryType::XGlobalHeader => Node::Nothing,
        _ => return Err("is of a kind that nobody knows"),
    })
}

/// Reads owner, mode and time, the time as exactly as the archive has it.
pub(super) fn attributes(entry: &mut Entry<'_, impl Read>) -> io::Result<Attributes> {
    let mut exact = None;
    for extension in entry.pax_extensions()?.into_iter().flatten() {
        let extension = extension?;
        match extension.key_bytes() {
            b"mtime" => exact = extension.value().ok().and_then(parse_time),
            key if key.starts_with(b"GNU.sparse.") => {
                return Err(io::Error::other("is a sparse file in PAX format; make the archive without --sparse"));
            }
            _ => {}
        }
    }
    let header = entry.header();
    let owner = |id: io::Result<u64>| id.map(|id| u32::try_from(id).unwrap_or(0));
    Ok(Attributes {
        mode: header.mode()? & 0o7777,
        uid: owner(header.uid())?,
        gid: owner(header.gid())?,
        mtime: exact.unwrap_or((i64::try_from(header.mtime()?).unwrap_or(0), 0)),
    })
}

/// Says a time as extended headers do: seconds since 1970 with a fraction.
pub(super) fn format_time((seconds, nanoseconds): (i64, u32)) -> String {
    let all = i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds);
    let (sign, all) = (if all < 0 { "-" } else { "" }, all.unsigned_abs());
    format!("{sign}{}.{:09}", all / 1_000_000_000, all % 1_000_000_000)
}

/// Reads a time as extended headers have it.
fn parse_time(text: &str) -> Option<(i64, u32)> {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
    let (seconds, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten();
    let fraction: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    let (seconds, nanoseconds): (i64, i64) = (number(seconds)?, number(&fraction)?);
    let all = sign * (i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds));
    let seconds = i64::try_from(all.div_euclid(1_000_000_000)).ok()?;
    Some((seconds, u32::try_from(all.rem_euclid(1_000_000_000)).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_below_the_target() {
        for (path, cleaned) in [
            (&b"./a/b"[..], &b"a/b"[..]),
            (b"a//b/", b"a/b"),
            (b"./", b""),
            (b".", b""),
            (b"...", b"..."),
            (b"a/..b", b"a/..b"),
        ] {
            assert_eq!(clean(path), Ok(cleaned.to_vec()), "{}", path.escape_ascii());
        }
        for path in [&b"/etc/passwd"[..], b"..", b"../x", b"a/../../x", b"a/..", b"./../x", b"a\0b"] {
            assert!(clean(path).is_err(), "{}", path.escape_ascii());
        }
    }

    #[test]
    fn times_survive_to_the_nanosecond_also_before_1970() {
        for time in [(0, 0), (1_700_000_000, 123_456_789), (-5, 1), (-1, 999_999_999), (12, 5)] {
            assert_eq!(parse_time(&format_time(time)), Some(time));
        }
        assert_eq!(format_time((-5, 1)), "-4.999999999");
        assert_eq!(parse_time("12.5"), Some((12, 500_000_000)));
        assert_eq!(parse_time("12"), Some((12, 0)));
        for text in ["", "x", "1.x", "--1", "1e9", "+1"] {
            assert_eq!(parse_time(text), None, "{text}");
        }
    }
}
