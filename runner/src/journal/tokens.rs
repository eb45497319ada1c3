//! The newest token of each entry, where GitLab gives tokens that expire (protocol §1.4).

use super::{Error, Journal};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use warmstart_gitlab::secret::Secret;

/// A runner's token and its life.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Token {
    /// What GitLab accepts now, in place of the configured one.
    pub token: Secret,
    /// When it was got or first seen, in seconds since 1970.
    pub obtained: i64,
    /// When GitLab accepts it no longer, in seconds since 1970.
    pub expires: i64,
}

impl Journal {
    /// What is known of an entry's token. The entry is found by its configured token: whoever sets another one
    /// begins anew.
    pub async fn token(&self, configured: &Secret) -> Result<Option<Token>, Error> {
        self.read(&key(configured)).await
    }

    /// Writes the newest token of an entry.
    pub async fn write_token(&self, configured: &Secret, token: &Token) -> Result<(), Error> {
        self.put(&key(configured), token).await
    }
}

fn key(configured: &Secret) -> String {
    format!("tokens/{}", hex::encode(Sha256::digest(configured.expose())))
}
