//! The link over real TLS, against a server that answers as it is told.

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum_server::tls_rustls::RustlsConfig;
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use std::collections::VecDeque;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use warmstart_api::client::{Error, Link};
use warmstart_api::pin::Fingerprint;
use warmstart_api::{Heartbeat, Holding, Notice, Register, Release, Released};

const SOON: Duration = Duration::from_secs(20);
const HOLDING: Holding = Holding { job: 7, generation: 2 };

/// Path, session and body of a request.
type Request = (String, Option<String>, String);

/// Answers given in order, the last one for ever; requests as they came.
#[derive(Clone, Default)]
struct Script {
    answers: Arc<Mutex<VecDeque<(u16, &'static str)>>>,
    requests: Arc<Mutex<Vec<Request>>>,
}

struct Server {
    address: SocketAddr,
    fingerprint: String,
    script: Script,
}

impl Server {
    fn start(answers: &[(u16, &'static str)]) -> Self {
        let script = Script { answers: Arc::new(Mutex::new(answers.iter().copied().collect())), ..Script::default() };
        let pair = rcgen::generate_simple_self_signed(["runner".to_owned()]).expect("a certificate");
        let fingerprint = Fingerprint::of(pair.cert.der()).to_string();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("non-blocking");
        let address = listener.local_addr().expect("an address");
        let app = Router::new().fallback(answer).with_state(script.clone());
        let server = axum_server::from_tcp_rustls(listener, RustlsConfig::from_config(Arc::new(config(&pair))));
        tokio::spawn(server.expect("a server").serve(app.into_make_service()));
        Self { address, fingerprint, script }
    }

    fn link(&self) -> Link {
        Link::new(&format!("https://{}", self.address), &self.fingerprint).expect("a link")
    }

    fn requests(&self) -> Vec<Request> {
        self.script.requests.lock().expect("no panic").clone()
    }
}

fn config(pair: &rcgen::CertifiedKey<rcgen::KeyPair>) -> ServerConfig {
    let key = PrivateKeyDer::try_from(pair.signing_key.serialize_der()).expect("a key");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder =
        ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("versions");
    builder.with_no_client_auth().with_single_cert(vec![pair.cert.der().clone()], key).expect("a configuration")
}

async fn answer(State(script): State<Script>, uri: Uri, headers: HeaderMap, body: Bytes) -> (StatusCode, &'static str) {
    let session = headers.get("authorization").map(|value| value.to_str().expect("text").to_owned());
    let body = String::from_utf8(body.to_vec()).expect("text");
    script.requests.lock().expect("no panic").push((uri.path().to_owned(), session, body));
    let mut answers = script.answers.lock().expect("no panic");
    let (status, text) =
        if answers.len() > 1 { answers.pop_front() } else { answers.front().copied() }.expect("an answer");
    (StatusCode::from_u16(status).expect("a status"), text)
}

fn register() -> Register {
    Register {
        version: 1,
        agent_version: "test".to_owned(),
        executor: "local-1".to_owned(),
        run_id: "run".to_owned(),
        proof: "proof".into(),
        holding: None,
    }
}

const REGISTERED: &str =
    r#"{"session":"the-session","still_holding":false,"heartbeat_ms":1,"lease_ms":2,"contact_limit_ms":3,"new":[]}"#;

#[tokio::test]
async fn every_call_carries_the_session_that_register_answered() {
    let server = Server::start(&[(200, REGISTERED), (204, ""), (200, "{}")]);
    let link = server.link();
    let registered = link.register(&register(), SOON).await.expect("registered");
    assert_eq!((registered.heartbeat_ms, registered.still_holding), (1, false));
    assert!(link.next(SOON).await.expect("answered").is_none());
    link.ack(HOLDING, SOON).await.expect("taken");
    link.clone().script(HOLDING, SOON).await.expect("open");
    link.heartbeat(&Heartbeat { holding: HOLDING, section: None }, SOON).await.expect("renewed");
    let outcome = Released::GivenUp { reason: "test".to_owned() };
    link.release(&Release { holding: HOLDING, outcome }, SOON).await.expect("released");
    let notice = Notice { kind: "rebalance".to_owned(), time: "2026-01-01T00:00:00Z".to_owned() };
    link.notice(&notice, SOON).await.expect("told");
    link.leave(SOON).await.expect("left");

    let requests = server.requests();
    let calls: Vec<_> = requests.iter().map(|(path, ..)| path.as_str()).collect();
    let expected =
        ["register", "next", "ack", "script", "heartbeat", "release", "notice", "leave"].map(|c| format!("/v1/{c}"));
    assert_eq!(calls, expected);
    assert_eq!(requests[0].1, None);
    assert!(requests[1..].iter().all(|(_, session, _)| session.as_deref() == Some("Bearer the-session")));
    assert_eq!(requests[2].2, r#"{"job":7,"generation":2}"#);
}

#[tokio::test]
async fn an_assignment_keeps_the_payload_as_gitlab_sent_it() {
    let text = r#"{"job":7,"generation":2,"payload":{"id":7,  "unknown": [1.50, null]},"correlation_id":"c",
        "gitlab":{"url":"https://g","runner_name":"r","short_token":"s","system_id":"r_x","concurrent_id":0,
        "concurrent_project_id":0,"volume_prefix":"runner-1"},"seconds_left":9,"log":{"continue":"so far"},
        "settings":{"docker":{"image":"alpine"}},"cache":null,"from":"a later version"}"#;
    let server = Server::start(&[(200, text)]);
    let assignment = server.link().next(SOON).await.expect("answered").expect("a job");
    assert_eq!(assignment.holding, HOLDING);
    assert_eq!(assignment.payload.get(), r#"{"id":7,  "unknown": [1.50, null]}"#);
    assert_eq!(assignment.settings.docker.image, "alpine");
    let again = serde_json::to_string(&assignment).expect("JSON");
    assert!(again.contains(r#""payload":{"id":7,  "unknown": [1.50, null]}"#), "{again}");
}

#[tokio::test]
async fn passing_failures_are_tried_again_and_answers_are_not() {
    let server = Server::start(&[(503, "journal"), (429, ""), (500, ""), (200, "{}")]);
    server.link().ack(HOLDING, SOON).await.expect("taken at the fourth try");
    assert_eq!(server.requests().len(), 4);

    for (status, matches) in [
        (409, (|error| matches!(error, Error::Stale("ack"))) as fn(&Error) -> bool),
        (401, |error| matches!(error, Error::Session("ack"))),
        (403, |error| matches!(error, Error::Refused { call: "ack", reason } if reason == "why")),
        (410, |error| matches!(error, Error::Gone)),
        (404, |error| matches!(error, Error::Protocol { call: "ack", .. })),
        (200, |error| matches!(error, Error::Protocol { call: "ack", .. })),
    ] {
        let server = Server::start(&[(status, "why")]);
        let error = server.link().ack(HOLDING, SOON).await.expect_err("refused");
        assert!(matches(&error), "{status}: {error:?}");
        assert_eq!(server.requests().len(), 1);
    }
}

#[tokio::test]
async fn the_callers_deadline_ends_the_tries_and_the_error_says_what_was_met() {
    let server = Server::start(&[(503, "the runner cannot write its journal")]);
    let error = server.link().script(HOLDING, Duration::from_secs(1)).await.expect_err("never answered");
    let text = error.to_string();
    assert!(text.contains("script") && text.contains("1.0 s") && text.contains("cannot write its journal"), "{text}");
}

#[tokio::test]
async fn another_certificate_is_not_trusted() {
    let (server, impostor) = (Server::start(&[(200, "{}")]), Server::start(&[(200, "{}")]));
    let link = Link::new(&format!("https://{}", impostor.address), &server.fingerprint).expect("a link");
    let error = link.leave(Duration::from_secs(1)).await.expect_err("not trusted");
    assert!(matches!(&error, Error::Unreachable { reason, .. } if reason.contains("certificate")), "{error}");
    assert_eq!(impostor.requests(), []);
}

#[tokio::test]
async fn only_an_address_with_a_fingerprint_makes_a_link() {
    let good = "a".repeat(64);
    for (url, fingerprint) in [
        ("http://runner:1", good.as_str()),
        ("https://runner:1/path", &good),
        ("runner", &good),
        ("https://runner:1", "abc"),
        ("https://runner:1", ""),
    ] {
        let error = Link::new(url, fingerprint).expect_err("refused");
        assert!(matches!(error, Error::Configuration { .. }), "{url} {fingerprint}: {error:?}");
    }
    Link::new("https://[::1]:7414", &good.to_uppercase()).expect("a link");
}
