//! Sidecars of the test's own, and requests to them that no client of ours would send.

use std::path::Path;

use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, UnixStream},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use warmstart_cache::{
    Token,
    sidecar::{Access, Listener, Socket, serve},
    store::{AnyStore, Http, Store},
};

pub const TOKEN: &str = "hush-hush-hush-hush";

pub struct Sidecar {
    pub address: String,
    pub stop: CancellationToken,
    pub task: JoinHandle<()>,
    directory: TempDir,
}

impl Sidecar {
    pub fn on_a_socket<S: Store>(store: S, access: Access) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("cache.sock");
        let listener = Listener::Unix(Socket::bind(&path, false).expect("listen"));
        Self::start(listener, format!("unix://{}", path.display()), directory, store, access)
    }

    pub async fn on_a_port<S: Store>(store: S, access: Access) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").await.expect("listen");
        let address = format!("http://{}", port.local_addr().expect("an address"));
        let listener = Listener::Tcp(port, Token::new(TOKEN).expect("a token"));
        Self::start(listener, address, tempfile::tempdir().expect("a directory"), store, access)
    }

    fn start<S: Store>(listener: Listener, address: String, directory: TempDir, store: S, access: Access) -> Self {
        let stop = CancellationToken::new();
        let task = tokio::spawn(serve(listener, store, access, stop.clone().cancelled_owned()));
        Self { address, stop, task, directory }
    }

    pub fn client(&self) -> AnyStore {
        let token = Token::new(TOKEN).expect("a token");
        client(&self.address, Some(token))
    }

    pub fn socket(&self) -> std::path::PathBuf {
        self.directory.path().join("cache.sock")
    }

    /// Sends a request by hand, on a connection of its own, and gives the status and the answer as text.
    pub async fn send(&self, head: &str, content: &[u8]) -> (u16, String) {
        let mut stream = begin(&self.socket(), &format!("{head}\r\nconnection: close"), content.len()).await;
        // A server may answer and close before it has everything.
        let _ = stream.write_all(content).await;
        rest(&mut stream).await
    }
}

pub fn client(address: &str, token: Option<Token>) -> AnyStore {
    AnyStore::Http(Http::open(&address.parse().expect("an address"), token).expect("a client"))
}

/// Sends the head of a request that announces so many bytes.
pub async fn begin(socket: &Path, head: &str, length: usize) -> UnixStream {
    let mut stream = UnixStream::connect(socket).await.expect("connect");
    let head = format!("{head}\r\nhost: x\r\ncontent-length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.expect("send");
    stream
}

/// Reads an answer to the end of the connection.
pub async fn rest(stream: &mut UnixStream) -> (u16, String) {
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("read");
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.unwrap_or_else(|| panic!("no status in {answer:?}")), answer)
}
