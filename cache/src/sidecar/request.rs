//! What a request asks for. Paths are taken as they were sent: a key has no character that needs escaping, so one
//! that is escaped is no key.

use std::ops::Range;

use hyper::{
    Method, StatusCode,
    header::{HeaderName, IF_MATCH, IF_NONE_MATCH, RANGE},
    http::request::Parts,
};

use super::{LARGEST, PAGE};
use crate::store::Etag;

/// The path of the listing, and of all objects with their key behind it.
const OBJECTS: &str = "/v1/objects";

/// A status and the line that explains it.
pub(super) type Refusal = (StatusCode, String);

/// A call of one of the store's verbs.
#[derive(Debug, PartialEq)]
pub(super) enum Call {
    Get { key: String, range: Option<Range<u64>> },
    Put { key: String, when: When },
    Touch { key: String },
    Delete { key: String },
    List { prefix: String, after: String, limit: usize },
}

/// What has to be there for a write to happen.
#[derive(Debug, PartialEq)]
pub(super) enum When {
    Always,
    Absent,
    Match(Etag),
}

/// Reads the head of a request.
pub(super) fn parse(parts: &Parts) -> Result<Call, Refusal> {
    let Some(rest) = parts.uri.path().strip_prefix(OBJECTS) else { return Err(nowhere(parts)) };
    if rest.is_empty() && parts.method == Method::GET {
        return Ok(listing(parts.uri.query().unwrap_or_default()));
    }
    let key = rest.strip_prefix('/').ok_or_else(|| nowhere(parts))?.to_owned();
    match parts.method {
        Method::GET => Ok(Call::Get { key, range: range(parts)? }),
        Method::PUT => Ok(Call::Put { key, when: when(parts)? }),
        Method::POST => Ok(Call::Touch { key }),
        Method::DELETE => Ok(Call::Delete { key }),
        _ => Err((StatusCode::METHOD_NOT_ALLOWED, format!("{} means nothing here", parts.method))),
    }
}

fn nowhere(parts: &Parts) -> Refusal {
    // Not 404: that says that an object is not there.
    (StatusCode::BAD_REQUEST, format!("there is nothing at {}; objects are at {OBJECTS}/KEY", parts.uri.path()))
}

fn listing(query: &str) -> Call {
    let (mut prefix, mut after, mut limit) = (String::new(), String::new(), PAGE);
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        match &*name {
            "prefix" => prefix = value.into_owned(),
            "after" => after = value.into_owned(),
            "limit" => limit = value.parse().map_or(PAGE, |wanted: usize| wanted.min(PAGE)),
            _ => {}
        }
    }
    Call::List { prefix, after, limit }
}

fn header<'parts>(parts: &'parts Parts, name: &HeaderName) -> Result<Option<&'parts str>, Refusal> {
    let bad = |_| (StatusCode::BAD_REQUEST, format!("the header {name} is not plain text"));
    parts.headers.get(name).map(|value| value.to_str().map_err(bad)).transpose()
}

/// The range that was asked for, with its end behind its last byte.
fn range(parts: &Parts) -> Result<Option<Range<u64>>, Refusal> {
    let Some(text) = header(parts, &RANGE)? else { return Ok(None) };
    let ends = text.strip_prefix("bytes=").and_then(|ends| ends.split_once('-'));
    let range = ends.and_then(|(first, last)| Some(first.parse().ok()?..last.parse::<u64>().ok()?.checked_add(1)?));
    match range {
        Some(range) if !range.is_empty() && range.end - range.start <= LARGEST => Ok(Some(range)),
        _ => {
            let reason = format!("the range {text} is not bytes=FIRST-LAST of at most {LARGEST} bytes");
            Err((StatusCode::BAD_REQUEST, reason))
        }
    }
}

fn when(parts: &Parts) -> Result<When, Refusal> {
    match (header(parts, &IF_NONE_MATCH)?, header(parts, &IF_MATCH)?) {
        (None, None) => Ok(When::Always),
        (Some("*"), None) => Ok(When::Absent),
        (None, Some(text)) if let Some(etag) = unquote(text) => Ok(When::Match(etag)),
        _ => {
            let reason = "a put takes If-None-Match: * or If-Match: with one version as it was given";
            Err((StatusCode::BAD_REQUEST, reason.to_owned()))
        }
    }
}

