//! Values that are checked where they are read, so that an error has its line.

use serde::de::{Deserialize, Deserializer, Error};
use std::time::Duration;

/// A duration like `15m` or `1h 30m`.
#[derive(Clone, Copy, Debug)]
pub struct Humane(pub Duration);

impl<'de> Deserialize<'de> for Humane {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let wrong =
            |why| D::Error::custom(format!("`{text}` is no duration ({why}); write for example `15m` or `90s`"));
        humantime::parse_duration(&text).map(Self).map_err(wrong)
    }
}

/// GitLab's URL.
#[derive(Clone, Debug)]
pub(super) struct GitLabUrl(pub(super) String);

impl<'de> Deserialize<'de> for GitLabUrl {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let url = url::Url::parse(&text).map_err(|why| D::Error::custom(format!("url is no URL: {why}")))?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(D::Error::custom("url must begin with https:// or http:// and name a host"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(D::Error::custom("url must not contain a user or password: the token is a key of its own"));
        }
        Ok(Self(text))
    }
}

/// The address of a store.
#[derive(Clone, Debug)]
pub(super) struct StoreUrl(pub(super) String);

impl<'de> Deserialize<'de> for StoreUrl {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        if ["file:///", "s3://"].iter().any(|scheme| text.len() > scheme.len() && text.starts_with(scheme)) {
            return Ok(Self(text));
        }
        Err(D::Error::custom(format!("`{text}` is no store: write file:///directory or s3://bucket/prefix")))
    }
}

/// What agents dial.
#[derive(Clone, Debug)]
pub struct AgentAddress(pub String);

impl<'de> Deserialize<'de> for AgentAddress {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let good =
            url::Url::parse(&text).is_ok_and(|url| url.scheme() == "https" && url.has_host() && url.path() == "/");
        if good {
            Ok(Self(text))
        } else {
            Err(D::Error::custom(format!("`{text}` is not of the form https://host:port")))
        }
    }
}
