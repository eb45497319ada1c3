//! A proxy between agents and runner that loses, holds and records calls: how a test stops the world at one exact
//! step of a job without a hook in the code under test.
//!
//! It ends the agents' TLS with the runner's own key and certificate (which it is handed), so agents believe they
//! talk to the runner.

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio_rustls::TlsAcceptor;

/// What happens to one call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fault {
    /// The runner never sees it; the agent's connection breaks.
    LoseRequest,
    /// The runner answers, the agent's connection breaks instead.
    LoseAnswer,
    /// It waits in front of the runner until the test lets it go.
    HoldRequest,
    /// The runner has answered; the answer waits until the test lets it go.
    HoldAnswer,
}

/// A fault that was scripted: tells when it strikes, and ends a hold.
#[derive(Debug)]
pub struct Gate {
    reached: watch::Receiver<bool>,
    release: oneshot::Sender<()>,
}

impl Gate {
    /// Waits until the call has come to the fault.
    ///
    /// # Panics
    ///
    /// When the proxy ended before.
    pub async fn reached(&mut self) {
        self.reached.wait_for(|reached| *reached).await.expect("the proxy lives as long as the test");
    }

    /// Lets a held call go on. Dropping the gate instead breaks the agent's connection.
    pub fn release(self) {
        let _ = self.release.send(());
    }
}

struct Scripted {
    call: String,
    fault: Fault,
    reached: watch::Sender<bool>,
    release: oneshot::Receiver<()>,
}

/// A call that went through, or tried to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Call {
    /// `register`, `next`, …
    pub name: String,
    /// The status the runner answered; none when it did not, or was not asked.
    pub status: Option<u16>,
}

struct Inner {
    runner: SocketAddr,
    identity: Box<dyn Fn() -> Result<(String, String)> + Send + Sync>,
    scripted: Mutex<Vec<Scripted>>,
    calls: Mutex<Vec<Call>>,
    cut: watch::Sender<bool>,
}

/// The running proxy; it ends with the value.
pub struct Proxy {
    inner: Arc<Inner>,
    address: SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

impl Proxy {
    /// Listens on a free port of 127.0.0.1 in front of the runner's agent API at `runner`.
    ///
    /// `identity` gives the runner's certificate and key (PEM), asked at each connection: the runner makes them at its
    /// first start.
    pub async fn start(
        runner: SocketAddr,
        identity: impl Fn() -> Result<(String, String)> + Send + Sync + 'static,
    ) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("listen for agents")?;
        let address = listener.local_addr()?;
        let inner = Arc::new(Inner {
            runner,
            identity: Box::new(identity),
            scripted: Mutex::default(),
            calls: Mutex::default(),
            cut: watch::Sender::new(false),
        });
        let task = tokio::spawn(accept(listener, Arc::clone(&inner)));
        Ok(Self { inner, address, task })
    }

    /// Where agents connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Scripts a fault for the next call of that name that no earlier fault takes.
    #[must_use]
    pub fn once(&self, call: &str, fault: Fault) -> Gate {
        let (reached, seen) = watch::channel(false);
        let (release, released) = oneshot::channel();
        lock(&self.inner.scripted).push(Scripted { call: call.to_owned(), fault, reached, release: released });
        Gate { reached: seen, release }
    }

    /// Breaks all connections and refuses new ones, until [`Proxy::mend`].
    pub fn cut(&self) {
        self.inner.cut.send_replace(true);
    }

    /// Ends a [`Proxy::cut`].
    pub fn mend(&self) {
        self.inner.cut.send_replace(false);
    }

    /// All calls so far, in the order of their answers.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        lock(&self.inner.calls).clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, inner: Arc<Inner>) {
    while let Ok((stream, _)) = listener.accept().await {
        let inner = Arc::clone(&inner);
        tokio::spawn(async move {
            let mut cut = inner.cut.subscribe();
            tokio::select! {
                ended = serve(stream, Arc::clone(&inner)) => {
                    if let Err(error) = ended {
                        tracing::debug!("agent's connection ended: {error:#}");
                    }
                }
                _ = cut.wait_for(|cut| *cut) => {}
            }
        });
    }
}

async fn serve(stream: TcpStream, inner: Arc<Inner>) -> Result<()> {
    let (certificate, key) = (inner.identity)().context("read the runner's certificate")?;
    let tls = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(certificate.as_bytes())?],
            PrivateKeyDer::from_pem_slice(key.as_bytes())?,
        )?;
    let stream = TlsAcceptor::from(Arc::new(tls)).accept(stream).await?;
    // A task of its own: an agent that is killed while it waits must not take its call back from the runner.
    let service = hyper::service::service_fn(move |request| {
        let call = tokio::spawn(handle(request, Arc::clone(&inner)));
        async move { call.await? }
    });
    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await?;
    Ok(())
}

/// Takes one call through its fault, if one is scripted for it. An error breaks the agent's connection.
async fn handle(request: Request<Incoming>, inner: Arc<Inner>) -> Result<Response<Full<Bytes>>> {
    let name = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
    let Some(scripted) = take(&inner.scripted, &name) else {
        return forward(request, &inner, name).await;
    };
    tracing::info!("{:?} strikes {name}", scripted.fault);
    match scripted.fault {
        Fault::LoseRequest => {
            scripted.reached.send_replace(true);
            bail!("request of {name} lost")
        }
        Fault::HoldRequest => {
            scripted.reached.send_replace(true);
            scripted.release.await.context("request lost while it was held")?;
            forward(request, &inner, name).await
        }
        Fault::LoseAnswer => {
            forward(request, &inner, name.clone()).await?;
            scripted.reached.send_replace(true);
            bail!("answer of {name} lost")
        }
        Fault::HoldAnswer => {
            let answer = forward(request, &inner, name).await?;
            scripted.reached.send_replace(true);
            scripted.release.await.context("answer lost while it was held")?;
            Ok(answer)
        }
    }
}

async fn forward(request: Request<Incoming>, inner: &Inner, name: String) -> Result<Response<Full<Bytes>>> {
    let answer = send(request, inner).await;
    let status = answer.as_ref().ok().map(|answer| answer.status().as_u16());
    lock(&inner.calls).push(Call { name, status });
    answer
}

async fn send(request: Request<Incoming>, inner: &Inner) -> Result<Response<Full<Bytes>>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let client = reqwest::Client::builder().tls_danger_accept_invalid_certs(true).no_proxy().build()?;
    let mut forwarded = client.request(head.method, format!("https://{}{path}", inner.runner)).body(body);
    for (key, value) in &head.headers {
        if !["host", "content-length"].contains(&key.as_str()) {
            forwarded = forwarded.header(key, value);
        }
    }
    let answer = forwarded.send().await?;
    let mut response = Response::builder().status(answer.status());
    if let Some(kind) = answer.headers().get("content-type") {
        response = response.header("content-type", kind);
    }
    Ok(response.body(Full::new(answer.bytes().await?))?)
}

fn take(scripted: &Mutex<Vec<Scripted>>, call: &str) -> Option<Scripted> {
    let mut scripted = lock(scripted);
    let at = scripted.iter().position(|fault| fault.call == call)?;
    Some(scripted.remove(at))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
