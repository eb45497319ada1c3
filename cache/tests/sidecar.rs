//! A store behind a sidecar: the same promises, and nothing beyond its scopes.

#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use bytes::Bytes;
use support::{
    faulty::{Fault, Faulty},
    promises::check,
    restore_keys, save_paths, scope,
    sidecar::{Sidecar, TOKEN, begin, client, rest},
    tree, write,
};
use tempfile::tempdir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use warmstart_cache::{
    Digest, Protection, SaveOptions, Scope, Token, save,
    sidecar::{Access, Listener, Socket},
    store::{AnyStore, Directory, Error, Memory, Store, list_all, open},
};

const SCOPE: &str = "v1/7/unprotected";

fn scoped() -> Access {
    Access::Scopes(vec![scope()])
}

/// A sidecar for the tests' scope before a store in memory.
fn sidecar() -> (Memory, Sidecar) {
    let store = Memory::new();
    (store.clone(), Sidecar::on_a_socket(store, scoped()))
}

fn pack(content: &[u8]) -> String {
    format!("{SCOPE}/packs/{}", Digest::of(content))
}

#[tokio::test]
async fn a_socket_keeps_every_promise_of_a_store() {
    let sidecar = Sidecar::on_a_socket(Memory::new(), Access::Full);
    check(sidecar.client()).await;
}

#[tokio::test]
async fn a_port_keeps_every_promise_of_a_store() {
    let directory = tempdir().unwrap();
    let sidecar = Sidecar::on_a_port(Directory::open(directory.path()).unwrap(), Access::Full).await;
    check(sidecar.client()).await;
}

#[tokio::test]
async fn a_sidecar_before_a_sidecar_keeps_every_promise_of_a_store() {
    let first = Sidecar::on_a_socket(Memory::new(), Access::Full);
    let second = Sidecar::on_a_port(first.client(), Access::Full).await;
    check(second.client()).await;
}

async fn round_trip(sidecar: &Sidecar) {
    let (from, to) = (tempdir().unwrap(), tempdir().unwrap());
    tree::make(from.path());
    let saved = save_paths(&sidecar.client(), "key", from.path(), &["tree"]).await;
    assert!(saved.saved, "{saved:?}");
    let restored = restore_keys(&sidecar.client(), &["key"], to.path()).await;
    assert!(restored.hit && restored.exact, "{restored:?}");
    assert_eq!(tree::see(to.path()), tree::see(from.path()));
}

#[tokio::test]
async fn everything_comes_back_through_a_socket() {
    round_trip(&sidecar().1).await;
}

#[tokio::test]
async fn everything_comes_back_through_a_port() {
    round_trip(&Sidecar::on_a_port(Memory::new(), scoped()).await).await;
}

#[tokio::test]
async fn listings_go_on_over_pages() {
    let (store, sidecar) = sidecar();
    for number in 0..2005 {
        store.put(&format!("{SCOPE}/n/{number:04}"), Bytes::new()).await.unwrap();
    }
    let prefix = format!("{SCOPE}/n/");
    assert_eq!(list_all(&sidecar.client(), &prefix).await.unwrap().len(), 2005);
    let after = format!("{prefix}0002");
    assert_eq!(sidecar.client().list(&prefix, &after, 1500).await.unwrap().len(), 1500);
}

