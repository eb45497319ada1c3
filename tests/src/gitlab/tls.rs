//! TLS in front of a fake, with a certificate of a private authority (B7), which may ask callers for theirs.

use super::FakeGitlab;
use anyhow::{Context, Result};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// A port that speaks TLS for a fake. Dropping it closes the port.
///
/// Bind it first, give its [`TlsFront::url`] as `external_url` to the fake, then [`TlsFront::serve`].
#[derive(Debug)]
pub struct TlsFront {
    address: SocketAddr,
    authority: Authority,
    listener: Option<TcpListener>,
    config: Arc<ServerConfig>,
    task: Option<JoinHandle<()>>,
}

impl TlsFront {
    /// Takes a free port of `ip` and makes an authority, and by it a certificate for that address.
    pub async fn bind(ip: IpAddr) -> Result<Self> {
        Self::bind_as(SocketAddr::new(ip, 0), &ip.to_string(), false).await
    }

    /// Takes this address, with a certificate for a name that some other way leads to it.
    pub async fn bind_named(address: SocketAddr, name: &str) -> Result<Self> {
        Self::bind_as(address, name, false).await
    }

    /// The same for callers who show a certificate of the authority; it hangs up on all others.
    pub async fn bind_asking(ip: IpAddr) -> Result<Self> {
        Self::bind_as(SocketAddr::new(ip, 0), &ip.to_string(), true).await
    }

    async fn bind_as(address: SocketAddr, name: &str, asking: bool) -> Result<Self> {
        let listener = TcpListener::bind(address).await.with_context(|| format!("listen on {address}"))?;
        let address = listener.local_addr()?;
        let authority = Authority::new().context("make an authority")?;
        let config = Arc::new(authority.server(name, asking).context("make a certificate")?);
        Ok(Self { address, authority, listener: Some(listener), config, task: None })
    }

    /// `https://address:port`
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// The authority's certificate, which no system trusts.
    #[must_use]
    pub fn authority_pem(&self) -> &str {
        &self.authority.pem
    }

    /// A caller's certificate and its key.
    pub fn caller_pem(&self) -> Result<(String, String)> {
        self.authority.sign("a caller")
    }

    /// Forwards connections to the first listen address of a fake, from now on.
    pub fn serve(&mut self, gitlab: &FakeGitlab) {
        self.serve_address(gitlab.server.addresses()[0]);
    }

    /// Forwards connections to this address, from now on.
    pub fn serve_address(&mut self, target: SocketAddr) {
        let Some(listener) = self.listener.take() else { return };
        let acceptor = TlsAcceptor::from(self.config.clone());
        self.task = Some(tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // A caller that does not trust the certificate goes away: that is what tests look for.
                tokio::spawn(forward(acceptor.clone(), stream, target));
            }
        }));
    }
}

impl Drop for TlsFront {
    fn drop(&mut self) {
        self.task.iter().for_each(JoinHandle::abort);
    }
}

async fn forward(acceptor: TlsAcceptor, stream: TcpStream, target: SocketAddr) -> std::io::Result<()> {
    let mut client = acceptor.accept(stream).await?;
    let mut server = TcpStream::connect(target).await?;
    tokio::io::copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}

#[derive(Debug)]
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate()?;
        Ok(Self { pem: params.self_signed(&key)?.pem(), issuer: Issuer::new(params, key) })
    }

    /// A certificate for this name or address, and its key.
    fn sign(&self, name: &str) -> Result<(String, String)> {
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new(vec![name.to_owned()])?.signed_by(&key, &self.issuer)?;
        Ok((certificate.pem(), key.serialize_pem()))
    }

    fn server(&self, name: &str, asking: bool) -> Result<ServerConfig> {
        let (certificate, key) = self.sign(name)?;
        let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes())?];
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes())?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.pem.as_bytes())?)?;
        let callers = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build()?;
        let callers = if asking { callers } else { WebPkiClientVerifier::no_client_auth() };
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        Ok(config.with_client_cert_verifier(callers).with_single_cert(chain, key)?)
    }
}
