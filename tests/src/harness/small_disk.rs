//! A file system that a test can fill.

use anyhow::{Context, Result, ensure};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A small file system of its own over a directory; gone with the value. Mounting needs root.
#[derive(Debug)]
pub struct SmallDisk {
    directory: PathBuf,
}

impl SmallDisk {
    /// Mounts one of `size` (`2m`) over a directory.
    pub fn mount(directory: &Path, size: &str) -> Result<Self> {
        let options = format!("size={size},mode=0700");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(directory);
        ensure!(mount.status().context("run mount")?.success(), "cannot mount a small disk: run the tests as root");
        Ok(Self { directory: directory.to_owned() })
    }

    /// Fills it to the last byte.
    pub fn fill(&self) -> Result<()> {
        let mut file = File::create(self.filler()).context("make a large file")?;
        while file.write(&[0; 4096]).is_ok_and(|bytes| bytes > 0) {}
        Ok(())
    }

    /// Makes room again.
    pub fn free(&self) -> Result<()> {
        std::fs::remove_file(self.filler()).context("remove the large file")
    }

    fn filler(&self) -> PathBuf {
        self.directory.join("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.directory).status();
    }
}
