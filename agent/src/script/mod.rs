//! The text of every stage's shell script (protocol §2.4, §2.5, §3).
//!
//! One text serves bash, dash and busybox: it is POSIX shell, and every value in it is quoted with single quotes.

mod body;
mod remote;
mod sources;
mod submodules;
#[cfg(test)]
mod tests;

pub use sources::{clear_worktree, get_sources, untracked};

use crate::variables::{Directories, Inputs, JobSettings, Variables};
use body::{Body, Place, quote};
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
    let mut body = Body::default();
    body.command(&["rm", "-f", &gitlab_env(context), &format!("{}/masking.db", context.directories.tmp)]);
    body.line(&format!("printf 'Running on %s via %s...\\n' \"$(hostname 2>/dev/null || :)\" {}", quote(host)));
    body.stage(context, Place::Helper)
}

/// A step of the user's, except `after_script`; `None` when it has no commands.
#[must_use]
pub fn step(context: &Context<'_>, step: &Step) -> Option<StageScript> {
    let commands = step_commands(context, step);
    if commands.is_empty() {
        return None;
    }
    let mut body = Body::default();
    body.exports(context, Place::Build);
    body.command(&["cd", &context.directories.project]);
    body.user_script(context, "pre_build_script", &context.inputs.settings.pre_build_script);
    body.user_commands(context, "script_step", &commands);
    body.user_script(context, "post_build_script", &context.inputs.settings.post_build_script);
    Some(body.stage(context, Place::Build))
}

/// `after_script`; `None` when the payload has none.
#[must_use]
pub fn after_script(context: &Context<'_>) -> Option<StageScript> {
    let step = context.inputs.job.steps.iter().find(|step| step.name == "after_script")?;
    if step.script.is_empty() {
        return None;
    }
    let mut body = Body::default();
    body.exports(context, Place::Build);
    body.command(&["cd", &context.directories.project]);
    body.notice("Running after script...");
    body.user_commands(context, "after_script_step", &step.script);
    Some(body.stage(context, Place::Build))
}

/// `cleanup_file_variables`: forgets credentials and removes every file that held a variable.
#[must_use]
pub fn cleanup(context: &Context<'_>) -> StageScript {
    let mut body = Body::default();
    body.line("export GIT_TERMINAL_PROMPT=0 GCM_INTERACTIVE=Never");
    sources::reject_credentials(&mut body, context);
    let tmp = &context.directories.tmp;
    let mut remove = vec![gitlab_env(context), format!("{tmp}/masking.db"), sources::external_config(context)];
    remove.extend(context.variables.exported().filter_map(|v| v.path).filter(|p| !p.is_empty()).map(str::to_owned));
    body.command(&["rm", "-f"].into_iter().chain(remove.iter().map(String::as_str)).collect::<Vec<_>>());
    sources::remove_stale_state(&mut body, context);
    body.stage(context, Place::Helper)
}

/// The commands of a step; those of `release` come expanded.
fn step_commands(context: &Context<'_>, step: &Step) -> Vec<String> {
    if step.name == "release" {
        step.script.iter().map(|command| context.variables.expand(command)).collect()
    } else {
        step.script.clone()
    }
}

/// The file through which steps hand variables to later stages.
fn gitlab_env(context: &Context<'_>) -> String {
    format!("{}/gitlab_runner_env", context.directories.tmp)
}
