//! What a job keeps: artifacts and caches.

use super::spec::texts;

/// An artifacts entry of the payload.
#[derive(Clone, Debug)]
pub struct ArtifactSpec {
    pub(super) name: Option<String>,
    pub(super) paths: Vec<String>,
    pub(super) exclude: Vec<String>,
    pub(super) untracked: bool,
    pub(super) when: String,
    pub(super) expire_in: Option<String>,
    pub(super) kind: String,
    pub(super) format: Option<String>,
}

/// A cache entry of the payload.
#[derive(Clone, Debug)]
pub struct CacheSpec {
    pub(super) key: String,
    pub(super) paths: Vec<String>,
    pub(super) untracked: bool,
    pub(super) policy: String,
    pub(super) when: String,
    pub(super) fallback_keys: Vec<String>,
    pub(super) unprotect: bool,
}

impl ArtifactSpec {
    /// A zip archive.
    pub fn archive<T: Into<String>>(paths: impl IntoIterator<Item = T>) -> Self {
        Self {
            name: None,
            paths: texts(paths),
            exclude: Vec::new(),
            untracked: false,
            when: "on_success".to_owned(),
            expire_in: None,
            kind: "archive".to_owned(),
            format: Some("zip".to_owned()),
        }
    }

    /// A report in the format and with the name the server gives it (protocol §6.1).
    pub fn report<T: Into<String>>(kind: &str, paths: impl IntoIterator<Item = T>) -> Self {
        let (format, name) = report_defaults(kind);
        let entry = Self::archive(paths).name(name).when("always");
        Self { kind: kind.to_owned(), format: Some(format.to_owned()), ..entry }
    }

    /// The archive's name.
    #[must_use]
    pub fn name(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }

    /// Patterns to leave out.
    #[must_use]
    pub fn exclude<T: Into<String>>(mut self, patterns: impl IntoIterator<Item = T>) -> Self {
        self.exclude = texts(patterns);
        self
    }

    /// Takes untracked files too.
    #[must_use]
    pub fn untracked(mut self) -> Self {
        self.untracked = true;
        self
    }

    /// `on_success`, `on_failure` or `always`.
    #[must_use]
    pub fn when(mut self, when: &str) -> Self {
        when.clone_into(&mut self.when);
        self
    }

    /// For example `1 week`.
    #[must_use]
    pub fn expire_in(mut self, text: &str) -> Self {
        self.expire_in = Some(text.to_owned());
        self
    }

    /// `zip`, `gzip`, `raw`; none leaves it out of the payload.
    #[must_use]
    pub fn format(mut self, format: Option<&str>) -> Self {
        self.format = format.map(str::to_owned);
        self
    }
}

impl CacheSpec {
    /// A cache with policy `pull-push`, saved after success. The server's suffix is added to the key.
    pub fn new<T: Into<String>>(key: &str, paths: impl IntoIterator<Item = T>) -> Self {
        Self {
            key: key.to_owned(),
            paths: texts(paths),
            untracked: false,
            policy: "pull-push".to_owned(),
            when: "on_success".to_owned(),
            fallback_keys: Vec::new(),
            unprotect: false,
        }
    }

    /// One more fallback key; it gets the suffix too.
    #[must_use]
    pub fn fallback(mut self, key: &str) -> Self {
        self.fallback_keys.push(key.to_owned());
        self
    }

    /// `pull-push`, `pull` or `push`.
    #[must_use]
    pub fn policy(mut self, policy: &str) -> Self {
        policy.clone_into(&mut self.policy);
        self
    }

    /// `on_success`, `on_failure` or `always`.
    #[must_use]
    pub fn when(mut self, when: &str) -> Self {
        when.clone_into(&mut self.when);
        self
    }

    /// Takes untracked files too.
    #[must_use]
    pub fn untracked(mut self) -> Self {
        self.untracked = true;
        self
    }

    /// Shares the cache between protected and other refs.
    #[must_use]
    pub fn unprotect(mut self) -> Self {
        self.unprotect = true;
        self
    }
}

/// Format and file name of a report type (protocol §6.1).
fn report_defaults(kind: &str) -> (&'static str, &'static str) {
    match kind {
        "junit" => ("gzip", "junit.xml"),
        "metrics" => ("gzip", "metrics.txt"),
        "dotenv" => ("gzip", ".env"),
        "cobertura" => ("gzip", "cobertura-coverage.xml"),
        "jacoco" => ("gzip", "jacoco-coverage.xml"),
        "cyclonedx" => ("gzip", "gl-sbom.cdx.json"),
        "annotations" => ("gzip", "gl-annotations.json"),
        "lsif" => ("zip", "lsif.json"),
        "sast" => ("raw", "gl-sast-report.json"),
        "secret_detection" => ("raw", "gl-secret-detection-report.json"),
        "dependency_scanning" => ("raw", "gl-dependency-scanning-report.json"),
        "accessibility" => ("raw", "gl-accessibility.json"),
        "codequality" => ("raw", "gl-code-quality-report.json"),
        "terraform" => ("raw", "tfplan.json"),
        _ => ("raw", "report.json"),
    }
}
