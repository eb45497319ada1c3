//! What the runner writes into the user-data of an EC2 instance: how its agent finds the runner.

use serde::{Deserialize, Serialize};

/// The whole user-data, as JSON. Everything on the instance can read it, so there is no secret in it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct UserData {
    /// The runner's address, `https://host:port`.
    pub url: String,
    /// The SHA-256 of the runner's certificate (DER), 64 lower-case hex digits.
    pub fingerprint: String,
    /// The deployment that the instance belongs to; a part of its proof (see [`crate::proof`]).
    pub deployment: String,
    /// The STS endpoint that the runner asks, `https://sts.eu-central-1.amazonaws.com`: the proof is signed for its host.
    pub sts: String,
}
