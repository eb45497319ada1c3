//! Extracting zip archives that somebody else made (protocol §6.4).

use super::Error;
use super::pack::UNIX_OWNER;
use crate::workspace::{Attributes, Kind, Workspace};
use ::zip::read::ZipFile;
use ::zip::{ExtraField, ZipArchive};
use std::ffi::OsStr;
use std::io::{self, Read, Seek};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// No symlink's target is longer.
const MAX_TARGET: u64 = 4096;

/// What was extracted.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Extracted {
    /// Files, directories and symlinks.
    pub entries: u64,
    /// Bytes of the files.
    pub bytes: u64,
}

/// Extracts a zip into the workspace. What exists is replaced; nothing is written outside. Modes (without setuid and
/// setgid) and times are restored, and owners where the process may. The first entry that is wrong ends it.
pub fn extract<R: Read + Seek>(workspace: &Workspace, archive: R) -> Result<Extracted, Error> {
    let mut archive = ZipArchive::new(archive).map_err(failed)?;
    let mut extracted = Extracted::default();
    // A directory's attributes come last: it may be read-only, and each file made in it changes its time.
    let mut directories = Vec::new();
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(failed)?;
        let path = path(&entry)?;
        let attributes = attributes(&entry);
        match kind(&entry) {
            Kind::Directory => {
                if make_directory(workspace, &path)? {
                    directories.push((path, attributes));
                }
            }
            Kind::File => extracted.bytes += write_file(workspace, &path, &mut entry, &attributes)?,
            Kind::Symlink => write_symlink(workspace, &path, &mut entry, &attributes)?,
            Kind::Other => continue,
        }
        extracted.entries += 1;
    }
    for (path, attributes) in directories.iter().rev() {
        // A later entry may have put something else in its place.
        if workspace.stat(path)?.is_some_and(|stat| stat.kind == Kind::Directory) {
            workspace.restore(path, attributes)?;
        }
    }
    Ok(extracted)
}

/// Makes a directory, or leaves the one that is there; tells whether it is one itself and no symlink to one inside.
fn make_directory(workspace: &Workspace, path: &Path) -> Result<bool, Error> {
    if path.as_os_str().is_empty() {
        return Ok(false);
    }
    let there = workspace.stat(path)?.map(|stat| stat.kind);
    if there == Some(Kind::Symlink) && workspace.enter(path).is_ok() {
        return Ok(false);
    }
    if there.is_some_and(|kind| kind != Kind::Directory) {
        workspace.remove(path)?;
    }
    make_parents(workspace, path)?;
    workspace.create_directories(path, 0o777)?;
    Ok(true)
}

fn write_file<R: Read>(
    workspace: &Workspace,
    path: &Path,
    entry: &mut ZipFile<'_, R>,
    attributes: &Attributes,
) -> Result<u64, Error> {
    let size = entry.size();
    make_room(workspace, path)?;
    let mut file = workspace.create(path, 0o600)?;
    // One byte more than declared tells a bomb from a file.
    let copied = io::copy(&mut entry.by_ref().take(size.saturating_add(1)), &mut file);
    match copied.map_err(|error| wrong(entry, error.to_string()))? {
        copied if copied == size => {
            attributes.apply(&file)?;
            Ok(size)
        }
        copied => Err(wrong(
            entry,
            format!("it declares {size} bytes and holds {}", if copied > size { "more" } else { "less" }),
        )),
    }
}

fn write_symlink<R: Read>(
    workspace: &Workspace,
    path: &Path,
    entry: &mut ZipFile<'_, R>,
    attributes: &Attributes,
) -> Result<(), Error> {
    let mut target = Vec::new();
    let read = entry.by_ref().take(MAX_TARGET + 1).read_to_end(&mut target);
    read.map_err(|error| wrong(entry, error.to_string()))?;
    if target.is_empty() || target.contains(&0) || target.len() as u64 > MAX_TARGET {
        return Err(wrong(entry, "it is a symlink without a sound target".to_owned()));
    }
    make_room(workspace, path)?;
    workspace.symlink(Path::new(OsStr::from_bytes(&target)), path)?;
    Ok(workspace.restore(path, attributes)?)
}

/// Removes what is in the way and makes the parents.
fn make_room(workspace: &Workspace, path: &Path) -> Result<(), Error> {
    make_parents(workspace, path)?;
    Ok(workspace.remove(path)?)
}

