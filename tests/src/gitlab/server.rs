//! The open ports, closing them, and opening them again.

use super::connection::{Listener, Peer, reserve};
use super::{gate, state::Shared};
use anyhow::Context;
use axum::Router;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::TcpSocket;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// The listening side of a fake.
#[derive(Debug)]
pub(super) struct Server {
    addresses: Vec<SocketAddr>,
    open: Mutex<Ports>,
}

#[derive(Debug)]
enum Ports {
    Open { tasks: Vec<JoinHandle<()>>, epoch: CancellationToken },
    Closed(Vec<TcpSocket>),
}

impl Server {
    /// Takes the ports; nobody is served until [`Self::open`].
    pub(super) fn bind(wanted: &[SocketAddr]) -> anyhow::Result<Self> {
        let reserve = |address: &SocketAddr| reserve(*address).with_context(|| format!("listen on {address}"));
        let sockets = wanted.iter().map(reserve).collect::<anyhow::Result<Vec<_>>>()?;
        let addresses = sockets.iter().map(TcpSocket::local_addr).collect::<Result<Vec<_>, _>>()?;
        anyhow::ensure!(!addresses.is_empty(), "start the fake GitLab: no address to listen on");
        Ok(Self { addresses, open: Mutex::new(Ports::Closed(sockets)) })
    }

    pub(super) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Serves the ports, if they are closed.
    pub(super) fn open(&self, shared: &Arc<Shared>) -> anyhow::Result<()> {
        let mut ports = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let Ports::Closed(sockets) = &mut *ports else { return Ok(()) };
        let epoch = CancellationToken::new();
        let serve = |socket| serve(socket, shared, &epoch);
        let tasks = std::mem::take(sockets).into_iter().map(serve).collect::<anyhow::Result<_>>()?;
        *ports = Ports::Open { tasks, epoch };
        Ok(())
    }

    /// Closes the ports and cuts all connections. The ports stay ours.
    pub(super) async fn close(&self) -> anyhow::Result<()> {
        for task in self.stop() {
            // Aborted is what it should be.
            let _ = task.await;
        }
        let sockets = self.addresses.iter().map(|address| reserve(*address)).collect::<Result<_, _>>();
        let sockets = sockets.context("keep the fake GitLab's closed ports")?;
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = Ports::Closed(sockets);
        Ok(())
    }

    fn stop(&self) -> Vec<JoinHandle<()>> {
        let mut ports = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        match std::mem::replace(&mut *ports, Ports::Closed(Vec::new())) {
            Ports::Open { tasks, epoch } => {
                tasks.iter().for_each(JoinHandle::abort);
                epoch.cancel();
                tasks
            }
            Ports::Closed(_) => Vec::new(),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

fn serve(socket: TcpSocket, shared: &Arc<Shared>, epoch: &CancellationToken) -> anyhow::Result<JoinHandle<()>> {
    let inner = socket.listen(1024).context("listen on the fake GitLab's port")?;
    let app = Router::new().fallback(gate::handle).with_state(shared.clone());
    let app = app.into_make_service_with_connect_info::<Peer>();
    let listener = Listener { inner, epoch: epoch.clone() };
    Ok(tokio::spawn(async move {
        // It ends by being aborted only.
        let _ = axum::serve(listener, app).await;
    }))
}
