//! What `docs/cache.md` says is so.

use std::{fs, path::Path, process::Command};

use super::support::cli::run;

fn page() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/cache.md")).unwrap()
}

fn help(arguments: &[&str]) -> String {
    run(Command::new(env!("CARGO_BIN_EXE_warmstart-cache")).args(arguments).arg("--help")).out
}

fn subcommands() -> Vec<String> {
    let help = help(&[]);
    let list = help.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let names = list.lines().filter_map(|line| line.strip_prefix("  ")?.split_whitespace().next());
    names.filter(|name| *name != "help" && name.chars().all(char::is_alphabetic)).map(str::to_owned).collect()
}

/// The words after each `start` in a text.
fn words<'text>(text: &'text str, start: &str) -> Vec<&'text str> {
    let end = |letter: char| !letter.is_ascii_alphanumeric() && letter != '-' && letter != '_';
    text.split(start).skip(1).map(|rest| rest.split(end).next().unwrap()).filter(|word| !word.is_empty()).collect()
}

#[test]
fn every_subcommand_and_option_of_the_page_exists() {
    let (page, known) = (page(), subcommands());
    for word in words(&page, "\nwarmstart-cache ").into_iter().chain(words(&page, "- warmstart-cache ")) {
        assert!(known.iter().any(|name| name == word), "{word}");
    }
    let all: String = known.iter().map(|name| help(&[name])).collect();
    for option in words(&page, " --").into_iter().chain(words(&page, "`--")) {
        let foreign = option == "zstd";
        assert!(
            foreign || all.contains(&format!("--{option} ")) || all.contains(&format!("--{option}\n")),
            "--{option}"
        );
    }
}

#[test]
fn every_subcommand_is_on_the_page() {
    let (page, known) = (page(), subcommands());
    assert!(known.len() >= 11, "{known:?}");
    for name in known {
        assert!(page.contains(&format!("`{name}")), "{name}");
    }
}

#[test]
fn every_variable_that_the_code_reads_is_in_the_table() {
    let (page, mut seen) = (page(), 0);
    for entry in walkdir::WalkDir::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")) {
        let entry = entry.unwrap();
        if !entry.file_type().is_file() {
            continue;
        }
        for name in words(&fs::read_to_string(entry.path()).unwrap(), "WARMSTART_CACHE_") {
            assert!(page.contains(&format!("| `WARMSTART_CACHE_{name}` |")), "WARMSTART_CACHE_{name}");
            seen += 1;
        }
    }
    assert!(seen > 8);
}
