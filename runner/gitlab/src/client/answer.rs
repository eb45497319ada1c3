//! What an answer's body and headers say (protocol §1.1, error bodies; §1.7, headers).

use crate::update::Signal;
use reqwest::Response;
use reqwest::header::HeaderMap;
use std::time::Duration;

/// So much of a body is read for its message, and to use the connection again.
const LIMIT: usize = 64 * 1024;

/// GitLab's reason in the body of an answer; empty if there is none.
pub(crate) async fn message(response: Response) -> String {
    decode(&String::from_utf8_lossy(&read(response).await))
}

/// The beginning of a body. One that breaks off ends there: it only explains a status that is known already.
pub(crate) async fn read(mut response: Response) -> Vec<u8> {
    let mut body = Vec::new();
    while body.len() < LIMIT
        && let Ok(Some(piece)) = response.chunk().await
    {
        body.extend_from_slice(&piece);
    }
    body
}

fn decode(body: &str) -> String {
    let json = serde_json::from_str::<serde_json::Value>(body).ok();
    let text = json.and_then(|json| of_json(&json)).or_else(|| of_xml(body)).unwrap_or_default();
    one_line(&text)
}

/// `message` as a text or as field → texts, else `error` as a text.
fn of_json(body: &serde_json::Value) -> Option<String> {
    use serde_json::Value;
    match body.get("message").or_else(|| body.get("error"))? {
        Value::String(text) => Some(text.clone()),
        Value::Object(fields) => Some(fields.iter().filter_map(field).collect::<Vec<_>>().join(", ")),
        _ => None,
    }
}

fn field((name, texts): (&String, &serde_json::Value)) -> Option<String> {
    let texts: Vec<&str> = texts.as_array()?.iter().filter_map(|text| text.as_str()).collect();
    Some(format!("{name}: {}", texts.join("; ")))
}

/// The error of an object store: `<Error><Code>…</Code><Message>…</Message></Error>`.
fn of_xml(body: &str) -> Option<String> {
    let (code, message) = (element(body, "Code"), element(body, "Message"));
    let parts: Vec<&str> = code.into_iter().chain(message).collect();
    (body.contains("<Error>") && !parts.is_empty()).then(|| parts.join(": "))
}

fn element<'a>(body: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = body.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(text, _)| text)
}

fn one_line(text: &str) -> String {
    let line: String = text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).take(500).collect();
    line.trim().to_owned()
}

/// `Job-Status`.
pub(crate) fn job_status(headers: &HeaderMap) -> Option<&str> {
    headers.get("Job-Status").and_then(|status| status.to_str().ok())
}

/// What `Job-Status` says.
pub(crate) fn signal(headers: &HeaderMap) -> Signal {
    Signal::of_status(job_status(headers))
}

/// `X-GitLab-Trace-Update-Interval`: seconds above 0, otherwise none.
pub(crate) fn interval(headers: &HeaderMap) -> Option<Duration> {
    let seconds: u64 = headers.get("X-GitLab-Trace-Update-Interval")?.to_str().ok()?.trim().parse().ok()?;
    (seconds > 0).then(|| Duration::from_secs(seconds))
}

/// The bytes that the server has by its `Range: 0-<stored>`; 0 if it cannot be read.
pub(crate) fn stored(headers: &HeaderMap) -> u64 {
    let range = headers.get("Range").and_then(|range| range.to_str().ok()).unwrap_or_default();
    range.rsplit_once('-').and_then(|(_, stored)| stored.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_found_in_each_kind_of_body() {
        let cases = [
            (r#"{"message":"403 Forbidden"}"#, "403 Forbidden"),
            (r#"{"message":{"tags":["a","b"],"url":["c"]}}"#, "tags: a; b, url: c"),
            (r#"{"error":"token is missing"}"#, "token is missing"),
            (r#"{"message":7}"#, ""),
            ("<html>", ""),
            ("<?xml?><Error><Code>AccessDenied</Code><Message>Expired</Message></Error>", "AccessDenied: Expired"),
            ("{\"message\":\"two\\nlines\"}", "two lines"),
            ("", ""),
        ];
        for (body, expected) in cases {
            assert_eq!(decode(body), expected, "{body}");
        }
    }

    #[test]
    fn headers_of_the_trace_are_read_leniently() {
        let with = |name: &'static str, value: &str| {
            HeaderMap::from_iter([(name.parse().expect("a name"), value.parse().expect("a value"))])
        };
        for (text, seconds) in [("3", Some(3)), ("0", None), ("-1", None), ("x", None), ("100000", Some(100_000))] {
            assert_eq!(interval(&with("X-GitLab-Trace-Update-Interval", text)), seconds.map(Duration::from_secs));
        }
        for (text, bytes) in [("0-17", 17), ("0-0", 0), ("17", 0), ("0-x", 0), ("", 0)] {
            assert_eq!(stored(&with("Range", text)), bytes);
        }
    }
}
