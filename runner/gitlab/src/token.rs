//! What is made of tokens: their short forms, the runner manager's system id (protocol §1.2), the names of volumes.

use hmac::{Hmac, KeyInit, Mac};
use rand::RngExt;
use sha2::{Digest, Sha256};

/// The part of a token that may be shown: in names, in logs, as `CI_RUNNER_SHORT_TOKEN`.
///
/// ```
/// assert_eq!(warmstart_gitlab::token::short("glrt-t1_ABCDEFGHIJKL"), "ABCDEFGHI");
/// ```
#[must_use]
pub fn short(token: &str) -> &str {
    let rest = without_prefix(token);
    let end = rest.char_indices().nth(9).map_or(rest.len(), |(at, _)| at);
    &rest[..end]
}

fn without_prefix(token: &str) -> &str {
    if let Some(rest) = token.strip_prefix("glrt-") {
        return without_partition(rest);
    }
    let known = ["glrtr-", "glcbt-"].iter().find_map(|prefix| token.strip_prefix(prefix));
    known.or_else(|| without_registration_prefix(token)).unwrap_or_else(|| without_partition(token))
}

fn without_partition(token: &str) -> &str {
    ["t1_", "t2_", "t3_"].iter().find_map(|prefix| token.strip_prefix(prefix)).unwrap_or(token)
}

/// `GR` and 7 hexadecimal digits.
fn without_registration_prefix(token: &str) -> Option<&str> {
    let (digits, rest) = token.strip_prefix("GR")?.split_at_checked(7)?;
    digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then_some(rest)
}

/// Whether a text is a system id: `[sr]_` and 12 alphanumerics.
#[must_use]
pub fn is_system_id(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("s_").or_else(|| text.strip_prefix("r_")) else { return false };
    rest.len() == 12 && rest.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// The system id of the machine with that id (`/etc/machine-id`), as GitLab Runner computes it.
#[must_use]
#[expect(clippy::missing_panics_doc, reason = "it cannot: HMAC takes keys of any length")]
pub fn system_id_of(machine_id: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(machine_id.as_bytes()).expect("any length of key will do");
    mac.update(b"gitlab-runner");
    let digest = mac.finalize().into_bytes();
    format!("s_{}", &hex::encode(digest)[..12])
}

/// A system id for where there is no machine id, or where it must not be shared: `r_` and 12 random alphanumerics.
#[must_use]
pub fn random_system_id() -> String {
    let letters = rand::rng().sample_iter(rand::distr::Alphanumeric).take(12).map(char::from);
    std::iter::once("r_".to_owned()).chain(letters.map(String::from)).collect()
}

/// The beginning of the names of volumes that later jobs of a project find again: the `<unique>` of protocol §4.8.
#[must_use]
pub fn volume_prefix(token: &str, system_id: &str, project: u64, concurrent_project_id: u32) -> String {
    let digest = Sha256::digest(format!("{token}-{system_id}-{project}-{concurrent_project_id}"));
    format!("runner-{}", &hex::encode(digest)[..32])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_tokens_are_those_of_the_vectors() {
        let cases = [
            ("glrt-t1_ABCDEFGHIJKL", "ABCDEFGHI"),
            ("glrt-XyZ", "XyZ"),
            ("glcbt-64_abcdefgh", "64_abcdef"),
            ("glrtr-abcdefghijk", "abcdefghi"),
            ("GR1348941abcdefghijk", "abcdefghi"),
            ("t3_abcdefghijk", "abcdefghi"),
            ("GRnothexxabcdefghijk", "GRnothexx"),
            ("", ""),
            ("ééééééééééé", "ééééééééé"),
        ];
        for (token, expected) in cases {
            assert_eq!(short(token), expected, "{token}");
        }
    }

    #[test]
    fn a_machine_has_the_system_id_that_gitlab_runner_gives_it() {
        assert_eq!(system_id_of("0123456789abcdef0123456789abcdef"), "s_ee3af03959fe");
    }

    #[test]
    fn volumes_are_named_as_in_the_vectors() {
        let prefix = volume_prefix("glrt-exampletoken123", "s_0123456789ab", 42, 0);
        assert_eq!(prefix, "runner-25d941d626478afc3c88f65957a70ff0");
    }

    #[test]
    fn generated_system_ids_are_valid_and_differ() {
        let (one, two) = (random_system_id(), random_system_id());
        assert!(is_system_id(&one) && is_system_id(&two) && one != two, "{one} {two}");
        assert!(is_system_id("s_ee3af03959fe"));
        assert!(
            ["", "s_", "x_ee3af03959fe", "s_ee3af03959f", "s_ee3af03959fee", "s_ee3af03959f-"]
                .iter()
                .all(|id| !is_system_id(id))
        );
    }
}
