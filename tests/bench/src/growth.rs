//! Trees of growing size: is the cost of a file and of a byte the same at every size, and memory bounded?

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::{
    Places,
    corpus::{Size, Tree},
    jobs::Stage,
    machine::Machine,
    peer::WARMSTART,
    report,
    results::{self, Growth, Point},
    say,
};

/// Files of the series of small files: in the end, with their directories, about as many paths as a cache may have.
const FILES: [u64; 4] = [1_000, 10_000, 100_000, 980_000];
/// Bytes of the series of large files.
const BYTES: [u64; 5] = [10_000_000, 100_000_000, 1_000_000_000, 10_000_000_000, 20_000_000_000];
/// Bytes of a small file on average, and of a large one.
const SMALL: u64 = 4 << 10;
const LARGE: u64 = 4 << 20;

/// How to measure growth.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    places: Places,
    /// Leave out what is larger: bytes of a tree.
    #[arg(long, default_value = "20000000000")]
    limit: u64,
}

/// Measures both series, and adds them to the report.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let Places { cache, report, .. } = &arguments.places;
    let stage = Stage::new(&arguments.places)?;
    let mut growth = Growth { machine: Machine::here(), files: Vec::new(), bytes: Vec::new(), skipped: Vec::new() };
    for files in FILES {
        let size = Size { files, bytes: files * SMALL };
        growth.files.extend(series(&stage, size, arguments.limit, &mut growth.skipped)?);
    }
    for bytes in BYTES {
        let size = Size { files: bytes.div_ceil(LARGE), bytes };
        growth.bytes.extend(series(&stage, size, arguments.limit, &mut growth.skipped)?);
    }
    results::keep(cache, "growth.json", &growth)?;
    report::update(cache, report)
}

/// Measures one size, unless the machine is too small for it.
fn series(stage: &Stage, size: Size, limit: u64, skipped: &mut Vec<String>) -> Result<Option<Point>> {
    let what = format!("{} files of {} MB together", size.files, size.bytes / 1_000_000);
    if let Some(reason) = too_large(stage, size, limit)? {
        skipped.push(format!("{what}, {reason}"));
        return Ok(None);
    }
    let point = measure(stage, size).with_context(|| format!("measure {what}"))?;
    say(&format!("{what}: save {:.2} s, restore {:.2} s", point.save.wall, point.restore.wall));
    Ok(Some(point))
}

/// The tree lies on the disk twice, and half of it, compressed, in the server's memory.
fn too_large(stage: &Stage, size: Size, limit: u64) -> Result<Option<&'static str>> {
    let disk = rustix::fs::statvfs(stage.disk()).context("look at the disk's space")?;
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let available = memory.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let available = available.and_then(|text| text.split_whitespace().next()?.parse().ok()).unwrap_or(0_u64) << 10;
    Ok(if size.bytes > limit {
        Some("not asked for")
    } else if disk.f_bavail * disk.f_frsize < 2 * size.bytes + (2 << 30) {
        Some("for which the disk has not enough space")
    } else if available < size.bytes / 2 + (4 << 30) {
        Some("for which the machine has not enough memory")
    } else {
        None
    })
}

fn measure(stage: &Stage, size: Size) -> Result<Point> {
    stage.server.clear()?;
    let (from, to) = (Place::new(stage, "from")?, Place::new(stage, "to")?);
    make(&from.0.join("tree"), size)?;
    let save = stage.measure(WARMSTART, "save", &from.0)?;
    let restore = stage.measure(WARMSTART, "restore", &to.0)?;
    Tree::read(from.0.join("tree"))?.check(&to.0.join("tree"))?;
    Ok(Point { size: Tree::read(from.0.join("tree"))?.size(), save, restore })
}

/// A work directory on the disk that goes with this value.
struct Place(PathBuf);

impl Place {
    fn new(stage: &Stage, name: &str) -> Result<Self> {
        let path = stage.disk().join(name);
        fs::create_dir_all(path.join("state")).with_context(|| format!("make {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Far faster than the standard library on a million files.
        let _ = Command::new("rm").arg("-rf").arg(&self.0).status();
    }
}

/// Makes a tree whose files are all different and compress to about a half.
fn make(tree: &Path, size: Size) -> Result<()> {
    let mut random = Random(size.files);
    let average = size.bytes / size.files;
    for file in 0..size.files {
        let directory = tree.join((file / 10_000).to_string()).join((file / 100 % 100).to_string());
        if file % 100 == 0 {
            fs::create_dir_all(&directory).with_context(|| format!("make {}", directory.display()))?;
        }
        // Small files differ in size, from half the average to three halves.
        let length = if average < LARGE / 2 { average / 2 + random.next() % average } else { average };
        let path = directory.join(format!("{}.txt", file % 100));
        fs::write(&path, content(&mut random, length)).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

/// Hexadecimal digits: half a byte of chance in each.
fn content(random: &mut Random, length: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while (bytes.len() as u64) < length {
        let number = random.next();
        bytes.extend((0..16).map(|digit| b"0123456789abcdef"[(number >> (4 * digit) & 15) as usize]));
    }
    bytes.truncate(usize::try_from(length).unwrap_or(usize::MAX));
    bytes
}

/// xorshift64*: the same numbers in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }
}
