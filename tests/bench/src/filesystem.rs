//! Fresh file systems: an ext4 image in memory, made anew for every job, so that nobody inherits what another left.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

/// Bytes of an image; it takes the memory that is written to it.
const SIZE: u64 = 8 << 30;

/// A fresh directory for one job; everything in it goes with this value.
#[derive(Debug)]
pub(crate) struct Fresh {
    path: PathBuf,
    image: Option<PathBuf>,
}

impl Fresh {
    /// Makes an ext4 file system with its image in `memory`, or a directory below `directory` if this process may
    /// not mount.
    pub(crate) fn new(directory: &Path, memory: &Path) -> Result<Self> {
        let path = directory.join("work");
        std::fs::create_dir_all(&path).with_context(|| format!("make {}", path.display()))?;
        let mut fresh = Self { path, image: None };
        if rustix::process::geteuid().is_root() {
            fresh.image = Some(image(memory)?);
            fresh.mount()?;
        }
        Ok(fresh)
    }

    fn mount(&self) -> Result<()> {
        let Some(image) = &self.image else { return Ok(()) };
        // Tables are initialised neither before nor, in the background, while something is measured.
        run(Command::new("mount").args(["-o", "loop,noinit_itable"]).arg(image).arg(&self.path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What kind of file system it is, for the report.
    pub(crate) fn kind() -> &'static str {
        if rustix::process::geteuid().is_root() {
            "a fresh ext4 on a loop device, its image in memory (tmpfs)"
        } else {
            "a fresh directory of the machine's file system (mounting takes root)"
        }
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        if let Some(image) = &self.image {
            let _ = run(Command::new("umount").arg(&self.path));
            let _ = std::fs::remove_file(image);
        }
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// A tree that appears at a second place for as long as this value lives.
#[derive(Debug)]
pub(crate) struct Bound(PathBuf);

impl Bound {
    /// Binds `tree` to `place`; copies it if this process may not mount.
    pub(crate) fn new(tree: &Path, place: &Path) -> Result<Self> {
        if rustix::process::geteuid().is_root() {
            std::fs::create_dir(place).with_context(|| format!("make {}", place.display()))?;
            run(Command::new("mount").arg("--bind").arg(tree).arg(place))?;
        } else {
            run(Command::new("cp").arg("-a").arg(tree).arg(place))?;
        }
        Ok(Self(place.to_owned()))
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        if rustix::process::geteuid().is_root() {
            let _ = run(Command::new("umount").arg(&self.0));
        }
    }
}

fn image(memory: &Path) -> Result<PathBuf> {
    let image = memory.join("image");
    let file = File::create(&image).with_context(|| format!("create {}", image.display()))?;
    file.set_len(SIZE).with_context(|| format!("size {}", image.display()))?;
    run(Command::new("mkfs.ext4").args(["-q", "-F", "-E", "lazy_itable_init=1,lazy_journal_init=1"]).arg(&image))?;
    Ok(image)
}

/// Runs a command that should say nothing.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("start {command:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {}, {}", output.status, said.trim());
    Ok(())
}
