//! Pull policies (protocol §4.3).

use super::bracketed;
use crate::fault::Fault;
use std::fmt;

/// When an image is pulled.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Policy {
    /// Always.
    Always,
    /// Only when it is not on this machine.
    IfNotPresent,
    /// Never: it is on this machine, or it is an error.
    Never,
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Always => "always",
            Self::IfNotPresent => "if-not-present",
            Self::Never => "never",
        })
    }
}

/// What is asked for: the job's list, else the runner's.
pub struct Asked<'a> {
    /// `pull_policy` of the image in the job.
    pub job: &'a [String],
    /// `pull_policy` of the runner's settings.
    pub runner: &'a [String],
    /// `allowed_pull_policies` of the runner's settings; empty means those of `runner`.
    pub allowed: &'a [String],
}

/// The policies to try, in order: those asked for that are allowed.
pub fn policies(asked: &Asked<'_>) -> Result<Vec<Policy>, Fault> {
    let default = ["always".to_owned()];
    let (wanted, source) = match (asked.job, asked.runner) {
        ([], []) => (&default[..], "Runner config (default)"),
        ([], runner) => (runner, "Runner config"),
        (job, _) => (job, "GitLab pipeline config"),
    };
    let allowed = match (asked.allowed, asked.runner) {
        ([], []) => &default[..],
        ([], runner) => runner,
        (allowed, _) => allowed,
    };
    let names: Vec<&String> = wanted.iter().filter(|name| allowed.contains(name)).collect();
    if names.is_empty() {
        return Err(Fault::Configuration(format!(
            "pull_policy ({}) defined in {source} is not one of the allowed_pull_policies ({})",
            bracketed(wanted),
            bracketed(allowed)
        )));
    }
    names.into_iter().map(|name| policy(name)).collect()
}

fn policy(name: &str) -> Result<Policy, Fault> {
    match name {
        "always" => Ok(Policy::Always),
        "if-not-present" => Ok(Policy::IfNotPresent),
        "never" => Ok(Policy::Never),
        _ => Err(Fault::Configuration(format!("unsupported pull_policy config: \"{name}\""))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn effective(job: &[&str], runner: &[&str], allowed: &[&str]) -> Result<Vec<Policy>, String> {
        let own = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let (job, runner, allowed) = (own(job), own(runner), own(allowed));
        policies(&Asked { job: &job, runner: &runner, allowed: &allowed }).map_err(|e| e.to_string())
    }

    #[test]
    fn the_jobs_policies_are_limited_to_the_allowed_ones_in_the_jobs_order() {
        assert_eq!(effective(&[], &[], &[]), Ok(vec![Policy::Always]));
        assert_eq!(effective(&[], &["never"], &[]), Ok(vec![Policy::Never]));
        let both = effective(&["if-not-present", "always", "never"], &[], &["always", "if-not-present"]);
        assert_eq!(both, Ok(vec![Policy::IfNotPresent, Policy::Always]));
        let refused = effective(&["never"], &["always"], &[]);
        let text = "pull_policy ([never]) defined in GitLab pipeline config is not one of the allowed_pull_policies ([always])";
        assert_eq!(refused, Err(text.to_owned()));
    }
}
