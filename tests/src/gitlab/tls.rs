//! TLS in front of a fake, with a certificate of a private authority (B7).

use super::FakeGitlab;
use anyhow::{Context, Result};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
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
    authority: String,
    listener: Option<TcpListener>,
    config: Arc<ServerConfig>,
    task: Option<JoinHandle<()>>,
}

impl TlsFront {
    /// Takes a free port of `ip` and makes an authority, and by it a certificate for that address.
    pub async fn bind(ip: IpAddr) -> Result<Self> {
        let listener = TcpListener::bind((ip, 0)).await.with_context(|| format!("listen on {ip}"))?;
        let address = listener.local_addr()?;
        let (authority, config) = certify(ip).context("make certificates")?;
        Ok(Self { address, authority, listener: Some(listener), config: Arc::new(config), task: None })
    }

    /// `https://address:port`
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// The authority's certificate, which no system trusts.
    #[must_use]
    pub fn authority_pem(&self) -> &str {
        &self.authority
    }

    /// Forwards connections to the first listen address of a fake, from now on.
    pub fn serve(&mut self, gitlab: &FakeGitlab) {
        let Some(listener) = self.listener.take() else { return };
        let (acceptor, target) = (TlsAcceptor::from(self.config.clone()), gitlab.server.addresses()[0]);
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

/// The authority's certificate, and a server's configuration with one that it signed.
fn certify(ip: IpAddr) -> Result<(String, ServerConfig)> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate()?;
    let authority = params.self_signed(&key)?.pem();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::new(vec![ip.to_string()])?.signed_by(&key, &issuer)?;
    let chain = vec![CertificateDer::from_pem_slice(certificate.pem().as_bytes())?];
    let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes())?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok((authority, config.with_no_client_auth().with_single_cert(chain, key)?))
}
