//! A client by hand, so that the judge is not judged by the client it is made for.

use anyhow::{Context, Result};
use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};
use warmstart_tests::gitlab::{FakeGitlab, JobSpec, Options};

/// What a request declares (protocol §1.3).
const FEATURES: &[&str] = &[
    "variables",
    "image",
    "services",
    "artifacts",
    "cache",
    "fallback_cache_keys",
    "upload_multiple_artifacts",
    "upload_raw_artifacts",
    "refspecs",
    "masking",
    "raw_variables",
    "artifacts_exclude",
    "multi_build_steps",
    "trace_reset",
    "trace_checksum",
    "trace_size",
    "cancelable",
    "return_exit_code",
    "service_variables",
    "service_multiple_aliases",
    "image_executor_opts",
    "service_executor_opts",
    "cancel_gracefully",
];

/// A runner by hand. Everything it sends is right unless a test changes it.
pub(crate) struct Hand {
    pub(crate) http: reqwest::Client,
    url: String,
    token: String,
    last_update: Option<String>,
}

/// A fake and a runner that talks to it.
pub(crate) struct Talk {
    pub(crate) gitlab: FakeGitlab,
    hand: Hand,
}

impl std::ops::Deref for Talk {
    type Target = Hand;

    fn deref(&self) -> &Hand {
        &self.hand
    }
}

/// A job that was picked.
pub(crate) struct Picked {
    pub(crate) id: u64,
    pub(crate) token: String,
    pub(crate) payload: Value,
}

pub(crate) fn request_id() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

pub(crate) fn info() -> Value {
    let features: serde_json::Map<String, Value> =
        FEATURES.iter().map(|name| ((*name).to_owned(), true.into())).collect();
    json!({ "name": "hand", "version": "1", "executor": "docker", "shell": "bash", "features": features, "config": {} })
}

/// Checksum and size of a log, as updates carry them; nothing for an empty one.
pub(crate) fn output(log: &[u8]) -> Value {
    if log.is_empty() {
        return json!({});
    }
    json!({ "checksum": format!("crc32:{:08x}", crc32fast::hash(log)), "bytesize": log.len() })
}

pub(crate) fn section(name: &str, start: u64, end: u64) -> String {
    format!(
        "section_start:{start}:{name}\r\x1b[0K\x1b[0K\x1b[36;1m{name}\x1b[0;m\x1b[0;m\nsection_end:{end}:{name}\r\x1b[0K"
    )
}

/// The time of every line.
pub(crate) const TIME: &str = "2026-05-05T12:00:00.000000Z";

/// The lines of a log, each with a time.
pub(crate) fn timed(log: &str) -> String {
    log.lines().map(|line| format!("{TIME} 01O {line}\n")).collect::<Vec<_>>().concat()
}

impl Talk {
    pub(crate) async fn start(options: Options) -> Result<Self> {
        let gitlab = FakeGitlab::start(options).await?;
        let hand = Hand::new(&gitlab.url(), &gitlab.runner_token())?;
        Ok(Self { gitlab, hand })
    }

    /// Asks for a job once.
    pub(crate) async fn ask(&mut self) -> Result<Response> {
        self.hand.ask().await
    }

    /// Queues a job whose log has no timestamps, and takes it.
    pub(crate) async fn pick(&mut self, spec: JobSpec) -> Result<Picked> {
        self.pick_timed(spec.without_timestamps()).await
    }

    async fn pick_timed(&mut self, spec: JobSpec) -> Result<Picked> {
        self.gitlab.add_job(spec);
        let answer = self.ask().await?;
        anyhow::ensure!(answer.status() == 201, "the request was answered {}", answer.status());
        Picked::new(answer.json().await?)
    }

    /// Queues a job whose log has no timestamps, takes it and starts it.
    pub(crate) async fn begin(&mut self, spec: JobSpec) -> Result<Picked> {
        self.begin_timed(spec.without_timestamps()).await
    }

    /// Queues a job, takes it and starts it.
    pub(crate) async fn begin_timed(&mut self, spec: JobSpec) -> Result<Picked> {
        let job = self.pick_timed(spec).await?;
        self.update(&job, &running(&job, b"")).await?;
        Ok(job)
    }
}

impl Picked {
    pub(crate) fn new(payload: Value) -> Result<Self> {
        let id = payload["id"].as_u64().context("no id")?;
        Ok(Self { id, token: payload["token"].as_str().context("no token")?.to_owned(), payload })
    }
}

