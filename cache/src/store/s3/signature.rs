//! Signing objects that are named by their content, without hashing them once more.
//!
//! A signature covers the SHA-256 of the body. The name of a pack or a manifest says it, and a store that compares it
//! with the body refuses what does not have the content of its name.

use aws_runtime::auth::PayloadSigningOverride;
use aws_sdk_s3::{
    config::{ConfigBag, Intercept, RuntimeComponents, interceptors::BeforeTransmitInterceptorContextRef},
    error::BoxError,
};

use crate::digest::Digest;

/// Signs a body by this digest.
#[derive(Debug)]
pub(super) struct BodyDigest(pub(super) Digest);

impl BodyDigest {
    /// Gives the digest that a key names its object's content by.
    pub(super) fn of_key(key: &str) -> Option<Self> {
        let mut segments = key.rsplit('/');
        let (name, kind) = (segments.next()?, segments.next()?);
        ["manifests", "packs"].contains(&kind).then(|| name.parse().ok().map(Self))?
    }
}

impl Intercept for BodyDigest {
    fn name(&self) -> &'static str {
        "BodyDigest"
    }

    fn read_before_signing(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        config.interceptor_state().store_put(PayloadSigningOverride::Precomputed(self.0.to_string()));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_content_say_a_digest() {
        let digest = Digest::of(b"x");
        let found = |key: String| BodyDigest::of_key(&key).map(|found| found.0);
        assert_eq!(found(format!("v1/7/unprotected/packs/{digest}")), Some(digest));
        assert_eq!(found(format!("v1/7/unprotected/manifests/{digest}")), Some(digest));
        for key in [format!("v1/7/unprotected/refs/{digest}"), digest.to_string(), "packs/x".to_owned()] {
            assert_eq!(found(key.clone()), None, "{key}");
        }
    }
}
