//! Answers, as S3 words them.

use std::ops::Range;

use axum::{
    body::Body,
    http::{HeaderMap, Response, StatusCode, header},
};

use super::objects::Object;

/// Answers with XML.
pub(super) fn xml(status: StatusCode, body: &str) -> Response<Body> {
    let mut response = Response::new(Body::from(format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>{body}")));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/xml"));
    response
}

/// Answers with an error's code.
pub(super) fn error(status: StatusCode, code: &str) -> Response<Body> {
    xml(status, &format!("<Error><Code>{code}</Code><Message>{code}</Message></Error>"))
}

/// Answers with no content.
pub(super) fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// Answers with an object or the range of it that is asked for; without the bytes if `head`.
pub(super) fn object(object: &Object, headers: &HeaderMap, head: bool) -> Response<Body> {
    let size = object.bytes.len();
    let range = match headers.get(header::RANGE).map(|value| range(value.to_str().unwrap_or_default(), size)) {
        Some(None) => return error(StatusCode::RANGE_NOT_SATISFIABLE, "InvalidRange"),
        Some(Some(range)) => Some(range),
        None => None,
    };
    let bytes = range.clone().map_or_else(|| object.bytes.clone(), |range| object.bytes.slice(range));
    let modified = object.modified.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let mut response = Response::builder()
        .status(if range.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK })
        .header(header::CONTENT_LENGTH, bytes.len())
        .header(header::ETAG, &object.etag)
        .header(header::LAST_MODIFIED, modified)
        .header(header::ACCEPT_RANGES, "bytes");
    if let Some(Range { start, end }) = range {
        response = response.header(header::CONTENT_RANGE, format!("bytes {start}-{}/{size}", end - 1));
    }
    let body = if head { Body::empty() } else { Body::from(bytes) };
    response.body(body).unwrap_or_else(|_| empty(StatusCode::INTERNAL_SERVER_ERROR))
}

/// Reads `bytes=first-last`, `bytes=first-` and `bytes=-count`; none if it holds nothing of the object.
fn range(text: &str, size: usize) -> Option<Range<usize>> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    let range = match (first.parse::<usize>().ok(), last.parse::<usize>().ok()) {
        (Some(first), Some(last)) => first..size.min(last.saturating_add(1)),
        (Some(first), None) => first..size,
        (None, Some(count)) => size.saturating_sub(count)..size,
        (None, None) => return None,
    };
    (range.start < range.end).then_some(range)
}

/// Makes a key fit for XML.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::range;

    #[test]
    fn ranges_end_where_the_object_ends() {
        let cases =
            [("0-3", Some(0..4)), ("2-99", Some(2..10)), ("8-", Some(8..10)), ("-3", Some(7..10)), ("10-", None)];
        for (text, expected) in cases {
            assert_eq!(range(&format!("bytes={text}"), 10), expected, "{text}");
        }
    }
}
