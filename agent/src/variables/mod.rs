//! The job's variables: composed, expanded and handed to scripts, containers and the masker (protocol §2.6).

mod directories;
mod duration;
mod expand;
mod settings;
mod shell;
#[cfg(test)]
pub(crate) mod tests;

pub use directories::{Directories, DirectoryError};
pub use settings::{JobSettings, Strategy, Submodules};

use std::collections::HashMap;
use warmstart_api::assignment::GitLab;
use warmstart_api::settings::Settings;
use warmstart_gitlab::flags;
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

/// One variable, its value not yet expanded.
#[derive(Clone, Default)]
#[expect(clippy::struct_excessive_bools, reason = "all but the last are GitLab's")]
struct Entry {
    key: String,
    value: String,
    public: bool,
    masked: bool,
    file: bool,
    raw: bool,
    internal: bool,
}

/// A variable as a script sees it.
#[derive(Clone, Copy)]
pub(crate) struct Exported<'a> {
    pub(crate) key: &'a str,
    /// The expanded value; of a file variable the content.
    pub(crate) value: &'a str,
    /// The path of a file variable.
    pub(crate) path: Option<&'a str>,
}

/// All variables of a job in order of precedence: a later entry of the same name wins.
#[derive(Clone)]
pub struct Variables {
    entries: Vec<Entry>,
    /// What each entry expands to.
    expanded: Vec<String>,
    /// The path of each file variable; empty for others.
    paths: Vec<String>,
    /// Where in `entries` the winner of each name is.
    winners: HashMap<String, usize>,
    tmp: String,
}

impl std::fmt::Debug for Variables {
    /// Prints the number only: any value may be a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} variables", self.entries.len())
    }
}

impl Variables {
    /// Composes the variables in the order of protocol §2.6. `network` is the name of the per-build network, if one
    /// is made.
    #[must_use]
    pub fn compose(inputs: &Inputs<'_>, directories: &Directories, network: Option<&str>) -> Self {
        let flags = flags::resolve(&inputs.settings.feature_flags, inputs.job);
        let mut entries: Vec<_> = flags.map(|(flag, is_on)| internal(flag, &is_on.to_string())).collect();
        entries.extend(before_payload(inputs, directories));
        entries.extend(inputs.job.variables.iter().filter(|v| !flags::is_known(&v.key)).map(Entry::from));
        entries.extend(after_payload(directories, network));
        entries.retain(|entry| is_expressible(&entry.key));
        let mut this = Self {
            entries,
            expanded: Vec::new(),
            paths: Vec::new(),
            winners: HashMap::new(),
            tmp: directories.tmp.clone(),
        };
        this.index();
        this
    }

    /// Sets an internal variable that wins over all others, such as `CI_JOB_STATUS`.
    pub fn set(&mut self, key: &str, value: &str) {
        self.entries.push(internal(key, value));
        self.index();
    }

    /// Sets an internal variable that nobody else has set.
    pub fn set_default(&mut self, key: &str, value: &str) {
        if !self.winners.contains_key(key) {
            self.set(key, value);
        }
    }

    /// The expanded value of a variable, a file variable's path; empty when there is none.
    #[must_use]
    pub fn get(&self, key: &str) -> &str {
        self.winners.get(key).map_or("", |at| self.shown(*at))
    }

    /// The expanded value of a variable, a file variable's content; empty when there is none.
    #[must_use]
    pub fn content(&self, key: &str) -> &str {
        self.winners.get(key).map_or("", |at| &self.expanded[*at])
    }

    /// Whether a feature flag (`FF_…`) is on.
    #[must_use]
    pub fn flag(&self, name: &str) -> bool {
        flags::parse_bool(self.get(name)).unwrap_or(false)
    }

    /// Expands `$NAME` and `${NAME}` in a field of the payload, such as an image name, from the expanded values.
    #[must_use]
    pub fn expand(&self, text: &str) -> String {
        expand::expand(text, |name| self.get(name))
    }

    /// Expands paths and names of artifacts and caches as a shell would, with defaults (`${NAME:-word}`). `Err` says
    /// why that is not possible; GitLab Runner then takes the text as it is.
    pub fn expand_like_shell(&self, text: &str) -> Result<String, &'static str> {
        shell::expand_like_shell(text, &|name| self.winners.get(name).map(|at| self.shown(*at)))
    }

    /// `KEY=VALUE` for the environment of build and helper containers; file variables as their path.
    #[must_use]
    pub fn container_env(&self) -> Vec<String> {
        self.winning().map(|at| assignment(&self.entries[at].key, self.shown(at))).collect()
    }

    /// `KEY=VALUE` for a service: public and internal variables, then the service's own, expanded from all.
    #[must_use]
    pub fn service_env(&self, own: &[payload::Variable]) -> Vec<String> {
        let visible = |at: &usize| self.entries[*at].public || self.entries[*at].internal;
        let is_own = |at: &usize| own.iter().any(|v| v.key == self.entries[*at].key);
        let shared = self.winning().filter(visible).filter(|at| !is_own(at));
        let own = own.iter().filter(|v| is_expressible(&v.key)).map(|v| {
            let value = if v.raw { v.value.clone() } else { self.expand(&v.value) };
            assignment(&v.key, &value)
        });
        shared.map(|at| assignment(&self.entries[at].key, self.shown(at))).chain(own).collect()
    }

    /// The values that must not appear in the log: longest first, unique, none empty.
    #[must_use]
    pub fn masks(&self) -> Vec<String> {
        let masked = self.entries.iter().zip(&self.expanded).filter(|(entry, _)| entry.masked);
        let mut values: Vec<_> = masked.map(|(_, value)| value.trim().to_owned()).filter(|v| !v.is_empty()).collect();
        values.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        values.dedup();
        values
    }

    /// The variables that scripts export: the winner of each name, in order.
    pub(crate) fn exported(&self) -> impl Iterator<Item = Exported<'_>> {
        self.winning().map(|at| Exported {
            key: &self.entries[at].key,
            value: &self.expanded[at],
            path: self.entries[at].file.then(|| self.paths[at].as_str()),
        })
    }

    /// Expands every value once, against the unexpanded list.
    fn index(&mut self) {
        self.winners = self.entries.iter().enumerate().map(|(at, entry)| (entry.key.clone(), at)).collect();
        self.paths = self.entries.iter().map(|entry| file_path(&self.tmp, entry)).collect();
        let lookup = |name: &str| match self.winners.get(name) {
            Some(at) if self.entries[*at].file => &self.paths[*at],
            Some(at) => self.entries[*at].value.as_str(),
            None => "",
        };
        let value = |entry: &Entry| if entry.raw { entry.value.clone() } else { expand::expand(&entry.value, lookup) };
        self.expanded = self.entries.iter().map(value).collect();
    }

    fn shown(&self, at: usize) -> &str {
        if self.entries[at].file { &self.paths[at] } else { &self.expanded[at] }
    }

    fn winning(&self) -> impl Iterator<Item = usize> {
        (0..self.entries.len()).filter(|at| self.winners[&self.entries[*at].key] == *at)
    }
}

