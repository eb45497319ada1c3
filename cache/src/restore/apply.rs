//! Renaming a finished tree into place, and back should a rename fail.
//!
//! Whatever the target lacks is renamed in at the highest path. Where both have a directory, its content is merged.
//! Anything else the target has is exchanged in one step with what replaces it, so at every moment, also after
//! kill -9, each path has either what it had before or what the cache has for it, whole. Where something is mounted in
//! the target, no rename leads into it: what goes there is copied beside its place first, and renamed from there.

use std::{io, os::fd::OwnedFd, sync::Arc};

use rustix::{
    fs::{RenameFlags, renameat, renameat_with},
    io::Errno,
};

use super::{
    across,
    staging::{Staging, remove_leftovers},
};
use crate::{
    confined::{Kind, Root, directory_at, join, meta_at, names},
    error::Error,
    manifest::show,
};

/// A rename that was done, and can be undone.
#[derive(Debug)]
enum Done {
    /// The target had nothing of this name.
    Moved,
    /// What the target had is in the staging tree instead.
    Exchanged,
    /// What the target had is aside, under this name.
    Replaced { aside: String },
    /// The rest of this directory of the target went into something that is mounted there.
    Across(Across),
}

/// Renames from a staging directory of their own to a directory of the target.
#[derive(Debug)]
struct Across {
    staging: Staging,
    target: Arc<Root>,
    moves: Moves,
}

/// What was done, in order.
#[derive(Debug, Default)]
struct Moves {
    log: Vec<(Vec<u8>, Done)>,
    /// Directories that both had.
    merged: Vec<Vec<u8>>,
}

/// What was done.
#[derive(Debug, Default)]
pub(super) struct Applied {
    /// Directories that both had.
    pub(super) merged: Vec<Vec<u8>>,
    /// What was itself renamed.
    pub(super) moved: Vec<Vec<u8>>,
}

/// Moves everything in the staging tree into the target, or, if that fails, nothing. `copies` says whether a copy of
/// what is staged is as good as the original.
pub(super) fn apply(staging: &Staging, target: &Root, copies: bool) -> Result<Applied, Error> {
    let moves = moves(staging, target, copies);
    let moves = moves.map_err(|(path, error)| Error::file("rename into place", show(&path), error))?;
    let mut applied = Applied::default();
    moves.report(b"", &mut applied);
    Ok(applied)
}

/// The path at which it failed, and why; then nothing is moved any more.
type Failure = (Vec<u8>, io::Error);

fn moves(staging: &Staging, target: &Root, copies: bool) -> Result<Moves, Failure> {
    let mut moves = Moves::default();
    let mut open = vec![Vec::new()];
    while let Some(directory) = open.pop() {
        if let Err(failure) = merge(staging, target, &directory, &mut open, &mut moves.log, copies) {
            undo(staging, target, moves.log);
            return Err(failure);
        }
        moves.merged.push(directory);
    }
    Ok(moves)
}

impl Moves {
    /// Adds what was done, as paths below `top`.
    fn report(&self, top: &[u8], to: &mut Applied) {
        to.merged.extend(self.merged.iter().filter(|path| !path.is_empty()).map(|path| join(top, path)));
        for (path, done) in &self.log {
            match done {
                Done::Across(across) => across.moves.report(&join(top, path), to),
                _ => to.moved.push(join(top, path)),
            }
        }
    }
}

/// Moves the content of a directory that both have; those in it that both have are added to `open`.
fn merge(
    staging: &Staging,
    target: &Root,
    directory: &[u8],
    open: &mut Vec<Vec<u8>>,
    log: &mut Vec<(Vec<u8>, Done)>,
    copies: bool,
) -> Result<(), Failure> {
    let both = || Ok((staging.tree().directory(directory)?, target.directory(directory)?));
    let at = |path: &[u8]| {
        let path = path.to_vec();
        move |error| (path, error)
    };
    let (from, to) = both().map_err(at(directory))?;
    let names = names(&from).map_err(at(directory))?;
    for (number, name) in names.iter().enumerate() {
        let path = join(directory, name);
        let place = || place(staging, &from, &to, name, log.len());
        // Another restore into the same directory may have been faster: then the name is there now.
        let placed = match place() {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => place(),
            placed => placed,
        };
        match placed {
            Ok(Some(done)) => log.push((path, done)),
            Ok(None) => open.push(path),
            Err(error) if copies && error.kind() == io::ErrorKind::CrossesDevices => {
                let across = across(&from, &names[number..], to);
                let across = across.map_err(|(path, error)| (join(directory, &path), error))?;
                log.push((directory.to_vec(), Done::Across(across)));
                return Ok(());
            }
            Err(error) => return Err((path, error)),
        }
    }
    Ok(())
}

