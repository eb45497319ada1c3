//! Smart HTTP by git's own `http-backend`, for running jobs only.

use super::answer;
use super::call::Call;
use super::rules::Rule;
use super::state::Shared;
use axum::body::Body;
use axum::http::Response;
use base64::Engine;
use std::process::Stdio;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// Serves a fetch to whoever has a running job's token.
pub(super) async fn answer(shared: &Shared, call: &Call) -> Response<Body> {
    let Some((user, password)) = credentials(call.header("authorization")) else {
        // Git asks without credentials first.
        return challenge();
    };
    let active = shared.read(|state| {
        let job = state.job_of_token(&password).and_then(|id| state.jobs.get(&id));
        job.map(|job| job.state.is_active())
    });
    match active {
        Some(true) if user == "gitlab-ci-token" => serve(shared, call)
            .await
            .unwrap_or_else(|error| answer::refusal(500, &format!("run git http-backend: {error}"))),
        // The token was right and is worth nothing any more: the job has ended meanwhile.
        Some(false) if user == "gitlab-ci-token" => challenge(),
        _ => {
            shared.update(|state| {
                state.violate(Rule::A75, call, format!("git is called as `{user}` with a wrong token"));
            });
            challenge()
        }
    }
}

fn challenge() -> Response<Body> {
    answer::with(answer::status(401), "www-authenticate", "Basic realm=\"GitLab\"")
}

fn credentials(header: &str) -> Option<(String, String)> {
    let encoded = header.strip_prefix("Basic ")?;
    let decoded = base64::engine::general_purpose::STANDARD.decode(encoded).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    text.split_once(':').map(|(user, password)| (user.to_owned(), password.to_owned()))
}

async fn serve(shared: &Shared, call: &Call) -> std::io::Result<Response<Body>> {
    let mut child = Command::new("git")
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", shared.repositories.served())
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_PROTOCOL", call.header("git-protocol"))
        .env("PATH_INFO", &call.path)
        .env("QUERY_STRING", &call.query)
        .env("REQUEST_METHOD", &call.method)
        .env("CONTENT_TYPE", call.header("content-type"))
        .env("CONTENT_LENGTH", call.body.len().to_string())
        .env("HTTP_CONTENT_ENCODING", call.header("content-encoding"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let mut input = child.stdin.take();
    let write = async {
        if let Some(input) = &mut input {
            // It may answer an error without reading everything.
            let _ = input.write_all(&call.body).await;
        }
        drop(input);
    };
    let ((), output) = tokio::join!(write, child.wait_with_output());
    Ok(parse(&output?.stdout))
}

/// Turns the answer of a CGI program into one of HTTP.
fn parse(output: &[u8]) -> Response<Body> {
    let Some(end) = output.windows(4).position(|four| four == b"\r\n\r\n") else {
        return answer::refusal(500, "git http-backend gave no answer");
    };
    let head = String::from_utf8_lossy(&output[..end]);
    let mut response = Response::new(Body::from(output[end + 4..].to_vec()));
    for (name, value) in head.lines().filter_map(|line| line.split_once(": ")) {
        if name.eq_ignore_ascii_case("status") {
            let code = value.split(' ').next().and_then(|code| code.parse().ok()).unwrap_or(500);
            *response.status_mut() = answer::status(code).status();
        } else {
            response = answer::with(response, name, value);
        }
    }
    response
}
