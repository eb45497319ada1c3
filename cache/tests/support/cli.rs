//! The program, as a process.

use std::{
    path::Path,
    process::{Command, Output},
};

/// A command that sees nothing of the environment of the tests but its path.
pub fn command(store: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_warmstart-cache"));
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("AWS_EC2_METADATA_DISABLED", "true").args(["--store", store]).args(arguments);
    command
}

pub fn url(directory: &Path) -> String {
    format!("file://{}", directory.display())
}

/// What a process said and how it ended.
#[derive(Debug)]
pub struct Said {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Said {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }
}

pub fn run(command: &mut Command) -> Said {
    let Output { status, stdout, stderr } = command.output().expect("start");
    let text = |bytes| String::from_utf8(bytes).expect("utf-8");
    Said { code: status.code(), out: text(stdout), err: text(stderr) }
}

/// Runs a script with mounts of its own, which end with it. Nothing is noted of what it restores and saves.
pub fn with_mounts(script: &str) -> Said {
    let root = rustix::process::geteuid().is_root();
    let mut command = Command::new("unshare");
    command.env("WARMSTART_CACHE_RECORDS", "");
    run(command.args(if root { &["-m"][..] } else { &["-Urm"] }).args(["sh", "-euc", script]))
}
