//! How an EC2 instance proves what it is, without any secret of the runner: by a signed request that STS answers.
//!
//! At each registration the agent signs an STS `GetCallerIdentity` request with its instance role's credentials
//! (Signature Version 4) and gives the runner the headers, which the runner sends to STS itself. STS answers the
//! role and its session, whose name is the instance's id where EC2 itself took the role. The signature covers
//! deployment and run: nobody can use it for another runner or for another run of the agent. The secret key never
//! leaves the instance.
//!
//! The request is `POST /` with [`BODY`] and exactly the headers [`SIGNED`], all of them signed, and `authorization`.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use url::Url;
use warmstart_gitlab::secret::Secret;

/// The body of the request.
pub const BODY: &str = "Action=GetCallerIdentity&Version=2011-06-15";

/// The value of `content-type`.
pub const CONTENT_TYPE: &str = "application/x-www-form-urlencoded; charset=utf-8";

/// The header that names the deployment.
pub const DEPLOYMENT: &str = "x-warmstart-deployment";

/// The header that names the agent's run.
pub const RUN: &str = "x-warmstart-run";

/// The signed headers, in the order of the signature.
pub const SIGNED: [&str; 6] = ["content-type", "host", "x-amz-date", "x-amz-security-token", DEPLOYMENT, RUN];

/// The signed request. Its JSON is the `proof` of [`crate::Register`].
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Proof {
    /// [`SIGNED`] and `authorization`, in lower case, with their values.
    pub headers: BTreeMap<String, Secret>,
}

/// The value of `host` in a request to this endpoint: without the port where it is the usual one.
#[must_use]
pub fn host(endpoint: &Url) -> String {
    let host = endpoint.host_str().unwrap_or_default();
    endpoint.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signed_headers_are_in_the_order_of_the_signature() {
        assert!(SIGNED.is_sorted());
    }

    #[test]
    fn a_host_has_its_port_only_where_it_is_not_the_usual_one() {
        for (endpoint, expected) in [
            ("https://sts.eu-central-1.amazonaws.com", "sts.eu-central-1.amazonaws.com"),
            ("https://sts.eu-central-1.amazonaws.com:443/", "sts.eu-central-1.amazonaws.com"),
            ("http://127.0.0.1:5000", "127.0.0.1:5000"),
            ("http://[::1]:5000", "[::1]:5000"),
        ] {
            assert_eq!(host(&endpoint.parse().expect("a URL")), expected);
        }
    }

    #[test]
    fn a_proof_does_not_print_itself() {
        let proof = Proof { headers: [("x-amz-security-token".to_owned(), "secret".into())].into() };
        assert!(!format!("{proof:?}").contains("secret"));
    }
}
