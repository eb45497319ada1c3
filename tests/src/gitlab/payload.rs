//! From a job's spec to the payload that GitLab would send (protocol §1.6).

use super::artifacts::dotenv;
use super::download::archive;
use super::entries::{ArtifactSpec, CacheSpec};
use super::repositories::Repository;
use super::spec::{JobSpec, ServiceSpec, Step, VariableSpec};
use super::state::{Shared, State};
use serde_json::{Value, json};

/// What the server knows about a job besides its spec.
pub(super) struct Facts<'a> {
    pub(super) id: u64,
    pub(super) token: &'a str,
    pub(super) pipeline: u64,
}

/// The payload of a job. Makes `refs/pipelines/<id>` in the repository.
pub(super) fn build(shared: &Shared, state: &State, spec: &JobSpec, facts: &Facts<'_>) -> Value {
    let repository = shared.repositories.open(&spec.project, "sha1");
    let is_tag = repository.has_tag(&spec.git_ref);
    let sha = repository.sha(&spec.git_ref);
    repository.git(&["update-ref", &format!("refs/pipelines/{}", facts.pipeline), &sha]);
    let context = Context { shared, spec, facts, repository: &repository, is_tag, sha: &sha };
    let mut payload = json!({
        "id": facts.id,
        "token": facts.token,
        "allow_git_fetch": spec.allow_git_fetch,
        "job_info": context.job_info(),
        "git_info": context.git_info(),
        "runner_info": { "timeout": spec.timeout.as_secs(), "runner_session_url": null, "uuid": "" },
        "variables": context.variables(state),
        "steps": spec.steps.iter().map(|step| context.step(step)).collect::<Vec<_>>(),
        "image": spec.image.as_ref().map(|name| image(name)),
        "services": spec.services.iter().map(service).collect::<Vec<_>>(),
        "artifacts": spec.artifacts.iter().map(artifact).collect::<Vec<_>>(),
        "cache": spec.caches.iter().map(|entry| cache(entry, spec.protected)).collect::<Vec<_>>(),
        "credentials": spec.credentials.iter().map(credential).collect::<Vec<_>>(),
        "dependencies": dependencies(state, spec, facts.token),
        "features": {
            "trace_sections": spec.trace_sections,
            "failure_reasons": shared.options.failure_reasons,
            "token_mask_prefixes": [],
        },
        "hooks": spec.hooks.iter().map(|(name, script)| json!({ "name": name, "script": script })).collect::<Vec<_>>(),
        "policy_options": { "execution_policy_job": false },
    });
    for (pointer, value) in &spec.overrides {
        set(&mut payload, pointer, value.clone());
    }
    payload
}

struct Context<'a> {
    shared: &'a Shared,
    spec: &'a JobSpec,
    facts: &'a Facts<'a>,
    repository: &'a Repository,
    is_tag: bool,
    sha: &'a str,
}

