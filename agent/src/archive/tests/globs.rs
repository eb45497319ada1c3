//! Doublestar globs.

use super::super::glob::Glob;
use proptest::prelude::*;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

fn matches(pattern: &str, path: &str) -> bool {
    Glob::parse(pattern).unwrap().matches(Path::new(path))
}

#[test]
fn patterns_match_what_doublestar_matches() {
    for (pattern, yes, no) in [
        ("a", "a", "a/b"),
        ("*", "a", "a/b"),
        ("*", ".hidden", ""),
        ("*.o", "x.o", "x.oo"),
        ("a*b*c", "aXbYbZc", "aXcYb"),
        ("a?c", "aäc", "ac"),
        ("?", "é", "ee"),
        ("[a-c]x", "bx", "dx"),
        ("[!a-c]x", "dx", "bx"),
        ("[^a]", "b", "a"),
        ("[a\\]]", "]", "\\"),
        ("[a-]", "-", "b"),
        ("{a,b}/c", "b/c", "c/c"),
        ("{a/b,c}/d", "a/b/d", "a/d"),
        ("a{,b}", "a", "ac"),
        ("{a,{b,c}d}", "cd", "c"),
        ("**", "a/b/c", "\0"),
        ("a/**", "a", "b/a"),
        ("a/**", "a/b/c", "ab/c"),
        ("a/**/*", "a/b/c", "a"),
        ("**/a", "a", "b"),
        ("**/a", "x/y/a", "x/y/ab"),
        ("a/**/b", "a/b", "a/c"),
        ("a/**/b/**/c", "a/x/b/y/z/c", "a/x/c"),
        ("a**b", "aXb", "a/b"),
        ("\\*", "*", "a"),
        ("a\\{b", "a{b", "ab"),
        ("./a//b/", "a/b", "a"),
    ] {
        assert!(matches(pattern, yes), "{pattern} matches {yes}");
        assert!(no == "\0" || !matches(pattern, no), "{pattern} does not match {no}");
    }
}

#[test]
fn names_that_are_not_text_match_too() {
    let name = Path::new(OsStr::from_bytes(b"a\xff\xfe.o"));
    for (pattern, wanted) in [("*", true), ("a??.o", true), ("a?.o", false), ("*.o", true), ("[!b]*", true)] {
        assert_eq!(Glob::parse(pattern).unwrap().matches(name), wanted, "{pattern}");
    }
}

#[test]
fn broken_patterns_are_named() {
    for (pattern, why) in [
        ("a[", "[ is not closed"),
        ("[]", "[ holds no character"),
        ("[a-", "[ is not closed"),
        ("a{b", "{ is not closed"),
        ("a\\", "ends in a backslash"),
        (&"{a,b}".repeat(20), "alternatives"),
        (&format!("{{{}}}", ",".repeat(100_000)), "alternatives"),
    ] {
        let error = Glob::parse(pattern).unwrap_err();
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn many_stars_take_no_time() {
    let pattern = "*a".repeat(500) + "b";
    assert!(!matches(&pattern, &"a".repeat(5000)));
    let deep = "**/a/".repeat(100) + "b";
    assert!(!matches(&deep, &"a/".repeat(500)));
}

/// The plainest matcher there is, for patterns of `a`, `b`, `?`, `*`.
fn naive(pattern: &[char], text: &[char]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, None) => true,
        (Some(('*', rest)), _) if naive(rest, text) => true,
        (Some(('*', _)), Some((_, left))) => naive(pattern, left),
        (Some((p, rest)), Some((t, left))) => (*p == '?' || p == t) && naive(rest, left),
        _ => false,
    }
}

proptest! {
    #[test]
    fn stars_match_what_a_naive_matcher_matches(pattern in "[ab?*]{1,8}", text in "[ab]{1,10}") {
        prop_assume!(pattern != "**");
        let chars = |text: &str| text.chars().collect::<Vec<_>>();
        prop_assert_eq!(matches(&pattern, &text), naive(&chars(&pattern), &chars(&text)));
    }

    #[test]
    fn no_pattern_panics(pattern in "[a-c\\[\\]{}!^,*?/\\\\.\u{e4}-]{0,30}", path in "[a-c/.]{0,20}") {
        if let Ok(glob) = Glob::parse(&pattern) {
            glob.matches(Path::new(&path));
        }
    }

    #[test]
    fn a_name_with_everything_escaped_matches_itself(name in "[^/\u{0}]{1,12}") {
        prop_assume!(name != "." && name != "..");
        let escaped: String = name.chars().flat_map(|c| ['\\', c]).collect();
        prop_assert!(matches(&escaped, &name));
    }
}