impl Hand {
    pub(crate) fn new(url: &str, token: &str) -> Result<Self> {
        let http =
            reqwest::Client::builder().user_agent("hand 1 (x; y; z)").redirect(reqwest::redirect::Policy::none());
        Ok(Self { http: http.build()?, url: url.to_owned(), token: token.to_owned(), last_update: None })
    }

    /// A request with the headers that every call has.
    pub(crate) fn call(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}/api/v4/{path}", self.url)).header("X-Request-Id", request_id())
    }

    /// A call with the runner's token and a JSON body.
    pub(crate) fn runner_call(&self, method: Method, path: &str, body: &Value) -> RequestBuilder {
        self.call(method, path).header("RUNNER-TOKEN", body["token"].as_str().unwrap_or_default()).json(body)
    }

    pub(crate) fn verify_body(&self) -> Value {
        json!({ "token": self.token, "system_id": "s_0123456789ab", "info": info() })
    }

    pub(crate) fn request_body(&self) -> Value {
        let mut body = self.verify_body();
        if let Some(value) = &self.last_update {
            body["last_update"] = value.as_str().into();
        }
        body
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<Response> {
        Ok(self.runner_call(Method::POST, path, body).send().await?)
    }

    /// Asks for a job once.
    pub(crate) async fn ask(&mut self) -> Result<Response> {
        let answer = self.post("jobs/request", &self.request_body()).await?;
        if let Some(value) = answer.headers().get("x-gitlab-last-update") {
            self.last_update = Some(value.to_str()?.to_owned());
        }
        Ok(answer)
    }

    pub(crate) async fn update(&self, job: &Picked, body: &Value) -> Result<Response> {
        Ok(self.update_call(job, body).send().await?)
    }

    pub(crate) fn update_call(&self, job: &Picked, body: &Value) -> RequestBuilder {
        self.call(Method::PUT, &format!("jobs/{}", job.id)).header("JOB-TOKEN", &job.token).json(body)
    }

    pub(crate) async fn patch(&self, job: &Picked, start: usize, bytes: &[u8]) -> Result<Response> {
        Ok(self.patch_call(job, start, bytes).send().await?)
    }

    pub(crate) fn patch_call(&self, job: &Picked, start: usize, bytes: &[u8]) -> RequestBuilder {
        self.call(Method::PATCH, &format!("jobs/{}/trace?debug_trace=false", job.id))
            .header("JOB-TOKEN", &job.token)
            .header("Content-Type", "text/plain")
            .header("Content-Range", format!("{start}-{}", (start + bytes.len()).saturating_sub(1)))
            .body(bytes.to_vec())
    }

    /// Sends a whole log in one patch and the final state.
    pub(crate) async fn finish(&self, job: &Picked, log: &[u8]) -> Result<Response> {
        self.patch(job, 0, log).await?;
        self.update(job, &success(job, log)).await
    }

    pub(crate) async fn upload(&self, job: &Picked, query: &str, filename: &str, bytes: &[u8]) -> Result<Response> {
        let part = reqwest::multipart::Part::bytes(bytes.to_vec()).file_name(filename.to_owned());
        let form = reqwest::multipart::Form::new().part("file", part);
        Ok(self.upload_call(job, query).multipart(form).send().await?)
    }

    pub(crate) fn upload_call(&self, job: &Picked, query: &str) -> RequestBuilder {
        self.call(Method::POST, &format!("jobs/{}/artifacts?{query}", job.id)).header("JOB-TOKEN", &job.token)
    }

    pub(crate) async fn download(&self, dependency: u64, token: &str, query: &str) -> Result<Response> {
        let call = self.call(Method::GET, &format!("jobs/{dependency}/artifacts{query}"));
        Ok(call.header("JOB-TOKEN", token).send().await?)
    }
}

pub(crate) fn running(job: &Picked, log: &[u8]) -> Value {
    json!({ "info": info(), "token": job.token, "state": "running", "output": output(log) })
}

pub(crate) fn success(job: &Picked, log: &[u8]) -> Value {
    json!({ "info": info(), "token": job.token, "state": "success", "output": output(log) })
}

pub(crate) fn failed(job: &Picked, log: &[u8], reason: &str, exit_code: i64) -> Value {
    json!({ "info": info(), "token": job.token, "state": "failed", "output": output(log),
            "failure_reason": reason, "exit_code": exit_code })
}

/// A zip with these entries (name, content).
pub(crate) fn zip(entries: &[(&str, &str)]) -> Result<Vec<u8>> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, content) in entries {
        writer.start_file(*name, zip::write::SimpleFileOptions::default())?;
        std::io::Write::write_all(&mut writer, content.as_bytes())?;
    }
    Ok(writer.finish()?.into_inner())
}
