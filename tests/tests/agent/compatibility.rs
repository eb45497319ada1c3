//! The table of what is compatible tells no lies about tests.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const STATES: [&str; 4] = ["done", "partly", "not yet", "not on purpose"];

/// The repository's root.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository").to_owned()
}

/// Every test below a directory as `file::name`; a `mod.rs` or `tests.rs` is called by its directory.
fn tests_below(directory: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).expect("a directory").flatten() {
        let path = entry.path();
        if path.is_dir() {
            tests_below(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let own = path.file_stem().filter(|stem| *stem != "mod" && *stem != "tests");
            let file = own.or_else(|| path.parent()?.file_name()).unwrap_or_default().display().to_string();
            let text = fs::read_to_string(&path).expect("a source");
            found.extend(tests_of(&text).map(|name| format!("{file}::{name}")));
        }
    }
}

fn tests_of(text: &str) -> impl Iterator<Item = &str> {
    let mut after_attribute = false;
    text.lines().filter_map(move |line| {
        let line = line.trim();
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            after_attribute = true;
        }
        let (_, rest) = line.split_once("fn ").filter(|_| after_attribute)?;
        after_attribute = false;
        rest.split('(').next()
    })
}

/// What is wrong with a row of the table; nothing with its headings.
fn complaint(row: &str, tests: &BTreeSet<String>) -> Option<String> {
    let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
    let [feature, state, shown] = cells[..] else { return Some(format!("not three cells: {row}")) };
    if state.is_empty() && feature.starts_with("**") {
        return None;
    }
    let named = || shown.split('`').skip(1).step_by(2).filter(|word| word.contains("::"));
    if let Some(missing) = named().find(|name| !tests.contains(*name)) {
        return Some(format!("{feature}: there is no test {missing}"));
    }
    match state {
        "done" if named().count() == 0 => Some(format!("{feature}: done, but no test shows it")),
        "partly" if shown.is_empty() => Some(format!("{feature}: partly, but not what is missing")),
        state if STATES.contains(&state) => None,
        other => Some(format!("{feature}: no such state: {other}")),
    }
}

#[test]
fn every_test_that_the_table_of_compatibility_names_is_there() {
    let mut tests = BTreeSet::new();
    for part in ["agent", "cache", "runner", "tests"] {
        tests_below(&root().join(part), &mut tests);
    }
    let table = fs::read_to_string(root().join("agent/COMPATIBILITY.md")).expect("the table");
    let rows: Vec<&str> = table.lines().filter(|line| line.starts_with("| ")).skip(1).collect();
    assert!(rows.len() > 50, "only {} rows", rows.len());
    let complaints: Vec<String> = rows.iter().filter_map(|row| complaint(row, &tests)).collect();
    assert!(complaints.is_empty(), "{complaints:#?}");
}

#[test]
fn a_row_without_a_test_or_with_an_unknown_one_is_found() {
    let tests = BTreeSet::from(["a::b".to_owned()]);
    assert_eq!(complaint("| x | done | `a::b`, and more |", &tests), None);
    for wrong in ["| x | done | |", "| x | done | `a::c` |", "| x | partly | |", "| x | maybe | y |", "| x | done |"] {
        assert!(complaint(wrong, &tests).is_some(), "{wrong}");
    }
}
