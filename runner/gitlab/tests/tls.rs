//! TLS: a private CA is trusted only where it is configured, and a machine without CA certificates still works.

use axum_server::tls_rustls::RustlsConfig;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use std::process::Command;
use warmstart_gitlab::client::{Client, Identity, Options, Verified};
use warmstart_gitlab::info::Info;

/// A server with a certificate of a private CA; its URL and the CA's PEM.
async fn serve() -> (String, String) {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let ca_key = KeyPair::generate().expect("a key");
    let mut ca = CertificateParams::new([]).expect("parameters");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_pem = ca.self_signed(&ca_key).expect("a CA").pem();
    let key = KeyPair::generate().expect("a key");
    let leaf = CertificateParams::new(["localhost".to_owned()]).expect("parameters");
    let leaf = leaf.signed_by(&key, &Issuer::new(ca, ca_key)).expect("a certificate");
    let config = RustlsConfig::from_pem(leaf.pem().into_bytes(), key.serialize_pem().into_bytes()).await.expect("TLS");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.set_nonblocking(true).expect("a socket");
    let url = format!("https://localhost:{}", listener.local_addr().expect("bound").port());
    let app = axum::Router::new().fallback(async || axum::Json(serde_json::json!({"id": 5})));
    let server = axum_server::from_tcp_rustls(listener, config).expect("a server");
    tokio::spawn(server.serve(app.into_make_service()));
    (url, ca_pem)
}

async fn verify(url: &str, ca_pem: Option<String>) -> Result<Verified, warmstart_gitlab::Error> {
    let client = Client::new(url, &Options { ca_pem, ..Options::default() })?;
    let identity = Identity { token: "glrt-x".into(), system_id: "s_0123456789ab".into(), info: Info::default() };
    client.verify(&identity).await
}

#[tokio::test]
async fn a_private_ca_is_trusted_only_where_it_is_configured() {
    let (url, ca) = serve().await;
    assert_eq!(verify(&url, Some(ca)).await.expect("trusted").id, 5);
    let error = verify(&url, None).await.expect_err("not trusted").to_string();
    assert!(error.contains("certificate"), "{error}");
}

#[tokio::test]
async fn a_machine_without_ca_certificates_works() {
    const MARK: &str = "WARMSTART_TEST_WITHOUT_CA";
    if std::env::var_os(MARK).is_none() {
        // The variables that hide the system's certificates are the process's: so in one of its own.
        let me = std::env::current_exe().expect("a binary");
        let mut child = Command::new(me);
        child.args(["--exact", "a_machine_without_ca_certificates_works"]).env(MARK, "1");
        child.env("SSL_CERT_FILE", "/nonexistent").env("SSL_CERT_DIR", "/nonexistent");
        let output = child.output().expect("runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        return;
    }
    Client::new("http://localhost", &Options::default()).expect("a client");
    let (url, ca) = serve().await;
    assert_eq!(verify(&url, Some(ca)).await.expect("trusted").id, 5);
    verify(&url, None).await.expect_err("Mozilla does not know it");
}
