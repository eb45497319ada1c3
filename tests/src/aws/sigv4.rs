//! Signature Version 4, written from "Signing AWS API requests" in the IAM User Guide and not from the code under test.

use super::RoleCredentials;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// A `POST` to `/`, signed or to be signed.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "a request")]
pub struct Request {
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

impl Request {
    /// Signs these headers, which must be there, with `x-amz-date` and the session token, which are added and signed,
    /// too. The scope is that of STS in [`super::Moto::REGION`].
    pub fn sign(&mut self, credentials: &RoleCredentials, signed: &[&str], date: &str) {
        self.headers.insert("x-amz-date".to_owned(), date.to_owned());
        self.headers.insert("x-amz-security-token".to_owned(), credentials.session_token.clone());
        let mut signed = [signed, &["x-amz-date", "x-amz-security-token"]].concat();
        signed.sort_unstable();
        let day = date.split('T').next().unwrap_or_default();
        let scope = format!("{day}/{}/sts/aws4_request", super::Moto::REGION);
        let signature = self.signature(&credentials.secret_access_key, &scope, &signed);
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={}, Signature={signature}",
            credentials.access_key_id,
            signed.join(";")
        );
        self.headers.insert("authorization".to_owned(), authorization);
    }

    /// What a signature of these headers is, in hex.
    #[must_use]
    pub fn signature(&self, secret: &str, scope: &str, signed: &[&str]) -> String {
        let value = |name: &str| self.headers.get(name).map(|value| value.trim()).unwrap_or_default();
        let headers: Vec<String> = signed.iter().map(|name| format!("{name}:{}", value(name))).collect();
        let (headers, signed) = (headers.join("\n"), signed.join(";"));
        let request = format!("POST\n/\n\n{headers}\n\n{signed}\n{}", sha256(&self.body));
        let text = format!("AWS4-HMAC-SHA256\n{}\n{scope}\n{}", value("x-amz-date"), sha256(&request));
        let key = scope.split('/').fold(format!("AWS4{secret}").into_bytes(), |key, part| hmac(&key, part));
        hex::encode(hmac(&key, &text))
    }
}

fn sha256(text: &str) -> String {
    hex::encode(Sha256::digest(text.as_bytes()))
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any length of key will do");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of "Create a signed AWS API request": the signing key's derivation and the string to sign.
    #[test]
    fn a_key_is_derived_as_aws_says() {
        let scope = "20150830/us-east-1/iam/aws4_request";
        let secret = b"AWS4wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
        let key = scope.split('/').fold(secret.to_vec(), |key, part| hmac(&key, part));
        assert_eq!(hex::encode(key), "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9");
    }
}
