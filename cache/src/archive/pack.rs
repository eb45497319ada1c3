//! From a private directory into an archive.

use std::{
    collections::HashMap,
    fs::{self, File, Metadata, Permissions},
    io::{self, ErrorKind, Read as _, Write},
    os::unix::{
        ffi::OsStrExt as _,
        fs::{MetadataExt as _, PermissionsExt as _},
    },
    path::{Path, PathBuf},
};

use tar::{Builder, EntryType, Header};

use super::entry::format_time;
use crate::{error::Error, manifest::show};

/// As everything else is compressed.
const LEVEL: i32 = 3;
/// What a header has room for.
const MAX_LINK: usize = 100;

/// Writes everything below `directory`, which nobody else uses: modes may be changed to get at what is there.
/// Gives a warning for each path that is none of directory, file and link.
pub(super) fn pack(directory: &Path, output: impl Write) -> Result<Vec<String>, Error> {
    let failed = |error| Error::file("write the archive of", directory, error);
    let stream = zstd::Encoder::new(output, LEVEL).map_err(failed)?;
    let mut pack = Pack { root: directory, tar: Builder::new(stream), links: HashMap::new(), warnings: Vec::new() };
    pack.directory(Path::new("")).map_err(failed)?;
    let stream = pack.tar.into_inner().map_err(failed)?;
    stream.finish().and_then(|mut output| output.flush()).map_err(failed)?;
    Ok(pack.warnings)
}

struct Pack<'a, W: Write> {
    root: &'a Path,
    tar: Builder<W>,
    /// The first path of each file that has several.
    links: HashMap<(u64, u64), PathBuf>,
    warnings: Vec<String>,
}

impl<W: Write> Pack<'_, W> {
    fn directory(&mut self, relative: &Path) -> io::Result<()> {
        let path = self.root.join(relative);
        let mut names: Vec<_> = fs::read_dir(&path)?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<_>>()?;
        names.sort_unstable();
        names.into_iter().try_for_each(|name| self.entry(&relative.join(name)))
    }

    fn entry(&mut self, relative: &Path) -> io::Result<()> {
        let path = self.root.join(relative);
        let meta = fs::symlink_metadata(&path)?;
        let kind = meta.file_type();
        if kind.is_dir() {
            self.append(relative, &meta, EntryType::Directory, b"")?;
            if meta.mode() & 0o700 != 0o700 {
                fs::set_permissions(&path, Permissions::from_mode(0o700))?;
            }
            self.directory(relative)
        } else if kind.is_symlink() {
            let target = fs::read_link(&path)?;
            self.append(relative, &meta, EntryType::Symlink, target.as_os_str().as_bytes())
        } else if !kind.is_file() {
            self.warnings.push(format!("{}: is a device and is left out", show(relative.as_os_str().as_bytes())));
            Ok(())
        } else if let Some(first) = self.first_of(relative, &meta) {
            self.append(relative, &meta, EntryType::Link, first.as_os_str().as_bytes())
        } else {
            self.append(relative, &meta, EntryType::Regular, b"")
        }
    }

    /// Gives an earlier path of the same file.
    fn first_of(&mut self, relative: &Path, meta: &Metadata) -> Option<PathBuf> {
        let file = (meta.dev(), meta.ino());
        if meta.nlink() < 2 {
            return None;
        }
        let first = self.links.get(&file).cloned();
        first.or_else(|| {
            self.links.insert(file, relative.to_owned());
            None
        })
    }

    fn append(&mut self, relative: &Path, meta: &Metadata, kind: EntryType, link: &[u8]) -> io::Result<()> {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(meta.mode() & 0o7777);
        header.set_uid(meta.uid().into());
        header.set_gid(meta.gid().into());
        header.set_mtime(u64::try_from(meta.mtime()).unwrap_or(0));
        header.set_size(0);
        header.set_link_name_literal(&link[..link.len().min(MAX_LINK)])?;
        self.extend(meta)?;
        if link.len() > MAX_LINK {
            self.long_link(link)?;
        }
        if kind != EntryType::Regular {
            return self.tar.append_data(&mut header, relative, io::empty());
        }
        header.set_size(meta.size());
        let file = open(&self.root.join(relative), meta)?;
        self.tar.append_data(&mut header, relative, file)
    }

    /// Writes the time of the next entry, if its header has no room for it.
    fn extend(&mut self, meta: &Metadata) -> io::Result<()> {
        if meta.mtime() >= 0 && meta.mtime_nsec() == 0 {
            return Ok(());
        }
        let time = format_time((meta.mtime(), u32::try_from(meta.mtime_nsec()).unwrap_or(0)));
        self.tar.append_pax_extensions([("mtime", time.as_bytes())])
    }

    /// Writes the link of the next entry as GNU does it: byte for byte, whatever bytes it has.
    fn long_link(&mut self, link: &[u8]) -> io::Result<()> {
        let mut header = Header::new_gnu();
        header.set_path("././@LongLink")?;
        header.set_entry_type(EntryType::GNULongLink);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(link.len() as u64 + 1);
        header.set_cksum();
        self.tar.append(&header, link.chain(&[0_u8][..]))
    }
}

/// Opens a file, also one that its owner may not read.
fn open(path: &Path, meta: &Metadata) -> io::Result<File> {
    match File::open(path) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            fs::set_permissions(path, Permissions::from_mode(meta.mode() & 0o7777 | 0o400))?;
            File::open(path)
        }
        opened => opened,
    }
}
