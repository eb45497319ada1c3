//! Writing zip archives (protocol §6.3).

use super::{Error, Level};
use crate::workspace::{Kind, Stat, Workspace};
use ::zip::write::FullFileOptions;
use ::zip::{CompressionMethod, DateTime, System, ZipWriter};
use std::io::{self, BufWriter, Read, Seek, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Extra field with user and group: version 1, then each as its size and that many bytes.
pub(super) const UNIX_OWNER: u16 = 0x7875;

/// Files that may exceed what 32 bits count, with room for what deflate adds.
const LARGE: u64 = 0xf000_0000;

/// Writes the paths in order: directories with a trailing slash, symlinks as links. What is none of these, and what
/// has vanished, is skipped.
pub(super) fn zip<W: Write + Seek>(
    workspace: &Workspace,
    paths: &[PathBuf],
    level: Level,
    out: &mut W,
) -> Result<(), Error> {
    let mut zip = ZipWriter::new(BufWriter::with_capacity(1 << 18, out));
    for path in paths {
        if let Some(stat) = workspace.stat(path)? {
            add(&mut zip, workspace, path, &stat, level)?;
        }
    }
    zip.finish().map_err(failed)?.flush()?;
    Ok(())
}

fn add<W: Write + Seek>(
    zip: &mut ZipWriter<BufWriter<&mut W>>,
    workspace: &Workspace,
    path: &Path,
    stat: &Stat,
    level: Level,
) -> Result<(), Error> {
    let mut name = path.as_os_str().as_bytes().to_vec();
    match stat.kind {
        Kind::File => {
            // A file that grows while it is read, such as a log, must not go on for ever.
            let mut file = workspace.read(path)?.take(stat.size);
            zip.start_file_with_options(options(stat, level)?.name(&name)).map_err(failed)?;
            io::copy(&mut file, zip)?;
        }
        Kind::Directory => {
            name.push(b'/');
            zip.start_file_with_options(options(stat, Level::Fastest)?.name(&name)).map_err(failed)?;
        }
        Kind::Symlink => {
            let target = workspace.read_link(path)?;
            zip.start_file_with_options(options(stat, Level::Fastest)?.name(&name)).map_err(failed)?;
            zip.write_all(target.as_os_str().as_bytes())?;
        }
        Kind::Other => {}
    }
    Ok(())
}

fn options(stat: &Stat, level: Level) -> Result<FullFileOptions<'static, 'static>, Error> {
    let (method, level) = match level.deflate() {
        0 => (CompressionMethod::Stored, None),
        level => (CompressionMethod::Deflated, Some(i64::from(level))),
    };
    let mut options = FullFileOptions::default()
        .system(System::Unix)
        .compression_method(method)
        .compression_level(level)
        .large_file(stat.size >= LARGE)
        .last_modified_time(dos_time(stat.modified.0))
        .external_attributes(attributes(stat));
    if let Ok(modified) = u32::try_from(stat.modified.0) {
        options = options.with_extended_timestamp(Some(modified), None, None).map_err(failed)?;
    }
    options.add_extra_field(UNIX_OWNER, owner(stat.uid, stat.gid), false).map_err(failed)?;
    Ok(options)
}

/// The unix mode with its type, and the directory bit of DOS.
fn attributes(stat: &Stat) -> u32 {
    let (kind, dos) = match stat.kind {
        Kind::Directory => (0o040_000, 0x10),
        Kind::Symlink => (0o120_000, 0),
        Kind::File | Kind::Other => (0o100_000, 0),
    };
    (kind | stat.mode) << 16 | dos
}

fn owner(uid: u32, gid: u32) -> Vec<u8> {
    [&[1, 4][..], &uid.to_le_bytes(), &[4], &gid.to_le_bytes()].concat()
}

/// In UTC, to 2 seconds; what DOS cannot say is its beginning, 1980. The extra field is exact.
fn dos_time(seconds: i64) -> DateTime {
    let time = || {
        let time = jiff::tz::Offset::UTC.to_datetime(jiff::Timestamp::from_second(seconds).ok()?);
        let small = |number: i8| u8::try_from(number).ok();
        let (date, clock) = (time.date(), time.time());
        DateTime::from_date_and_time(
            u16::try_from(date.year()).ok()?,
            small(date.month())?,
            small(date.day())?,
            small(clock.hour())?,
            small(clock.minute())?,
            small(clock.second())?,
        )
        .ok()
    };
    time().unwrap_or_default()
}

fn failed(source: ::zip::result::ZipError) -> Error {
    Error::Zip { verb: "write", source }
}
