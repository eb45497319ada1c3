//! The judges: what each remembers of the requests so far, and what it finds wrong with the next one.
//!
//! They do no I/O and never refuse a request: answering is the endpoints' work.

pub(super) mod artifacts;
pub(super) mod calls;
pub(super) mod generic;
pub(super) mod log;
pub(super) mod pace;
pub(super) mod runner;
pub(super) mod sections;
pub(super) mod timestamps;
pub(super) mod trace;
pub(super) mod update;

use super::rules::Rule;

/// The rules found broken, each with what happened.
pub(super) type Found = Vec<(Rule, String)>;

/// One finding when `broken`, made by `what`.
pub(super) fn when(broken: bool, rule: Rule, what: impl FnOnce() -> String) -> Option<(Rule, String)> {
    broken.then(|| (rule, what()))
}
