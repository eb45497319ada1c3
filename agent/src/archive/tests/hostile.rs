//! Archives made with evil intent: protocol §7.7 B64.

use super::super::{Error, extract};
use super::{Bench, python};
use proptest::prelude::*;
use std::fs;
use std::io::{Cursor, Write};
use std::os::unix::fs::symlink;
use std::path::Path;
use zip::write::{FullFileOptions, SimpleFileOptions};
use zip::{CompressionMethod, ZipWriter};

const FILE: u32 = 0o100_644;
const LINK: u32 = 0o120_777;

/// An archive of names, modes and contents, written without any care.
fn archive(entries: &[(&[u8], u32, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, mode, content) in entries {
        let options = SimpleFileOptions::default().external_attributes(mode << 16).name(name);
        zip.start_file_with_options(options).unwrap();
        zip.write_all(content).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn unpack(bench: &Bench, bytes: Vec<u8>) -> Result<u64, Error> {
    extract(&bench.workspace, Cursor::new(bytes)).map(|extracted| extracted.entries)
}

#[test]
fn names_that_lead_out_are_refused() {
    for name in ["../x", "a/../../x", "/etc/x", "..", "/", "a/..", "../../../../tmp/x", "a/../x"] {
        let bench = Bench::new();
        let error = unpack(&bench, archive(&[(b"ok", FILE, b"ok"), (name.as_bytes(), FILE, b"x")])).unwrap_err();
        assert!(error.to_string().contains("cannot extract"), "{error}");
        assert!(bench.outside_is_untouched(), "{name}");
    }
}

#[test]
fn names_that_are_none_are_refused() {
    for name in [&b""[..], b".", b"a\0b", b"./."] {
        let bench = Bench::new();
        assert!(unpack(&bench, archive(&[(name, FILE, b"x")])).is_err(), "{name:?}");
        assert!(bench.outside_is_untouched());
    }
}

#[test]
fn a_file_does_not_follow_a_symlink_of_the_archive_out() {
    for target in ["../outside", "..", "/", "/tmp"] {
        let bench = Bench::new();
        let target = target.as_bytes();
        let entries =
            archive(&[(b"link", LINK, target), (b"link/file", FILE, b"pwned"), (b"link/new", FILE, b"pwned")]);
        assert!(unpack(&bench, entries).is_err());
        assert!(bench.outside_is_untouched());
        assert!(!Path::new("/file").exists() && !Path::new("/tmp/new").exists());
    }
}

#[test]
fn a_directory_does_not_follow_a_symlink_of_the_archive_out() {
    let bench = Bench::new();
    let before = fs::metadata(bench.top.path().join("outside")).unwrap().permissions();
    let entries =
        archive(&[(b"link", LINK, b"../outside"), (b"link/", 0o040_777, b""), (b"link/sub/", 0o040_777, b"")]);
    let _ = unpack(&bench, entries);
    assert!(bench.outside_is_untouched());
    assert_eq!(fs::metadata(bench.top.path().join("outside")).unwrap().permissions(), before);
}

#[test]
fn a_symlink_that_was_there_before_does_not_lead_out() {
    let bench = Bench::new();
    symlink("../outside", bench.at("dir")).unwrap();
    symlink("../outside/file", bench.at("file")).unwrap();
    assert!(unpack(&bench, archive(&[(b"dir/file", FILE, b"pwned")])).is_err());
    unpack(&bench, archive(&[(b"file", FILE, b"replaced")])).unwrap();
    assert!(bench.outside_is_untouched());
    assert_eq!(fs::read_to_string(bench.at("file")).unwrap(), "replaced");
}

#[test]
fn a_symlink_inside_is_followed_on_the_way() {
    let bench = Bench::new();
    bench.write("real/old", "old");
    symlink("real", bench.at("alias")).unwrap();
    unpack(&bench, archive(&[(b"alias/", 0o040_755, b""), (b"alias/new", FILE, b"new")])).unwrap();
    assert_eq!(fs::read_to_string(bench.at("real/new")).unwrap(), "new");
    assert!(fs::symlink_metadata(bench.at("alias")).unwrap().is_symlink());
}

#[test]
fn files_and_directories_take_each_others_place() {
    let bench = Bench::new();
    bench.write("was-dir/with/files", "x");
    bench.write("was-file", "x");
    let entries = archive(&[(b"was-dir", FILE, b"file now"), (b"was-file/sub/file", FILE, b"directory now")]);
    unpack(&bench, entries).unwrap();
    assert_eq!(fs::read_to_string(bench.at("was-dir")).unwrap(), "file now");
    assert_eq!(fs::read_to_string(bench.at("was-file/sub/file")).unwrap(), "directory now");
}

#[test]
fn of_two_entries_with_one_name_one_is_taken() {
    let bench = Bench::new();
    let zip = tempfile::NamedTempFile::new().unwrap();
    python(
        "import zipfile, sys, warnings\n\
         warnings.simplefilter('ignore')\n\
         z = zipfile.ZipFile(sys.argv[1], 'w')\n\
         z.writestr('twice', 'first')\n\
         z.writestr('twice', 'second')\n\
         z.writestr('twice/', '')\n\
         z.close()",
        &[zip.path()],
    );
    unpack(&bench, fs::read(zip.path()).unwrap()).unwrap();
    assert!(bench.at("twice").is_dir(), "the last one wins");
}

#[test]
fn devices_in_an_archive_are_left_out() {
    let bench = Bench::new();
    let entries = archive(&[(b"pipe", 0o010_644, b""), (b"disk", 0o060_644, b""), (b"socket", 0o140_644, b"")]);
    assert_eq!(unpack(&bench, entries).unwrap(), 0);
    assert_eq!(bench.paths().len(), 0);
}

#[test]
fn a_symlink_without_a_sound_target_is_refused() {
    let long = vec![b'a'; 5000];
    for target in [&b""[..], b"a\0b", &long] {
        let error = unpack(&Bench::new(), archive(&[(b"link", LINK, target)])).unwrap_err();
        assert!(error.to_string().contains("sound target"), "{error}");
    }
}

/// Overwrites the declared size of the only entry, in both headers.
fn declare(mut bytes: Vec<u8>, size: u32) -> Vec<u8> {
    let central = bytes.windows(4).rposition(|four| four == b"PK\x01\x02").unwrap();
    bytes[22..26].copy_from_slice(&size.to_le_bytes());
    bytes[central + 24..central + 28].copy_from_slice(&size.to_le_bytes());
    bytes
}

#[test]
fn an_entry_holds_what_it_declares_and_no_more() {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    zip.start_file("bomb", options).unwrap();
    zip.write_all(&vec![0; 50 << 20]).unwrap();
    let bytes = zip.finish().unwrap().into_inner();
    assert!(bytes.len() < 100_000);
    for size in [1000, 60 << 20] {
        let bench = Bench::new();
        let error = unpack(&bench, declare(bytes.clone(), size)).unwrap_err();
        assert!(error.to_string().contains("bomb"), "{error}");
        let written = fs::metadata(bench.at("bomb")).map_or(0, |meta| meta.len());
        assert!(written <= u64::from(size) + 1, "{written}");
    }
}

#[test]
fn damage_is_noticed() {
    let mut bytes = archive(&[(b"file", FILE, b"hello")]);
    let at = bytes.windows(5).position(|five| five == b"hello").unwrap_or(40);
    bytes[at] ^= 1;
    let bench = Bench::new();
    assert!(unpack(&bench, bytes).is_err());
    for broken in [&b""[..], b"PK", b"not a zip at all", b"PK\x05\x06"] {
        assert!(matches!(unpack(&bench, broken.to_vec()), Err(Error::Zip { .. })));
    }
}

#[test]
fn odd_extra_fields_do_no_harm() {
    for data in [
        &b""[..],
        b"\x01",
        b"\x01\x04\x01",
        b"\x01\xff\x01\x02",
        b"\x02\x04\0\0\0\0",
        b"\x01\x04\xff\xff\xff\xff\x04\0\0\0\0",
    ] {
        let bench = Bench::new();
        let mut options = FullFileOptions::default();
        options.add_extra_field(0x7875, data, false).unwrap();
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        zip.start_file("file", options).unwrap();
        assert_eq!(unpack(&bench, zip.finish().unwrap().into_inner()).unwrap(), 1, "{data:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_archive_writes_outside(entries in proptest::collection::vec(
        ("(a|b|\\.\\.|\\.|/){1,5}", prop::sample::select(vec![FILE, LINK, 0o040_755]), prop::sample::select(vec!["..", "../outside", "/", "a", "b/a"])),
        1..8,
    )) {
        let bench = Bench::new();
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, mode, content) in &entries {
            let options = SimpleFileOptions::default().external_attributes(mode << 16).name(name.as_bytes());
            if zip.start_file_with_options(options).is_ok() {
                zip.write_all(content.as_bytes()).unwrap();
            }
        }
        let _ = unpack(&bench, zip.finish().unwrap().into_inner());
        prop_assert!(bench.outside_is_untouched());
    }

    #[test]
    fn no_damage_panics(at in 0_usize..400, with in any::<u8>(), cut in 0_usize..400) {
        let mut bytes = archive(&[(b"dir/", 0o040_755, b""), (b"dir/file", FILE, b"hello hello hello"), (b"link", LINK, b"dir")]);
        let length = bytes.len();
        bytes[at % length] = with;
        let _ = unpack(&Bench::new(), bytes.clone());
        bytes.truncate(cut % length);
        let _ = unpack(&Bench::new(), bytes);
    }
}
