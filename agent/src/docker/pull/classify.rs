//! What a failed pull means (protocol §1.8).

use crate::fault::Fault;

/// What the daemon's words about a pull mean (protocol §1.8).
pub(super) fn classify(message: &str) -> Fault {
    const NETWORK: [&str; 8] = [
        "dial tcp",
        "connection refused",
        "no such host",
        "i/o timeout",
        "tls handshake",
        "client.timeout exceeded",
        "request canceled",
        "connection reset",
    ];
    const CONFIGURATION: [&str; 9] = [
        "not found",
        "manifest unknown",
        "pull access denied",
        "access to the resource is denied",
        "no basic auth credentials",
        "repository does not exist or may require",
        "unauthorized",
        "authentication required",
        "no such image",
    ];
    let lower = message.to_lowercase();
    let says = |texts: &[&str]| texts.iter().any(|text| lower.contains(text));
    match () {
        () if says(&NETWORK) => Fault::Dependency(message.to_owned()),
        () if says(&CONFIGURATION) => Fault::Configuration(message.to_owned()),
        () => Fault::ImagePull(message.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pull_errors_are_told_apart_by_their_words() {
        assert!(matches!(classify("Get https://x: dial tcp: lookup x: no such host"), Fault::Dependency(_)));
        assert!(matches!(classify("manifest for x:1 not found: manifest unknown"), Fault::Configuration(_)));
        assert!(matches!(classify("denied: requested access to the resource is denied"), Fault::Configuration(_)));
        assert!(matches!(classify("toomanyrequests: rate limit"), Fault::ImagePull(_)));
    }
}
