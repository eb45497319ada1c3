//! Output by an enemy: however it is cut into writes, the log is the same, and nothing of a masked value is in it.

#![no_main]

use std::{fs, io::Write as _, path::Path};

use libfuzzer_sys::fuzz_target;
use warmstart_gitlab::mask::{MASKED, Masker, Masks};

/// A part of the text: where it begins, and how long it is.
type Part = (u16, u8);

/// Values and prefixes are parts of the text, so that they are in it; then come the cuts, then the text.
type Input<'a> = (Vec<Part>, Vec<Part>, Vec<u16>, &'a [u8]);

fuzz_target!(
    init: sow(),
    |input: Input| attempt(&input)
);

fn attempt((values, prefixes, cuts, text): &Input) {
    let values: Vec<&str> = values.iter().filter_map(|part| word(text, *part)).collect();
    let prefixes: Vec<&str> = prefixes.iter().filter_map(|part| word(text, *part)).filter(|word| is_apart(word)).collect();
    let masks = Masks::new(&values, &prefixes);
    let whole = masked(&masks, text, &[]);
    assert!(masked(&masks, text, cuts) == whole, "cut into writes at {cuts:?} it is masked in another way");
    for kept in split(&whole, MASKED.as_bytes()) {
        let seen = values.iter().find(|value| contains(kept, value.trim().as_bytes()));
        assert!(seen.is_none(), "{seen:?} is still there");
    }
}

fn word(text: &[u8], (start, length): Part) -> Option<&str> {
    let word = text.get(usize::from(start)..)?.get(..usize::from(length))?;
    std::str::from_utf8(word).ok().filter(|word| !word.trim().is_empty())
}

/// A prefix that fits what stands for a secret would cut it in two, and what remains of it is no secret.
fn is_apart(prefix: &str) -> bool {
    !prefix.bytes().any(|byte| MASKED.as_bytes().contains(&byte))
}

fn masked(masks: &Masks, text: &[u8], cuts: &[u16]) -> Vec<u8> {
    let mut cuts: Vec<usize> = cuts.iter().map(|&cut| usize::from(cut).min(text.len())).chain([0, text.len()]).collect();
    cuts.sort_unstable();
    let mut masker = Masker::new(Vec::new(), masks);
    for piece in cuts.windows(2) {
        masker.write_all(&text[piece[0]..piece[1]]).expect("a Vec takes all");
    }
    masker.finish().expect("a Vec takes all")
}

fn split<'a>(text: &'a [u8], by: &[u8]) -> Vec<&'a [u8]> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.windows(by.len()).position(|window| window == by) {
        parts.push(&rest[..at]);
        rest = &rest[at + by.len()..];
    }
    parts.push(rest);
    parts
}

fn contains(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|window| window == word)
}

/// Writes first inputs, which know what the masker looks for.
fn sow() {
    let Some(corpus) = std::env::args().skip(1).find(|argument| Path::new(argument).is_dir()) else { return };
    for (number, seed) in seeds().iter().enumerate() {
        fs::write(Path::new(&corpus).join(format!("seed-{number}")), seed).expect("write a seed");
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let texts = [
        "s3cr3t and s3cr3ts3cr3t, s3cr3",
        "abcdefg abcde bcdef abc",
        "GET /x?private_token=abc&y=1&X-AMZ-Signature=00ff&rss_token=1?authenticity_token=2",
        "glpat-abc_DEF glrt-t1_x _gitlab_session=0; gl glpat- glcbt-64_x.y=",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    ];
    texts.iter().map(|text| seed(text)).collect()
}

/// As `Arbitrary` reads it: before every part there is a 1, behind the last one a 0.
fn seed(text: &str) -> Vec<u8> {
    let values = [[1, 0, 0, 6], [1, 2, 0, 4]].concat();
    let prefixes = [1, 8, 0, 3];
    let cuts = [[1, 3, 0], [1, 9, 0], [1, 20, 0]].concat();
    [&values[..], &[0], &prefixes, &[0], &cuts, &[0], text.as_bytes()].concat()
}