impl Context<'_> {
    fn project_name(&self) -> &str {
        self.spec.project.rsplit('/').next().unwrap_or_default()
    }

    /// `http://gitlab-ci-token:<token>@host/group/demo.git`
    fn repository_url(&self) -> String {
        let url = format!("{}/{}.git", self.shared.url, self.spec.project);
        url.replacen("://", &format!("://gitlab-ci-token:{}@", self.facts.token), 1)
    }

    fn job_info(&self) -> Value {
        json!({
            "id": self.facts.id,
            "name": self.spec.name,
            "stage": self.spec.stage,
            "pipeline_id": self.facts.pipeline,
            "project_id": self.shared.repositories.id(&self.spec.project),
            "project_name": self.project_name(),
            "project_full_path": self.spec.project,
            "namespace_id": 3,
            "root_namespace_id": 3,
            "organization_id": 1,
            "instance_id": "fake",
            "instance_uuid": "fake",
            "user_id": 1,
            "scoped_user_id": null,
            "time_in_queue_seconds": 0.0,
            "project_jobs_running_on_instance_runners_count": "+Inf",
            "queue_size": 0,
            "queue_depth": 0,
        })
    }

    fn git_info(&self) -> Value {
        let format = if self.sha.len() == 64 { "sha256" } else { "sha1" };
        json!({
            "repo_url": self.repository_url(),
            "repo_object_format": format,
            "ref": self.spec.git_ref,
            "sha": self.sha,
            "before_sha": "0".repeat(self.sha.len()),
            "ref_type": if self.is_tag { "tag" } else { "branch" },
            "refspecs": self.refspecs(),
            "depth": self.spec.depth,
            "protected": self.spec.protected,
        })
    }

    fn refspecs(&self) -> Vec<String> {
        let (pipeline, name) = (self.facts.pipeline, &self.spec.git_ref);
        let own = format!("+refs/pipelines/{pipeline}:refs/pipelines/{pipeline}");
        let tag = |name: &str| format!("+refs/tags/{name}:refs/tags/{name}");
        let branch = |name: &str| format!("+refs/heads/{name}:refs/remotes/origin/{name}");
        match (self.spec.depth, self.is_tag) {
            (0, _) => vec![branch("*"), tag("*"), own],
            (_, true) => vec![own, tag(name)],
            (_, false) => vec![own, branch(name)],
        }
    }

    fn step(&self, step: &Step) -> Value {
        json!({
            "name": step.name,
            "script": step.script,
            "timeout": self.spec.timeout.as_secs(),
            "when": step.when,
            "allow_failure": step.name == "after_script",
        })
    }

    fn variables(&self, state: &State) -> Vec<Value> {
        let mut variables: Vec<Value> = self.predefined().into_iter().map(|v| variable(&v)).collect();
        for job in self.spec.needs.iter().filter_map(|id| state.jobs.get(id)) {
            let reports = job.uploads.iter().filter(|upload| upload.kind == "dotenv");
            for (key, value) in reports.filter_map(dotenv).flatten() {
                variables.push(json!({ "key": key, "value": value, "public": false, "masked": false }));
            }
        }
        variables.extend(self.spec.variables.iter().map(variable));
        variables
    }

    /// The variables that the server sets for every job.
    fn predefined(&self) -> Vec<VariableSpec> {
        let (spec, facts, url) = (self.spec, self.facts, &self.shared.url);
        let host = url.split("://").nth(1).and_then(|rest| rest.split('/').next()).unwrap_or_default();
        let (name, port) = host.rsplit_once(':').unwrap_or((host, "80"));
        let namespace = spec.project.rsplit_once('/').map(|(namespace, _)| namespace).unwrap_or_default();
        let slug = spec.git_ref.to_lowercase().replace(|c: char| !c.is_ascii_alphanumeric(), "-");
        let id = self.shared.repositories.id(&spec.project).to_string();
        let title = self.repository.git(&["log", "-1", "--format=%s", self.sha]);
        let public = |key: &str, value: &str| VariableSpec::predefined(key, value, true, false);
        let mut variables = vec![
            public("CI", "true"),
            public("GITLAB_CI", "true"),
            public("CI_PIPELINE_ID", &facts.pipeline.to_string()),
            public("CI_PIPELINE_IID", "1"),
            public("CI_PIPELINE_SOURCE", "push"),
            public("CI_PIPELINE_URL", &format!("{url}/{}/-/pipelines/{}", spec.project, facts.pipeline)),
            public("CI_JOB_ID", &facts.id.to_string()),
            public("CI_JOB_URL", &format!("{url}/jobs/{}", facts.id)),
            VariableSpec::predefined("CI_JOB_TOKEN", facts.token, false, true),
            public("CI_JOB_NAME", &spec.name),
            public("CI_JOB_STAGE", &spec.stage),
            public("CI_REGISTRY_USER", "gitlab-ci-token"),
            VariableSpec::predefined("CI_REGISTRY_PASSWORD", facts.token, false, true),
            VariableSpec::predefined("CI_REPOSITORY_URL", &self.repository_url(), false, false),
            public("CI_SERVER_NAME", "GitLab"),
            public("CI_SERVER_VERSION", "19.4.0-fake"),
            public("CI_SERVER_URL", url),
            public("CI_SERVER_HOST", name),
            public("CI_SERVER_PORT", port),
            public("CI_SERVER_PROTOCOL", url.split("://").next().unwrap_or_default()),
            public("CI_API_V4_URL", &format!("{url}/api/v4")),
            public("CI_PROJECT_ID", &id),
            public("CI_PROJECT_NAME", self.project_name()),
            public("CI_PROJECT_PATH", &spec.project),
            public("CI_PROJECT_PATH_SLUG", &spec.project.replace('/', "-")),
            public("CI_PROJECT_NAMESPACE", namespace),
            public("CI_PROJECT_URL", &format!("{url}/{}", spec.project)),
            public("CI_DEFAULT_BRANCH", "main"),
            public("CI_COMMIT_SHA", self.sha),
            public("CI_COMMIT_SHORT_SHA", &self.sha[..8]),
            public("CI_COMMIT_BEFORE_SHA", &"0".repeat(self.sha.len())),
            public("CI_COMMIT_REF_NAME", &spec.git_ref),
            public("CI_COMMIT_REF_SLUG", &slug),
            public("CI_COMMIT_REF_PROTECTED", if spec.protected { "true" } else { "false" }),
            public("CI_COMMIT_TITLE", &title),
            public("CI_RUNNER_ID", "7"),
            public("GITLAB_USER_LOGIN", "root"),
            public("GITLAB_USER_ID", "1"),
        ];
        variables.push(public(if self.is_tag { "CI_COMMIT_TAG" } else { "CI_COMMIT_BRANCH" }, &spec.git_ref));
        variables
    }
}