#[tokio::test]
async fn another_scope_is_denied_whatever_its_spelling() {
    let (store, sidecar) = sidecar();
    store.put("v1/7/protected/packs/a", "secret".into()).await.unwrap();
    store.put(&format!("{SCOPE}/packs/a"), "mine".into()).await.unwrap();
    for path in [
        "v1/7/protected/packs/a",
        "v1/7/unprotected/../protected/packs/a",
        "v1/7/unprotected/%2e%2e/protected/packs/a",
        "v1/7/unprotected%2f..%2fprotected/packs/a",
        "v1/7/%75nprotected/packs/a",
        "v1/7/unprotected/packs//a",
        "/v1/7/protected/packs/a",
        "v1/7/unprotected",
        "",
    ] {
        for verb in ["GET", "PUT", "POST", "DELETE"] {
            let (status, answer) = sidecar.send(&format!("{verb} /v1/objects/{path} HTTP/1.1"), b"x").await;
            assert!(status == 403 && !answer.contains("secret"), "{verb} {path}: {answer}");
        }
    }
    for prefix in ["", "v1/", "v1/7/", "v1/7/unprotected", "v1/7/protected/", "v1/7/unprotected/..%2fprotected/"] {
        let (status, _) = sidecar.send(&format!("GET /v1/objects?prefix={prefix} HTTP/1.1"), b"").await;
        assert_eq!(status, 403, "{prefix}");
    }
    assert_eq!(sidecar.send(&format!("GET /v1/objects/{SCOPE}/packs/a HTTP/1.1"), b"").await.0, 200);
    assert_eq!(list_all(&store, "").await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_save_into_another_scope_says_why_it_is_denied() {
    let (_, sidecar) = sidecar();
    let from = tempdir().unwrap();
    write(from.path(), "a", support::noise(3_000_000, 1));
    let other = Scope::new("7", Protection::Protected).unwrap();
    let (key, paths) = (support::key("k-protected"), support::paths(&["a"]));
    let saved = save(&sidecar.client(), &other, &key, from.path(), &paths, &SaveOptions::default()).await;
    let error = saved.unwrap_err();
    assert!(matches!(error, Error::Denied { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("outside the scopes that are served here: 7/unprotected"), "{text}");
    assert!(text.contains("cache.sock") && !text.contains('\n'), "{text}");
}

#[tokio::test]
async fn nothing_is_planted_under_the_name_of_something_else() {
    let (store, sidecar) = sidecar();
    let client = sidecar.client();
    client.put(&pack(b"right"), "right".into()).await.unwrap();
    let error = client.put(&pack(b"right"), "wrong".into()).await.unwrap_err();
    assert!(error.to_string().contains("SHA-256"), "{error}");
    assert!(client.put_if_absent(&pack(b"else"), "wrong".into()).await.is_err());
    for name in [format!("{SCOPE}/packs/x"), format!("{SCOPE}/other/x"), format!("{SCOPE}/refs/k")] {
        assert!(client.put_if_absent(&name, "x".into()).await.is_err(), "{name}");
    }
    let entries = list_all(&store, "").await.unwrap();
    assert_eq!(entries.iter().map(|entry| entry.key.clone()).collect::<Vec<_>>(), [pack(b"right")]);
    assert_eq!(store.get(&pack(b"right"), None).await.unwrap().unwrap().bytes, "right");
}

#[tokio::test]
async fn nothing_that_is_there_is_removed_or_replaced() {
    let (store, sidecar) = sidecar();
    let client = sidecar.client();
    let name = format!("{SCOPE}/refs/k/0000000000001-0000000000000000");
    let etag = client.put_if_absent(&name, "one".into()).await.unwrap().unwrap();
    assert!(client.put_if_absent(&name, "two".into()).await.unwrap().is_none());
    for result in
        [client.put(&name, "two".into()).await.map(Some), client.put_if_match(&name, "two".into(), &etag).await]
    {
        assert!(matches!(result, Err(Error::Denied { .. })), "{result:?}");
    }
    let error = client.delete(&name).await.unwrap_err();
    assert!(error.to_string().contains("nothing is deleted through this server"), "{error}");
    assert!(client.touch(&name).await.unwrap());
    assert_eq!(store.get(&name, None).await.unwrap().unwrap().bytes, "one");
}

#[tokio::test]
async fn what_is_too_large_is_refused_before_it_is_read() {
    let (_, sidecar) = sidecar();
    for (path, length) in [("packs", 98 << 20), ("refs/k", (16 << 10) + 1), ("packs", 1 << 40)] {
        let head = format!("PUT /v1/objects/{SCOPE}/{path}/{} HTTP/1.1\r\nif-none-match: *", Digest::of(b"x"));
        let mut stream = begin(&sidecar.socket(), &format!("{head}\r\nconnection: close"), length).await;
        stream.shutdown().await.unwrap();
        assert_eq!(rest(&mut stream).await.0, 413, "{path} {length}");
    }
    let chunked = format!("PUT /v1/objects/{} HTTP/1.1\r\ntransfer-encoding: chunked\r\nhost: x", pack(b"x"));
    let mut stream = tokio::net::UnixStream::connect(sidecar.socket()).await.unwrap();
    let text = format!("{chunked}\r\nconnection: close\r\n\r\n1\r\nx\r\n0\r\n\r\n");
    stream.write_all(text.as_bytes()).await.unwrap();
    assert_eq!(rest(&mut stream).await.0, 411);
}

#[tokio::test]
async fn an_object_larger_than_the_format_allows_is_not_given_whole() {
    let (store, sidecar) = sidecar();
    store.put(&format!("{SCOPE}/packs/large"), vec![0; 98 << 20].into()).await.unwrap();
    let error = sidecar.client().get(&format!("{SCOPE}/packs/large"), None).await.unwrap_err();
    assert!(error.to_string().contains("more than"), "{error}");
}

/// Begins to send a pack of the largest size.
async fn upload(sidecar: &Sidecar) -> tokio::net::UnixStream {
    let head = format!("PUT /v1/objects/{} HTTP/1.1\r\nexpect: 100-continue", pack(b"large"));
    begin(&sidecar.socket(), &head, 97 << 20).await
}

async fn goes_on(stream: &mut tokio::net::UnixStream) {
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 100");
}

#[tokio::test]
async fn uploads_wait_until_there_is_memory_for_them() {
    let (_, sidecar) = sidecar();
    let (mut one, mut two) = (upload(&sidecar).await, upload(&sidecar).await);
    goes_on(&mut one).await;
    goes_on(&mut two).await;
    let mut three = upload(&sidecar).await;
    // The server has seen the third request when it answers this one, which needs no memory.
    let head = format!("DELETE /v1/objects/{} HTTP/1.1", pack(b"x"));
    assert_eq!(sidecar.send(&head, b"").await.0, 403);
    let nothing = three.try_read(&mut [0]);
    assert_eq!(nothing.unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    drop(one);
    goes_on(&mut three).await;
}

#[tokio::test]
async fn clients_that_vanish_leave_nothing_behind() {
    let (store, sidecar) = sidecar();
    for _ in 0..300 {
        let mut stream = upload(&sidecar).await;
        stream.write_all(b"a little").await.unwrap();
    }
    round_trip(&sidecar).await;
    assert!(store.get(&pack(b"large"), None).await.unwrap().is_none());
}

#[tokio::test]
async fn a_port_wants_the_token_and_no_error_shows_it() {
    let store = Memory::new();
    store.put(&format!("{SCOPE}/packs/a"), "secret".into()).await.unwrap();
    let sidecar = Sidecar::on_a_port(store, scoped()).await;
    let wrong = Token::new("this-is-not-the-token").unwrap();
    for (token, reason) in [(None, "WARMSTART_CACHE_TOKEN"), (Some(wrong), "is not the one")] {
        let client = client(&sidecar.address, token);
        let error = client.get(&format!("{SCOPE}/packs/a"), None).await.unwrap_err();
        assert!(matches!(error, Error::Denied { .. }), "{error:?}");
        assert!(error.to_string().contains(reason), "{error}");
        assert!(client.list(&format!("{SCOPE}/"), "", 1).await.is_err());
        assert!(client.put(&pack(b"x"), "x".into()).await.is_err());
    }
    let right = sidecar.client();
    assert!(right.get(&format!("{SCOPE}/packs/a"), None).await.unwrap().is_some());
    assert!(!format!("{right:?}").contains(TOKEN));
    let error = right.delete(&pack(b"x")).await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains(TOKEN));
}

#[tokio::test]
async fn a_server_that_is_killed_in_an_answer_is_a_miss() {
    let store = Faulty::default();
    let (from, to) = (tempdir().unwrap(), tempdir().unwrap());
    tree::make(from.path());
    save_paths(&store, "k", from.path(), &["tree"]).await;
    store.clear();
    store.add(Fault::Hang("packs/".to_owned()));
    let sidecar = Sidecar::on_a_socket(store.clone(), scoped());
    let client = sidecar.client();
    let kill = async {
        while store.count("get v1/7/unprotected/packs/") == 0 {
            tokio::task::yield_now().await;
        }
        sidecar.task.abort();
    };
    let (restored, ()) = tokio::join!(restore_keys(&client, &["k"], to.path()), kill);
    assert!(!restored.hit && restored.reason.is_some(), "{restored:?}");
    assert_eq!(fs::read_dir(to.path()).unwrap().count(), 0);
    let missed = restore_keys(&client, &["k"], to.path()).await;
    assert!(missed.reason.unwrap().contains("no answer"));
}

#[tokio::test]
async fn an_answer_that_breaks_off_or_lies_is_an_error() {
    for answer in [
        "HTTP/1.1 206 Partial Content\r\ncontent-range: bytes 2-4/*\r\ncontent-length: 3\r\n\r\nab",
        "HTTP/1.1 206 Partial Content\r\ncontent-range: bytes 0-2/*\r\ncontent-length: 3\r\n\r\nabc",
        "HTTP/1.1 206 Partial Content\r\ncontent-length: 3\r\n\r\nabc",
        "HTTP/1.1 206 Partial Content\r\ncontent-range: bytes 2-4/*\r\ncontent-length: 4\r\n\r\nabcd",
        "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nabcdef",
        "HTTP/1.1 302 Found\r\nlocation: /x\r\ncontent-length: 0\r\n\r\n",
        "no HTTP at all\r\n\r\n",
    ] {
        let port = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = client(&format!("http://{}", port.local_addr().unwrap()), None);
        let serve = async {
            let (mut stream, _) = port.accept().await.unwrap();
            let mut head = vec![0; 4096];
            let _ = stream.read(&mut head).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
        };
        let (got, ()) = tokio::join!(client.get("a", Some(2..5)), serve);
        let error = got.expect_err(answer).to_string();
        assert!(error.starts_with("get a at http://127.0.0.1") && !error.contains('\n'), "{error}");
    }
}

#[tokio::test]
async fn trouble_with_the_store_keeps_its_kind() {
    let store = Faulty::default();
    store.add(Fault::RefuseWrites("packs/".to_owned()));
    let sidecar = Sidecar::on_a_socket(store, scoped());
    let error = sidecar.client().put(&pack(b"x"), "x".into()).await.unwrap_err();
    assert!(error.is_retryable() && error.to_string().contains("SlowDown"), "{error:?}");
    let behind = client("http://127.0.0.1:1", None);
    let sidecar = Sidecar::on_a_socket(behind, scoped());
    let error = sidecar.client().put(&pack(b"x"), "x".into()).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }) && error.to_string().contains("refused"), "{error:?}");
}

#[tokio::test]
async fn requests_under_way_are_answered_when_the_server_ends() {
    let (store, sidecar) = sidecar();
    let content = vec![7; 100_000];
    let head = format!("PUT /v1/objects/{} HTTP/1.1\r\nexpect: 100-continue", pack(&content));
    let mut stream = begin(&sidecar.socket(), &head, content.len()).await;
    goes_on(&mut stream).await;
    sidecar.stop.cancel();
    stream.write_all(&content).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains("204 No Content"), "{answer}");
    sidecar.task.await.unwrap();
    assert!(store.get(&pack(&content), None).await.unwrap().is_some());
}

