//! A small HTTP server of a test's own.

use anyhow::{Context, Result};
use axum::Router;
use std::net::SocketAddr;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

/// Serves on a free port of 127.0.0.1 until the handle is dropped.
pub(crate) async fn serve(router: Router) -> Result<(SocketAddr, AbortOnDropHandle<()>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await.context("listen on 127.0.0.1")?;
    let address = listener.local_addr()?;
    let serving = async move {
        let _ = axum::serve(listener, router).await;
    };
    Ok((address, AbortOnDropHandle::new(tokio::spawn(serving))))
}
