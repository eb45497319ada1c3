//! Archives of ours and of others: protocol §6.3.

use super::super::{Error, Format, Level, extract, file_name, write};
use super::{Bench, python};
use crate::workspace::Attributes;
use proptest::prelude::*;
use serde_json::Value;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// Packs a whole project into a file beside nothing.
fn pack(bench: &Bench, format: Format, level: Level) -> tempfile::NamedTempFile {
    pack_paths(bench, &bench.paths(), format, level).unwrap()
}

fn pack_paths(
    bench: &Bench,
    paths: &[PathBuf],
    format: Format,
    level: Level,
) -> Result<tempfile::NamedTempFile, Error> {
    let mut out = tempfile::NamedTempFile::new().unwrap();
    write(&bench.workspace, paths, format, level, out.as_file_mut())?;
    Ok(out)
}

fn reopen(file: &tempfile::NamedTempFile) -> File {
    File::open(file.path()).unwrap()
}

fn restore(bench: &Bench, path: &str, attributes: Attributes) {
    let file = bench.workspace.read(Path::new(path));
    match file {
        Ok(file) => attributes.apply(&file).unwrap(),
        Err(_) => bench.workspace.restore(Path::new(path), &attributes).unwrap(),
    }
}

/// A project with something of each kind.
fn everything() -> Bench {
    let bench = Bench::new();
    bench.write("dir/file", "content\n");
    bench.write("dir/empty", "");
    bench.write("run.sh", "#!/bin/sh\n");
    bench.write("ä€𝄞 '\n", "odd");
    bench.write("big", vec![b'x'; 300_000]);
    fs::create_dir(bench.at("dir/none")).unwrap();
    symlink("../dir/file", bench.at("dir/link")).unwrap();
    symlink("/nowhere/at/all", bench.at("absolute")).unwrap();
    let time = |seconds| Attributes { modified: Some((seconds, 0)), ..Attributes::default() };
    restore(&bench, "run.sh", Attributes { mode: Some(0o751), ..time(1_234_567_891) });
    restore(&bench, "dir/file", Attributes { owner: Some((1000, 1001)), ..time(1_600_000_001) });
    restore(&bench, "absolute", Attributes { owner: Some((1000, 1001)), ..time(1_111_111_111) });
    restore(&bench, "dir", Attributes { mode: Some(0o750), ..time(1_500_000_001) });
    bench
}

/// What is compared after a way through an archive: kind and mode, owner, seconds, content or target.
fn facts(bench: &Bench) -> BTreeMap<PathBuf, (u32, u32, u32, i64, Vec<u8>)> {
    let facts = |path: PathBuf| {
        let whole = bench.at(&path);
        let meta = fs::symlink_metadata(&whole).unwrap();
        let content = match fs::read_link(&whole) {
            Ok(target) => target.as_os_str().as_bytes().to_vec(),
            Err(_) if meta.is_dir() => Vec::new(),
            Err(_) => fs::read(&whole).unwrap(),
        };
        (path, (meta.mode(), meta.uid(), meta.gid(), meta.mtime(), content))
    };
    bench.paths().into_iter().map(facts).collect()
}

#[test]
fn what_is_packed_comes_back_the_same() {
    for level in [Level::Fastest, Level::Fast, Level::Default, Level::Slow, Level::Slowest] {
        let (from, to) = (everything(), Bench::new());
        let extracted = extract(&to.workspace, reopen(&pack(&from, Format::Zip, level))).unwrap();
        assert_eq!(facts(&to), facts(&from));
        assert_eq!(extracted.entries, from.paths().len() as u64);
        assert_eq!(extracted.bytes, 300_000 + 8 + 10 + 3);
    }
}

#[test]
fn levels_differ_in_size() {
    let bench = everything();
    let size = |level| pack(&bench, Format::Zip, level).as_file().metadata().unwrap().len();
    assert!(size(Level::Fastest) > 300_000 && size(Level::Fast) < 10_000 && size(Level::Slowest) <= size(Level::Fast));
}

#[test]
fn python_reads_what_we_write() {
    let bench = everything();
    let zip = pack(&bench, Format::Zip, Level::Default);
    let listing = python(
        "import zipfile, sys, json\n\
         z = zipfile.ZipFile(sys.argv[1])\n\
         assert z.testzip() is None\n\
         print(json.dumps([[i.filename, i.external_attr >> 16, i.flag_bits & 0x800, i.extra.hex(), i.is_dir(),\n\
           i.create_system, z.read(i)[:20].decode()] for i in z.infolist()]))",
        &[zip.path()],
    );
    let listing: Vec<Vec<Value>> = serde_json::from_str(&listing).unwrap();
    let names: Vec<_> = listing.iter().map(|entry| entry[0].as_str().unwrap()).collect();
    let wanted = ["absolute", "big", "dir/", "dir/empty", "dir/file", "dir/link", "dir/none/", "run.sh", "ä€𝄞 '\n"];
    assert_eq!(names, wanted);
    let entry = |name: &str| listing.iter().find(|entry| entry[0] == name).unwrap();
    assert_eq!((&entry("run.sh")[1], &entry("run.sh")[5]), (&Value::from(0o100_751), &Value::from(3)));
    assert_eq!((&entry("dir/")[1], &entry("dir/")[4]), (&Value::from(0o040_750), &Value::from(true)));
    assert_eq!((&entry("dir/link")[1], &entry("dir/link")[6]), (&Value::from(0o120_777), &Value::from("../dir/file")));
    assert_eq!((&entry("ä€𝄞 '\n")[2], &entry("run.sh")[2]), (&Value::from(0x800), &Value::from(0)));
    // 0x5455: size 5, the flag of the modification time, the time; 0x7875: size 11, version 1, user, group.
    let extra = entry("run.sh")[3].as_str().unwrap();
    assert!(extra.contains("5554050001d3029649") && extra.contains("75780b000104"), "{extra}");
}

