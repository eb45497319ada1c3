//! Finding the files that an artifact names (protocol §6.2).

use super::glob::Glob;
use crate::workspace::{Kind, Workspace};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Component, Path, PathBuf};

/// What to collect; all texts are expanded already.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Globs, relative to the project directory or absolute inside it.
    pub paths: Vec<String>,
    /// Globs of what is left out.
    pub exclude: Vec<String>,
    /// What git does not track, when that is wanted too.
    pub untracked: Option<Vec<PathBuf>>,
}

/// How a line about collected files is shown in the log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "the words say it")]
pub enum Severity {
    Info,
    Warning,
    Error,
}

/// A line for the job's log.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "the words say it")]
pub struct Message {
    pub severity: Severity,
    pub text: String,
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Collected {
    /// Files, directories and symlinks, relative to the project directory, sorted.
    pub paths: Vec<PathBuf>,
    /// What to tell about it; an error when nothing was found at all.
    pub messages: Vec<Message>,
}

/// Finds what an artifact names. `project` is the project directory as the job knows it (`/builds/…`).
#[must_use]
pub fn collect(workspace: &Workspace, project: &str, wanted: &Wanted) -> Collected {
    let mut collector = Collector {
        workspace,
        project,
        exclude: Vec::new(),
        found: BTreeSet::new(),
        out: Vec::new(),
        excluded: BTreeMap::new(),
        warned: false,
    };
    collector.read_exclusions(&wanted.exclude);
    for path in &wanted.paths {
        collector.take_pattern(path);
    }
    if let Some(untracked) = &wanted.untracked {
        collector.take_untracked(untracked);
    }
    collector.finish()
}

struct Collector<'a> {
    workspace: &'a Workspace,
    project: &'a str,
    /// Each rule as written and as a glob.
    exclude: Vec<(String, Glob)>,
    found: BTreeSet<PathBuf>,
    out: Vec<Message>,
    /// How many paths each rule left out.
    excluded: BTreeMap<String, u64>,
    /// Whether `.git` was mentioned.
    warned: bool,
}

impl Collector<'_> {
    fn tell(&mut self, severity: Severity, text: String) {
        self.out.push(Message { severity, text });
    }

    fn read_exclusions(&mut self, rules: &[String]) {
        for rule in rules {
            match self.relative(rule).and_then(|relative| Glob::parse(&relative)) {
                Ok(glob) => self.exclude.push((rule.clone(), glob)),
                Err(why) => self.tell(Severity::Warning, format!("{rule}: cannot exclude: {why}")),
            }
        }
    }

    fn take_pattern(&mut self, pattern: &str) {
        let glob = match self.relative(pattern).and_then(|relative| Glob::parse(&relative)) {
            Ok(glob) => glob,
            Err(why) => return self.tell(Severity::Warning, format!("{pattern}: ignored: {why}")),
        };
        let mut seen = HashSet::new();
        let mut count = 0;
        for path in glob.find(self.workspace) {
            // `**/*` matches what lies in a directory that was taken already.
            if !seen.contains(&path) {
                count += self.take_tree(&path, &mut seen);
            }
        }
        if count == 0 {
            let hint = "Ensure that the artifact path is relative to the working directory";
            self.tell(Severity::Warning, format!("{pattern}: no matching files. {hint} ({})", self.project));
        } else {
            self.tell(Severity::Info, format!("{pattern}: found {count} matching artifact files and directories"));
        }
    }

    fn take_untracked(&mut self, paths: &[PathBuf]) {
        let count = paths.iter().filter(|path| self.take(path)).count();
        self.tell(Severity::Info, format!("untracked: found {count} files"));
    }

    /// Takes a path and everything below it, and says how much that was.
    fn take_tree(&mut self, path: &Path, seen: &mut HashSet<PathBuf>) -> u64 {
        let (workspace, mut count) = (self.workspace, 0);
        let walked = workspace.walk(path, &mut |path, stat| {
            // Archives have no place for sockets, devices and pipes.
            if seen.insert(path.to_owned()) && stat.kind != Kind::Other && self.take(path) {
                count += 1;
            }
        });
        if let Err(error) = walked {
            self.tell(Severity::Warning, error.to_string());
        }
        count
    }

    /// Takes one path unless it is excluded. The project directory itself is no entry, but counts.
    fn take(&mut self, path: &Path) -> bool {
        if let Some((rule, _)) = self.exclude.iter().find(|(_, glob)| glob.matches(path)) {
            *self.excluded.entry(rule.clone()).or_default() += 1;
            return false;
        }
        if !self.warned && path.starts_with(".git") {
            self.warned = true;
            self.tell(Severity::Warning, "Part of .git directory is on the list of files to archive".to_owned());
            self.tell(Severity::Warning, "This may introduce unexpected problems".to_owned());
        }
        if !path.as_os_str().is_empty() {
            self.found.insert(path.to_owned());
        }
        true
    }

    /// A pattern relative to the project directory, or why it cannot be.
    fn relative(&self, pattern: &str) -> Result<String, String> {
        if pattern.trim().is_empty() {
            return Err("the path is empty".to_owned());
        }
        let project = Path::new(self.project);
        let mut parts: Vec<&str> = Vec::new();
        let whole = project.join(pattern);
        for component in whole.components() {
            match component {
                Component::ParentDir => drop(parts.pop()),
                Component::Normal(part) => parts.extend(part.to_str()),
                _ => {}
            }
        }
        let outside = || format!("it is outside of the project directory {}", self.project);
        let base = project.components().filter(|c| matches!(c, Component::Normal(_))).count();
        let inside = parts.len() >= base && Path::new("/").join(parts[..base].join("/")) == project;
        if inside { Ok(parts[base..].join("/")) } else { Err(outside()) }
    }

    fn finish(mut self) -> Collected {
        for (rule, count) in std::mem::take(&mut self.excluded) {
            self.tell(Severity::Info, format!("{rule}: excluded {count} files"));
        }
        if self.found.is_empty() {
            self.tell(Severity::Error, "No files to upload".to_owned());
        }
        Collected { paths: self.found.into_iter().collect(), messages: self.out }
    }
}
