//! Trees of files, and what is to be seen of them.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fmt, fs,
    os::unix::{
        ffi::{OsStrExt as _, OsStringExt as _},
        fs::{MetadataExt as _, PermissionsExt as _, symlink},
    },
    path::{Path, PathBuf},
};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};

use super::{noise, write};

/// Everything that can be seen of a path; two equal snapshots are equal trees.
#[derive(Clone, PartialEq, Eq)]
pub struct Seen {
    pub mode: u32,
    pub owner: (u32, u32),
    /// None for directories whose time nobody promises.
    pub mtime: Option<(i64, i64)>,
    pub content: Vec<u8>,
    /// The first path of the same file.
    pub linked: PathBuf,
}

impl fmt::Debug for Seen {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let start = String::from_utf8_lossy(&self.content[..self.content.len().min(20)]).into_owned();
        let Self { mode, owner, mtime, linked, .. } = self;
        write!(formatter, "{mode:o} {owner:?} {mtime:?} {} bytes {start:?} {linked:?}", self.content.len())
    }
}

/// Sees everything below a directory, but not the directory itself.
pub fn see(directory: &Path) -> BTreeMap<PathBuf, Seen> {
    let mut first = BTreeMap::new();
    let mut seen = BTreeMap::new();
    for entry in walkdir::WalkDir::new(directory).min_depth(1).sort_by_file_name() {
        let entry = entry.expect("walk");
        let (path, meta) = (entry.path(), entry.path().symlink_metadata().expect("stat"));
        let relative = path.strip_prefix(directory).expect("below").to_owned();
        let content = if meta.is_symlink() {
            fs::read_link(path).expect("read link").into_os_string().into_vec()
        } else if meta.is_file() {
            fs::read(path).expect("read")
        } else {
            Vec::new()
        };
        let linked = if meta.is_dir() {
            relative.clone()
        } else {
            first.entry((meta.dev(), meta.ino())).or_insert_with(|| relative.clone()).clone()
        };
        let (mode, owner) = (meta.mode(), (meta.uid(), meta.gid()));
        seen.insert(relative, Seen { mode, owner, mtime: Some((meta.mtime(), meta.mtime_nsec())), content, linked });
    }
    seen
}

/// Sets modification times to the nanosecond, of links themselves too.
pub fn set_mtime(path: &Path, seconds: i64, nanoseconds: i64) {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
    let times = Timestamps { last_access: time, last_modification: time };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).expect("set time");
}

pub fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
}

/// Makes `tree/` with one of everything that a cache keeps.
pub fn make(directory: &Path) {
    let tree = directory.join("tree");
    write(&tree, "small", "hello");
    write(&tree, "empty", "");
    write(&tree, "run.sh", "#!/bin/sh\n");
    write(&tree, "deep/er/and/deeper/file", "deep");
    write(&tree, "large", noise(5_000_000, 1));
    write(&tree, "compressible", "again and again ".repeat(200_000));
    write(&tree, "zeros", vec![0; 1_000_000]);
    write(&tree, "ends in zeros", [vec![1; 100_000], vec![0; 500_000]].concat());
    write(&tree, "a-b", "sorts between a and a/");
    write(&tree, "a/b", "below a");
    for number in 0..300 {
        write(&tree, &format!("many/{number:03}"), noise(number * 37, number as u64));
    }
    fs::create_dir_all(tree.join("empty directory")).expect("mkdir");
    fs::write(tree.join(OsStr::from_bytes(b"no utf-8 \xff\xfe")), "odd").expect("write");
    fs::write(tree.join("new\nline \u{1f980}"), "odd").expect("write");
    symlink("small", tree.join("link")).expect("symlink");
    symlink("deep/er", tree.join("link to directory")).expect("symlink");
    symlink("/etc/passwd", tree.join("absolute")).expect("symlink");
    symlink("../../outside", tree.join("outwards")).expect("symlink");
    symlink("nowhere", tree.join("dangling")).expect("symlink");
    fs::hard_link(tree.join("small"), tree.join("deep/second name")).expect("link");
    fs::hard_link(tree.join("large"), tree.join("zz third name")).expect("link");
    chmod(&tree.join("run.sh"), 0o755);
    chmod(&tree.join("small"), 0o400);
    chmod(&tree.join("empty"), 0);
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::lchown(tree.join("run.sh"), Some(1000), Some(1001)).expect("chown");
        std::os::unix::fs::lchown(tree.join("link"), Some(1002), Some(1003)).expect("chown");
        std::os::unix::fs::lchown(tree.join("deep/er"), Some(1004), Some(1005)).expect("chown");
        chmod(&tree.join("run.sh"), 0o755);
    }
    for (number, path) in (1..).zip(walkdir::WalkDir::new(&tree).contents_first(true)) {
        set_mtime(path.expect("walk").path(), 1_000_000_000 + number, 123_456_789 + number);
    }
    set_mtime(&tree.join("a-b"), -5, 1);
    chmod(&tree.join("empty directory"), 0o1777);
    chmod(&tree.join("deep/er/and"), 0o555);
    chmod(&tree.join("deep"), 0o700);
}
