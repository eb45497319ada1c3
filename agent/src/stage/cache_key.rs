//! Cache keys: as GitLab makes them sound (protocol §5).

/// A key that can be used.
#[derive(Debug, Eq, PartialEq)]
pub struct Sanitized {
    /// What is left of it.
    pub key: String,
    /// Whether that differs from what was asked for.
    pub changed: bool,
}

/// Makes a key sound: no escapes, no `.` or `..`, no blank ends. `None` when nothing is left.
#[must_use]
pub fn sanitize(raw: &str) -> Option<Sanitized> {
    let plain = unescape(raw).replace('\\', "/");
    let mut segments: Vec<&str> = Vec::new();
    for segment in plain.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            segment => segments.push(segment),
        }
    }
    while let Some(last) = segments.pop() {
        let trimmed = last.trim_end();
        if !trimmed.is_empty() {
            segments.push(trimmed);
            break;
        }
    }
    let key = segments.join("/");
    (!key.is_empty()).then(|| Sanitized { changed: key != raw, key })
}

/// `%2f` and `%2e`, in any case of letters.
fn unescape(raw: &str) -> String {
    let mut text = raw.to_owned();
    for (escape, plain) in [("%2f", "/"), ("%2F", "/"), ("%2e", "."), ("%2E", ".")] {
        text = text.replace(escape, plain);
    }
    text
}

/// Whether `CACHE_FALLBACK_KEY` asks for a protected cache, which it never gets.
#[must_use]
pub fn is_protected_fallback(key: &str) -> bool {
    key.trim_matches(['.', ' ']).ends_with("-protected")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_sanitized_as_in_the_vectors() {
        let cases = [
            ("a/./b", "a/b"),
            ("a\\..\\b", "b"),
            ("x%2Fy", "x/y"),
            ("../../k", "k"),
            ("k/ / ", "k"),
            (" k ", " k"),
            ("plain-key", "plain-key"),
        ];
        for (raw, key) in cases {
            assert_eq!(sanitize(raw), Some(Sanitized { key: key.to_owned(), changed: raw != key }), "{raw:?}");
        }
        for raw in ["..", "/", " ", "", "a/.."] {
            assert_eq!(sanitize(raw), None, "{raw:?}");
        }
    }

    #[test]
    fn a_protected_fallback_is_noticed_behind_dots_and_spaces() {
        assert!(is_protected_fallback("main-protected. "));
        assert!(!is_protected_fallback("main-non_protected"));
    }
}