/// The server sends `file` and `raw` only when they are true.
fn variable(v: &VariableSpec) -> Value {
    let mut json = json!({ "key": v.key, "value": v.value, "public": v.public, "masked": v.masked });
    for (name, _) in [("file", v.file), ("raw", v.raw)].into_iter().filter(|(_, set)| *set) {
        json[name] = true.into();
    }
    json
}

fn image(name: &str) -> Value {
    json!({ "name": name, "entrypoint": null, "ports": [], "executor_opts": {}, "pull_policy": null })
}

fn service(service: &ServiceSpec) -> Value {
    let variables = service.variables.iter();
    let variables =
        variables.map(|(key, value)| json!({ "key": key, "value": value, "public": true, "masked": false }));
    let alias = (!service.alias.is_empty()).then_some(&service.alias);
    json!({
        "name": service.name,
        "alias": alias,
        "entrypoint": service.entrypoint,
        "command": service.command,
        "ports": [],
        "executor_opts": {},
        "pull_policy": null,
        "variables": variables.collect::<Vec<_>>(),
    })
}

fn artifact(entry: &ArtifactSpec) -> Value {
    let mut json = json!({
        "name": entry.name,
        "untracked": entry.untracked.then_some(true),
        "paths": entry.paths,
        "exclude": entry.exclude,
        "when": entry.when,
        "expire_in": entry.expire_in,
        "artifact_type": entry.kind,
    });
    if let Some(format) = &entry.format {
        json["artifact_format"] = format.as_str().into();
    }
    json
}

/// The entries of a payload, as the server remembers them.
pub(super) fn artifact_entries(payload: &Value) -> Vec<ArtifactSpec> {
    let entries = payload["artifacts"].as_array().into_iter().flatten();
    let text = |entry: &Value, name: &str| entry[name].as_str().map(str::to_owned);
    let texts = |entry: &Value, name: &str| {
        let items = entry[name].as_array().into_iter().flatten();
        items.filter_map(|item| item.as_str().map(str::to_owned)).collect()
    };
    let parse = |entry: &Value| ArtifactSpec {
        name: text(entry, "name"),
        paths: texts(entry, "paths"),
        exclude: texts(entry, "exclude"),
        untracked: entry["untracked"] == true,
        when: text(entry, "when").unwrap_or_else(|| "on_success".to_owned()),
        expire_in: text(entry, "expire_in"),
        kind: text(entry, "artifact_type").unwrap_or_else(|| "archive".to_owned()),
        format: text(entry, "artifact_format"),
    };
    entries.map(parse).collect()
}

/// The server adds the suffix to key and fallback keys (protocol §5).
fn cache(entry: &CacheSpec, protected: bool) -> Value {
    let suffix = if protected && !entry.unprotect { "protected" } else { "non_protected" };
    let fallback_keys: Vec<String> = entry.fallback_keys.iter().map(|key| format!("{key}-{suffix}")).collect();
    json!({
        "key": format!("{}-{suffix}", entry.key),
        "untracked": entry.untracked,
        "unprotect": entry.unprotect,
        "policy": entry.policy,
        "paths": entry.paths,
        "when": entry.when,
        "fallback_keys": fallback_keys,
    })
}

fn credential((url, username, password): &(String, String, String)) -> Value {
    json!({ "type": "registry", "url": url, "username": username, "password": password })
}

fn dependencies(state: &State, spec: &JobSpec, token: &str) -> Vec<Value> {
    let jobs = spec.needs.iter().filter_map(|id| state.jobs.get(id));
    jobs.map(|job| {
        let file = archive(&job.uploads).map(|file| json!({ "filename": file.filename, "size": file.bytes.len() }));
        json!({ "id": job.id.0, "name": job.spec.name, "token": token, "artifacts_file": file })
    })
    .collect()
}

/// Puts a value at a JSON pointer; the last step of the pointer may be new, in an object, a list (at its end) or null.
fn set(payload: &mut Value, pointer: &str, value: Value) {
    if let Some(place) = payload.pointer_mut(pointer) {
        *place = value;
        return;
    }
    let Some((place, last)) = pointer.rsplit_once('/') else { return };
    match payload.pointer_mut(place) {
        Some(Value::Object(object)) => drop(object.insert(last.to_owned(), value)),
        Some(Value::Array(items)) => items.push(value),
        Some(null @ Value::Null) => *null = json!({ last: value }),
        _ => panic!("the payload has no `{place}` to put `{last}` into"),
    }
}
