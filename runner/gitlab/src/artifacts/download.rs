//! Download of artifacts (protocol §1.11).

use crate::Error;
use crate::artifacts::Tries;
use crate::client::JobClient;
use crate::client::transport::{Call, Transport, is_redirect};
use reqwest::{Method, RequestBuilder, Response};
use std::io::SeekFrom;
use tokio::fs::File;
use tokio::io::{AsyncSeekExt, AsyncWriteExt};

const TRIES: usize = 3;

/// Redirects that are followed, at most.
const HOPS: usize = 10;

/// Downloads the artifacts of the job that `dependency` names (its id and its token) into `file` and rewinds it;
/// gives the number of bytes. `direct` is `FF_USE_DIRECT_DOWNLOAD`: GitLab may answer with the object store's URL.
///
/// Fails with status 401 or 403 (denied) or 404 (there are none) at once, otherwise after three tries; while GitLab does
/// not answer, or answers 5xx, it is tried on for [`crate::Timing::away`].
pub async fn download(dependency: &JobClient, file: &mut File, direct: bool) -> Result<u64, Error> {
    let transport = &dependency.client.transport;
    let mut tries = Tries::new(transport.timing().away);
    loop {
        let error = match attempt(dependency, file, direct && tries.made() == 0).await {
            Ok(bytes) => return Ok(bytes),
            Err(error) => error,
        };
        if !tries.go_on(&error, if is_final(&error) { 1 } else { TRIES }) {
            return Err(error);
        }
        let pause = transport.timing().download_pause;
        tracing::warn!(dependency = dependency.id(), ?pause, "{error}; trying again");
        tokio::time::sleep(pause).await;
    }
}

fn is_final(error: &Error) -> bool {
    matches!(error, Error::Status { status: 401 | 403 | 404, .. } | Error::File { .. } | Error::Setup { .. })
}

async fn attempt(dependency: &JobClient, file: &mut File, direct: bool) -> Result<u64, Error> {
    let transport = &dependency.client.transport;
    let path = format!("jobs/{}/artifacts", dependency.id());
    let mut call = transport.call("download artifacts", Method::GET, &path);
    if direct {
        // Asked once only: GitLab's own runner leaves the parameter out of every later attempt.
        call.url.set_query(Some("direct_download=true"));
        call.attempts = 1;
    }
    let response = follow(transport, &mut call, dependency).await?;
    if response.status() != 200 {
        return Err(call.failure(response).await);
    }
    save(&call, response, file).await
}

/// Follows redirects; the job's token goes to GitLab's own scheme, host and port only.
async fn follow(transport: &Transport, call: &mut Call, dependency: &JobClient) -> Result<Response, Error> {
    let home = call.url.origin();
    for _ in 0..=HOPS {
        let at_home = call.url.origin() == home;
        let dress = |request: RequestBuilder| {
            if at_home { request.header("JOB-TOKEN", dependency.token.expose()) } else { request }
        };
        let response = transport.send(call, dress).await?;
        let location = response.headers().get("Location").filter(|_| is_redirect(response.status()));
        let Some(location) = location else { return Ok(response) };
        let next = location.to_str().ok().and_then(|location| call.url.join(location).ok());
        call.url = next.ok_or_else(|| call.misunderstood("the redirect leads nowhere"))?;
    }
    Err(call.misunderstood("too many redirects"))
}

async fn save(call: &Call, mut response: Response, file: &mut File) -> Result<u64, Error> {
    let failed = |source| Error::File { what: "write downloaded artifacts".into(), source };
    file.set_len(0).await.map_err(failed)?;
    file.seek(SeekFrom::Start(0)).await.map_err(failed)?;
    let mut bytes = 0;
    while let Some(piece) = response.chunk().await.map_err(|error| call.transport(&error))? {
        file.write_all(&piece).await.map_err(failed)?;
        bytes += piece.len() as u64;
    }
    file.flush().await.map_err(failed)?;
    file.seek(SeekFrom::Start(0)).await.map_err(failed)?;
    Ok(bytes)
}
