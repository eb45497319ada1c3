//! Patterns of paths, relative to a directory.

use std::path::Path;

use globset::{GlobBuilder, GlobMatcher};

use super::as_path;

/// What is wanted and what is not.
#[derive(Debug, Default)]
pub(super) struct Patterns {
    pub(super) includes: Vec<Include>,
    excludes: Vec<Exclude>,
}

/// A path as it was named, and what it means.
#[derive(Debug)]
pub(super) struct Include {
    pub(super) text: String,
    /// Relative, without `.` and `..`; empty for the directory itself.
    pub(super) path: Vec<u8>,
    pub(super) glob: Option<Glob>,
}

#[derive(Debug)]
pub(super) struct Glob {
    /// The directory below which every match lies.
    pub(super) start: Vec<u8>,
    pub(super) matcher: GlobMatcher,
}

#[derive(Debug)]
struct Exclude {
    path: Vec<u8>,
    matcher: Option<GlobMatcher>,
}

impl Patterns {
    /// Sorts patterns into wanted and not (`!`); what cannot be one becomes a warning.
    pub(super) fn new(directory: &Path, texts: &[String], warnings: &mut Vec<String>) -> Self {
        let mut patterns = Self::default();
        for text in texts {
            let (excluded, pattern) = match text.strip_prefix('!') {
                Some(pattern) => (true, pattern),
                None => (false, text.as_str()),
            };
            match Self::parse(directory, pattern) {
                Ok((path, glob)) if excluded => {
                    patterns.excludes.push(Exclude { path, matcher: glob.map(|glob| glob.matcher) });
                }
                Ok((path, glob)) => patterns.includes.push(Include { text: text.clone(), path, glob }),
                Err(reason) => warnings.push(format!("{text}: {reason}")),
            }
        }
        patterns
    }

    fn parse(directory: &Path, pattern: &str) -> Result<(Vec<u8>, Option<Glob>), String> {
        if pattern.trim().is_empty() {
            return Err("is empty".into());
        }
        let path = relative(directory, pattern.as_bytes())?;
        let glob = if has_wildcard(&path) { Some(Glob::new(&path)?) } else { None };
        Ok((path, glob))
    }

    /// Whether an exclusion names this path; what lies below it is never reached then.
    pub(super) fn exclude(&self, path: &[u8]) -> bool {
        let is_match = |matcher: &GlobMatcher| matcher.is_match(as_path(path));
        self.excludes.iter().any(|exclude| exclude.path == path || exclude.matcher.as_ref().is_some_and(is_match))
    }
}

impl Glob {
    fn new(path: &[u8]) -> Result<Self, String> {
        let text = str::from_utf8(path).map_err(|error| error.to_string())?;
        let glob = GlobBuilder::new(text).literal_separator(true).build().map_err(|error| error.kind().to_string())?;
        let literal = path.split(|byte| *byte == b'/').take_while(|name| !has_wildcard(name));
        Ok(Self { start: literal.collect::<Vec<_>>().join(&b'/'), matcher: glob.compile_matcher() })
    }
}

fn has_wildcard(path: &[u8]) -> bool {
    path.iter().any(|byte| b"*?[{\\".contains(byte))
}

/// Gives a path relative to the directory, without `.`, `..` and needless slashes. An absolute one must lie inside.
/// No file is looked at: paths through links are refused later, so this is exact.
pub(super) fn relative(directory: &Path, path: &[u8]) -> Result<Vec<u8>, String> {
    let path = as_path(path);
    let inside = if path.is_absolute() {
        let real = directory.canonicalize().ok();
        let mut bases = std::iter::once(directory).chain(real.as_deref()).filter(|base| base.is_absolute());
        let inside = bases.find_map(|base| path.strip_prefix(base).ok());
        inside.ok_or("lies outside the directory and is left out")?
    } else {
        path
    };
    let mut names: Vec<&[u8]> = Vec::new();
    for component in inside.components() {
        match component {
            std::path::Component::Normal(name) => names.push(name.as_encoded_bytes()),
            std::path::Component::ParentDir if names.pop().is_none() => {
                return Err("lies outside the directory and is left out".into());
            }
            _ => {}
        }
    }
    Ok(names.join(&b'/'))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn paths_are_taken_relative_to_the_directory() {
        let relative = |path: &str| relative(Path::new("/build/project"), path.as_bytes()).ok();
        for (path, expected) in [
            ("a/b", Some("a/b")),
            ("./a//b/", Some("a/b")),
            ("a/../b", Some("b")),
            (".", Some("")),
            ("/build/project/a", Some("a")),
            ("/build/project", Some("")),
            ("../x", None),
            ("a/../../x", None),
            ("/build/project-2/a", None),
            ("/etc", None),
        ] {
            assert_eq!(relative(path).as_deref(), expected.map(str::as_bytes), "{path}");
        }
    }

    #[test]
    fn globs_cross_directories_only_with_two_stars() {
        let matches = |glob: &str, path: &str| Glob::new(glob.as_bytes()).unwrap().matcher.is_match(path);
        assert!(matches("*.lock", "a.lock") && !matches("*.lock", "b/a.lock"));
        assert!(matches("**/node_modules", "node_modules") && matches("**/node_modules", "a/b/node_modules"));
        assert!(matches("a/**/*.o", "a/x.o") && matches("a/**/*.o", "a/b/c/x.o") && !matches("a/**/*.o", "b/x.o"));
        assert!(matches("{a,b}/?[0-9]", "b/x7") && matches("*", ".hidden"));
        assert_eq!(Glob::new(b"a/b/*/c").unwrap().start, b"a/b");
        assert_eq!(Glob::new(b"**/c").unwrap().start, b"");
    }
}
