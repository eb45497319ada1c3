//! GitLab as far as it matters here: who may say what about a job, and who says it first.

/// A job at GitLab.
#[derive(Debug, Default)]
pub(super) struct GitLabJob {
    /// The user wants it canceled.
    pub(super) canceling: bool,
    /// The final state that was accepted first.
    pub(super) end: Option<End>,
    /// The log.
    pub(super) log: String,
    /// How often its script was started.
    pub(super) scripts: u32,
    /// The run whose script runs now.
    pub(super) running: Option<String>,
    /// How often somebody went on with a log without knowing it.
    pub(super) takeovers: u32,
    /// Whether the runner had it in its journal.
    pub(super) journalled: bool,
}

/// A final state.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum End {
    Success,
    FailedByAgent,
    FailedByRunner,
}

impl GitLabJob {
    /// Takes the first final state and refuses all others.
    pub(super) fn finish(&mut self, end: End) -> bool {
        let first = self.end.is_none();
        if first {
            self.end = Some(end);
        }
        first
    }

    pub(super) fn succeeded(&self) -> bool {
        self.end == Some(End::Success)
    }
}
