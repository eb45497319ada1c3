//! `warmstart-cache serve`

use std::{net::SocketAddr, path::PathBuf};

use serde::Serialize;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use url::Url;
use warmstart_cache::{
    Scope, Token,
    sidecar::{Access, Listener, Socket, serve},
    store,
};

use super::{Failure, Outcome, output::Output};

/// Offers caches to clients that have no credentials for the store.
///
/// Clients use the address that is printed as their --store. They read and save caches of the given scopes; they
/// remove nothing and replace nothing. On a port they need the token that is in WARMSTART_CACHE_TOKEN here and there;
/// it is sent in the clear, so do not let the port be reached from outside without TLS in front of it. Ends with
/// SIGTERM or SIGINT.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Where to listen: unix:///path/of/socket, or ADDRESS:PORT (port 0: a free one).
    #[arg(long, value_name = "WHERE", required = true)]
    listen: String,
    /// Whose caches to offer: <project>/protected or <project>/unprotected; may be given several times.
    #[arg(long, value_name = "SCOPE", required = true)]
    scope: Vec<Scope>,
    /// Let every user of this machine connect to the socket, instead of this one only.
    #[arg(long)]
    open_to_all: bool,
}

/// Where a server listens and what it offers.
#[derive(Debug, Serialize)]
struct Serving {
    store: String,
    scopes: Vec<Scope>,
}

/// Serves until a signal ends it.
pub(super) async fn run(url: &str, arguments: Arguments, output: Output) -> Result<Outcome, Failure> {
    let store = store::open(url, None).await?;
    let end = end()?;
    let (listener, address) = listen(&arguments).await?;
    let serving = Serving { store: address, scopes: arguments.scope };
    output.result(&serving.sentence(), &serving);
    serve(listener, store, Access::Scopes(serving.scopes), end).await;
    Ok(Outcome::Done)
}

impl Serving {
    fn sentence(&self) -> String {
        let scopes: Vec<_> = self.scopes.iter().map(Scope::to_string).collect();
        format!("Serving {} at {}.", scopes.join(", "), self.store)
    }
}

/// Listens, and gives the address for clients.
async fn listen(arguments: &Arguments) -> Result<(Listener, String), Failure> {
    let text = &arguments.listen;
    if let Some(path) = text.strip_prefix("unix:") {
        let path = socket_path(path).ok_or_else(|| Failure::Usage(format!("{text} is not unix:///path/of/socket")))?;
        return Ok((Listener::Unix(Socket::bind(path, arguments.open_to_all)?), text.clone()));
    }
    let address = text.parse::<SocketAddr>();
    let address = address.map_err(|_| Failure::Usage(format!("{text} is neither unix:///… nor ADDRESS:PORT")))?;
    let token = Token::from_environment()?.ok_or_else(|| {
        let reason = "a port needs a token; set WARMSTART_CACHE_TOKEN, for example to $(openssl rand -hex 32)";
        Failure::Usage(reason.to_owned())
    })?;
    let bound = TcpListener::bind(address).await.and_then(|bound| Ok((bound.local_addr()?, bound)));
    let (address, bound) = bound.map_err(|error| Failure::Error(format!("listen on {text}: {error}")))?;
    Ok((Listener::Tcp(bound, token), format!("http://{address}")))
}

fn socket_path(path: &str) -> Option<PathBuf> {
    Url::parse(&format!("file:{path}")).ok()?.to_file_path().ok()
}

/// Waits for a signal that asks this process to end.
fn end() -> Result<impl Future<Output = ()>, Failure> {
    let listen = |kind| signal(kind).map_err(|error| Failure::Error(format!("listen for signals: {error}")));
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
