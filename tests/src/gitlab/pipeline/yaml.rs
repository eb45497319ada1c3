//! Reading `.gitlab-ci.yml`.

use super::{Pipeline, PipelineJob, When};
use crate::gitlab::entries::{ArtifactSpec, CacheSpec};
use crate::gitlab::spec::{JobSpec, ServiceSpec};
use anyhow::{Context, Result, bail, ensure};
use serde::de::{Deserialize, DeserializeOwned, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use std::collections::BTreeMap;

/// The stages of a file that names none.
const STAGES: &[&str] = &[".pre", "build", "test", "deploy", ".post"];

/// Keys of the top level that are no jobs.
const GLOBAL: &[&str] =
    &["stages", "default", "image", "services", "variables", "before_script", "after_script", "cache"];

/// Reads a `.gitlab-ci.yml`. A key that the fake does not know is an error that names it, and its job.
pub fn parse(yaml: &str) -> Result<Pipeline> {
    let Ordered(entries) = serde_saphyr::from_str(yaml).context("read the .gitlab-ci.yml")?;
    let (global, jobs): (Vec<_>, Vec<_>) = entries.into_iter().partition(|(key, _)| GLOBAL.contains(&key.as_str()));
    let global: Global = from_value(Value::Object(global.into_iter().collect())).context("read the .gitlab-ci.yml")?;
    let stages = global.stages.clone().unwrap_or_else(|| STAGES.iter().map(ToString::to_string).collect());
    let mut parsed = Vec::new();
    for (name, value) in jobs.into_iter().filter(|(name, _)| !name.starts_with('.')) {
        ensure!(value.is_object(), "read the .gitlab-ci.yml: the key `{name}` is not supported here, and no job");
        let job = from_value(value).with_context(|| format!("read job `{name}` of the .gitlab-ci.yml"))?;
        let job = build(&name, job, &global).with_context(|| format!("read job `{name}` of the .gitlab-ci.yml"))?;
        ensure!(stages.contains(&job.stage), "job `{name}` has stage `{}`, which is not among the stages", job.stage);
        parsed.push(job);
    }
    ensure!(!parsed.is_empty(), "the .gitlab-ci.yml has no jobs");
    parsed.sort_by_key(|job| stages.iter().position(|stage| *stage == job.stage));
    let pipeline = Pipeline { stages, jobs: parsed };
    check_needs(&pipeline)?;
    Ok(pipeline)
}

/// A map in the order of the file.
struct Ordered(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Ordered {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Ordered;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a map of keywords and jobs")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Ordered, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Ordered(entries))
            }
        }
        input.deserialize_map(Entries)
    }
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Global {
    stages: Option<Vec<String>>,
    #[serde(default)]
    default: Defaults,
    image: Option<Value>,
    services: Option<Vec<Value>>,
    #[serde(default)]
    variables: BTreeMap<String, Value>,
    before_script: Option<Value>,
    after_script: Option<Value>,
    cache: Option<Value>,
}

