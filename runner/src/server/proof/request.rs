//! The request that a proof is made of.

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use std::collections::BTreeMap;
use std::str::FromStr;
use warmstart_api::Register;
use warmstart_api::proof::{CONTENT_TYPE, DEPLOYMENT, Proof, RUN, SIGNED};

/// The signature's own header.
const AUTHORIZATION: &str = "authorization";

/// The headers of the request to STS: those of the proof, if it was made for this registration, this deployment and
/// this host, and signs all of that. Else why not, to be said of the proof.
pub(super) fn headers(request: &Register, deployment: &str, host: &str) -> Result<HeaderMap, String> {
    let proof: Result<Proof, _> = serde_json::from_str(request.proof.expose());
    let proof = proof.map_err(|_| "is not the JSON of a signed request".to_owned())?;
    let headers = proof.headers.iter().map(|(name, value)| (name.as_str(), value.expose())).collect();
    are_those(&headers)?;
    let fixed =
        [("content-type", CONTENT_TYPE), ("host", host), (DEPLOYMENT, deployment), (RUN, request.run_id.as_str())];
    if let Some((name, _)) = fixed.into_iter().find(|(name, value)| headers[name] != *value) {
        return Err(format!("is for another {name}"));
    }
    if !signs_all(headers[AUTHORIZATION]) {
        return Err("does not sign its headers".to_owned());
    }
    headers.into_iter().map(parse).collect()
}

/// No header is missing and there is no other.
fn are_those(headers: &BTreeMap<&str, &str>) -> Result<(), String> {
    let expected = || SIGNED.into_iter().chain([AUTHORIZATION]);
    if let Some(other) = headers.keys().find(|name| !expected().any(|known| known == **name)) {
        return Err(format!("has a header that it may not have, {:?}", other.chars().take(40).collect::<String>()));
    }
    match expected().find(|name| !headers.contains_key(name)) {
        Some(missing) => Err(format!("has no header {missing}")),
        None => Ok(()),
    }
}

fn parse((name, value): (&str, &str)) -> Result<(HeaderName, HeaderValue), String> {
    let parsed = HeaderName::from_str(name).ok().zip(HeaderValue::from_str(value).ok());
    parsed.ok_or_else(|| format!("has a header {name} with a value that is none"))
}

/// Whether the signature covers exactly the headers it must. Read strictly: STS must not read it in another way.
fn signs_all(authorization: &str) -> bool {
    let Some(rest) = authorization.strip_prefix("AWS4-HMAC-SHA256 ") else { return false };
    let parts: Vec<&str> = rest.split(", ").collect();
    let [credential, signed, signature] = parts[..] else { return false };
    let is = |part: &str, name: &str| part.strip_prefix(name).is_some_and(|rest| !rest.contains([',', '=', ' ']));
    let names = signed.strip_prefix("SignedHeaders=").unwrap_or_default();
    is(credential, "Credential=") && names.split(';').eq(SIGNED) && is(signature, "Signature=")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_covers_exactly_the_headers_it_must() {
        let all = SIGNED.join(";");
        let authorization = |signed: &str| {
            format!("AWS4-HMAC-SHA256 Credential=A/20260101/r/sts/aws4_request, SignedHeaders={signed}, Signature=0a")
        };
        assert!(signs_all(&authorization(&all)));
        for other in [
            "host",
            "",
            &format!("{all};x"),
            &all.replace(";x-warmstart-run", ""),
            &format!("{all}, SignedHeaders=host"),
        ] {
            assert!(!signs_all(&authorization(other)), "{other}");
        }
        assert!(!signs_all(&authorization(&all).replace("Credential=A", "Credential=A SignedHeaders=host")));
        assert!(!signs_all("") && !signs_all("Bearer x") && !signs_all(&authorization(&all)[1..]));
    }
}
