//! A server on a real socket that plays GitLab's part as scripted, and keeps what it was asked.
#![allow(
    dead_code,
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    unreachable_pub,
    reason = "shared by several test binaries"
)]

use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, Response};
use bytes::Bytes;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use warmstart_gitlab::Timing;
use warmstart_gitlab::client::{Client, Identity, JobClient, Options};
use warmstart_gitlab::info::Info;

/// One request as it arrived.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: Method,
    pub path: String,
    pub query: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub at: Instant,
}

impl Seen {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("text"))
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("a JSON body")
    }

    pub fn is_patch(&self) -> bool {
        self.method == Method::PATCH
    }

    pub fn is_put(&self) -> bool {
        self.method == Method::PUT
    }

    /// `running`, `success`, `failed` of a job update.
    pub fn state(&self) -> String {
        self.json()["state"].as_str().unwrap_or_default().to_owned()
    }
}

/// What the server does with a request.
#[derive(Clone, Debug)]
pub enum Reply {
    Answer {
        status: u16,
        headers: Vec<(String, String)>,
        body: Bytes,
    },
    /// Nothing, for ever.
    Hang,
    /// The connection is closed without an answer.
    Cut,
}

pub fn answer(status: u16) -> Reply {
    Reply::Answer { status, headers: Vec::new(), body: Bytes::new() }
}

pub fn json(status: u16, body: &serde_json::Value) -> Reply {
    answer(status).with("Content-Type", "application/json").body(body.to_string())
}

impl Reply {
    pub fn with(mut self, name: &str, value: impl std::fmt::Display) -> Self {
        if let Self::Answer { headers, .. } = &mut self {
            headers.push((name.into(), format!("{value}")));
        }
        self
    }

    pub fn body(mut self, text: impl Into<Bytes>) -> Self {
        if let Self::Answer { body, .. } = &mut self {
            *body = text.into();
        }
        self
    }
}

type Script = Arc<Mutex<dyn FnMut(&Seen) -> Reply + Send>>;

/// A scripted server; it can go away and come back on the same port.
pub struct Site {
    pub address: SocketAddr,
    seen: Arc<watch::Sender<Vec<Seen>>>,
    script: Script,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Site {
    pub fn start(script: impl FnMut(&Seen) -> Reply + Send + 'static) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let seen = Arc::new(watch::channel(Vec::new()).0);
        let mut site = Self { address, seen, script: Arc::new(Mutex::new(script)), runtime: None };
        site.serve(listener);
        site
    }

    fn serve(&mut self, listener: std::net::TcpListener) {
        listener.set_nonblocking(true).expect("a socket");
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let (seen, script) = (Arc::clone(&self.seen), Arc::clone(&self.script));
        let app = axum::Router::new().fallback(move |request| serve(request, Arc::clone(&seen), Arc::clone(&script)));
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a socket");
            axum::serve(listener, app).await
        });
        self.runtime = Some(runtime);
    }

    /// Closes all connections; whoever comes is refused.
    pub fn go_away(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            std::thread::spawn(move || drop(runtime)).join().expect("ends");
        }
    }

    pub async fn come_back(&mut self) {
        let listener = tokio::net::TcpListener::bind(self.address).await.expect("the same port");
        self.serve(listener.into_std().expect("a socket"));
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.borrow().clone()
    }

    /// Waits until what the server was asked fulfils a condition.
    pub async fn until(&self, condition: impl Fn(&[Seen]) -> bool) -> Vec<Seen> {
        let mut receiver = self.seen.subscribe();
        let waiting = receiver.wait_for(|seen| condition(seen));
        let found = tokio::time::timeout(Duration::from_mins(1), waiting).await;
        found.expect("within a minute").expect("the server is here").clone()
    }

    pub fn client(&self) -> Client {
        Client::new(&self.url(), &Options { timing: quick(), ..Options::default() }).expect("a client")
    }

    pub fn job(&self) -> JobClient {
        self.client().job(1001, &"glcbt-test".into())
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.go_away();
    }
}

async fn serve(request: Request<Body>, seen: Arc<watch::Sender<Vec<Seen>>>, script: Script) -> Response<Body> {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
    let seen_now = Seen {
        method: head.method,
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        headers: head.headers,
        body,
        at: Instant::now(),
    };
    let reply = (script.lock().expect("not poisoned"))(&seen_now);
    seen.send_modify(|seen| seen.push(seen_now));
    match reply {
        Reply::Answer { status, headers, body } => {
            let mut response = Response::builder().status(status);
            for (name, value) in headers {
                response = response.header(name, value);
            }
            response.body(Body::from(body)).expect("an answer")
        }
        Reply::Hang => std::future::pending().await,
        Reply::Cut => std::panic::resume_unwind(Box::new("cut")),
    }
}

/// GitLab's waits, shortened.
pub fn quick() -> Timing {
    let ms = Duration::from_millis;
    Timing {
        retry_min: ms(1),
        retry_max: ms(5),
        trace_interval: ms(10),
        final_min: ms(1),
        final_max: ms(50),
        away: ms(0),
        upload_min: ms(1),
        upload_max: ms(5),
        download_pause: ms(1),
        update: Duration::from_secs(20),
        ..Timing::default()
    }
}

pub fn identity() -> Identity {
    Identity { token: "glrt-t1_secret".into(), system_id: "s_0123456789ab".into(), info: Info::default() }
}

/// A log as GitLab keeps it: takes what fits its size, refuses the rest with 416.
#[derive(Clone, Default)]
pub struct Log(pub Arc<Mutex<Vec<u8>>>);

impl Log {
    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().expect("not poisoned").clone()).expect("UTF-8")
    }

    pub fn len(&self) -> usize {
        self.0.lock().expect("not poisoned").len()
    }

    /// Obedient answers to patches and updates.
    pub fn serve(&self, seen: &Seen) -> Reply {
        if !seen.is_patch() {
            return answer(200).body("200");
        }
        let mut log = self.0.lock().expect("not poisoned");
        let (from, to) = range(seen);
        assert_eq!(to - from + 1, seen.body.len(), "Content-Range fits the body");
        assert!((1..=1024 * 1024).contains(&seen.body.len()), "at most 1 MiB, never empty");
        let fits = from == log.len();
        if fits {
            log.extend_from_slice(&seen.body);
        }
        answer(if fits { 202 } else { 416 }).with("Range", format!("0-{}", log.len()))
    }
}

/// The numbers of `Content-Range`.
pub fn range(seen: &Seen) -> (usize, usize) {
    let (from, to) = seen.header("Content-Range").split_once('-').expect("a range");
    (from.parse().expect("a number"), to.parse().expect("a number"))
}

/// The checksum as an update says it.
pub fn checksum(text: &[u8]) -> String {
    format!("crc32:{:08x}", crc32fast::hash(text))
}
