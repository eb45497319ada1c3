//! The texts that a runner itself writes into a log: colours, lines, sections (protocol §2.7).

/// Bold red.
pub const BOLD_RED: &str = "\x1b[31;1m";
/// Bold green: commands and success.
pub const BOLD_GREEN: &str = "\x1b[32;1m";
/// Bold yellow.
pub const BOLD_YELLOW: &str = "\x1b[33;1m";
/// Bold cyan: headlines.
pub const BOLD_CYAN: &str = "\x1b[36;1m";
/// Yellow.
pub const YELLOW: &str = "\x1b[0;33m";
/// Grey.
pub const GREY: &str = "\x1b[0;37m";
/// End of any colour.
pub const RESET: &str = "\x1b[0;m";
/// Clears the line.
pub const CLEAR: &str = "\x1b[0K";

/// What kind of line the runner writes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Level {
    /// Plain.
    Print,
    /// Green.
    Info,
    /// Yellow, `WARNING: `.
    Warning,
    /// Red, `ERROR: `.
    Error,
}

impl Level {
    fn prefix(self) -> &'static str {
        match self {
            Self::Print => CLEAR,
            Self::Info => BOLD_GREEN,
            Self::Warning => "\x1b[0;33mWARNING: ",
            Self::Error => "\x1b[31;1mERROR: ",
        }
    }
}

/// A line of the runner process itself, with its newline.
#[must_use]
pub fn line(level: Level, text: &str) -> String {
    format!("{}{text}{RESET}\n", level.prefix())
}

/// The headline of a stage, with its newline; follows [`start`] directly where the server knows sections.
#[must_use]
pub fn headline(text: &str) -> String {
    line(Level::Print, &format!("{BOLD_CYAN}{text}{RESET}"))
}

/// Opens a section; no newline follows.
#[must_use]
pub fn start(name: &str, unix: i64) -> String {
    format!("section_start:{unix}:{name}\r{CLEAR}")
}

/// Ends a section; no newline follows.
#[must_use]
pub fn end(name: &str, unix: i64) -> String {
    format!("section_end:{unix}:{name}\r{CLEAR}")
}

/// The sections of a job's stages, in the order of protocol §2.1.
const STAGES: [&str; 14] = [
    "prepare_executor",
    "prepare_script",
    "get_sources",
    "clear_worktree",
    "restore_cache",
    "download_artifacts",
    "step_script",
    "step_release",
    "after_script",
    "archive_cache",
    "archive_cache_on_failure",
    "upload_artifacts_on_success",
    "upload_artifacts_on_failure",
    "cleanup_file_variables",
];

/// How the log of a lost process is taken over, on a new line: no colour, no open section.
///
/// What was open where the server's log stops is not known: `last` is what the lost process said of itself, and the
/// end of what it wrote may never have arrived. So every stage is ended; GitLab passes over an end without a start
/// (`Gitlab::Ci::Ansi2json::Converter#handle_section_end`).
#[must_use]
pub fn take_over(last: Option<&str>, unix: i64) -> String {
    let other = last.filter(|last| !STAGES.contains(last));
    let ends: String = other.into_iter().chain(STAGES).map(|name| end(name, unix)).collect();
    format!("{RESET}{ends}")
}

/// What is written once where the log reaches its limit.
#[must_use]
pub fn limit_notice(limit: u64) -> String {
    format!(
        "\n{BOLD_YELLOW}Job's log exceeded limit of {limit} bytes.\n\
         Job execution will continue but no more output will be collected.{RESET}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_taken_over_with_every_section_ended() {
        let text = take_over(Some("section_of_an_older_agent"), 7);
        assert!(text.starts_with("\x1b[0;msection_end:7:section_of_an_older_agent\r\x1b[0K"), "{text:?}");
        assert!(text.contains("section_end:7:get_sources\r\x1b[0K"));
        assert_eq!(take_over(Some("get_sources"), 7).matches("get_sources").count(), 1);
    }

    #[test]
    fn lines_and_sections_are_gitlabs() {
        assert_eq!(line(Level::Print, "Running"), "\x1b[0KRunning\x1b[0;m\n");
        assert_eq!(line(Level::Info, "Job succeeded"), "\x1b[32;1mJob succeeded\x1b[0;m\n");
        assert_eq!(line(Level::Warning, "x"), "\x1b[0;33mWARNING: x\x1b[0;m\n");
        assert_eq!(line(Level::Error, "Job failed: exit code 1"), "\x1b[31;1mERROR: Job failed: exit code 1\x1b[0;m\n");
        assert_eq!(start("step_script", 7), "section_start:7:step_script\r\x1b[0K");
        assert_eq!(end("step_script", 8), "section_end:8:step_script\r\x1b[0K");
        assert_eq!(headline("Executing"), "\x1b[0K\x1b[36;1mExecuting\x1b[0;m\x1b[0;m\n");
    }
}
