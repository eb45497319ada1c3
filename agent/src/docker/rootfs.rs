//! The image of the helper container: empty but for what a shell needs to find the host's own tools.
//!
//! GitLab's helper image brings git along; ours has the host's `/usr` mounted, so it is a few KB and its git is the
//! one that the machine's owner keeps up to date.

use sha2::{Digest, Sha256};
use std::io;
use std::path::{Path, PathBuf};
use tar::{Builder, EntryType, Header};

/// Directories of the host that hold programs; on most distributions links into `/usr`.
const PROGRAMS: [&str; 6] = ["bin", "sbin", "lib", "lib64", "lib32", "libx32"];

/// What programs read from `/etc`, by distribution; only what exists is mounted.
const SETTINGS: [&str; 13] = [
    "/etc/ssl",
    "/etc/ca-certificates",
    "/etc/ca-certificates.conf",
    "/etc/pki",
    "/etc/crypto-policies",
    "/etc/alternatives",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/gai.conf",
    "/etc/protocols",
    "/etc/services",
    "/etc/localtime",
];

/// Directories of the image, with their modes.
const DIRECTORIES: [(&str, u32); 8] = [
    ("dev/", 0o755),
    ("etc/", 0o755),
    ("proc/", 0o755),
    ("root/", 0o700),
    ("sys/", 0o755),
    ("tmp/", 0o1777),
    ("usr/", 0o755),
    ("var/", 0o755),
];

/// Files of the image. git-lfs works only where git knows its filters.
const FILES: [(&str, &str); 4] = [
    ("etc/passwd", "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/:/bin/false\n"),
    ("etc/group", "root:x:0:\nnogroup:x:65534:\n"),
    ("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n"),
    (
        "etc/gitconfig",
        "[filter \"lfs\"]\n\tclean = git-lfs clean -- %f\n\tsmudge = git-lfs smudge -- %f\n\tprocess = git-lfs filter-process\n\trequired = true\n",
    ),
];

/// The image as a tar of its root directory, and the name that its content gives it.
#[derive(Debug)]
pub struct RootFs {
    /// The tar.
    pub tar: Vec<u8>,
    /// Repository and tag.
    pub name: (&'static str, String),
    /// Docker's `Binds` that give it the host's tools.
    pub binds: Vec<String>,
}

impl RootFs {
    /// Composes the image for the host whose root directory is `host`.
    pub fn for_host(host: &Path) -> io::Result<Self> {
        let (links, mounts) = programs(host);
        let mut builder = Builder::new(Vec::new());
        for (path, mode) in DIRECTORIES {
            add(&mut builder, EntryType::Directory, path, mode, &[])?;
        }
        for (path, text) in FILES {
            add(&mut builder, EntryType::Regular, path, 0o644, text.as_bytes())?;
        }
        for (name, target) in links {
            let mut header = header(EntryType::Symlink, 0o777, 0);
            builder.append_link(&mut header, name, target)?;
        }
        let tar = builder.into_inner()?;
        let tag = hex::encode(Sha256::digest(&tar))[..12].to_owned();
        Ok(Self { tar, name: ("warmstart/helper", tag), binds: binds(host, mounts) })
    }
}

/// Links of the image that are links on the host, and directories to mount.
fn programs(host: &Path) -> (Vec<(&'static str, PathBuf)>, Vec<String>) {
    let mut links = Vec::new();
    let mut mounts = vec!["/usr".to_owned()];
    for name in PROGRAMS {
        let path = host.join(name);
        match path.read_link() {
            Ok(target) => links.push((name, target)),
            Err(_) if path.is_dir() => mounts.push(format!("/{name}")),
            Err(_) => {}
        }
    }
    (links, mounts)
}

fn binds(host: &Path, mounts: Vec<String>) -> Vec<String> {
    let exists = |path: &&str| host.join(path.trim_start_matches('/')).exists();
    let settings = SETTINGS.iter().copied().filter(exists).map(str::to_owned);
    mounts.into_iter().chain(settings).map(|path| format!("{path}:{path}:ro")).collect()
}

fn add(builder: &mut Builder<Vec<u8>>, kind: EntryType, path: &str, mode: u32, content: &[u8]) -> io::Result<()> {
    let mut header = header(kind, mode, content.len() as u64);
    builder.append_data(&mut header, path, content)
}

/// The same bytes every time: the image's name is a digest of them.
fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_mirrored_by_its_links_and_the_directories_it_has() {
        let host = tempfile::tempdir().expect("a directory");
        std::fs::create_dir_all(host.path().join("etc/ssl")).expect("a directory");
        std::fs::create_dir_all(host.path().join("lib64")).expect("a directory");
        std::os::unix::fs::symlink("usr/bin", host.path().join("bin")).expect("a link");
        let image = RootFs::for_host(host.path()).expect("an image");
        assert_eq!(image.binds, ["/usr:/usr:ro", "/lib64:/lib64:ro", "/etc/ssl:/etc/ssl:ro"]);
        let mut names = Vec::new();
        for entry in tar::Archive::new(&image.tar[..]).entries().expect("a tar") {
            let entry = entry.expect("an entry");
            names.push(entry.path().expect("a path").display().to_string());
        }
        assert!(names.contains(&"bin".to_owned()) && !names.contains(&"lib64".to_owned()), "{names:?}");
        assert_eq!(image.name, RootFs::for_host(host.path()).expect("an image").name);
    }
}
