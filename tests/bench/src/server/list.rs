//! `ListObjectsV2`, and `ListObjects` of the first version.

use std::{collections::BTreeSet, fmt::Write as _};

use super::{answer::escape, objects::Objects};

/// What a listing asks for; parameters that are not named here are ignored.
#[derive(Debug, Default)]
pub(super) struct Query {
    pub(super) prefix: String,
    pub(super) delimiter: Option<String>,
    /// Names up to this one are not listed: the continuation token, the marker or where to start.
    pub(super) after: String,
    pub(super) limit: usize,
    pub(super) version_2: bool,
}

impl Query {
    pub(super) fn parse(query: &str) -> Self {
        let mut parsed = Self { limit: 1000, ..Self::default() };
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let value = value.into_owned();
            match &*name {
                "prefix" => parsed.prefix = value,
                "delimiter" if !value.is_empty() => parsed.delimiter = Some(value),
                "continuation-token" | "marker" | "start-after" => parsed.after = parsed.after.max(value),
                "max-keys" => parsed.limit = value.parse().unwrap_or(1000).min(1000),
                "list-type" => parsed.version_2 = value == "2",
                _ => {}
            }
        }
        parsed
    }
}

/// Answers a listing of `bucket` in XML.
pub(super) fn list(objects: &Objects, bucket: &str, query: &Query) -> String {
    let Query { prefix, delimiter, after, limit, version_2 } = query;
    let inside = format!("{bucket}/");
    let (mut contents, mut prefixes) = (String::new(), BTreeSet::new());
    let (mut count, mut last, mut truncated) = (0, String::new(), false);
    let after_name = if after.is_empty() { String::new() } else { format!("{inside}{after}") };
    objects.scan(&format!("{inside}{prefix}"), &after_name, |name, object| {
        let key = &name[inside.len()..];
        let folder = delimiter.as_ref().and_then(|delimiter| folder(key, prefix, delimiter));
        if folder.as_ref().is_some_and(|folder| prefixes.contains(folder) || after.starts_with(folder)) {
            return true;
        }
        truncated = count == *limit;
        if truncated {
            return false;
        }
        count += 1;
        key.clone_into(&mut last);
        if let Some(folder) = folder {
            last.clone_from(&folder);
            prefixes.insert(folder);
        } else {
            let (key, etag, size, modified) = (escape(key), escape(&object.etag), object.bytes.len(), object.modified);
            let _ = write!(
                contents,
                "<Contents><Key>{key}</Key><LastModified>{modified:.3}</LastModified><ETag>{etag}</ETag>\
                 <Size>{size}</Size><StorageClass>STANDARD</StorageClass></Contents>"
            );
        }
        true
    });
    for prefix in &prefixes {
        let _ = write!(contents, "<CommonPrefixes><Prefix>{}</Prefix></CommonPrefixes>", escape(prefix));
    }
    let next = if *version_2 { "NextContinuationToken" } else { "NextMarker" };
    let next = if truncated { format!("<{next}>{}</{next}>", escape(&last)) } else { String::new() };
    format!(
        "<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>{bucket}</Name><Prefix>{}</Prefix>\
         <KeyCount>{count}</KeyCount><MaxKeys>{limit}</MaxKeys><IsTruncated>{truncated}</IsTruncated>{next}{contents}\
         </ListBucketResult>",
        escape(prefix)
    )
}

/// Gives the key up to the first delimiter after the prefix.
fn folder(key: &str, prefix: &str, delimiter: &str) -> Option<String> {
    let rest = key.get(prefix.len()..)?;
    let end = rest.find(delimiter)? + delimiter.len();
    Some(key[..prefix.len() + end].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(names: &[&str]) -> Objects {
        let objects = Objects::default();
        for name in names {
            objects.put(&format!("bucket/{name}"), "x".into(), |_| true);
        }
        objects
    }

    fn keys(xml: &str, tag: &str) -> Vec<String> {
        xml.split(&format!("<{tag}>"))
            .skip(1)
            .map(|part| part.split('<').next().unwrap_or_default().to_owned())
            .collect()
    }

    #[test]
    fn pages_follow_each_other_without_gap_or_repeat() {
        let objects = store(&["a/1", "a/2", "a/3", "b/1"]);
        let first = list(&objects, "bucket", &Query::parse("list-type=2&prefix=a/&max-keys=2"));
        assert_eq!(keys(&first, "Key"), ["a/1", "a/2"]);
        let token = &keys(&first, "NextContinuationToken")[0];
        let second =
            list(&objects, "bucket", &Query::parse(&format!("list-type=2&prefix=a/&continuation-token={token}")));
        assert_eq!(keys(&second, "Key"), ["a/3"]);
        assert!(second.contains("<IsTruncated>false"));
    }

    #[test]
    fn a_delimiter_makes_one_folder_of_many_keys_also_across_pages() {
        let objects = store(&["a/1", "a/2", "b", "c/1"]);
        let first = list(&objects, "bucket", &Query::parse("delimiter=/&max-keys=1"));
        assert_eq!(keys(&first, "CommonPrefixes><Prefix"), ["a/"]);
        let rest = list(&objects, "bucket", &Query::parse("delimiter=/&marker=a/"));
        assert_eq!((keys(&rest, "Key"), keys(&rest, "CommonPrefixes><Prefix")), (vec!["b".into()], vec!["c/".into()]));
    }
}
