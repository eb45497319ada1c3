//! The job's variables: composed, expanded and handed to scripts, containers and the masker (protocol §2.6).

mod directories;
mod settings;

pub use directories::{Directories, DirectoryError};
pub use settings::{JobSettings, Strategy, Submodules};

use warmstart_api::assignment::GitLab;
use warmstart_api::settings::Settings;
use warmstart_gitlab::payload::{self, Job};

/// What a job is made of before anything about it is decided.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// GitLab's payload.
    pub job: &'a Job,
    /// The runner entry's settings.
    pub settings: &'a Settings,
    /// Names and ids of the runner that took the job.
    pub gitlab: &'a GitLab,
}

/// All variables of a job in order of precedence: a later entry of the same name wins.
#[derive(Clone, Debug)]
pub struct Variables {}

impl Variables {
    /// Composes the variables in the order of protocol §2.6. `network` is the name of the per-build network, if one is made.
    #[must_use]
    pub fn compose(inputs: &Inputs<'_>, directories: &Directories, network: Option<&str>) -> Self {
        let _ = (inputs, directories, network);
        todo!()
    }

    /// Sets an internal variable that wins over all others, such as `CI_JOB_STATUS`.
    pub fn set(&mut self, key: &str, value: &str) {
        let _ = (key, value);
        todo!()
    }

    /// The expanded value of a variable, a file variable's path; empty when there is none.
    #[must_use]
    pub fn get(&self, key: &str) -> &str {
        let _ = key;
        todo!()
    }

    /// The expanded value of a variable, a file variable's content; empty when there is none.
    #[must_use]
    pub fn content(&self, key: &str) -> &str {
        let _ = key;
        todo!()
    }

    /// Whether a feature flag (`FF_…`) is on.
    #[must_use]
    pub fn flag(&self, name: &str) -> bool {
        let _ = name;
        todo!()
    }

    /// Expands `$NAME` and `${NAME}` in a field of the payload, such as an image name.
    #[must_use]
    pub fn expand(&self, text: &str) -> String {
        let _ = text;
        todo!()
    }

    /// `KEY=VALUE` for the environment of build and helper containers; file variables as their path.
    #[must_use]
    pub fn container_env(&self) -> Vec<String> {
        todo!()
    }

    /// `KEY=VALUE` for a service: public and internal variables, then the service's own.
    #[must_use]
    pub fn service_env(&self, own: &[payload::Variable]) -> Vec<String> {
        let _ = own;
        todo!()
    }

    /// The values that must not appear in the log: longest first, unique, none empty.
    #[must_use]
    pub fn masks(&self) -> Vec<String> {
        todo!()
    }
}
