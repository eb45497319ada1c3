//! The formats for reports: gzip and raw (protocol §6.3).

use super::{Error, Level};
use crate::workspace::{Kind, Workspace};
use flate2::{Compression, GzBuilder};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Writes a gzip member for each file, one after the other: name = base name, comment = path.
pub(super) fn gzip<W: Write>(workspace: &Workspace, paths: &[PathBuf], level: Level, out: &mut W) -> Result<(), Error> {
    for path in paths {
        let (mut file, modified) = open(workspace, path, "gzip")?;
        let name = path.file_name().unwrap_or_default();
        let mut member = GzBuilder::new()
            .filename(header_text(name.as_bytes()))
            .comment(header_text(path.as_os_str().as_bytes()))
            .mtime(u32::try_from(modified).unwrap_or(0))
            .write(&mut *out, Compression::new(u32::from(level.deflate())));
        io::copy(&mut file, &mut member)?;
        member.finish()?;
    }
    Ok(out.flush()?)
}

/// Writes the one file as it is.
pub(super) fn raw<W: Write>(workspace: &Workspace, paths: &[PathBuf], out: &mut W) -> Result<(), Error> {
    let [path] = paths else { return Err(Error::NotOne(paths.len())) };
    let (mut file, _) = open(workspace, path, "raw")?;
    io::copy(&mut file, out)?;
    Ok(out.flush()?)
}

/// Opens a regular file; also tells when it was changed.
fn open(workspace: &Workspace, path: &Path, format: &'static str) -> Result<(File, i64), Error> {
    match workspace.stat(path)? {
        Some(stat) if stat.kind == Kind::File => Ok((workspace.read(path)?, stat.modified.0)),
        _ => Err(Error::NotRegular { path: path.display().to_string(), format }),
    }
}

/// The header holds Latin-1, so a name that is no plain ASCII, or looks encoded, is `e:` and percent-encoded.
fn header_text(name: &[u8]) -> Vec<u8> {
    if name.iter().all(|byte| (b' '..=b'~').contains(byte) && *byte != b'%') {
        return name.to_owned();
    }
    let mut out = "e:".to_owned();
    for byte in name {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(byte) {
            out.push(char::from(*byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out.into_bytes()
}
