//! What a test wants of a job: a short builder that becomes a full payload (`payload.rs`).

use super::entries::{ArtifactSpec, CacheSpec};
use super::job::JobId;
use serde_json::Value;
use std::time::Duration;

/// A job to be queued. Every field has a default; [`JobSpec::script`] starts one.
#[derive(Clone, Debug)]
pub struct JobSpec {
    pub(super) project: String,
    pub(super) pipeline: Option<u64>,
    pub(super) name: String,
    pub(super) stage: String,
    pub(super) git_ref: String,
    pub(super) protected: bool,
    pub(super) depth: u64,
    pub(super) allow_git_fetch: bool,
    pub(super) steps: Vec<Step>,
    pub(super) image: Option<String>,
    pub(super) services: Vec<ServiceSpec>,
    pub(super) variables: Vec<VariableSpec>,
    pub(super) artifacts: Vec<ArtifactSpec>,
    pub(super) caches: Vec<CacheSpec>,
    pub(super) needs: Vec<JobId>,
    pub(super) hooks: Vec<(String, Vec<String>)>,
    pub(super) credentials: Vec<(String, String, String)>,
    pub(super) timeout: Duration,
    pub(super) trace_sections: bool,
    pub(super) overrides: Vec<(String, Value)>,
}

#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) name: String,
    pub(super) script: Vec<String>,
    pub(super) when: &'static str,
}

#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "the flags are GitLab's")]
pub(super) struct VariableSpec {
    pub(super) key: String,
    pub(super) value: String,
    pub(super) public: bool,
    pub(super) masked: bool,
    pub(super) file: bool,
    pub(super) raw: bool,
}

/// A service of a job.
#[derive(Clone, Debug, Default)]
pub struct ServiceSpec {
    /// The image.
    pub name: String,
    /// Host names, separated by spaces or commas; empty for the default ones.
    pub alias: String,
    /// Replaces the image's entrypoint.
    pub entrypoint: Option<Vec<String>>,
    /// Replaces the image's command.
    pub command: Option<Vec<String>>,
    /// The service's own variables.
    pub variables: Vec<(String, String)>,
}

/// Owned texts of whatever a builder is given.
pub(super) fn texts<T: Into<String>>(items: impl IntoIterator<Item = T>) -> Vec<String> {
    items.into_iter().map(Into::into).collect()
}

impl JobSpec {
    /// A job of `group/demo` on branch `main` with these script lines.
    pub fn script<T: Into<String>>(lines: impl IntoIterator<Item = T>) -> Self {
        Self {
            project: "group/demo".to_owned(),
            pipeline: None,
            name: "job".to_owned(),
            stage: "test".to_owned(),
            git_ref: "main".to_owned(),
            protected: false,
            depth: 20,
            allow_git_fetch: true,
            steps: vec![Step { name: "script".to_owned(), script: texts(lines), when: "on_success" }],
            image: None,
            services: Vec::new(),
            variables: Vec::new(),
            artifacts: Vec::new(),
            caches: Vec::new(),
            needs: Vec::new(),
            hooks: Vec::new(),
            credentials: Vec::new(),
            timeout: Duration::from_hours(1),
            trace_sections: true,
            overrides: Vec::new(),
        }
    }

    /// The repository, as in [`super::FakeGitlab::repo`].
    #[must_use]
    pub fn project(mut self, path: &str) -> Self {
        path.clone_into(&mut self.project);
        self
    }

    /// Joins a pipeline of that number (from [`super::FakeGitlab::new_pipeline`]); otherwise each job has its own.
    #[must_use]
    pub fn pipeline(mut self, id: u64) -> Self {
        self.pipeline = Some(id);
        self
    }

