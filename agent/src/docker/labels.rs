//! Names and labels of what a job makes in Docker (protocol §4.5).

use crate::docker::volumes::{Named, slug};
use std::collections::{BTreeMap, HashMap};
use warmstart_api::assignment::GitLab;
use warmstart_gitlab::payload::Job;

/// The label that `purge` looks for.
pub const EXECUTOR: &str = "warmstart.executor";

/// The label by which the clean-up of one job finds what is that job's.
pub const JOB: &str = "warmstart.job";

/// Labels of what belongs to no job. What an agent leaves of it that is killed is removed as jobs' things are.
#[must_use]
pub fn of_the_machine(executor: &str) -> HashMap<String, String> {
    HashMap::from([(EXECUTOR.to_owned(), executor.to_owned()), (JOB.to_owned(), "none".to_owned())])
}

const PREFIX: &str = "com.gitlab.gitlab-runner.";

/// Who a job is, in Docker's eyes.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Name of everything of the job, without the random part.
    pub stem: String,
    /// 16 hex digits, drawn once per run of a job.
    pub random: String,
    /// Labels of everything.
    pub labels: HashMap<String, String>,
    /// The settings' labels of containers.
    pub configured: BTreeMap<String, String>,
}

impl Identity {
    /// Composes names and labels of a job on an executor.
    #[must_use]
    pub fn new(executor: &str, job: &Job, gitlab: &GitLab, timeout: &str) -> Self {
        let random = hex::encode(rand::random::<[u8; 8]>());
        let stem = stem(&gitlab.short_token, job.job_info.project_id, gitlab.concurrent_id);
        let labels = labels(executor, job, gitlab, timeout, &random);
        Self { stem, random, labels, configured: BTreeMap::new() }
    }

    /// Gives containers these labels too.
    #[must_use]
    pub fn with(self, configured: BTreeMap<String, String>) -> Self {
        Self { configured, ..self }
    }

    /// The name of a container.
    #[must_use]
    pub fn name(&self, suffix: &str) -> String {
        format!("{}-{}-{suffix}", self.stem, self.random)
    }

    /// The labels of one thing, which is a `kind`.
    #[must_use]
    pub fn labels(&self, kind: &str) -> HashMap<String, String> {
        let mut labels = self.labels.clone();
        labels.insert(format!("{PREFIX}type"), kind.to_owned());
        labels
    }

    /// The labels of a container, which is a `kind`: those of the settings too, which hide none of ours.
    #[must_use]
    pub fn container_labels(&self, kind: &str) -> HashMap<String, String> {
        self.configured.clone().into_iter().chain(self.labels(kind)).collect()
    }

    /// The labels of a service, which has the settings' also with GitLab's prefix.
    #[must_use]
    pub fn service_labels(&self, service: &str, version: &str) -> HashMap<String, String> {
        let prefixed = self.configured.iter().map(|(key, value)| (format!("{PREFIX}{key}"), value.clone()));
        let mut labels: HashMap<_, _> = prefixed.chain(self.container_labels("service")).collect();
        labels.insert(format!("{PREFIX}service"), service.to_owned());
        labels.insert(format!("{PREFIX}service.version"), version.to_owned());
        labels
    }

    /// The labels of a volume. One that outlives the job does not carry the job's.
    #[must_use]
    pub fn volume_labels(&self, volume: &Named) -> HashMap<String, String> {
        let mut labels = self.labels("cache");
        labels.extend(volume.labels().into_iter().map(|(key, value)| (format!("{PREFIX}{key}"), value)));
        if !volume.temporary {
            labels.remove(JOB);
        }
        labels
    }

    /// Docker's filter for everything of this job.
    #[must_use]
    pub fn filter(&self) -> Filter {
        Filter::label(JOB, &self.random)
    }
}

/// Labels that all have to be there.
#[derive(Clone, Debug)]
pub struct Filter(Vec<String>);

impl Filter {
    /// What has a label with a value.
    #[must_use]
    pub fn label(label: &str, value: &str) -> Self {
        Self(vec![format!("{label}={value}")])
    }

    /// And another label, whatever its value is.
    #[must_use]
    pub fn and(mut self, label: &str) -> Self {
        self.0.push(label.to_owned());
        self
    }

    /// As Docker wants it.
    pub(crate) fn query(&self) -> HashMap<String, Vec<String>> {
        HashMap::from([("label".to_owned(), self.0.clone())])
    }
}

fn stem(short_token: &str, project: u64, concurrent: u32) -> String {
    let name = format!("runner-{short_token}-project-{project}-concurrent-{concurrent}").to_lowercase();
    let name: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(63).collect();
    name.trim_end_matches('-').to_owned()
}

fn labels(executor: &str, job: &Job, gitlab: &GitLab, timeout: &str, random: &str) -> HashMap<String, String> {
    let gitlabs = [
        ("job.id", job.id.to_string()),
        ("job.url", job_url(job)),
        ("job.sha", job.git_info.sha.clone()),
        ("job.before_sha", job.git_info.before_sha.clone()),
        ("job.ref", job.git_info.ref_name.clone()),
        ("job.timeout", timeout.to_owned()),
        ("project.id", job.job_info.project_id.to_string()),
        ("project.runner_id", gitlab.concurrent_project_id.to_string()),
        ("pipeline.id", job.variable("CI_PIPELINE_ID").unwrap_or_default().to_owned()),
        ("runner.id", gitlab.short_token.clone()),
        ("runner.local_id", gitlab.concurrent_id.to_string()),
        ("runner.system_id", gitlab.system_id.clone()),
        ("managed", "true".to_owned()),
    ];
    let ours = [(EXECUTOR.to_owned(), executor.to_owned()), (JOB.to_owned(), random.to_owned())];
    gitlabs.into_iter().map(|(key, value)| (format!("{PREFIX}{key}"), value)).chain(ours).collect()
}

/// The job's page: the repository's URL without credentials, and the id.
fn job_url(job: &Job) -> String {
    let Ok(mut url) = url::Url::parse(job.git_info.repo_url.expose()) else {
        return String::new();
    };
    // Both can fail only for URLs that cannot have user info at all.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    format!("{}/-/jobs/{}", url.as_str().trim_end_matches(".git"), job.id)
}

/// The part of a service container's name that tells which one it is.
#[must_use]
pub fn service_suffix(service: &str, index: usize) -> String {
    format!("{}-{index}", slug(service))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_name_is_a_host_name_of_at_most_63_characters() {
        assert_eq!(stem("ABC_d.ef", 42, 0), "runner-abcdef-project-42-concurrent-0");
        assert!(stem(&"x".repeat(80), 42, 0).len() <= 63);
    }

    #[test]
    fn labels_of_the_settings_hide_none_by_which_containers_are_removed() {
        let settings = [("team", "a"), (JOB, "none")].map(|(key, value)| (key.to_owned(), value.to_owned()));
        let identity = Identity::new("e", &Job::default(), &GitLab::default(), "1h0m0s").with(settings.into());
        let labels = identity.service_labels("redis", "7");
        assert_eq!((labels["team"].as_str(), labels[JOB].as_str()), ("a", identity.random.as_str()));
        assert_eq!(labels["com.gitlab.gitlab-runner.team"], "a");
        assert!(!identity.labels("network").contains_key("team"));
    }

    #[test]
    fn the_jobs_url_has_no_credentials() {
        let mut job = Job { id: 7, ..Job::default() };
        job.git_info.repo_url = "https://gitlab-ci-token:secret@gitlab.test/group/demo.git".into();
        assert_eq!(job_url(&job), "https://gitlab.test/group/demo/-/jobs/7");
    }
}
