//! Real git repositories: a bare one that is served, and a work tree to make commits in.

use anyhow::Context;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Mutex, PoisonError};

/// All repositories of a fake, in a temporary directory.
#[derive(Debug)]
pub(super) struct Repositories {
    directory: tempfile::TempDir,
    /// Project path → project id.
    ids: Mutex<BTreeMap<String, u64>>,
}

impl Repositories {
    pub(super) fn new() -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new().prefix("fake-gitlab-").tempdir();
        let directory = directory.context("make a temporary directory for the repositories")?;
        Ok(Self { directory, ids: Mutex::default() })
    }

    /// The directory that `git http-backend` serves.
    pub(super) fn served(&self) -> PathBuf {
        self.directory.path().join("git")
    }

    /// A project's repository, made when it does not exist: with one commit on `main`.
    pub(super) fn open(&self, project: &str, object_format: &str) -> Repository {
        let bare = self.served().join(format!("{project}.git"));
        let repository = Repository { bare, work: self.directory.path().join("work").join(project) };
        let mut ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        if !ids.contains_key(project) {
            let id = 42 + ids.len() as u64;
            ids.insert(project.to_owned(), id);
            repository.init(object_format);
        }
        repository
    }

    /// The id of a project that was opened.
    pub(super) fn id(&self, project: &str) -> u64 {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner).get(project).copied().unwrap_or_default()
    }
}

/// A bare repository of the server, and a work tree for making commits.
///
/// Operations panic with git's message when they fail: they are a test's set-up.
#[derive(Clone, Debug)]
pub struct Repository {
    bare: PathBuf,
    work: PathBuf,
}

#[expect(clippy::must_use_candidate, reason = "the commits are made, whether or not their ids are wanted")]
impl Repository {
    fn init(&self, object_format: &str) {
        for directory in [&self.bare, &self.work] {
            fs::create_dir_all(directory).unwrap_or_else(|error| panic!("make {}: {error}", directory.display()));
        }
        // Without the work tree of `git`: a new repository is bare only then.
        let init = ["init", "--quiet", "--bare", "--initial-branch=main", &format!("--object-format={object_format}")];
        let made =
            Command::new("git").args(init).current_dir(&self.bare).env("GIT_CONFIG_GLOBAL", "/dev/null").output();
        checked("git init", made);
        for option in ["uploadpack.allowAnySHA1InWant", "uploadpack.allowFilter"] {
            self.git(&["config", option, "true"]);
        }
        self.commit(&[("README.md", "A project of the fake GitLab.\n")], "Begin");
    }

    /// The bare repository's directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.bare
    }

    /// The work tree: change files here, then [`Self::commit_all`].
    #[must_use]
    pub fn work_tree(&self) -> &Path {
        &self.work
    }

    /// Writes files (path, content) into the work tree, commits them on the current branch, and gives the commit's id.
    ///
    /// # Panics
    /// When a file cannot be written or git fails.
    pub fn commit(&self, files: &[(&str, &str)], message: &str) -> String {
        for (path, content) in files {
            let path = self.work.join(path);
            let directory = path.parent().unwrap_or(&self.work);
            let written = fs::create_dir_all(directory).and_then(|()| fs::write(&path, content));
            written.unwrap_or_else(|error| panic!("write {}: {error}", path.display()));
        }
        self.commit_all(message)
    }

    /// Commits the work tree as it is and gives the commit's id.
    pub fn commit_all(&self, message: &str) -> String {
        self.git(&["add", "--all", "."]);
        self.git(&["commit", "--quiet", "--allow-empty", "--message", message]);
        self.sha("HEAD")
    }

    /// Commits a copy of a directory, without its `.git`; modes and symlinks are kept. Files that are not in it go.
    ///
    /// # Panics
    /// When the directory cannot be copied or git fails.
    pub fn commit_directory(&self, directory: &Path, message: &str) -> String {
        let fail = |error: std::io::Error| panic!("copy {}: {error}", directory.display());
        fs::remove_dir_all(&self.work).and_then(|()| fs::create_dir_all(&self.work)).unwrap_or_else(fail);
        let copied = Command::new("cp").arg("-a").arg(directory.join(".")).arg(&self.work).output();
        checked("cp", copied);
        let _ = fs::remove_dir_all(self.work.join(".git"));
        self.commit_all(message)
    }

    /// Switches to a branch; one that does not exist is made at the current commit.
    pub fn branch(&self, name: &str) {
        let exists = !self.git(&["branch", "--list", name]).is_empty();
        let arguments: &[&str] =
            if exists { &["checkout", "--quiet", "--force", name] } else { &["checkout", "--quiet", "-b", name] };
        self.git(arguments);
    }

    /// Tags the current commit.
    pub fn tag(&self, name: &str) {
        self.git(&["tag", name]);
    }

    /// Adds another repository's head as submodule at `path`, by a relative URL, and commits.
    pub fn add_submodule(&self, path: &str, other: &Self) -> String {
        let url = format!("../{}", other.bare.file_name().map(|name| name.to_string_lossy()).unwrap_or_default());
        let key = format!("submodule.{path}");
        self.git(&["config", "--file", ".gitmodules", &format!("{key}.path"), path]);
        self.git(&["config", "--file", ".gitmodules", &format!("{key}.url"), &url]);
        self.git(&["add", ".gitmodules"]);
        let entry = format!("160000,{},{path}", other.sha("HEAD"));
        self.git(&["update-index", "--add", "--cacheinfo", &entry]);
        self.git(&["commit", "--quiet", "--message", "Add a submodule"]);
        self.sha("HEAD")
    }

    /// The commit of a ref.
    #[must_use]
    pub fn sha(&self, reference: &str) -> String {
        self.git(&["rev-parse", "--verify", &format!("{reference}^{{commit}}")])
    }

    /// Whether a tag of that name exists.
    pub(super) fn has_tag(&self, name: &str) -> bool {
        !self.git(&["tag", "--list", name]).is_empty()
    }

    /// Runs any git command on the repository and gives its output, trimmed.
    pub fn git(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("git");
        command.args(arguments).current_dir(&self.work).env("GIT_DIR", &self.bare).env("GIT_WORK_TREE", &self.work);
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
        for (role, name) in [("AUTHOR", "A. U. Thor"), ("COMMITTER", "C. O. Mitter")] {
            command.env(format!("GIT_{role}_NAME"), name).env(format!("GIT_{role}_EMAIL"), "demo@gitlab.test");
        }
        checked(&format!("git {}", arguments.join(" ")), command.output())
    }
}

/// A command's output, trimmed; panics when it failed.
fn checked(what: &str, output: std::io::Result<Output>) -> String {
    let output = output.unwrap_or_else(|error| panic!("run `{what}`: {error}"));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "`{what}` failed: {error}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
