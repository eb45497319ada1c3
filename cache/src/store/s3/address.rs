//! What an address in S3 says: `s3://bucket/prefix?endpoint=…&region=…`.

use std::str::FromStr as _;

use aws_sdk_s3::types::{RequestPayer, ServerSideEncryption};
use url::Url;

use super::super::{Error, check_key};

/// Everything that may stand behind the `?`.
const OPTIONS: [&str; 7] = ["endpoint", "region", "path-style", "sse", "kms-key", "bucket-key", "requester-pays"];

/// A bucket, a prefix in it, and how to speak to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) bucket: String,
    /// Without slashes at its ends; empty for the whole bucket.
    pub(super) prefix: String,
    pub(super) endpoint: Option<String>,
    pub(super) region: Option<String>,
    /// Whether the bucket is named in the path instead of the host; by default only with an endpoint of its own.
    pub(super) path_style: Option<bool>,
    pub(super) encryption: Encryption,
    /// Set when whoever asks pays for the requests, as a bucket may demand.
    pub(super) payer: Option<RequestPayer>,
}

/// How S3 encrypts what is written; what is `None` is the bucket's own choice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Encryption {
    pub(super) method: Option<ServerSideEncryption>,
    pub(super) kms_key: Option<String>,
    pub(super) bucket_key: Option<bool>,
}

impl Address {
    /// Reads an address; an option that does not exist is an error that names the nearest one.
    pub(super) fn parse(url: &Url) -> Result<Self, Error> {
        let error = |reason: String| Error::Address { url: url.to_string(), reason };
        let bucket = url.host_str().unwrap_or_default().to_owned();
        let prefix = url.path().trim_matches('/').to_owned();
        if bucket.is_empty() {
            return Err(error("names no bucket".to_owned()));
        }
        if !prefix.is_empty() {
            check_key(&prefix)?;
        }
        let mut address = Self { bucket, prefix, ..Self::default() };
        let mut seen: Vec<String> = Vec::new();
        for (name, value) in url.query_pairs() {
            if seen.contains(&name.to_string()) {
                return Err(error(format!("has the option {name} twice")));
            }
            address.set(&name, &value).map_err(error)?;
            seen.push(name.into_owned());
        }
        address.check().map_err(|reason| error(reason.to_owned()))?;
        Ok(address)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        if value.is_empty() && OPTIONS.contains(&name) {
            return Err(format!("has an empty {name}"));
        }
        let text = || Some(value.to_owned());
        match name {
            "endpoint" => self.endpoint = text(),
            "region" => self.region = text(),
            "path-style" => self.path_style = Some(boolean(name, value)?),
            "sse" => self.encryption.method = Some(method(value)?),
            "kms-key" => self.encryption.kms_key = text(),
            "bucket-key" => self.encryption.bucket_key = Some(boolean(name, value)?),
            "requester-pays" => self.payer = boolean(name, value)?.then_some(RequestPayer::Requester),
            _ => return Err(unknown(name)),
        }
        Ok(())
    }

    /// A key of KMS means encryption by KMS.
    fn check(&mut self) -> Result<(), &'static str> {
        let Encryption { method, kms_key, .. } = &mut self.encryption;
        if kms_key.is_some() && method.get_or_insert(ServerSideEncryption::AwsKms) == &ServerSideEncryption::Aes256 {
            return Err("has a kms-key, which sse=AES256 does not use");
        }
        Ok(())
    }
}

fn boolean(name: &str, value: &str) -> Result<bool, String> {
    bool::from_str(value).map_err(|_| format!("has {name}={value}, which is neither true nor false"))
}

fn method(value: &str) -> Result<ServerSideEncryption, String> {
    match ServerSideEncryption::from(value) {
        known @ (ServerSideEncryption::Aes256 | ServerSideEncryption::AwsKms | ServerSideEncryption::AwsKmsDsse) => {
            Ok(known)
        }
        _ => Err(format!("has sse={value}, which is none of AES256, aws:kms and aws:kms:dsse")),
    }
}

fn unknown(name: &str) -> String {
    let near = OPTIONS
        .into_iter()
        .max_by(|one, other| strsim::jaro_winkler(one, name).total_cmp(&strsim::jaro_winkler(other, name)));
    format!("has the unknown option {name}, the nearest known one is {}", near.unwrap_or_default())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Address, String> {
        Address::parse(&text.parse().unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn everything_that_an_address_may_say_is_understood() {
        let text = "s3://bucket/a/prefix/?endpoint=https://s3.example.com:9000&region=eu-central-1&path-style=false\
                    &sse=aws:kms&kms-key=arn:aws:kms:eu-central-1:1:key/2&bucket-key=true&requester-pays=true";
        let expected = Address {
            bucket: "bucket".into(),
            prefix: "a/prefix".into(),
            endpoint: Some("https://s3.example.com:9000".into()),
            region: Some("eu-central-1".into()),
            path_style: Some(false),
            encryption: Encryption {
                method: Some(ServerSideEncryption::AwsKms),
                kms_key: Some("arn:aws:kms:eu-central-1:1:key/2".into()),
                bucket_key: Some(true),
            },
            payer: Some(RequestPayer::Requester),
        };
        assert_eq!(parse(text), Ok(expected));
        assert_eq!(parse("s3://b"), Ok(Address { bucket: "b".into(), ..Address::default() }));
        let keyed = parse("s3://b?kms-key=alias/caches").unwrap();
        assert_eq!(keyed.encryption.method, Some(ServerSideEncryption::AwsKms));
    }

    #[test]
    fn what_nobody_knows_is_refused_with_the_nearest_known_name() {
        for (text, reason) in [
            ("s3://b?regoin=x", "unknown option regoin, the nearest known one is region"),
            ("s3://b?pathstyle=true", "unknown option pathstyle, the nearest known one is path-style"),
            ("s3://b?kms_key_id=x", "the nearest known one is kms-key"),
            ("s3://b?path-style=1", "path-style=1, which is neither true nor false"),
            ("s3://b?sse=kms", "none of AES256, aws:kms and aws:kms:dsse"),
            ("s3://b?sse=AES256&kms-key=x", "sse=AES256 does not use"),
            ("s3://b?region=", "has an empty region"),
            ("s3://b?region=a&region=b", "has the option region twice"),
            ("s3://", "names no bucket"),
        ] {
            let said = parse(text).unwrap_err();
            assert!(said.contains(reason), "{text}: {said}");
        }
    }
}