impl From<&payload::Variable> for Entry {
    fn from(v: &payload::Variable) -> Self {
        Self {
            key: v.key.clone(),
            value: v.value.clone(),
            public: v.public,
            masked: v.masked,
            file: v.file,
            raw: v.raw,
            internal: false,
        }
    }
}

/// Item 2 of the order: what the payload may override.
fn before_payload(inputs: &Inputs<'_>, directories: &Directories) -> Vec<Entry> {
    let gitlab = inputs.gitlab;
    let mut entries = Vec::new();
    if !inputs.job.image.name.is_empty() {
        entries.push(internal("CI_JOB_IMAGE", &inputs.job.image.name));
    }
    entries.push(internal("CI_RUNNER_SHORT_TOKEN", &gitlab.short_token));
    let configured = inputs.settings.environment.iter().filter_map(|text| text.split_once('='));
    entries.extend(configured.map(|(key, value)| Entry { public: false, ..internal(key, value) }));
    entries.push(internal("CI_BUILDS_DIR", &directories.builds));
    entries.push(internal("CI_PROJECT_DIR", &directories.project));
    entries.push(internal("CI_CONCURRENT_ID", &gitlab.concurrent_id.to_string()));
    entries.push(internal("CI_CONCURRENT_PROJECT_ID", &gitlab.concurrent_project_id.to_string()));
    entries.push(internal("CI_SERVER", "yes"));
    entries.push(internal("CI_JOB_STATUS", "running"));
    entries.push(internal("CI_JOB_TIMEOUT", &inputs.job.timeout().as_secs().to_string()));
    entries.extend(tls_files(gitlab));
    entries
}

/// What programs of the job need for TLS with GitLab (protocol §1.1, TLS data).
fn tls_files(gitlab: &GitLab) -> impl Iterator<Item = Entry> {
    let client = gitlab.client_certificate.as_ref();
    let files = [
        ("CI_SERVER_TLS_CA_FILE", gitlab.ca.as_deref()),
        ("CI_SERVER_TLS_CERT_FILE", client.map(|client| client.certificate.as_str())),
        ("CI_SERVER_TLS_KEY_FILE", client.map(|client| client.key.expose())),
    ];
    let there = files.into_iter().filter_map(|(key, content)| Some((key, content?)));
    there.map(|(key, content)| Entry { file: true, raw: true, ..internal(key, content) })
}

/// Item 4 of the order: what the payload cannot override.
fn after_payload(directories: &Directories, network: Option<&str>) -> Vec<Entry> {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "linux/amd64",
        "aarch64" => "linux/arm64",
        other => other,
    };
    let mut entries = vec![
        internal("CI_DISPOSABLE_ENVIRONMENT", "true"),
        internal("CI_RUNNER_VERSION", env!("CARGO_PKG_VERSION")),
        internal("CI_RUNNER_REVISION", option_env!("WARMSTART_REVISION").unwrap_or("HEAD")),
        internal("CI_RUNNER_EXECUTABLE_ARCH", architecture),
        internal("RUNNER_TEMP_PROJECT_DIR", &directories.tmp),
    ];
    entries.extend(network.map(|name| internal("CI_BUILD_NETWORK_NAME", name)));
    entries
}

fn internal(key: &str, value: &str) -> Entry {
    Entry { key: key.to_owned(), value: value.to_owned(), public: true, internal: true, ..Entry::default() }
}

/// Where a file variable's content goes. A name that is no plain file name gets no file.
fn file_path(tmp: &str, entry: &Entry) -> String {
    let plain = !entry.key.contains('/') && entry.key != "." && entry.key != "..";
    if entry.file && plain { format!("{tmp}/{}", entry.key) } else { String::new() }
}

/// Neither an environment nor a shell has other names.
fn is_expressible(key: &str) -> bool {
    !key.is_empty() && !key.contains(['=', '\0'])
}

/// No environment holds a NUL.
fn assignment(key: &str, value: &str) -> String {
    format!("{key}={}", value.replace('\0', ""))
}
