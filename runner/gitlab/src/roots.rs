//! HTTPS clients that work on any machine.

use reqwest::{Certificate, Client, ClientBuilder, Error};

/// A client that trusts the machine's authorities, and `extra` ones. A machine without any CA file gets Mozilla's, which
/// are compiled in: a static binary in an empty image must work too.
pub fn connect(builder: impl Fn() -> ClientBuilder, extra: &[Certificate]) -> Result<Client, Error> {
    let extra = || extra.iter().cloned();
    builder().tls_certs_merge(extra()).build().or_else(|error| {
        tracing::debug!(%error, "no CA certificates on this machine, using Mozilla's");
        let mozilla = webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter();
        let mozilla = mozilla.filter_map(|certificate| Certificate::from_der(certificate).ok());
        builder().tls_certs_only(mozilla.chain(extra())).build()
    })
}
