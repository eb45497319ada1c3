//! A real S3 server (moto) of the test's own, on a free port, killed when dropped.

use std::{
    env,
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use warmstart_cache::store::{AnyStore, Credentials, open};

pub struct Moto {
    child: Child,
    pub endpoint: String,
}

impl Moto {
    /// Starts the server and waits until it says where it listens.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// As [`Self::start`], with more arguments.
    pub fn start_with(arguments: &[&str]) -> Self {
        let program = moto_server();
        assert!(program.exists(), "{} is missing: run tests/setup/install", program.display());
        let mut child = Command::new(&program)
            .args(["-H", "127.0.0.1", "-p", "0"])
            .args(arguments)
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("start moto_server");
        let mut lines = BufReader::new(child.stderr.take().expect("stderr is piped")).lines();
        let endpoint = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| line.split("Running on ").nth(1).map(|url| url.trim().trim_end_matches('/').to_owned()))
            .expect("moto says where it listens");
        // Its log has to go somewhere, or it blocks when the pipe is full.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        Self { child, endpoint }
    }

    pub fn credentials(&self) -> Credentials {
        Credentials {
            access_key_id: "testing".into(),
            secret_access_key: "testing".into(),
            session_token: None,
            region: Some("us-east-1".into()),
            endpoint: Some(self.endpoint.clone()),
        }
    }

    /// Makes a bucket and opens a store below a prefix in it.
    pub async fn store(&self, bucket: &str) -> AnyStore {
        self.make_bucket(bucket).await;
        open(&format!("s3://{bucket}/some/prefix"), Some(&self.credentials())).await.expect("open")
    }

    pub async fn make_bucket(&self, bucket: &str) {
        let credentials = aws_sdk_s3::config::Credentials::new("testing", "testing", None, None, "test");
        let config = aws_sdk_s3::Config::builder()
            .behavior_version_latest()
            .endpoint_url(&self.endpoint)
            .force_path_style(true)
            .region(aws_sdk_s3::config::Region::new("us-east-1"))
            .credentials_provider(credentials)
            .build();
        aws_sdk_s3::Client::from_conf(config).create_bucket().bucket(bucket).send().await.expect("make bucket");
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where the project's set-up installs it.
fn moto_server() -> PathBuf {
    let home = env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let cache = env::var_os("XDG_CACHE_HOME").map_or_else(|| home.join(".cache"), PathBuf::from);
    cache.join("warmstart/venv/bin/moto_server")
}
