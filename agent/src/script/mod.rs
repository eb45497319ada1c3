//! The text of every stage's shell script (protocol §2.4, §2.5, §3).
//!
//! One text serves bash, dash and busybox: it is POSIX shell, and every value in it is quoted with single quotes.

use crate::variables::{Directories, Inputs, JobSettings, Variables};
use warmstart_gitlab::payload::Step;

/// A whole script, to be fed to the standard input of a shell.
#[derive(Clone)]
pub struct StageScript {
    text: String,
}

impl StageScript {
    /// The bytes for the shell's standard input. They contain secrets.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl std::fmt::Debug for StageScript {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "script of {} bytes", self.text.len())
    }
}

/// All that a script is written from.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// Payload, settings, runner.
    pub inputs: Inputs<'a>,
    /// The job's variables as they are in this stage.
    pub variables: &'a Variables,
    /// What the job sets through them.
    pub settings: &'a JobSettings,
    /// Where the job lives.
    pub directories: &'a Directories,
    /// GitLab's correlation id of the job request.
    pub correlation_id: &'a str,
}

/// `prepare_script`: a clean start in the temporary directory. `host` is the name of the machine, for the log.
#[must_use]
pub fn prepare(context: &Context<'_>, host: &str) -> StageScript {
    let _ = (context, host);
    todo!()
}

/// `get_sources`. An `Err` is a sentence for the log: the stage fails without running.
pub fn get_sources(context: &Context<'_>) -> Result<StageScript, String> {
    let _ = context;
    todo!()
}

/// `clear_worktree`, before a second attempt at `get_sources`.
#[must_use]
pub fn clear_worktree(context: &Context<'_>) -> Option<StageScript> {
    let _ = context;
    todo!()
}

/// A step of the user's, except `after_script`.
#[must_use]
pub fn step(context: &Context<'_>, step: &Step) -> Option<StageScript> {
    let _ = (context, step);
    todo!()
}

/// `after_script`, `None` when the payload has none.
#[must_use]
pub fn after_script(context: &Context<'_>) -> Option<StageScript> {
    let _ = context;
    todo!()
}

/// `cleanup_file_variables`.
#[must_use]
pub fn cleanup(context: &Context<'_>) -> StageScript {
    let _ = context;
    todo!()
}

/// Prints the paths of the files that git does not track, each ended by a NUL, relative to the project directory.
#[must_use]
pub fn untracked(context: &Context<'_>) -> StageScript {
    let _ = context;
    todo!()
}
