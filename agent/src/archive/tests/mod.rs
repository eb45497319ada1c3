//! Which files artifacts take, and archives that others read, made, or made with evil intent.

#![expect(clippy::unwrap_used, reason = "tests")]

mod collecting;
mod globs;
mod hostile;
mod zips;

use crate::workspace::Workspace;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// A project directory with something beside it.
struct Bench {
    top: TempDir,
    workspace: Workspace,
}

impl Bench {
    fn new() -> Self {
        let top = TempDir::new().unwrap();
        fs::create_dir(top.path().join("project")).unwrap();
        fs::create_dir(top.path().join("outside")).unwrap();
        fs::write(top.path().join("outside/file"), "outside").unwrap();
        let workspace = Workspace::open(&top.path().join("project")).unwrap();
        Self { top, workspace }
    }

    fn at(&self, path: impl AsRef<Path>) -> PathBuf {
        self.top.path().join("project").join(path)
    }

    fn write(&self, path: impl AsRef<Path>, content: impl AsRef<[u8]>) {
        let path = self.at(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Everything in the project, as paths relative to it.
    fn paths(&self) -> Vec<PathBuf> {
        let mut paths = Vec::new();
        self.workspace.walk(Path::new(""), &mut |path, _| paths.push(path.to_owned())).unwrap();
        paths.remove(0);
        paths
    }

    fn outside_is_untouched(&self) -> bool {
        let names: Vec<_> = fs::read_dir(self.top.path().join("outside")).unwrap().collect();
        let top = fs::read_dir(self.top.path()).unwrap().count();
        names.len() == 1 && top == 2 && fs::read_to_string(self.top.path().join("outside/file")).unwrap() == "outside"
    }
}

/// Runs a Python program with arguments and gives what it prints.
fn python(program: &str, arguments: &[&Path]) -> String {
    let output = Command::new("python3").arg("-c").arg(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
