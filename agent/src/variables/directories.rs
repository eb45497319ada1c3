//! Where a job lives inside its containers (protocol §3.1).

use super::Inputs;

/// A job that asks for a directory it cannot have: `runner_configuration_error`.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// `GIT_CLONE_PATH` leads out of the builds directory.
    #[error("GIT_CLONE_PATH is \"{path}\", which is not inside the builds directory {builds}")]
    Outside {
        /// The expanded path.
        path: String,
        /// The builds directory.
        builds: String,
    },
}

/// Where a job lives inside its containers; all paths are absolute and normal.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Directories {
    /// The directory of all builds.
    pub builds: String,
    /// The project's checkout.
    pub project: String,
    /// Files of the job beside its checkout: the project directory + `.tmp`.
    pub tmp: String,
    /// The project's path below the builds directory.
    pub slug: String,
}

impl Directories {
    /// Decides the directories of a job.
    pub fn resolve(inputs: &Inputs<'_>) -> Result<Self, DirectoryError> {
        let _ = inputs;
        todo!()
    }
}
