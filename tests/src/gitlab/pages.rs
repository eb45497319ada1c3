//! Pages for people, and the same as JSON (`Accept: application/json` or `?format=json`).

use super::answer;
use super::call::Call;
use super::job::JobId;
use super::state::{Job, Shared, State};
use axum::body::Body;
use axum::http::Response;
use serde_json::{Value, json};
use std::fmt::Write;

/// `/`, `/jobs/:id`, `/jobs/:id/artifacts/:index`.
pub(super) fn answer(shared: &Shared, call: &Call) -> Response<Body> {
    let parts: Vec<&str> = call.path.trim_matches('/').split('/').collect();
    let wants_json = call.header("accept").contains("json") || call.parameter("format").as_deref() == Some("json");
    let id = |text: &str| text.parse().ok().map(JobId);
    shared.read(|state| match parts.as_slice() {
        [""] if wants_json => answer::json(200, &jobs(state)),
        [""] => html("Jobs", &list(state, &shared.options.relative_root)),
        ["jobs", job] => match id(job).and_then(|id| state.jobs.get(&id)) {
            Some(job) if wants_json => answer::json(200, &details(job)),
            Some(job) => html(&job.spec.name, &page(job, &shared.options.relative_root)),
            None => answer::status_404(),
        },
        ["jobs", job, "artifacts", index] => {
            let job = id(job).and_then(|id| state.jobs.get(&id));
            let upload = index.parse().ok().and_then(|index: usize| job?.uploads.get(index));
            upload.map_or_else(answer::status_404, |upload| Response::new(Body::from(upload.bytes.clone())))
        }
        _ => answer::status_404(),
    })
}

fn jobs(state: &State) -> Value {
    json!({ "jobs": state.jobs.values().map(summary).collect::<Vec<_>>(), "violations": violations(state) })
}

fn violations(state: &State) -> Vec<String> {
    state.violations.iter().map(ToString::to_string).collect()
}

fn summary(job: &Job) -> Value {
    json!({
        "id": job.id.0,
        "name": job.spec.name,
        "stage": job.spec.stage,
        "pipeline": job.pipeline,
        "project": job.spec.project,
        "state": job.state.word(),
        "failure_reason": job.failure_reason,
        "exit_code": job.exit_code,
        "log_bytes": job.log.len(),
    })
}

fn details(job: &Job) -> Value {
    let mut json = summary(job);
    json["log"] = String::from_utf8_lossy(&job.log).into();
    let file = |upload: &super::job::Upload| json!({ "type": upload.kind, "format": upload.format, "filename": upload.filename, "bytes": upload.bytes.len() });
    json["artifacts"] = job.uploads.iter().map(file).collect();
    json
}

fn list(state: &State, root: &str) -> String {
    let mut text = "<table><tr><th>job<th>name<th>stage<th>state</tr>".to_owned();
    for job in state.jobs.values() {
        let (id, state) = (job.id, job.state);
        let [name, group] = [&job.spec.name, &job.spec.stage].map(|text| escape(text));
        let _ = write!(text, "<tr><td><a href='{root}/jobs/{id}'>{id}</a><td>{name}<td>{group}<td>{state}</tr>");
    }
    text.push_str("</table><h2>Broken rules</h2><ul>");
    for violation in violations(state) {
        let _ = write!(text, "<li>{}", escape(&violation));
    }
    text + "</ul>"
}

fn page(job: &Job, root: &str) -> String {
    let mut text = format!("<p>{} · <a href='{root}/'>all jobs</a></p><ul>", job.state);
    for (index, upload) in job.uploads.iter().enumerate() {
        let name = escape(&upload.filename);
        let _ = write!(text, "<li><a href='{root}/jobs/{}/artifacts/{index}' download='{name}'>{name}</a>", job.id);
    }
    let _ = write!(text, "</ul><pre>{}</pre>", escape(&super::display::plain(&String::from_utf8_lossy(&job.log))));
    text
}

fn html(title: &str, body: &str) -> Response<Body> {
    let head = "<!doctype html><meta charset=utf-8><meta http-equiv=refresh content=5>";
    let page = format!("{head}<title>{0} · fake GitLab</title><h1>{0}</h1>{body}\n", escape(title));
    answer::with(Response::new(Body::from(page)), "content-type", "text/html; charset=utf-8")
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('\'', "&#39;")
}
