//! TLS: a private CA is trusted only where it is configured, a server that asks is shown the client certificate, a machine
//! without CA certificates still works, and the environment's proxies are used.

use axum_server::tls_rustls::RustlsConfig;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use warmstart_gitlab::client::{Client, ClientCertificate, Identity, Options, Verified};
use warmstart_gitlab::info::Info;

/// A server on loopback with certificates of a private authority for `localhost` and `gitlab.test`.
struct Server {
    address: SocketAddr,
    ca: String,
    /// One that the authority has signed for a caller.
    caller: ClientCertificate,
}

impl Server {
    fn start() -> Self {
        Self::start_as(false)
    }

    /// One that wants to know who calls.
    fn start_asking() -> Self {
        Self::start_as(true)
    }

    fn start_as(asking: bool) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let ca_key = KeyPair::generate().expect("a key");
        let mut ca = CertificateParams::new([]).expect("parameters");
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca_pem = ca.self_signed(&ca_key).expect("a CA").pem();
        let issuer = Issuer::new(ca, ca_key);
        let (certificate, key) = signed(&issuer, &["localhost", "gitlab.test"]);
        let caller = signed(&issuer, &["a caller"]);
        let config = RustlsConfig::from_config(Arc::new(config(&ca_pem, &certificate, &key, asking)));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("a socket");
        let address = listener.local_addr().expect("bound");
        let app = axum::Router::new().fallback(async || axum::Json(serde_json::json!({"id": 5})));
        let server = axum_server::from_tcp_rustls(listener, config).expect("a server");
        tokio::spawn(server.serve(app.into_make_service()));
        let caller = ClientCertificate { certificate: caller.0, key: caller.1.into() };
        Self { address, ca: ca_pem, caller }
    }

    fn url(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }

    fn trusting(&self) -> Options {
        Options { ca_pem: Some(self.ca.clone()), ..Options::default() }
    }
}

/// A certificate and its key.
fn signed(issuer: &Issuer<'_, KeyPair>, names: &[&str]) -> (String, String) {
    let key = KeyPair::generate().expect("a key");
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let certificate = CertificateParams::new(names).expect("parameters").signed_by(&key, issuer);
    (certificate.expect("a certificate").pem(), key.serialize_pem())
}

fn config(ca: &str, certificate: &str, key: &str, asking: bool) -> ServerConfig {
    let der = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate");
    let mut roots = RootCertStore::empty();
    roots.add(der(ca)).expect("a CA");
    let callers = WebPkiClientVerifier::builder(Arc::new(roots)).build().expect("a verifier");
    let callers = if asking { callers } else { WebPkiClientVerifier::no_client_auth() };
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key");
    let config = ServerConfig::builder().with_client_cert_verifier(callers);
    config.with_single_cert(vec![der(certificate)], key).expect("TLS")
}

async fn verify(url: &str, options: &Options) -> Result<Verified, warmstart_gitlab::Error> {
    let client = Client::new(url, options)?;
    let identity = Identity { token: "glrt-x".into(), system_id: "s_0123456789ab".into(), info: Info::default() };
    client.verify(&identity).await
}

#[tokio::test]
async fn a_private_ca_is_trusted_only_where_it_is_configured() {
    let server = Server::start();
    assert_eq!(verify(&server.url(), &server.trusting()).await.expect("trusted").id, 5);
    let error = verify(&server.url(), &Options::default()).await.expect_err("not trusted").to_string();
    assert!(error.contains("certificate"), "{error}");
}

#[tokio::test]
async fn a_server_that_asks_who_calls_is_shown_the_client_certificate() {
    let server = Server::start_asking();
    let known = Options { client_certificate: Some(server.caller.clone()), ..server.trusting() };
    assert_eq!(verify(&server.url(), &known).await.expect("known").id, 5);
    verify(&server.url(), &server.trusting()).await.expect_err("a stranger");
}

#[test]
fn a_client_certificate_that_is_none_is_one_clear_line_without_its_key() {
    for (certificate, key) in [("nonsense", "s3cr3t"), ("", "-----BEGIN PRIVATE KEY-----\ns3cr3t\n")] {
        let certificate = ClientCertificate { certificate: certificate.to_owned(), key: key.into() };
        let options = Options { client_certificate: Some(certificate), ..Options::default() };
        let error = Client::new("https://localhost", &options).expect_err("refused").to_string();
        assert!(error.contains("the client certificate: ") && !error.contains("s3cr3t"), "{error}");
    }
}

/// Runs a test again in a process of its own, because variables are the process's. Whether this is that process.
async fn is_alone_with(test: &str, variables: &[(&str, &str)]) -> bool {
    const MARK: &str = "WARMSTART_TEST_ALONE";
    if std::env::var_os(MARK).is_some() {
        return true;
    }
    let me = std::env::current_exe().expect("a binary");
    let mut child = Command::new(me);
    child.args(["--exact", test]).env(MARK, "1").envs(variables.iter().copied());
    let output = child.output().await.expect("runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    false
}

#[tokio::test]
async fn a_machine_without_ca_certificates_works() {
    let variables = [("SSL_CERT_FILE", "/nonexistent"), ("SSL_CERT_DIR", "/nonexistent")];
    if !is_alone_with("a_machine_without_ca_certificates_works", &variables).await {
        return;
    }
    Client::new("http://localhost", &Options::default()).expect("a client");
    let server = Server::start();
    assert_eq!(verify(&server.url(), &server.trusting()).await.expect("trusted").id, 5);
    verify(&server.url(), &Options::default()).await.expect_err("Mozilla does not know it");
}

/// A proxy that connects everybody to the one server, wherever they want to go; it remembers where.
async fn proxy(listener: TcpListener, server: SocketAddr, wanted: Arc<Mutex<Vec<String>>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let mut client = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") && client.read_line(&mut head).await.is_ok_and(|read| read > 0) {}
        wanted.lock().expect("a list").push(head.lines().next().unwrap_or_default().to_owned());
        let mut server = TcpStream::connect(server).await.expect("the server");
        client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.expect("answered");
        tokio::spawn(async move { tokio::io::copy_bidirectional(&mut client, &mut server).await });
    }
}

#[tokio::test]
async fn the_environments_proxy_is_used_but_where_it_says_no() {
    let (server, wanted) = (Server::start(), Arc::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = format!("http://{}", listener.local_addr().expect("bound"));
    tokio::spawn(proxy(listener, server.address, Arc::clone(&wanted)));
    let url = server.url();
    let variables = [("HTTPS_PROXY", &*address), ("NO_PROXY", "localhost"), ("URL", &url), ("CA", &server.ca)];
    if !is_alone_with("the_environments_proxy_is_used_but_where_it_says_no", &variables).await {
        assert_eq!(*wanted.lock().expect("a list"), ["CONNECT gitlab.test:443 HTTP/1.1"]);
        return;
    }
    let given = |name: &str| std::env::var(name).expect("given");
    let options = Options { ca_pem: Some(given("CA")), ..Options::default() };
    // A name that only the proxy can know.
    assert_eq!(verify("https://gitlab.test", &options).await.expect("by the proxy").id, 5);
    assert_eq!(verify(&given("URL"), &options).await.expect("directly").id, 5);
}
