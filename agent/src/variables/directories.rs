//! Where a job lives inside its containers (protocol §3.1).

use super::{Inputs, Strategy, Variables, settings};
use std::path::Path;
use url::Url;

/// A job that asks for a directory it cannot have: `runner_configuration_error`.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// `GIT_CLONE_PATH` leads out of the builds directory, or is that directory itself.
    #[error(
        "GIT_CLONE_PATH is \"{path}\", which is not inside the builds directory {builds}; begin it with $CI_BUILDS_DIR/"
    )]
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
    /// The project's path below the builds directory, when nothing else is asked for.
    pub slug: String,
}

impl Directories {
    /// Decides the directories of a job.
    pub fn resolve(inputs: &Inputs<'_>) -> Result<Self, DirectoryError> {
        let builds = normal(&inputs.settings.builds_dir).unwrap_or_else(|| "/builds".to_owned());
        let slug = slug(inputs);
        let mut this = Self { project: usual(inputs, &builds, &slug), tmp: String::new(), builds, slug };
        let variables = Variables::compose(inputs, &this, None);
        let wanted = variables.get("GIT_CLONE_PATH");
        if !wanted.is_empty() {
            this.project = inside(wanted, &this.builds)?;
        }
        if settings::strategy(&variables, inputs.job).0 == Strategy::Empty {
            this.project.push_str("-empty");
        }
        this.tmp = format!("{}.tmp", this.project);
        Ok(this)
    }
}

/// `<builds>/<slug>`, and with a part for the runner and its slot between them where other runners share the builds.
fn usual(inputs: &Inputs<'_>, builds: &str, slug: &str) -> String {
    if are_shared(&inputs.settings.docker.volumes, builds) {
        let gitlab = inputs.gitlab;
        format!("{builds}/{}/{}/{slug}", gitlab.short_token, gitlab.concurrent_project_id)
    } else {
        format!("{builds}/{slug}")
    }
}

/// Whether a configured volume with a source holds the builds.
fn are_shared(volumes: &[String], builds: &str) -> bool {
    let mut destinations = volumes.iter().filter_map(|volume| volume.split(':').nth(1)).filter_map(normal);
    destinations.any(|destination| Path::new(builds).starts_with(destination))
}

/// The path of the repository's URL without `.git`; a name made of the project's id where that is no sound path.
fn slug(inputs: &Inputs<'_>) -> String {
    let url = Url::parse(inputs.job.git_info.repo_url.expose()).ok().filter(Url::has_host);
    let path = url.as_ref().map(|url| url.path().trim_matches('/')).map(|p| p.strip_suffix(".git").unwrap_or(p));
    let sound =
        |path: &&str| !path.contains("..") && !path.contains('%') && path.split('/').all(|part| !part.is_empty());
    path.filter(sound).map_or_else(|| format!("project-{}", inputs.job.job_info.project_id), str::to_owned)
}

/// An absolute path without `.`, `..` and double slashes.
fn normal(path: &str) -> Option<String> {
    let mut parts = Vec::new();
    for part in path.strip_prefix('/')?.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    Some(format!("/{}", parts.join("/")))
}

fn inside(wanted: &str, builds: &str) -> Result<String, DirectoryError> {
    let below = |path: &String| path.strip_prefix(builds).is_some_and(|rest| rest.starts_with('/'));
    let outside = || DirectoryError::Outside { path: wanted.to_owned(), builds: builds.to_owned() };
    normal(wanted).filter(below).ok_or_else(outside)
}