/// Writes a version as a header: stores' own may have any characters, quotes too.
pub(super) fn quote(etag: &Etag) -> String {
    format!("\"{}\"", hex::encode(&etag.0))
}

fn unquote(text: &str) -> Option<Etag> {
    let digits = text.strip_prefix('"')?.strip_suffix('"')?;
    String::from_utf8(hex::decode(digits).ok()?).ok().map(Etag)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use hyper::Request;

    use super::*;

    fn call(method: &str, path: &str, header: Option<(&str, &str)>) -> Result<Call, StatusCode> {
        let request = Request::builder().method(method).uri(path);
        let request = header.into_iter().fold(request, |request, (name, value)| request.header(name, value));
        parse(&request.body(()).unwrap().into_parts().0).map_err(|(status, _)| status)
    }

    #[test]
    fn requests_are_the_verbs_of_a_store() {
        let key = || "v1/7/protected/packs/a".to_owned();
        let path = "/v1/objects/v1/7/protected/packs/a";
        assert_eq!(call("GET", path, None), Ok(Call::Get { key: key(), range: None }));
        let range = Some(("range", "bytes=2-4"));
        assert_eq!(call("GET", path, range), Ok(Call::Get { key: key(), range: Some(2..5) }));
        assert_eq!(call("PUT", path, None), Ok(Call::Put { key: key(), when: When::Always }));
        let absent = Some(("if-none-match", "*"));
        assert_eq!(call("PUT", path, absent), Ok(Call::Put { key: key(), when: When::Absent }));
        assert_eq!(call("POST", path, None), Ok(Call::Touch { key: key() }));
        assert_eq!(call("DELETE", path, None), Ok(Call::Delete { key: key() }));
        let list = |prefix: &str, after: &str, limit| Call::List { prefix: prefix.into(), after: after.into(), limit };
        assert_eq!(call("GET", "/v1/objects", None), Ok(list("", "", PAGE)));
        assert_eq!(call("GET", "/v1/objects?prefix=a%2Fb/&after=a/b/c&limit=7", None), Ok(list("a/b/", "a/b/c", 7)));
        assert_eq!(call("GET", "/v1/objects?limit=99999999999", None), Ok(list("", "", PAGE)));
    }

    #[test]
    fn a_version_comes_back_as_the_store_gave_it() {
        for text in ["", "0f3c", "\"quoted\"", "ä"] {
            let etag = Etag(text.to_owned());
            let sent = quote(&etag);
            let call = call("PUT", "/v1/objects/a", Some(("if-match", &sent)));
            assert_eq!(call, Ok(Call::Put { key: "a".to_owned(), when: When::Match(etag) }));
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        for range in ["bytes=0-", "bytes=-5", "bytes=5-4", "items=0-1", "bytes=0-1,3-4", "bytes=0-199999999", ""] {
            assert_eq!(call("GET", "/v1/objects/a", Some(("range", range))), Err(StatusCode::BAD_REQUEST), "{range}");
        }
        let last = format!("bytes=0-{}", u64::MAX);
        assert_eq!(call("GET", "/v1/objects/a", Some(("range", &last))), Err(StatusCode::BAD_REQUEST));
        for etag in ["*", "\"", "0f", "\"zz\"", "\"0f\", \"0e\""] {
            assert_eq!(call("PUT", "/v1/objects/a", Some(("if-match", etag))), Err(StatusCode::BAD_REQUEST), "{etag}");
        }
        assert_eq!(call("PUT", "/v1/objects/a", Some(("if-none-match", "x"))), Err(StatusCode::BAD_REQUEST));
        assert_eq!(call("PATCH", "/v1/objects/a", None), Err(StatusCode::METHOD_NOT_ALLOWED));
        for path in ["/", "/v1", "/v1/objectsa", "/v2/objects/a"] {
            assert_eq!(call("GET", path, None), Err(StatusCode::BAD_REQUEST), "{path}");
        }
    }

    #[test]
    fn a_key_is_taken_as_it_was_sent() {
        let key = |path: &str| match call("GET", path, None) {
            Ok(Call::Get { key, .. }) => key,
            other => panic!("{other:?}"),
        };
        assert_eq!(key("/v1/objects/a/../b"), "a/../b");
        assert_eq!(key("/v1/objects/a/%2e%2e/b"), "a/%2e%2e/b");
        assert_eq!(key("/v1/objects/"), "");
    }
}