/// Moves these names to a directory on another mount.
fn across(from: &OwnedFd, names: &[Vec<u8>], to: OwnedFd) -> Result<Across, Failure> {
    let target = Arc::new(Root::of(to));
    let here = |error| (Vec::new(), error);
    remove_leftovers(&target);
    let staging = Staging::new(target.clone()).map_err(|error| here(io::Error::other(error)))?;
    across::copy(from, names, staging.tree()).map_err(here)?;
    let moves = moves(&staging, &target, true)?;
    Ok(Across { staging, target, moves })
}

/// Puts one name into place; `None` if both have a directory there.
fn place(staging: &Staging, from: &OwnedFd, to: &OwnedFd, name: &[u8], number: usize) -> io::Result<Option<Done>> {
    let is_directory = |parent| Ok::<_, io::Error>(meta_at(parent, name)?.kind == Kind::Directory);
    match is_directory(to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            renameat_with(from, name, to, name, RenameFlags::NOREPLACE)
                .or_else(|error| plain_rename(error, from, to, name))?;
            Ok(Some(Done::Moved))
        }
        Err(error) => Err(error),
        // It must be possible to enter it before anything changes.
        Ok(true) if is_directory(from)? => directory_at(to, name).map(|_| None),
        Ok(_) => replace(staging, from, to, name, number).map(Some),
    }
}

/// File systems that know no flags of renames get one without.
fn plain_rename(error: Errno, from: &OwnedFd, to: &OwnedFd, name: &[u8]) -> rustix::io::Result<()> {
    if knows_flags(error) { Err(error) } else { renameat(from, name, to, name) }
}

fn knows_flags(error: Errno) -> bool {
    !matches!(error, Errno::INVAL | Errno::NOSYS)
}

fn replace(staging: &Staging, from: &OwnedFd, to: &OwnedFd, name: &[u8], number: usize) -> io::Result<Done> {
    match renameat_with(from, name, to, name, RenameFlags::EXCHANGE) {
        Ok(()) => Ok(Done::Exchanged),
        Err(error) if knows_flags(error) => Err(error.into()),
        Err(_) => replace_in_two_steps(staging, from, to, name, number),
    }
}

fn replace_in_two_steps(
    staging: &Staging,
    from: &OwnedFd,
    to: &OwnedFd,
    name: &[u8],
    number: usize,
) -> io::Result<Done> {
    let aside = number.to_string();
    renameat(to, name, staging.aside(), &aside)?;
    if let Err(error) = renameat(from, name, to, name) {
        renameat(staging.aside(), &aside, to, name)?;
        return Err(error.into());
    }
    Ok(Done::Replaced { aside })
}

/// Takes back what was done, the last first.
fn undo(staging: &Staging, target: &Root, log: Vec<(Vec<u8>, Done)>) {
    for (path, done) in log.into_iter().rev() {
        let back = || {
            let ((from, name), (to, _)) = (target.parent(&path)?, staging.tree().parent(&path)?);
            match done {
                Done::Across(Across { staging, target, moves }) => {
                    undo(&staging, &target, moves.log);
                    Ok(())
                }
                Done::Moved => Ok(renameat(&from, name, &to, name)?),
                Done::Exchanged => Ok(renameat_with(&from, name, &to, name, RenameFlags::EXCHANGE)?),
                Done::Replaced { aside } => {
                    renameat(&from, name, &to, name)?;
                    Ok::<_, io::Error>(renameat(staging.aside(), &aside, &from, name)?)
                }
            }
        };
        if let Err(error) = back() {
            tracing::warn!("{} could not be put back: {error}", show(&path));
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::{fs, sync::Arc};

    use super::*;

    #[test]
    fn a_replacement_in_two_steps_can_be_undone() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::create_dir(path("x")).unwrap();
        fs::write(path("x/inside"), "old").unwrap();
        let target = Arc::new(Root::open(directory.path()).unwrap());
        let staging = Staging::new(target.clone()).unwrap();
        let (from, to) = (staging.tree().directory(b"").unwrap(), target.directory(b"").unwrap());
        rustix::fs::mkdirat(&from, "x", rustix::fs::Mode::RWXU).unwrap();
        let done = replace_in_two_steps(&staging, &from, &to, b"x", 0).unwrap();
        assert!(!path("x/inside").exists());
        undo(&staging, &target, vec![(b"x".to_vec(), done)]);
        assert_eq!(fs::read(path("x/inside")).unwrap(), b"old");
        drop(staging);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
