//! What a runner is to GitLab and to its agents: made once, kept in the journal.

use super::{Error, Journal, encode, within};
use rand::RngExt;
use rcgen::CertifiedKey;
use serde::{Deserialize, Serialize};
use warmstart_cache::store::Store;
use warmstart_gitlab::secret::Secret;
use warmstart_gitlab::token;

const KEY: &str = "runner/identity";

/// The runner's identity. Whoever has it can pretend to be the runner towards its agents.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Identity {
    /// GitLab's name for this runner manager, the same however often the process is replaced (protocol §1.2).
    pub system_id: String,
    /// The key of the agents' session tokens, 64 hex digits.
    pub session_key: Secret,
    /// The self-signed certificate of the agents' API, PEM.
    pub certificate: String,
    /// Its key, PEM.
    pub key: Secret,
}

impl Journal {
    /// The runner's identity; the first call makes it.
    pub async fn identity(&self) -> Result<Identity, Error> {
        if let Some(identity) = self.read(KEY).await? {
            return Ok(identity);
        }
        let new = encode(KEY, &make()?)?;
        within(KEY, self.store.put_if_absent(KEY, new)).await?;
        let missing =
            || Error::Record { key: KEY.to_owned(), reason: "it is not there after it was written".to_owned() };
        self.read(KEY).await?.ok_or_else(missing)
    }
}

fn make() -> Result<Identity, Error> {
    let failed = |error: rcgen::Error| Error::Record { key: KEY.to_owned(), reason: error.to_string() };
    let CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["warmstart-runner".to_owned()]).map_err(failed)?;
    Ok(Identity {
        system_id: token::random_system_id(),
        session_key: Secret::new(random_hex()),
        certificate: cert.pem(),
        key: Secret::new(signing_key.serialize_pem()),
    })
}

/// 256 random bits.
pub(crate) fn random_hex() -> String {
    hex::encode(rand::rng().random::<[u8; 32]>())
}
