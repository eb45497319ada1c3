//! kill -9 just before a chosen system call: by strace, so that every state of the disk is met and no luck is needed.

use std::{
    os::unix::process::ExitStatusExt as _,
    process::{Child, Command, Output, Stdio},
};

/// Every call by which a process can change a directory, and those that tell its states apart. A machine has not all of
/// them; the longest lists come first.
pub const CALLS: [&str; 25] = [
    "openat",
    "unlinkat",
    "mkdirat",
    "write",
    "fchmod",
    "openat2",
    "pwrite64",
    "ftruncate",
    "fchmodat",
    "fchown",
    "fchownat",
    "utimensat",
    "link",
    "linkat",
    "symlink",
    "symlinkat",
    "rename",
    "renameat",
    "renameat2",
    "unlink",
    "mkdir",
    "rmdir",
    "flock",
    "fsync",
    "fdatasync",
];

/// Starts the command; it is killed when one of its threads begins its `number`th call of this name.
pub fn start(command: &Command, call: &str, number: usize) -> Child {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace=?{call}")]);
    strace.args(["-e", &format!("inject=?{call}:signal=KILL:when={number}")]);
    strace.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    if let Some(directory) = command.get_current_dir() {
        strace.current_dir(directory);
    }
    strace.arg(command.get_program()).args(command.get_args());
    strace.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("start strace")
}

/// Waits for the end, and tells whether it was killed; else it has come to its good end.
pub fn was_killed(process: Child) -> bool {
    let Output { status, stdout, stderr } = process.wait_with_output().expect("wait");
    let said = String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned();
    assert!(status.success() || status.signal() == Some(9) || status.code() == Some(137), "{status}: {said}");
    !status.success()
}

/// Runs `case` for every number of a call until it is not killed any more; gives how often it was.
pub fn at_each(call: &str, case: impl Fn(&str, usize) -> bool) -> usize {
    (1..1000).take_while(|number| case(call, *number)).count()
}
