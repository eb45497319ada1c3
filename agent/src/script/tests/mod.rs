//! Every script is run for real: by bash, by dash and by busybox, against real repositories.

#![expect(clippy::unwrap_used, reason = "tests")]

mod server;
mod sources;
mod steps;

use super::{Context, StageScript};
use crate::variables::tests::Fixture;
use crate::variables::{Directories, JobSettings, Variables};
use serde_json::Value;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// The shells that run our scripts.
const SHELLS: [&[&str]; 3] = [&["bash"], &["dash"], &["busybox", "sh"]];

/// A job in a builds directory of its own.
struct Bench {
    fixture: Fixture,
    root: TempDir,
    /// What the shell's environment holds, besides `PATH` and `HOME`.
    env: Vec<(&'static str, String)>,
}

/// What a script did.
#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    stdout: Vec<u8>,
    stderr: String,
}

impl Ran {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// The output, after making sure that the script succeeded.
    fn success(self) -> String {
        assert_eq!(self.code, Some(0), "{}\n{}", self.text(), self.stderr);
        self.text()
    }
}

impl Bench {
    fn new(variables: Value) -> Self {
        let root = TempDir::new().unwrap();
        let mut fixture = Fixture::new(variables);
        fixture.settings.builds_dir = root.path().join("builds").to_str().unwrap().to_owned();
        fixture.job.git_info.depth = 0;
        std::fs::create_dir(root.path().join("home")).unwrap();
        let bench = Self { fixture, root, env: Vec::new() };
        std::fs::create_dir_all(bench.project()).unwrap();
        bench
    }

    fn directories(&self) -> Directories {
        self.fixture.directories()
    }

    fn project(&self) -> PathBuf {
        self.directories().project.into()
    }

    fn tmp(&self) -> PathBuf {
        self.directories().tmp.into()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Writes a script from the job and runs it.
    fn run(&self, shell: &[&str], write: impl FnOnce(&Context<'_>) -> StageScript) -> Ran {
        let directories = self.directories();
        let variables = Variables::compose(&self.fixture.inputs(), &directories, None);
        let (settings, _) = JobSettings::read(&variables, &self.fixture.job);
        let context = Context {
            inputs: self.fixture.inputs(),
            variables: &variables,
            settings: &settings,
            directories: &directories,
            correlation_id: "0123456789abcdef0123456789abcdef",
        };
        self.feed(shell, write(&context).text())
    }

    /// Feeds a text to the standard input of a shell, as the executor does.
    fn feed(&self, shell: &[&str], text: &str) -> Ran {
        let mut child = Command::new(shell[0])
            .args(&shell[1..])
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", self.path("home"))
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .envs(self.env.iter().map(|(key, value)| (key, value)))
            .current_dir(self.root.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let text = text.to_owned();
        let writer = std::thread::spawn(move || drop(stdin.write_all(text.as_bytes())));
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        Ran {
            code: output.status.code(),
            stdout: output.stdout,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// Runs git in a directory as somebody who may commit.
fn git(directory: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .args(["-c", "user.name=t", "-c", "user.email=t@t", "-c", "protocol.file.allow=always"])
        .args(["-c", "init.defaultBranch=main", "-c", "safe.directory=*"])
        .args(arguments)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .current_dir(directory)
        .output()
        .unwrap();
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
