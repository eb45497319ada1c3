//! `POST /jobs/:id/artifacts` (protocol §1.10).

use super::call::Call;
use super::job::Upload;
use super::rules::Rule;
use super::state::{Shared, State};
use super::{access, answer};
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, FromRequest, Multipart, Request};
use axum::http::Response;
use bytes::Bytes;
use std::io::Read;

/// A part of the form.
struct Part {
    name: String,
    filename: String,
    bytes: Bytes,
}

/// Stores an upload.
pub(super) async fn upload(shared: &Shared, call: &Call) -> Response<Body> {
    let parts = parts(call).await;
    shared.update(|state| store(state, shared, call, parts))
}

async fn parts(call: &Call) -> Result<Vec<Part>, String> {
    let mut request = Request::new(Body::from(call.body.clone()));
    *request.headers_mut() = call.headers.clone();
    // The limit is the server's own (`Options::artifact_limit`).
    DefaultBodyLimit::disable().apply(&mut request);
    let mut form = Multipart::from_request(request, &()).await.map_err(|error| error.body_text())?;
    let mut parts = Vec::new();
    while let Some(field) = form.next_field().await.map_err(|error| error.body_text())? {
        let name = field.name().unwrap_or_default().to_owned();
        let filename = field.file_name().unwrap_or_default().to_owned();
        let bytes = field.bytes().await.map_err(|error| error.body_text())?;
        parts.push(Part { name, filename, bytes });
    }
    Ok(parts)
}

fn store(state: &mut State, shared: &Shared, call: &Call, parts: Result<Vec<Part>, String>) -> Response<Body> {
    if let Err(refusal) = access::active(state, call) {
        return *refusal;
    }
    let upload = match parts {
        Ok(parts) => one_file(call, parts),
        Err(error) => Err(format!("the form cannot be read: {error}")),
    };
    let upload = match upload {
        Ok(upload) => upload,
        Err(what) => {
            state.violate(Rule::A60, call, what);
            return answer::refusal(400, "400 Bad request - Missing artifacts file");
        }
    };
    let answered = upload.bytes.len() <= shared.options.artifact_limit && is_valid(&upload);
    let Ok(job) = access::active(state, call) else { return answer::status_404() };
    let entries = super::payload::artifact_entries(&job.payload);
    let found = job.artifacts.upload(call, &upload, &entries, answered && !call.lost);
    let response = if upload.bytes.len() > shared.options.artifact_limit {
        answer::refusal(413, "413 Request Entity Too Large")
    } else if !is_valid(&upload) {
        answer::refusal(400, "400 Bad request - Invalid Format")
    } else {
        keep(&mut job.uploads, upload)
    };
    state.violate_all(call, found);
    response
}

/// The same content again is well; other content of the same type is not.
fn keep(uploads: &mut Vec<Upload>, upload: Upload) -> Response<Body> {
    match uploads.iter().find(|stored| stored.kind == upload.kind) {
        Some(stored) if stored.bytes == upload.bytes => answer::json(201, &serde_json::json!({})),
        Some(_) => answer::refusal(400, "400 Bad request - another artifact of the same type already exists"),
        None => {
            uploads.push(upload);
            answer::json(201, &serde_json::json!({}))
        }
    }
}

fn one_file(call: &Call, mut parts: Vec<Part>) -> Result<Upload, String> {
    let names: Vec<String> = parts.iter().map(|part| part.name.clone()).collect();
    let (Some(part), true) = (parts.pop(), names == ["file"]) else {
        return Err(format!("the form has the parts [{}], not one part `file`", names.join(", ")));
    };
    let or = |name, default: &str| call.parameter(name).unwrap_or_else(|| default.to_owned());
    Ok(Upload {
        kind: or("artifact_type", "archive"),
        format: or("artifact_format", "zip"),
        filename: part.filename,
        bytes: part.bytes,
        query: call.query.clone(),
    })
}

/// The server parses dotenv reports when they arrive (protocol §6.3).
fn is_valid(upload: &Upload) -> bool {
    upload.kind != "dotenv" || dotenv(upload).is_some()
}

/// The variables of a dotenv report; none when it cannot be parsed.
pub(super) fn dotenv(upload: &Upload) -> Option<Vec<(String, String)>> {
    let mut text = String::new();
    flate2::read::MultiGzDecoder::new(&upload.bytes[..]).read_to_string(&mut text).ok()?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.split_once('=').map(|(key, value)| (key.trim().to_owned(), unquote(value.trim())))).collect()
}

fn unquote(value: &str) -> String {
    let inner = |quote| value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    inner('"').or_else(|| inner('\'')).unwrap_or(value).to_owned()
}
