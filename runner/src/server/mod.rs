//! The agents' API (see [`warmstart_api`]): HTTP over TLS with the runner's own certificate.

mod assign;
mod calls;
pub mod proof;
mod session;

use crate::clock::Clock;
use crate::config::{Agents, Entry};
use crate::desk::Desk;
use crate::journal::{Identity, Journal};
use anyhow::{Context, Result, bail};
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::post;
use axum_server::Handle;
use axum_server::tls_rustls::RustlsConfig;
use proof::Prover;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use session::Sessions;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use warmstart_api::pin::Fingerprint;

/// The largest request: a register with its ids and a reason for people.
const BODY: usize = 64 * 1024;

/// How long a request under way may take when the server stops.
const FAREWELL: Duration = Duration::from_secs(5);

/// What the calls work with.
#[derive(Debug)]
pub struct Server {
    desk: Desk,
    prover: Prover,
    sessions: Sessions,
    entries: BTreeMap<String, Arc<Entry>>,
    system_id: String,
    poll: Duration,
    contact_limit: Duration,
    clock: Clock,
    stop: CancellationToken,
}

impl Server {
    /// Prepares the server.
    #[must_use]
    pub fn new(
        desk: Desk,
        prover: Prover,
        identity: &Identity,
        entries: &[Arc<Entry>],
        agents: &Agents,
        clock: Clock,
        stop: CancellationToken,
    ) -> Self {
        Self {
            desk,
            prover,
            sessions: Sessions::new(&identity.session_key),
            entries: entries.iter().map(|entry| (entry.id.clone(), entry.clone())).collect(),
            system_id: identity.system_id.clone(),
            poll: agents.poll.0,
            contact_limit: agents.contact_limit.0,
            clock,
            stop,
        }
    }

    /// Serves until stopped: then questions that wait are answered "nothing", and the others have five seconds.
    pub async fn serve(self, listener: TcpListener, tls: ServerConfig) -> Result<()> {
        let stop = self.stop.clone();
        let handle = Handle::new();
        let ending = handle.clone();
        tokio::spawn(async move {
            stop.cancelled().await;
            ending.graceful_shutdown(Some(FAREWELL));
        });
        let server = axum_server::from_tcp_rustls(listener, RustlsConfig::from_config(Arc::new(tls)));
        let server = server.context("serve agents")?.handle(handle);
        server.serve(router(self).into_make_service()).await.context("serve agents")
    }
}

fn router(server: Server) -> Router {
    Router::new()
        .route("/v1/register", post(calls::register))
        .route("/v1/next", post(calls::next))
        .route("/v1/ack", post(calls::ack))
        .route("/v1/script", post(calls::script))
        .route("/v1/heartbeat", post(calls::heartbeat))
        .route("/v1/release", post(calls::release))
        .route("/v1/leave", post(calls::leave))
        .route("/v1/notice", post(calls::notice))
        .layer(DefaultBodyLimit::max(BODY))
        .with_state(Arc::new(server))
}

/// The TLS configuration with the runner's certificate, and the fingerprint that agents pin.
pub fn tls(identity: &Identity) -> Result<(ServerConfig, Fingerprint)> {
    let broken = "read the runner's certificate from the state store";
    let certificate = CertificateDer::from_pem_slice(identity.certificate.as_bytes()).context(broken)?;
    let key = PrivateKeyDer::from_pem_slice(identity.key.expose().as_bytes()).context(broken)?;
    let fingerprint = Fingerprint::of(&certificate);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = builder.context(broken)?.with_no_client_auth().with_single_cert(vec![certificate], key);
    Ok((config.context(broken)?, fingerprint))
}

/// Takes the port. One that was chosen freely stays the same ever after: running agents know no other.
pub async fn bind(listen: SocketAddr, journal: &Journal) -> Result<TcpListener> {
    let kept = if listen.port() == 0 { journal.port().await? } else { None };
    let wanted = kept.map_or(listen, |port| SocketAddr::new(listen.ip(), port));
    let listener = match TcpListener::bind(wanted) {
        Ok(listener) => listener,
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            bail!("cannot listen for agents on {wanted}: another program has that port; stop it or set agents.listen")
        }
        Err(error) => {
            bail!("cannot listen for agents on {wanted}: {error}; set agents.listen to an address of this machine")
        }
    };
    let port = listener.local_addr().context("read the port of the agents' API")?.port();
    if listen.port() == 0 && kept.is_none() {
        journal.keep_port(port).await?;
    }
    listener.set_nonblocking(true).context("listen for agents")?;
    Ok(listener)
}

/// What agents dial: as configured, else where the server listens.
#[must_use]
pub fn address(agents: &Agents, bound: SocketAddr) -> String {
    match &agents.address {
        Some(address) => address.0.trim_end_matches('/').to_owned(),
        None if bound.ip().is_unspecified() => format!("https://127.0.0.1:{}", bound.port()),
        None => format!("https://{bound}"),
    }
}