#[test]
fn unzip_reads_what_we_write() {
    if std::process::Command::new("unzip").arg("-v").output().is_err() {
        return;
    }
    let (from, to) = (everything(), Bench::new());
    let zip = pack(&from, Format::Zip, Level::Default);
    let run = std::process::Command::new("unzip").arg("-qX").arg(zip.path()).current_dir(to.at("")).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let name = Path::new("dir/file");
    assert_eq!(facts(&to)[name], facts(&from)[name]);
}

#[test]
fn we_read_what_python_writes() {
    let bench = Bench::new();
    let zip = tempfile::NamedTempFile::new().unwrap();
    python(
        "import zipfile, sys\n\
         z = zipfile.ZipFile(sys.argv[1], 'w', zipfile.ZIP_DEFLATED)\n\
         z.writestr('plain', 'x' * 1000)\n\
         z.writestr('a/deep/ä', 'no entry for the directories')\n\
         i = zipfile.ZipInfo('exe', (2001, 9, 9, 1, 46, 40)); i.external_attr = 0o100755 << 16; z.writestr(i, 'e')\n\
         i = zipfile.ZipInfo('link'); i.external_attr = 0o120777 << 16; z.writestr(i, 'exe')\n\
         i = zipfile.ZipInfo('dos.txt'); i.create_system = 0; i.external_attr = 0x20; z.writestr(i, 'd')\n\
         z.writestr(zipfile.ZipInfo('dir/'), '')\n\
         z.close()",
        &[zip.path()],
    );
    let extracted = extract(&bench.workspace, reopen(&zip)).unwrap();
    assert_eq!(extracted.entries, 6);
    assert_eq!(fs::read_to_string(bench.at("a/deep/ä")).unwrap(), "no entry for the directories");
    assert_eq!(fs::read_link(bench.at("link")).unwrap(), Path::new("exe"));
    let exe = fs::metadata(bench.at("exe")).unwrap();
    assert_eq!((exe.mode() & 0o777, exe.mtime()), (0o755, 1_000_000_000));
    assert_eq!(fs::metadata(bench.at("dos.txt")).unwrap().mode() & 0o400, 0o400);
    assert!(bench.at("dir").is_dir());
}

#[test]
fn names_and_targets_that_are_not_text_survive() {
    let (from, to) = (Bench::new(), Bench::new());
    from.write(OsStr::from_bytes(b"\xff\xfe/\xe4.txt"), "x");
    symlink(OsStr::from_bytes(b"\xff\xfe"), from.at(OsStr::from_bytes(b"l\xc3"))).unwrap();
    extract(&to.workspace, reopen(&pack(&from, Format::Zip, Level::Default))).unwrap();
    assert_eq!(facts(&to), facts(&from));
}

#[test]
fn an_empty_list_is_an_empty_archive() {
    let (from, to) = (Bench::new(), Bench::new());
    let extracted = extract(&to.workspace, reopen(&pack(&from, Format::Zip, Level::Default))).unwrap();
    assert_eq!((extracted.entries, to.paths().len()), (0, 0));
}

#[test]
fn what_vanished_or_is_no_file_is_skipped() {
    let bench = Bench::new();
    bench.write("file", "x");
    rustix::fs::mkfifoat(rustix::fs::CWD, bench.at("pipe"), rustix::fs::Mode::RWXU).unwrap();
    let paths = ["file", "gone", "pipe"].map(PathBuf::from);
    let to = Bench::new();
    extract(&to.workspace, reopen(&pack_paths(&bench, &paths, Format::Zip, Level::Default).unwrap())).unwrap();
    assert_eq!(to.paths(), [Path::new("file")]);
}

#[test]
fn gzip_is_one_member_per_file_with_its_names() {
    let bench = Bench::new();
    bench.write("reports/a.xml", "<a/>");
    bench.write("reports/ä 100%.xml", "<b/>");
    let paths = ["reports/a.xml", "reports/ä 100%.xml"].map(PathBuf::from);
    let gzip = pack_paths(&bench, &paths, Format::Gzip, Level::Default).unwrap();
    assert_eq!(
        python("import gzip, sys; print(gzip.open(sys.argv[1]).read().decode(), end='')", &[gzip.path()]),
        "<a/><b/>"
    );
    let mut bytes = fs::read(gzip.path()).unwrap();
    let mut headers = Vec::new();
    while !bytes.is_empty() {
        let mut member = flate2::bufread::GzDecoder::new(&bytes[..]);
        member.read_to_end(&mut Vec::new()).unwrap();
        let header = member.header().unwrap();
        let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap().to_vec()).unwrap();
        headers.push((text(header.filename()), text(header.comment())));
        bytes = member.into_inner().to_vec();
    }
    let wanted = [
        ("a.xml".to_owned(), "reports/a.xml".to_owned()),
        ("e:%C3%A4%20100%25.xml".to_owned(), "e:reports/%C3%A4%20100%25.xml".to_owned()),
    ];
    assert_eq!(headers, wanted);
}

