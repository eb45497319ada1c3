//! Certificates to trust where the machine has none: a static binary in an empty image must reach S3 too.
//!
//! The machine's own certificates win, and so do `SSL_CERT_FILE` and `SSL_CERT_DIR`. Only where nobody has named
//! any and none are found in the usual places, Mozilla's are taken, which are compiled in.

use std::{env, fmt::Write as _, io};

use aws_sdk_s3::config::{RuntimeComponents, SharedHttpClient};
use aws_smithy_http_client::{
    Builder, ConnectorBuilder,
    proxy::ProxyConfig,
    tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::Error;

/// Gives a client with Mozilla's certificates if this machine has none, else `None`: the SDK's own does it. Fails
/// when somebody named certificates that are not there: to trust others instead would be wrong.
pub(super) fn client_without_system_roots() -> Result<Option<SharedHttpClient>, Error> {
    let found = rustls_native_certs::load_native_certs();
    if !found.certs.is_empty() {
        return Ok(None);
    }
    for name in ["SSL_CERT_FILE", "SSL_CERT_DIR"] {
        if let Some(path) = env::var_os(name).filter(|path| !path.is_empty()) {
            let reason = io::Error::new(io::ErrorKind::NotFound, format!("no certificate there, as {name} says"));
            return Err(Error::file("read certificates from", path, reason));
        }
    }
    tracing::debug!("no CA certificates on this machine, using Mozilla's");
    let trusted = TrustStore::empty().with_pem_certificate(mozilla());
    TlsContext::builder().with_trust_store(trusted).build().map_or_else(
        |error| Err(Error::file("use the compiled-in", "certificates", io::Error::other(error))),
        |context| Ok(Some(client(context))),
    )
}

/// As the SDK makes its own, apart from the certificates.
fn client(context: TlsContext) -> SharedHttpClient {
    Builder::new().build_with_connector_fn(move |settings, components| {
        let mut connector =
            ConnectorBuilder::default().tls_provider(Provider::rustls(CryptoMode::AwsLc)).tls_context(context.clone());
        connector.set_connector_settings(settings.cloned());
        connector.set_sleep_impl(components.and_then(RuntimeComponents::sleep_impl));
        connector.set_proxy_config(Some(ProxyConfig::from_env()));
        connector.build()
    })
}

fn mozilla() -> String {
    let mut pem = String::new();
    for certificate in webpki_root_certs::TLS_SERVER_ROOT_CERTS {
        let text = STANDARD.encode(certificate);
        let _ = writeln!(pem, "-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----");
    }
    pem
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_mozillas_certificates_are_compiled_in() {
        let certificates = mozilla().matches("-----BEGIN CERTIFICATE-----\nMII").count();
        assert_eq!(certificates, webpki_root_certs::TLS_SERVER_ROOT_CERTS.len());
        assert!(certificates > 100, "{certificates}");
    }
}
