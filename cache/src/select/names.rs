//! Patterns against paths that are not on the disk.

use std::path::Path;

use super::{
    as_path,
    pattern::{Include, Patterns},
};

/// What the patterns name among known paths.
#[derive(Debug)]
pub(crate) struct Names {
    patterns: Patterns,
    /// For each inclusion, whether it matched anything, and whether it is to be taken as it is.
    seen: Vec<(bool, bool)>,
    warnings: Vec<String>,
}

impl Names {
    /// Prepares patterns for `paths`: one that is there is taken as it is, whatever characters it has. Exclusions
    /// alone leave everything else.
    pub(crate) fn new<'path>(patterns: &[String], paths: &(impl Iterator<Item = &'path [u8]> + Clone)) -> Self {
        let mut warnings = Vec::new();
        let patterns = Patterns::new(Path::new(""), patterns, &mut warnings);
        let is_there = |include: &Include| paths.clone().any(|path| is_below(path, &include.path));
        let seen =
            patterns.includes.iter().map(|include| (false, include.glob.is_none() || is_there(include))).collect();
        Self { patterns, seen, warnings }
    }

    /// Whether a path is named, or lies below one that is, and is not excluded.
    pub(crate) fn has(&mut self, path: &[u8]) -> bool {
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        let ancestors: Vec<_> = ends.chain([path.len()]).map(|end| &path[..end]).collect();
        if ancestors.iter().any(|path| self.patterns.exclude(path)) {
            return false;
        }
        let mut named = self.patterns.includes.is_empty() && self.warnings.is_empty();
        for (include, (seen, literal)) in self.patterns.includes.iter().zip(&mut self.seen) {
            let matches = match &include.glob {
                Some(glob) if !*literal => ancestors.iter().any(|path| glob.matcher.is_match(as_path(path))),
                _ => is_below(path, &include.path),
            };
            *seen |= matches;
            named |= matches;
        }
        named
    }

    /// Gives what is wrong with patterns, and those that named nothing, one line each.
    pub(crate) fn warnings(self) -> Vec<String> {
        let vain = self.patterns.includes.iter().zip(&self.seen).filter(|(_, (seen, _))| !seen);
        let vain = vain.map(|(include, _)| format!("{}: nothing in the cache matches", include.text));
        self.warnings.into_iter().chain(vain).collect()
    }
}

/// Whether a path is another one or lies below it; everything lies below the empty one.
fn is_below(path: &[u8], above: &[u8]) -> bool {
    above.is_empty() || path.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATHS: [&str; 7] = ["a", "a/[x]", "a/b", "a/b/c.o", "a/bc", "a/x", "lone/deep/y.o"];

    fn chosen(patterns: &[&str]) -> (Vec<&'static str>, Vec<String>) {
        let patterns: Vec<_> = patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
        let mut names = Names::new(&patterns, &PATHS.iter().map(|path| path.as_bytes()));
        (PATHS.into_iter().filter(|path| names.has(path.as_bytes())).collect(), names.warnings())
    }

    #[test]
    fn paths_globs_and_exclusions_choose_as_when_saving() {
        assert_eq!(chosen(&["a/b"]).0, ["a/b", "a/b/c.o"]);
        assert_eq!(chosen(&["./a//b/", "lone"]).0, ["a/b", "a/b/c.o", "lone/deep/y.o"]);
        assert_eq!(chosen(&["**/*.o"]).0, ["a/b/c.o", "lone/deep/y.o"]);
        assert_eq!(chosen(&["a/b*"]).0, ["a/b", "a/b/c.o", "a/bc"]);
        assert_eq!(chosen(&["a/[x]"]).0, ["a/[x]"]);
        assert_eq!(chosen(&["a", "!a/b", "!**/x"]).0, ["a", "a/[x]", "a/bc"]);
        assert_eq!(chosen(&["!a"]).0, ["lone/deep/y.o"]);
        assert_eq!(chosen(&["."]).0, PATHS);
    }

    #[test]
    fn what_names_nothing_is_named() {
        let (paths, warnings) = chosen(&["a/x", "none", "*.c", "../out"]);
        assert_eq!(paths, ["a/x"]);
        assert_eq!(warnings.len(), 3, "{warnings:?}");
        assert_eq!(chosen(&["../out"]).0, [""; 0]);
    }
}
