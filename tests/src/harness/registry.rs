//! A registry that asks for a password.

use super::wait::eventually;
use anyhow::{Context, Result};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// Bcrypt hashes of passwords at the lowest cost. The second one is that of moto's ECR.
const HTPASSWD: &str = "ali:$2b$04$XvBEWJo2o2kUEABqHv09Jeq.kdtPXOeU6BQWJYnbJcRr3.kL5Hd1C\n\
                        AWS:$2b$04$TJZaP7HujjvxgoeLvZi5reSEQGMozQeVOpM9nBzkTbVD8wGVgLR5C\n";

/// Debian's `docker-registry`, empty. It ends with the value.
#[derive(Debug)]
pub struct Registry {
    /// `address:port`.
    pub host: String,
    server: Child,
    _directory: TempDir,
}

impl Registry {
    /// The user that it knows.
    pub const USER: &str = "ali";
    /// The user's password.
    pub const PASSWORD: &str = "open-sesame";

    /// Starts one on a free port.
    pub async fn start(ip: IpAddr) -> Result<Self> {
        let directory = tempfile::tempdir().context("make a directory")?;
        let at = directory.path().display();
        let host = TcpListener::bind((ip, 0)).context("find a free port")?.local_addr()?.to_string();
        std::fs::write(directory.path().join("htpasswd"), HTPASSWD)?;
        let config = format!(
            "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {at}/storage\n\
             http:\n  addr: {host}\nauth:\n  htpasswd:\n    realm: test\n    path: {at}/htpasswd\n"
        );
        std::fs::write(directory.path().join("config.yml"), config)?;
        let mut serve = Command::new("docker-registry");
        serve.arg("serve").arg(directory.path().join("config.yml")).stdout(Stdio::null()).stderr(Stdio::null());
        let server = serve.spawn().context("start docker-registry, which tests/setup/install installs")?;
        let this = Self { host, server, _directory: directory };
        eventually("the registry listens", async || TcpStream::connect(&this.host).ok()).await;
        Ok(this)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.server.kill().and_then(|()| self.server.wait());
    }
}
