//! A store offered over HTTP/1.1, so that its clients need no credentials for it: on a unix socket, whose file
//! decides who may connect, or on a port, where every request shows a token.
//!
//! [`Access`] says what clients may do. Within scopes they read everything and add to it, but change and remove
//! nothing: packs and manifests are taken only under the digest of their content, refs only where none is. The
//! protocol is in `docs/cache-format.md`; [`crate::store::Http`] is its client.
//!
//! Whatever clients do, the server's memory is bounded: by the number of connections, by the bytes of all requests
//! under way (others wait for their share), and by time limits on every step.

mod access;
mod answer;
mod connection;
mod content;
mod listen;
mod request;

use std::{future::Future, sync::Arc, time::Duration};

use tokio::{sync::Semaphore, task::JoinSet};
use tokio_util::sync::CancellationToken;

pub(crate) use self::answer::{Line, Listing, MODIFIED};
pub use self::{
    access::Access,
    listen::{Listener, Socket},
};
use crate::{store::Store, token::Token};

/// The largest object that is taken or given: what the format allows, and some.
pub(crate) const LARGEST: u64 = 97 << 20;
/// How many objects a listing gives at once.
pub(crate) const PAGE: usize = 1000;

/// Connections at once; further ones wait to be accepted.
const CONNECTIONS: usize = 256;
/// Bytes of objects in memory at once, in KiB; a save or restore has fewer under way, two of the largest fit.
const MEMORY: usize = 194 << 10;
/// How long requests under way may take when the server stops.
const FAREWELL: Duration = Duration::from_secs(5);

/// What the connections share.
struct Shared<S> {
    store: S,
    access: Access,
    token: Option<Token>,
    memory: Arc<Semaphore>,
}

/// Serves the store until `shutdown`, then takes no more requests and gives those under way five seconds. A future
/// that is dropped ends at once. The listener is closed, and the file of a socket removed, before this returns.
pub async fn serve<S: Store>(listener: Listener, store: S, access: Access, shutdown: impl Future<Output = ()>) {
    let memory = Arc::new(Semaphore::new(MEMORY));
    let shared = Arc::new(Shared { store, access, token: listener.token().cloned(), memory });
    let stop = CancellationToken::new();
    let mut connections = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            stream = listener.accept(), if connections.len() < CONNECTIONS => {
                connections.spawn(connection::run(stream, shared.clone(), stop.clone()));
            }
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    stop.cancel();
    let ended = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(FAREWELL, ended).await;
}