    /// The job's name.
    #[must_use]
    pub fn name(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// The job's stage.
    #[must_use]
    pub fn stage(mut self, stage: &str) -> Self {
        stage.clone_into(&mut self.stage);
        self
    }

    /// The branch or tag.
    #[must_use]
    pub fn git_ref(mut self, name: &str) -> Self {
        name.clone_into(&mut self.git_ref);
        self
    }

    /// Makes the ref a protected one; cache keys then end in `-protected`.
    #[must_use]
    pub fn protected(mut self) -> Self {
        self.protected = true;
        self
    }

    /// The depth of the history; 0 is all.
    #[must_use]
    pub fn depth(mut self, depth: u64) -> Self {
        self.depth = depth;
        self
    }

    /// Makes `clone` the default strategy.
    #[must_use]
    pub fn clone_by_default(mut self) -> Self {
        self.allow_git_fetch = false;
        self
    }

    /// The lines of `after_script`.
    #[must_use]
    pub fn after_script<T: Into<String>>(self, lines: impl IntoIterator<Item = T>) -> Self {
        self.step("after_script", lines, "always")
    }

    /// The commands of a `release` step.
    #[must_use]
    pub fn release<T: Into<String>>(self, lines: impl IntoIterator<Item = T>) -> Self {
        self.step("release", lines, "on_success")
    }

    fn step<T: Into<String>>(mut self, name: &str, lines: impl IntoIterator<Item = T>, when: &'static str) -> Self {
        self.steps.push(Step { name: name.to_owned(), script: texts(lines), when });
        self
    }

    /// The image of the build container.
    #[must_use]
    pub fn image(mut self, name: &str) -> Self {
        self.image = Some(name.to_owned());
        self
    }

    /// A service with an alias; an empty one leaves the default names.
    #[must_use]
    pub fn service(self, image: &str, alias: &str) -> Self {
        self.service_with(ServiceSpec { name: image.to_owned(), alias: alias.to_owned(), ..ServiceSpec::default() })
    }

    /// A service in full.
    #[must_use]
    pub fn service_with(mut self, service: ServiceSpec) -> Self {
        self.services.push(service);
        self
    }

    /// A public variable.
    #[must_use]
    pub fn variable(self, key: &str, value: &str) -> Self {
        self.add_variable(key, value, |variable| variable.public = true)
    }

    /// A masked variable.
    #[must_use]
    pub fn masked(self, key: &str, value: &str) -> Self {
        self.add_variable(key, value, |variable| variable.masked = true)
    }

    /// A file variable.
    #[must_use]
    pub fn file(self, key: &str, content: &str) -> Self {
        self.add_variable(key, content, |variable| variable.file = true)
    }

    /// A variable that is not expanded.
    #[must_use]
    pub fn raw_variable(self, key: &str, value: &str) -> Self {
        self.add_variable(key, value, |variable| (variable.public, variable.raw) = (true, true))
    }

    fn add_variable(mut self, key: &str, value: &str, set: impl FnOnce(&mut VariableSpec)) -> Self {
        let (key, value) = (key.to_owned(), value.to_owned());
        let mut variable = VariableSpec { key, value, public: false, masked: false, file: false, raw: false };
        set(&mut variable);
        self.variables.push(variable);
        self
    }

    /// An archive of these paths, uploaded after success.
    #[must_use]
    pub fn artifact_paths<T: Into<String>>(self, paths: impl IntoIterator<Item = T>) -> Self {
        self.artifacts(ArtifactSpec::archive(paths))
    }

    /// A report of that type (`junit`, `dotenv`, `sast`, …) with the server's format and name for it.
    #[must_use]
    pub fn report<T: Into<String>>(self, kind: &str, paths: impl IntoIterator<Item = T>) -> Self {
        self.artifacts(ArtifactSpec::report(kind, paths))
    }

    /// An artifacts entry in full; entries are uploaded in the order they are added.
    #[must_use]
    pub fn artifacts(mut self, entry: ArtifactSpec) -> Self {
        self.artifacts.push(entry);
        self
    }

    /// A cache.
    #[must_use]
    pub fn cache(mut self, entry: CacheSpec) -> Self {
        self.caches.push(entry);
        self
    }

    /// Downloads the artifacts of an earlier job. The job must have ended when this one is added.
    #[must_use]
    pub fn needs(mut self, job: JobId) -> Self {
        self.needs.push(job);
        self
    }

    /// A hook, `pre_get_sources_script` or `post_get_sources_script`.
    #[must_use]
    pub fn hook<T: Into<String>>(mut self, name: &str, lines: impl IntoIterator<Item = T>) -> Self {
        self.hooks.push((name.to_owned(), texts(lines)));
        self
    }

    /// A registry login.
    #[must_use]
    pub fn registry(mut self, url: &str, user: &str, password: &str) -> Self {
        self.credentials.push((url.to_owned(), user.to_owned(), password.to_owned()));
        self
    }

    /// The job's timeout.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Tells the runner not to write section markers.
    #[must_use]
    pub fn without_sections(mut self) -> Self {
        self.trace_sections = false;
        self
    }

    /// Turns `FF_TIMESTAMPS` off.
    #[must_use]
    pub fn without_timestamps(self) -> Self {
        self.variable("FF_TIMESTAMPS", "false")
    }

    /// Replaces any part of the payload by its JSON pointer, or adds it (B26): `set("/image", json!(null))`.
    #[must_use]
    pub fn set(mut self, pointer: &str, value: Value) -> Self {
        self.overrides.push((pointer.to_owned(), value));
        self
    }
}

impl VariableSpec {
    /// A variable of the server's own.
    pub(super) fn predefined(key: &str, value: &str, public: bool, masked: bool) -> Self {
        Self { key: key.to_owned(), value: value.to_owned(), public, masked, file: false, raw: false }
    }
}
