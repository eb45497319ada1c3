//! What clients may do.

use super::{
    LARGEST,
    request::{Call, When},
};
use crate::{
    digest::Digest,
    scope::Scope,
    store::{check_key, check_prefix},
};

/// The largest ref that readers accept.
const LARGEST_REF: u64 = 16 << 10;

/// What the clients of a server may do.
#[derive(Clone, Debug)]
pub enum Access {
    /// Everything that the server itself may.
    Full,
    /// Read and save caches of these scopes. What is there is neither replaced by other content nor removed.
    Scopes(Vec<Scope>),
}

/// What the content of a put has to be.
#[derive(Debug, PartialEq)]
pub(super) struct Terms {
    pub(super) largest: u64,
    pub(super) digest: Option<Digest>,
}

impl Access {
    /// Lets a call through, or says why not. A name that breaks the rules of names lies in no scope.
    pub(super) fn check(&self, call: &Call) -> Result<(), String> {
        let Self::Scopes(scopes) = self else { return Ok(()) };
        let (name, sound) = match call {
            Call::List { prefix, .. } => (prefix, check_prefix(prefix)),
            Call::Get { key, .. } | Call::Put { key, .. } | Call::Touch { key } | Call::Delete { key } => {
                (key, check_key(key))
            }
        };
        sound.map_err(|error| error.to_string())?;
        if !scopes.iter().any(|scope| name.starts_with(&scope.prefix())) {
            return Err(format!("{name} is outside the scopes that are served here: {}", list(scopes)));
        }
        match call {
            Call::Delete { .. } => Err("nothing is deleted through this server".to_owned()),
            _ => Ok(()),
        }
    }

    /// Gives the terms of a put that [`Self::check`] has let through, or says why it is none.
    pub(super) fn terms(&self, key: &str, when: &When) -> Result<Terms, String> {
        let Self::Scopes(_) = self else { return Ok(Terms { largest: LARGEST, digest: None }) };
        let segments: Vec<_> = key.split('/').collect();
        // v1, the project and the protection come first.
        match (segments.get(3..).unwrap_or_default(), when) {
            (["refs", _, _], When::Absent) => Ok(Terms { largest: LARGEST_REF, digest: None }),
            (["refs", _, _], _) => Err("a ref is written once and never replaced (If-None-Match: *)".to_owned()),
            (["manifests" | "packs", name], When::Always | When::Absent) => {
                let digest = name.parse().map_err(|reason| format!("{name}: {reason}"))?;
                Ok(Terms { largest: LARGEST, digest: Some(digest) })
            }
            _ => Err(format!("{key} is not what a cache consists of, or is to be replaced by something else")),
        }
    }
}

fn list(scopes: &[Scope]) -> String {
    scopes.iter().map(Scope::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::store::Etag;

    fn access() -> Access {
        Access::Scopes(vec!["7/unprotected".parse().unwrap(), "group/x/protected".parse().unwrap()])
    }

    fn get(key: &str) -> Call {
        Call::Get { key: key.to_owned(), range: None }
    }

    #[test]
    fn a_name_outside_the_scopes_is_refused_whatever_its_spelling() {
        for key in [
            "v1/7/protected/packs/a",
            "v1/77/unprotected/packs/a",
            "v1/7/unprotected",
            "v1/7/unprotected/",
            "v1/7/unprotectedx/a",
            "v1/7/unprotected/../protected/packs/a",
            "v1/7/unprotected/%2e%2e/protected/packs/a",
            "v1/7/unprotected//a",
            "/v1/7/unprotected/packs/a",
            "v1//7/unprotected/packs/a",
            "v1/%37/unprotected/packs/a",
            "V1/7/unprotected/packs/a",
            "v1/7/./unprotected/packs/a",
            "v1/8/../7/unprotected/packs/a",
            "v1/7/unprotected/a\\..\\b",
            "v1/group/x/protected/packs/a",
            "",
        ] {
            assert!(access().check(&get(key)).is_err(), "{key}");
            let [put, touch] =
                [Call::Put { key: key.to_owned(), when: When::Absent }, Call::Touch { key: key.to_owned() }];
            assert!(access().check(&put).is_err() && access().check(&touch).is_err(), "{key}");
        }
        for key in ["v1/7/unprotected/packs/a", "v1/group~2fx/protected/refs/k/1"] {
            assert!(access().check(&get(key)).is_ok(), "{key}");
        }
    }

    #[test]
    fn a_listing_stays_within_a_scope() {
        let list = |prefix: &str| Call::List { prefix: prefix.to_owned(), after: String::new(), limit: 1 };
        for prefix in ["", "v1/", "v1/7/", "v1/7/unprotected", "v1/7/protected/", "v1/7/unprotected/../protected/"] {
            assert!(access().check(&list(prefix)).is_err(), "{prefix}");
        }
        for prefix in ["v1/7/unprotected/", "v1/7/unprotected/refs/k/", "v1/7/unprotected/pa"] {
            assert!(access().check(&list(prefix)).is_ok(), "{prefix}");
        }
    }

    #[test]
    fn nothing_that_is_there_is_removed_or_replaced() {
        let key = "v1/7/unprotected/refs/k/0000000000001-0000000000000000";
        assert!(access().check(&Call::Delete { key: key.to_owned() }).is_err());
        assert!(access().terms(key, &When::Absent).is_ok());
        for when in [When::Always, When::Match(Etag("x".to_owned()))] {
            assert!(access().terms(key, &when).is_err(), "{when:?}");
        }
        let pack = format!("v1/7/unprotected/packs/{}", Digest::of(b"x"));
        let terms = access().terms(&pack, &When::Always).unwrap();
        assert_eq!(terms.digest, Some(Digest::of(b"x")));
        assert!(access().terms(&pack, &When::Match(Etag("x".to_owned()))).is_err());
    }

    #[test]
    fn nothing_is_put_that_no_cache_consists_of() {
        let digest = Digest::of(b"x").to_string();
        for rest in ["packs/x", "packs", "refs/k", "refs/k/1/2", "other/x", "x", &format!("packs/{digest}/x")] {
            let key = format!("v1/7/unprotected/{rest}");
            assert!(access().terms(&key, &When::Absent).is_err(), "{key}");
        }
        assert!(access().terms(&format!("v1/7/unprotected/packs/{}", digest.to_uppercase()), &When::Always).is_err());
    }
}
