//! Shell text under construction.

use super::{Context, StageScript, gitlab_env};
use crate::variables::Exported;
use std::fmt::Write;

/// The commands of a stage, in order; `errexit` ends it at the first that fails.
#[derive(Default)]
pub(super) struct Body {
    text: String,
}

/// Which container runs a script.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) enum Place {
    /// The one with our own tools. What it makes must be writable for whatever user the job's image has.
    Helper,
    /// The one of the job's image.
    Build,
}

/// Names that bash does not let anybody set. They reach the job through its container's environment.
const READ_ONLY: &[&str] = &["BASHOPTS", "BASH_VERSINFO", "EUID", "PPID", "SHELLOPTS", "UID"];

/// Variables that a job sets for its own image: the helper's tools and its home are elsewhere.
const OF_THE_IMAGE: &[&str] = &["HOME", "PATH"];

const GREEN: &str = "\x1b[32;1m";
const YELLOW: &str = "\x1b[0;33m";
const RESET: &str = "\x1b[0;m";

impl Body {
    /// Adds shell text as it is.
    pub(super) fn line(&mut self, text: &str) {
        self.text.push_str(text);
        self.text.push('\n');
    }

    /// Adds a command whose words are taken literally.
    pub(super) fn command(&mut self, words: &[&str]) {
        self.line(&words.iter().map(|word| quote(word)).collect::<Vec<_>>().join(" "));
    }

    /// Adds a line of output in the colour of GitLab Runner's notices.
    pub(super) fn notice(&mut self, text: &str) {
        self.print(&format!("{GREEN}{text}{RESET}"));
    }

    /// Adds a line of output in the colour of warnings.
    pub(super) fn warning(&mut self, text: &str) {
        self.print(&format!("{YELLOW}{text}{RESET}"));
    }

    /// Adds a line of plain output; `echo` would interpret backslashes in some shells.
    pub(super) fn print(&mut self, text: &str) {
        self.line(&format!("printf '%s\\n' {}", quote(text)));
    }

    /// Writes the file variables, exports all variables, then what earlier stages left in `GITLAB_ENV` (§2.6).
    pub(super) fn exports(&mut self, context: &Context<'_>, place: Place) {
        let tmp = quote(&context.directories.tmp);
        self.line(&format!("[ -d {tmp} ] || mkdir -p {tmp}"));
        let suits = |key: &str| place == Place::Build || !OF_THE_IMAGE.contains(&key);
        context.variables.exported().filter(|variable| suits(variable.key)).for_each(|variable| self.export(variable));
        self.line(&format!("export GITLAB_ENV={}", quote(&gitlab_env(context))));
        self.line(READ_GITLAB_ENV);
    }

    /// Echoes each command as GitLab does, then runs it (§2.5). `section` is the beginning of the names of sections.
    pub(super) fn user_commands(&mut self, context: &Context<'_>, section: &str, commands: &[String]) {
        let sections = context.variables.flag("FF_SCRIPT_SECTIONS") && context.inputs.job.features.trace_sections;
        for (at, command) in commands.iter().map(|command| command.trim()).enumerate() {
            match command.split_once('\n') {
                _ if command.is_empty() => self.print(""),
                None => self.notice(&format!("$ {command}")),
                Some(_) if sections => self.section(&format!("section_{section}_{at}"), command),
                Some((first, _)) => self.notice(&format!("$ {first} # collapsed multi-line command")),
            }
            self.line(&command.replace('\0', ""));
            if context.variables.flag("FF_ENABLE_BASH_EXIT_CODE_CHECK") {
                self.line(CHECK_EXIT_CODE);
            }
        }
    }

    /// Echoes a whole command in a collapsed section.
    fn section(&mut self, name: &str, command: &str) {
        self.line(&format!(
            "printf 'section_start:%s:{name}[hide_duration=true,collapsed=true]\\r\\033[0K' \"$(date +%s)\""
        ));
        self.notice(&format!("$ {command}"));
        self.line(&format!("printf 'section_end:%s:{name}\\r\\033[0K' \"$(date +%s)\""));
    }

    /// A script of the runner's configuration, shown and run as one command; none when it is empty.
    pub(super) fn user_script(&mut self, context: &Context<'_>, section: &str, script: &str) {
        if !script.is_empty() {
            self.user_commands(context, section, &[script.to_owned()]);
        }
    }

    /// The whole script of a stage (§2.4). The body is evaluated in a subshell without the script's own input, so
    /// that no command can read the rest of the script.
    pub(super) fn stage(&self, context: &Context<'_>, place: Place) -> StageScript {
        let umask = if place == Place::Helper { "umask 0000\n" } else { "" };
        let xtrace = if context.settings.debug_trace { "set -o xtrace\n" } else { "" };
        let body = quote(&self.text);
        let text = format!(
            "#!/usr/bin/env sh\n\
             trap 'exit 1' TERM\n\
             {umask}{xtrace}\
             if (set -o pipefail) 2>/dev/null; then set -o pipefail; fi\n\
             set -o errexit\n\
             set +o noclobber\n\
             (trap 'exit 1' TERM\n\
             eval {body}) </dev/null\n\
             exit 0\n"
        );
        StageScript { text }
    }

    fn export(&mut self, variable: Exported<'_>) {
        if let Some(path) = variable.path.filter(|path| !path.is_empty()) {
            self.line(&format!("{{ {}; }} > {}", printf(variable.value), quote(path)));
        }
        if is_identifier(variable.key) && !READ_ONLY.contains(&variable.key) {
            let value = quote(variable.path.unwrap_or(variable.value));
            self.line(&format!("export {}={value}", variable.key));
        }
    }
}

/// Lines that are no assignment to a plain name are left alone: dash would exit over them.
const READ_GITLAB_ENV: &str = r#"[ -e "$GITLAB_ENV" ] || : > "$GITLAB_ENV"
while read -r gitlab_env_line || [ -n "$gitlab_env_line" ]; do
case "${gitlab_env_line%%=*}" in
'' | [0-9]* | *[!A-Za-z0-9_]*) ;;
*) export "$gitlab_env_line" || : ;;
esac
done < "$GITLAB_ENV"
unset gitlab_env_line"#;

/// For what `errexit` lets pass, such as `false && true`.
const CHECK_EXIT_CODE: &str = r#"gitlab_exit_code=$?
if [ "$gitlab_exit_code" -ne 0 ]; then exit "$gitlab_exit_code"; fi"#;

/// A word that the shell takes literally, whatever it holds; a NUL, which no shell can hold, is dropped.
pub(super) fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\0', "").replace('\'', r"'\''"))
}

/// Commands that print the text byte for byte, NULs too, and no newline after it.
fn printf(text: &str) -> String {
    let mut parts = text.split('\0');
    let mut out = format!("printf %s {}", quote(parts.next().unwrap_or_default()));
    for part in parts {
        let _ = write!(out, "; printf '\\000%s' {}", quote(part));
    }
    out
}

fn is_identifier(key: &str) -> bool {
    !key.starts_with(|c: char| c.is_ascii_digit()) && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}