#[tokio::test]
async fn a_socket_replaces_a_dead_one_and_nothing_else() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("s");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    drop(std::os::unix::net::UnixListener::bind(directory.path().join("s~")).unwrap());
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    let socket = Socket::bind(&path, false).unwrap();
    assert_eq!(mode(socket.path()), 0o600);
    assert!(Socket::bind(&path, false).unwrap_err().to_string().contains("a server listens there already"));
    drop(Listener::Unix(socket));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    assert_eq!(mode(Socket::bind(&path, true).unwrap().path()), 0o666);
    fs::write(&path, "precious").unwrap();
    assert!(Socket::bind(&path, true).is_err());
    assert_eq!(fs::read(&path).unwrap(), b"precious");
}

#[tokio::test]
async fn a_socket_may_lie_deeper_than_the_kernel_takes_paths() {
    let directory = tempdir().unwrap();
    let deep = directory.path().join("d".repeat(120));
    fs::create_dir(&deep).unwrap();
    let socket = Socket::bind(deep.join("s"), false).unwrap();
    assert!(Socket::bind(deep.join("s"), false).unwrap_err().to_string().contains("a server listens there already"));
    drop(socket);
    assert_eq!(fs::read_dir(&deep).unwrap().count(), 0);
}

#[tokio::test]
async fn addresses_of_sidecars_are_checked() {
    for url in
        ["unix:", "unix:///", "unix://host/x", "http://user:hush-hush-hush@host/", "http://host/?token=hush-hush"]
    {
        let error = open(url, None).await.unwrap_err().to_string();
        assert!(!error.contains("hush") && !error.contains('\n'), "{error}");
    }
    for url in ["unix:///run/x.sock", "http://127.0.0.1:1", "https://example.com", "https://example.com/behind/"] {
        assert!(matches!(open(url, None).await.unwrap(), AnyStore::Http(_)), "{url}");
    }
}