#[test]
fn raw_is_the_file_itself_and_only_one() {
    let bench = Bench::new();
    bench.write("r.json", [0xff, 0, 1]);
    bench.write("s.json", "s");
    let one = pack_paths(&bench, &[PathBuf::from("r.json")], Format::Raw, Level::Default).unwrap();
    assert_eq!(fs::read(one.path()).unwrap(), [0xff, 0, 1]);
    let two = pack_paths(&bench, &bench.paths(), Format::Raw, Level::Default).unwrap_err();
    assert_eq!(two.to_string(), "a raw artifact is exactly one file, but 2 were found");
}

#[test]
fn directories_and_symlinks_are_no_reports() {
    let bench = Bench::new();
    bench.write("dir/file", "x");
    symlink("dir/file", bench.at("link")).unwrap();
    for (path, format) in [("dir", Format::Gzip), ("link", Format::Gzip), ("dir", Format::Raw), ("link", Format::Raw)] {
        let error = pack_paths(&bench, &[PathBuf::from(path)], format, Level::Default).unwrap_err();
        assert!(error.to_string().contains("no regular file"), "{error}");
    }
}

#[test]
fn an_upload_is_called_by_the_last_part_of_its_name() {
    for (name, format, wanted) in [
        (None, Format::Zip, "artifacts.zip"),
        (Some("x"), Format::Zip, "x.zip"),
        (Some("a/b/"), Format::Gzip, "b.gz"),
        (Some(""), Format::Zip, "default.zip"),
        (Some("."), Format::Zip, "default.zip"),
        (Some("/"), Format::Zip, "default.zip"),
        (Some(".."), Format::Zip, "default.zip"),
        (Some("gl-sast-report.json"), Format::Raw, "gl-sast-report.json"),
    ] {
        assert_eq!(file_name(name, format), wanted, "{name:?}");
    }
}

#[test]
fn setuid_does_not_come_back() {
    let (from, to) = (Bench::new(), Bench::new());
    from.write("tool", "x");
    fs::set_permissions(from.at("tool"), fs::Permissions::from_mode(0o6755)).unwrap();
    extract(&to.workspace, reopen(&pack(&from, Format::Zip, Level::Default))).unwrap();
    assert_eq!(fs::metadata(to.at("tool")).unwrap().mode() & 0o7777, 0o755);
}

#[test]
fn a_second_extraction_replaces_the_first() {
    let (from, to) = (everything(), Bench::new());
    let zip = pack(&from, Format::Zip, Level::Default);
    extract(&to.workspace, reopen(&zip)).unwrap();
    fs::write(to.at("big"), "changed").unwrap();
    fs::remove_file(to.at("dir/link")).unwrap();
    fs::create_dir_all(to.at("dir/link/now/a/directory")).unwrap();
    fs::remove_dir(to.at("dir/none")).unwrap();
    fs::write(to.at("dir/none"), "now a file").unwrap();
    extract(&to.workspace, reopen(&zip)).unwrap();
    assert_eq!(facts(&to), facts(&from));
}

#[test]
fn a_read_only_directory_gets_its_files() {
    let (from, to) = (Bench::new(), Bench::new());
    from.write("ro/sub/file", "x");
    fs::set_permissions(from.at("ro/sub"), fs::Permissions::from_mode(0o555)).unwrap();
    fs::set_permissions(from.at("ro"), fs::Permissions::from_mode(0o555)).unwrap();
    extract(&to.workspace, reopen(&pack(&from, Format::Zip, Level::Default))).unwrap();
    assert_eq!(facts(&to), facts(&from));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_tree_comes_back_the_same(
        files in proptest::collection::btree_map("[a-c]{1,2}(/[d-f]{1,2}){0,3}", (proptest::collection::vec(any::<u8>(), 0..200), 0o400_u32..=0o777), 0..12),
        level in prop::sample::select(vec![Level::Fastest, Level::Default]),
    ) {
        let (from, to) = (Bench::new(), Bench::new());
        for (path, (content, mode)) in &files {
            let whole = from.at(path);
            let parent = whole.parent().unwrap();
            if fs::create_dir_all(parent).is_ok() && !whole.exists() {
                fs::write(&whole, content).unwrap();
                fs::set_permissions(&whole, fs::Permissions::from_mode(*mode | 0o400)).unwrap();
            }
        }
        extract(&to.workspace, reopen(&pack(&from, Format::Zip, level))).unwrap();
        prop_assert_eq!(facts(&to), facts(&from));
    }
}