#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Defaults {
    image: Option<Value>,
    services: Option<Vec<Value>>,
    before_script: Option<Value>,
    after_script: Option<Value>,
    cache: Option<Value>,
    artifacts: Option<Artifacts>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Job {
    stage: Option<String>,
    image: Option<Value>,
    services: Option<Vec<Value>>,
    #[serde(default)]
    variables: BTreeMap<String, Value>,
    before_script: Option<Value>,
    script: Value,
    after_script: Option<Value>,
    cache: Option<Value>,
    artifacts: Option<Artifacts>,
    needs: Option<Vec<Value>>,
    dependencies: Option<Vec<String>>,
    #[serde(default)]
    allow_failure: bool,
    when: Option<String>,
    /// The fake has one runner, which takes every job.
    #[serde(rename = "tags", default)]
    _tags: Vec<String>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Artifacts {
    name: Option<String>,
    #[serde(default)]
    paths: Vec<String>,
    #[serde(default)]
    exclude: Vec<String>,
    #[serde(default)]
    untracked: bool,
    expire_in: Option<String>,
    when: Option<String>,
    #[serde(default)]
    reports: BTreeMap<String, Value>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Cache {
    key: Option<String>,
    #[serde(default)]
    paths: Vec<String>,
    #[serde(default)]
    untracked: bool,
    #[serde(default)]
    unprotect: bool,
    policy: Option<String>,
    when: Option<String>,
    #[serde(default)]
    fallback_keys: Vec<String>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Image {
    name: String,
    entrypoint: Option<Vec<String>>,
    pull_policy: Option<Value>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Service {
    name: String,
    #[serde(default)]
    alias: String,
    entrypoint: Option<Vec<String>>,
    command: Option<Vec<String>>,
    #[serde(default)]
    variables: BTreeMap<String, Value>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Need {
    job: String,
    #[serde(default = "yes")]
    artifacts: bool,
}

fn yes() -> bool {
    true
}

fn build(name: &str, job: Job, global: &Global) -> Result<PipelineJob> {
    let default = &global.default;
    let before = first([job.before_script.as_ref(), default.before_script.as_ref(), global.before_script.as_ref()]);
    let mut script = before.map(lines).transpose()?.unwrap_or_default();
    script.extend(lines(&job.script)?);
    let stage = job.stage.clone().unwrap_or_else(|| "test".to_owned());
    let mut spec = JobSpec::script(script).name(name).stage(&stage);
    if let Some(image) = first([job.image.as_ref(), default.image.as_ref(), global.image.as_ref()]) {
        spec = with_image(spec, image)?;
    }
    let services = job.services.as_ref().or(default.services.as_ref()).or(global.services.as_ref());
    for service in services.into_iter().flatten() {
        spec = spec.service_with(service_spec(service)?);
    }
    // A job's own variables replace global ones of that name.
    let variables: BTreeMap<&String, &Value> = global.variables.iter().chain(&job.variables).collect();
    for (key, value) in variables {
        spec = spec.variable(key, &scalar(value).with_context(|| format!("variable {key}"))?);
    }
    if let Some(after) = first([job.after_script.as_ref(), default.after_script.as_ref(), global.after_script.as_ref()])
    {
        spec = spec.after_script(lines(after)?);
    }
    for cache in one_or_many(first([job.cache.as_ref(), default.cache.as_ref(), global.cache.as_ref()])) {
        spec = spec.cache(cache_spec(from_value(cache.clone()).context("key `cache`")?));
    }
    let artifacts = job.artifacts.as_ref().or(default.artifacts.as_ref());
    for entry in artifacts.map(artifact_specs).transpose()?.unwrap_or_default() {
        spec = spec.artifacts(entry);
    }
    let needs = job.needs.map(|needs| needs.iter().map(need).collect::<Result<Vec<_>>>()).transpose()?;
    let names = |needs: Vec<&Need>| needs.into_iter().map(|need| need.job.clone()).collect::<Vec<_>>();
    let with_artifacts = needs.as_ref().map(|needs| names(needs.iter().filter(|need| need.artifacts).collect()));
    Ok(PipelineJob {
        name: name.to_owned(),
        stage,
        allow_failure: job.allow_failure,
        when: when(job.when.as_deref())?,
        downloads: job.dependencies.or(with_artifacts),
        needs: needs.map(|needs| names(needs.iter().collect())),
        spec,
    })
}

/// The job's own setting, else that of `default:`, else the global one.
fn first<T>(settings: [Option<&T>; 3]) -> Option<&T> {
    settings.into_iter().flatten().next()
}

fn when(word: Option<&str>) -> Result<When> {
    Ok(match word {
        None | Some("on_success") => When::OnSuccess,
        Some("on_failure") => When::OnFailure,
        Some("always") => When::Always,
        Some("never") => When::Never,
        Some(other) => bail!("`when: {other}` is not supported here"),
    })
}

/// A script: one text, or a list of texts and lists.
fn lines(value: &Value) -> Result<Vec<String>> {
    match value {
        Value::Array(items) => Ok(items.iter().map(lines).collect::<Result<Vec<_>>>()?.concat()),
        other => Ok(vec![scalar(other).context("a line of a script")?]),
    }
}

fn scalar(value: &Value) -> Result<String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(_) | Value::Bool(_) => Ok(value.to_string()),
        Value::Null => Ok(String::new()),
        _ => bail!("{value} is no text"),
    }
}

fn one_or_many(value: Option<&Value>) -> &[Value] {
    match value {
        None => &[],
        Some(Value::Array(items)) => items,
        Some(one) => std::slice::from_ref(one),
    }
}

fn with_image(spec: JobSpec, value: &Value) -> Result<JobSpec> {
    if let Some(name) = value.as_str() {
        return Ok(spec.image(name));
    }
    let image: Image = from_value(value.clone()).context("key `image`")?;
    let mut spec = spec.image(&image.name);
    if let Some(entrypoint) = image.entrypoint {
        spec = spec.set("/image/entrypoint", entrypoint.into());
    }
    if let Some(policy) = image.pull_policy {
        spec = spec.set("/image/pull_policy", one_or_many(Some(&policy)).to_vec().into());
    }
    Ok(spec)
}

fn service_spec(value: &Value) -> Result<ServiceSpec> {
    if let Some(name) = value.as_str() {
        return Ok(ServiceSpec { name: name.to_owned(), ..ServiceSpec::default() });
    }
    let Service { name, alias, entrypoint, command, variables } =
        from_value(value.clone()).context("key `services`")?;
    let variables = variables.into_iter().map(|(key, value)| Ok((key, scalar(&value)?))).collect::<Result<_>>()?;
    Ok(ServiceSpec { name, alias, entrypoint, command, variables })
}

fn cache_spec(cache: Cache) -> CacheSpec {
    let mut spec = CacheSpec::new(cache.key.as_deref().unwrap_or("default"), cache.paths);
    spec =
        spec.policy(cache.policy.as_deref().unwrap_or("pull-push")).when(cache.when.as_deref().unwrap_or("on_success"));
    spec = cache.fallback_keys.iter().fold(spec, |spec, key| spec.fallback(key));
    spec = if cache.untracked { spec.untracked() } else { spec };
    if cache.unprotect { spec.unprotect() } else { spec }
}

/// The archive first, then one entry per report (protocol §6.1).
fn artifact_specs(artifacts: &Artifacts) -> Result<Vec<ArtifactSpec>> {
    let mut entries = Vec::new();
    let expire = |entry: ArtifactSpec| match &artifacts.expire_in {
        Some(text) => entry.expire_in(text),
        None => entry,
    };
    if !artifacts.paths.is_empty() || artifacts.untracked {
        let mut entry = ArtifactSpec::archive(artifacts.paths.clone()).exclude(artifacts.exclude.clone());
        entry = entry.when(artifacts.when.as_deref().unwrap_or("on_success"));
        entry = if artifacts.untracked { entry.untracked() } else { entry };
        entry = artifacts.name.iter().fold(entry, |entry, name| entry.name(name));
        entries.push(expire(entry));
    }
    for (kind, paths) in &artifacts.reports {
        let paths: Vec<String> = one_or_many(Some(paths)).iter().map(scalar).collect::<Result<_>>()?;
        entries.push(expire(ArtifactSpec::report(kind, paths)));
    }
    Ok(entries)
}

fn need(value: &Value) -> Result<Need> {
    match value.as_str() {
        Some(job) => Ok(Need { job: job.to_owned(), artifacts: true }),
        None => from_value(value.clone()).context("key `needs`"),
    }
}

/// Every job that is named exists and comes earlier, so that every pipeline ends.
fn check_needs(pipeline: &Pipeline) -> Result<()> {
    for (index, job) in pipeline.jobs.iter().enumerate() {
        for name in job.needs.iter().chain(&job.downloads).flatten() {
            let found = pipeline.jobs[..index].iter().any(|other| other.name == *name);
            ensure!(found, "job `{}` needs `{name}`, and no such job comes before it", job.name);
        }
    }
    Ok(())
}

fn from_value<T: DeserializeOwned>(value: Value) -> Result<T> {
    serde_json::from_value(value).map_err(|error| anyhow::anyhow!("{error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(yaml: &str) -> String {
        parse(yaml).map_or_else(|error| format!("{error:#}"), |_| String::new())
    }

    #[test]
    fn an_unknown_key_is_named_with_its_job() {
        assert!(
            error("build: { script: [a], retry: 2 }")
                .contains("job `build` of the .gitlab-ci.yml: unknown field `retry`")
        );
        assert!(error("include: x.yml\na: { script: a }").contains("the key `include` is not supported"));
        assert!(error("a: { script: a, cache: { keys: x } }").contains("key `cache`: unknown field `keys`"));
        assert!(error("a: { script: a, when: manual }").contains("`when: manual`"));
    }

    #[test]
    fn a_job_needs_earlier_ones_only() {
        assert!(error("a: { script: a, needs: [b] }").contains("job `a` needs `b`"));
        assert!(error("a: { script: a, stage: nowhere }").contains("stage `nowhere`"));
    }

    #[test]
    fn jobs_come_in_the_order_of_stages_and_of_the_file() {
        let yaml = "stages: [one, two]\nz: { stage: two, script: z }\nb: { stage: one, script: b }\na: { stage: one, script: a }\n.hidden: { extends: x }\n";
        let pipeline = parse(yaml).expect("a pipeline");
        let names: Vec<&str> = pipeline.jobs.iter().map(|job| job.name.as_str()).collect();
        assert_eq!(names, ["b", "a", "z"]);
        assert_eq!(pipeline.before(&pipeline.jobs[2]), ["b", "a"]);
    }

    #[test]
    fn defaults_and_globals_reach_the_job() {
        let yaml = "default: { image: alpine, before_script: [one, [two]] }\nvariables: { A: 1, B: b }\n\
            job: { script: three, variables: { B: c }, after_script: bye, artifacts: { paths: [out], reports: { junit: j.xml } } }";
        let spec = &parse(yaml).expect("a pipeline").jobs[0].spec;
        assert_eq!(spec.image.as_deref(), Some("alpine"));
        assert_eq!(spec.steps[0].script, ["one", "two", "three"]);
        assert_eq!(spec.steps[1].script, ["bye"]);
        let variables: Vec<(&str, &str)> = spec.variables.iter().map(|v| (v.key.as_str(), v.value.as_str())).collect();
        assert_eq!(variables, [("A", "1"), ("B", "c")]);
        assert_eq!(spec.artifacts.iter().map(|entry| entry.kind.as_str()).collect::<Vec<_>>(), ["archive", "junit"]);
    }
}
