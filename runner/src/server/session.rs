//! Session tokens: who an agent is, in a form that a restarted runner still believes.

use crate::ownership::Holder;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use warmstart_gitlab::secret::Secret;

/// `<executor>.<run id>.<HMAC-SHA256 of both>`, each part in URL-safe base64.
#[derive(Debug)]
pub(super) struct Sessions {
    key: Secret,
}

impl Sessions {
    pub(super) fn new(key: &Secret) -> Self {
        Self { key: key.clone() }
    }

    /// The token of a run of an executor.
    pub(super) fn issue(&self, holder: &Holder) -> Secret {
        let named = format!("{}.{}", BASE64.encode(&holder.executor), BASE64.encode(&holder.run));
        let mac = BASE64.encode(self.mac(named.as_bytes()).finalize().into_bytes());
        Secret::new(format!("{named}.{mac}"))
    }

    /// Whose token this is; `None` if it was not issued with this key.
    pub(super) fn verify(&self, token: &str) -> Option<Holder> {
        let (named, mac) = token.rsplit_once('.')?;
        self.mac(named.as_bytes()).verify_slice(&BASE64.decode(mac).ok()?).ok()?;
        let (executor, run) = named.split_once('.')?;
        let text = |part: &str| String::from_utf8(BASE64.decode(part).ok()?).ok();
        Some(Holder { executor: text(executor)?, run: text(run)? })
    }

    /// Whether two texts are equal, in a time that does not tell where they differ.
    pub(super) fn same(&self, one: &str, other: &str) -> bool {
        let expected = self.mac(one.as_bytes()).finalize().into_bytes();
        self.mac(other.as_bytes()).verify_slice(&expected).is_ok()
    }

    fn mac(&self, bytes: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.key.expose().as_bytes()).expect("any length of key will do");
        mac.update(bytes);
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder(executor: &str, run: &str) -> Holder {
        Holder { executor: executor.to_owned(), run: run.to_owned() }
    }

    #[test]
    fn a_token_names_its_run_and_no_other() {
        let sessions = Sessions::new(&"key".into());
        for whose in [holder("local-1", "run"), holder("a.b", "c.d"), holder("", ""), holder("ä\n", "x")] {
            assert_eq!(sessions.verify(sessions.issue(&whose).expose()), Some(whose));
        }
        assert_ne!(sessions.issue(&holder("a", "b")), sessions.issue(&holder("ab", "")));
    }

    #[test]
    fn a_token_of_another_key_or_a_changed_one_is_refused() {
        let sessions = Sessions::new(&"key".into());
        let token = sessions.issue(&holder("local-1", "run"));
        assert_eq!(Sessions::new(&"other".into()).verify(token.expose()), None);
        for at in 0..token.expose().len() {
            let mut bytes = token.expose().as_bytes().to_vec();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(sessions.verify(&String::from_utf8(bytes).expect("it is ASCII")), None, "byte {at}");
        }
        for rubbish in ["", ".", "..", "a.b", "a.b.c", "ä.ö.ü"] {
            assert_eq!(sessions.verify(rubbish), None);
        }
    }

    #[test]
    fn comparing_tells_equal_from_different() {
        let sessions = Sessions::new(&"key".into());
        assert!(sessions.same("abc", "abc") && !sessions.same("abc", "abd") && !sessions.same("", "a"));
    }
}