/// Makes the directories above a path. A file where one of them must be gives way; a symlink out stays and is refused.
fn make_parents(workspace: &Workspace, path: &Path) -> Result<(), Error> {
    let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) else { return Ok(()) };
    if workspace.enter(parent).is_ok() {
        return Ok(());
    }
    make_parents(workspace, parent)?;
    if workspace.stat(parent)?.is_some_and(|stat| stat.kind == Kind::File) {
        workspace.remove(parent)?;
    }
    Ok(workspace.create_directories(parent, 0o777)?)
}

/// The entry's path: relative, without `..`.
fn path<R: Read>(entry: &ZipFile<'_, R>) -> Result<PathBuf, Error> {
    let name = Path::new(OsStr::from_bytes(entry.name_raw()));
    let mut path = PathBuf::new();
    for component in name.components() {
        match component {
            Component::Normal(part) => path.push(part),
            Component::CurDir => {}
            _ => return Err(wrong(entry, "its path leads out of the project directory".to_owned())),
        }
    }
    if path.as_os_str().is_empty() && !entry.is_dir() || entry.name_raw().contains(&0) {
        return Err(wrong(entry, "that is no name of a file".to_owned()));
    }
    Ok(path)
}

fn kind<R: Read>(entry: &ZipFile<'_, R>) -> Kind {
    match entry.unix_mode().unwrap_or(0) & 0o170_000 {
        0o120_000 => Kind::Symlink,
        _ if entry.is_dir() => Kind::Directory,
        0 | 0o100_000 => Kind::File,
        _ => Kind::Other,
    }
}

fn attributes<R: Read>(entry: &ZipFile<'_, R>) -> Attributes {
    let usual = if entry.is_dir() { 0o755 } else { 0o644 };
    // An archive made without modes says 0.
    let mode = entry.unix_mode().filter(|mode| *mode != 0).map(|mode| mode & 0o1777);
    let mut attributes = Attributes { mode: Some(mode.unwrap_or(usual)), owner: None, modified: dos_time(entry) };
    for field in entry.extra_data_fields() {
        match field {
            ExtraField::ExtendedTimestamp(times) => {
                attributes.modified = times.mod_time().map(|time| (i64::from(time), 0)).or(attributes.modified);
            }
            ExtraField::Custom(field) if field.header_id == UNIX_OWNER => attributes.owner = owner(&field.data),
            _ => {}
        }
    }
    attributes
}

/// Version 1, then user and group, each as its size and that many bytes.
fn owner(data: &[u8]) -> Option<(u32, u32)> {
    let rest = data.strip_prefix(&[1])?;
    let (uid, rest) = number(rest)?;
    let (gid, _) = number(rest)?;
    Some((uid, gid))
}

fn number(data: &[u8]) -> Option<(u32, &[u8])> {
    let (size, rest) = data.split_first()?;
    let (bytes, rest) = rest.split_at_checked(usize::from(*size))?;
    let mut whole = [0; 4];
    whole.get_mut(..bytes.len())?.copy_from_slice(bytes);
    // All bits set means "do not change" to chown.
    Some((u32::from_le_bytes(whole), rest)).filter(|(number, _)| *number != u32::MAX)
}

/// Taken as UTC, which is what GitLab's archives and ours say.
fn dos_time<R: Read>(entry: &ZipFile<'_, R>) -> Option<(i64, u32)> {
    let time = entry.last_modified()?;
    let small = |number: u8| i8::try_from(number).ok();
    let date =
        jiff::civil::Date::new(i16::try_from(time.year()).ok()?, small(time.month())?, small(time.day())?).ok()?;
    let time = jiff::civil::Time::new(small(time.hour())?, small(time.minute())?, small(time.second())?, 0).ok()?;
    let timestamp = jiff::tz::Offset::UTC.to_timestamp(date.to_datetime(time)).ok()?;
    Some((timestamp.as_second(), 0))
}

fn wrong<R: Read>(entry: &ZipFile<'_, R>, why: String) -> Error {
    Error::Entry { name: String::from_utf8_lossy(entry.name_raw()).into_owned(), why }
}

fn failed(source: ::zip::result::ZipError) -> Error {
    Error::Zip { verb: "read", source }
}
