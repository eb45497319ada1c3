//! Where a server listens.

use std::{
    fs::{self, File, Permissions},
    io::{self, ErrorKind},
    os::fd::AsRawFd as _,
    os::unix::{
        fs::{FileTypeExt as _, PermissionsExt as _},
        net::UnixStream as Probe,
    },
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio_util::either::Either;

use crate::{error::Error, token::Token};

/// A connection.
pub(super) type Stream = Either<UnixStream, TcpStream>;

/// Where a server listens, and what opens it: a port always needs a token.
#[derive(Debug)]
pub enum Listener {
    /// On a socket, open to those who may write to its file.
    Unix(Socket),
    /// On a port, open to those who show the token.
    Tcp(TcpListener, Token),
}

impl Listener {
    pub(super) fn token(&self) -> Option<&Token> {
        match self {
            Self::Unix(_) => None,
            Self::Tcp(_, token) => Some(token),
        }
    }

    /// Waits for the next connection.
    pub(super) async fn accept(&self) -> Stream {
        loop {
            match self.try_accept().await {
                Ok(stream) => return stream,
                // The client is gone already, or too many files are open: that passes.
                Err(error) => {
                    tracing::warn!("accept a connection: {error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    async fn try_accept(&self) -> io::Result<Stream> {
        match self {
            Self::Unix(socket) => socket.listener.accept().await.map(|(stream, _)| Either::Left(stream)),
            Self::Tcp(listener, _) => {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok(Either::Right(stream))
            }
        }
    }
}

/// A unix socket whose file goes when this does.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    path: PathBuf,
}

impl Socket {
    /// Listens at `path`, in place of a socket that a server left behind when it was killed. Only this user can
    /// connect, or, `open_to_all`, every user who reaches the file. Fails when a server listens there, or when
    /// something else than a socket is there.
    pub fn bind(path: impl Into<PathBuf>, open_to_all: bool) -> Result<Self, Error> {
        let path = path.into();
        let mode = if open_to_all { 0o666 } else { 0o600 };
        match bind(&path, mode) {
            Ok(listener) => Ok(Self { listener, path }),
            Err(error) => Err(Error::file("listen on socket", path, error)),
        }
    }

    /// Gives the path of its file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// The socket appears under its name by rename, with its mode: nobody meets it half made. The kernel takes paths of
/// at most 107 bytes for sockets, so the way to the directory is replaced by a short one.
fn bind(path: &Path, mode: u32) -> io::Result<UnixListener> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().ok_or_else(|| io::Error::new(ErrorKind::InvalidInput, "names no file"))?;
    let directory = File::open(parent)?;
    let path = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd())).join(name);
    refuse_others(&path)?;
    let mut new = path.as_os_str().to_owned();
    new.push("~");
    if is_socket(Path::new(&new))? {
        fs::remove_file(&new)?;
    }
    let listener = UnixListener::bind(&new)?;
    fs::set_permissions(&new, Permissions::from_mode(mode))?;
    fs::rename(&new, path)?;
    Ok(listener)
}

/// Refuses to replace what is not a dead socket.
fn refuse_others(path: &Path) -> io::Result<()> {
    if !is_socket(path)? {
        return Ok(());
    }
    match Probe::connect(path) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(()),
        Err(error) => Err(error),
        Ok(_) => Err(io::Error::new(ErrorKind::AddrInUse, "a server listens there already")),
    }
}

/// Whether a socket is there, and not nothing; fails for anything else.
fn is_socket(path: &Path) -> io::Result<bool> {
    match path.symlink_metadata() {
        Ok(there) if there.file_type().is_socket() => Ok(true),
        Ok(_) => Err(io::Error::new(ErrorKind::AlreadyExists, "something else than a socket is there")),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
