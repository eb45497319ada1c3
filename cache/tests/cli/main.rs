//! The program: what it says, how it ends, what it takes from its environment.

#![expect(clippy::unwrap_used, reason = "tests")]

mod archive;
mod commands;
mod docs;
mod s3;
#[path = "../support/mod.rs"]
mod support;

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::TcpListener,
    path::Path,
    process::Stdio,
};

use support::{
    cli::{Said, command, run, url},
    moto::Moto,
    write,
};
use tempfile::tempdir;

fn at<'path>(directory: &'path Path, arguments: &[&'path str]) -> Vec<&'path str> {
    [arguments, &["-C", directory.to_str().unwrap()]].concat()
}

#[test]
fn a_save_a_restore_and_a_list_say_one_sentence_with_figures() {
    let (store, from, to) = (tempdir().unwrap(), tempdir().unwrap(), tempdir().unwrap());
    write(from.path(), "d/a", vec![b'a'; 2048]);
    write(from.path(), "d/b", "");
    let url = url(store.path());
    let said = run(&mut command(&url, &at(from.path(), &["save", "--key", "k", "d"])));
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""));
    assert!(said.out.starts_with("Saved k: 2 files, 2.00 KiB, of which "), "{said:?}");
    let said = run(&mut command(&url, &at(to.path(), &["restore", "--key", "none", "--fallback", "k"])));
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""));
    assert!(said.out.starts_with("Restored k: 2 files, 2.00 KiB, in "), "{said:?}");
    assert!(said.out.ends_with("s (no cache for none).\n"), "{said:?}");
    assert_eq!(fs::read(to.path().join("d/a")).unwrap(), vec![b'a'; 2048]);
    let said = run(&mut command(&url, &["list"]));
    assert!(said.out.ends_with("1 cache in default/unprotected, 2.00 KiB\n"), "{said:?}");
    assert_eq!(said.out.lines().count(), 2);
}

#[test]
fn json_has_the_fields_that_programs_rely_on() {
    let (store, from) = (tempdir().unwrap(), tempdir().unwrap());
    write(from.path(), "a", "12345");
    let url = url(store.path());
    let saved = run(&mut command(&url, &at(from.path(), &["--json", "save", "--key", "k", "a", "b"]))).json();
    assert_eq!(saved["saved"], true);
    assert_eq!((&saved["key"], &saved["files"], &saved["bytes"]), (&"k".into(), &1.into(), &5.into()));
    assert!(saved["sent"].as_u64().unwrap() > 0 && saved["reason"].is_null());
    assert_eq!(saved["warnings"][0], "b: no matching files");
    let restored = run(&mut command(&url, &at(from.path(), &["restore", "--key", "k", "--json"]))).json();
    assert_eq!((&restored["hit"], &restored["exact"]), (&true.into(), &true.into()));
    assert_eq!((&restored["key"], &restored["files"], &restored["bytes"]), (&"k".into(), &1.into(), &5.into()));
    let missed = run(&mut command(&url, &at(from.path(), &["restore", "--key", "x", "--json"]))).json();
    assert_eq!((&missed["hit"], &missed["key"]), (&false.into(), &serde_json::Value::Null));
    assert_eq!(missed["reason"], "no cache for x");
    let listing = run(&mut command(&url, &["list", "--json"])).json();
    assert_eq!((&listing["caches"][0]["key"], &listing["caches"][0]["bytes"]), (&"k".into(), &5.into()));
}

#[test]
fn exit_codes_tell_done_usage_miss_and_error_apart() {
    let (store, directory) = (tempdir().unwrap(), tempdir().unwrap());
    let url = url(store.path());
    let code = |url: &str, arguments: &[&str]| {
        let said = run(&mut command(url, &at(directory.path(), arguments)));
        assert!(said.code == Some(0) || said.err.is_empty() || said.err.starts_with("error: "), "{said:?}");
        said.code.unwrap()
    };
    assert_eq!(code(&url, &["restore", "--key", "k"]), 0);
    assert_eq!(code(&url, &["restore", "--key", "k", "--fail-on-miss"]), 3);
    assert_eq!(code(&url, &["save", "--key", "k", "nothing"]), 0);
    assert_eq!(code(&url, &["save", "--key", "k"]), 2);
    assert_eq!(code(&url, &["save", "nothing"]), 2);
    assert_eq!(code(&url, &["restore", "--key", ""]), 2);
    assert_eq!(code(&url, &["restore", "--key", "k", "--scope", "nonsense"]), 2);
    assert_eq!(code(&url, &["restore", "--key", "k-protected", "--scope", "1/unprotected"]), 2);
    assert_eq!(code("ftp://x", &["restore", "--key", "k"]), 2);
    assert_eq!(code(&url, &["restore", "--key", "k", "-C", "/nowhere"]), 2);
    assert_eq!(run(command(&url, &["restore", "--key", "k"]).args(["-C", "/nowhere"])).code, Some(4));
    assert_eq!(run(&mut command("file:///proc/nowhere", &["list"])).code, Some(4));
    assert_eq!(run(command("memory:", &[]).arg("--help")).code, Some(0));
}

#[test]
fn defaults_come_from_the_environment_of_a_gitlab_job() {
    let (store, from, to) = (tempdir().unwrap(), tempdir().unwrap(), tempdir().unwrap());
    write(from.path(), "a", "1");
    let job = |directory: &Path, arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_warmstart-cache"));
        command.env_clear().args(arguments).env("WARMSTART_CACHE_STORE", url(store.path()));
        run(command.env("CI_PROJECT_ID", "42").env("CI_PROJECT_DIR", directory))
    };
    assert_eq!(job(from.path(), &["save", "--key", "k-protected", "a"]).code, Some(0));
    assert!(job(to.path(), &["restore", "--key", "k-protected", "--fail-on-miss"]).out.starts_with("Restored"));
    assert!(to.path().join("a").exists());
    assert!(store.path().join("v1/42/protected/refs/k-protected").is_dir());
    assert!(job(to.path(), &["list", "--scope", "42/protected"]).out.contains("k-protected"));
    let missing = run(std::process::Command::new(env!("CARGO_BIN_EXE_warmstart-cache")).env_clear().arg("list"));
    assert_eq!(missing.code, Some(2));
    assert_eq!(missing.err, "error: no store is given; use --store URL or set WARMSTART_CACHE_STORE\n");
}

/// Restores and saves against a store in S3 at an address where nothing works.
fn against(endpoint: &str) -> (Said, Said, Said) {
    let directory = tempdir().unwrap();
    write(directory.path(), "a", "1");
    let url = format!("s3://bucket/prefix?endpoint={endpoint}");
    let tried = |arguments: &[&str]| {
        let mut command = command(&url, &at(directory.path(), arguments));
        run(command.env("AWS_ACCESS_KEY_ID", "id").env("AWS_SECRET_ACCESS_KEY", "hush"))
    };
    let restored = tried(&["restore", "--key", "k", "--fallback", "l", "--deadline", "20"]);
    let strict = tried(&["restore", "--key", "k", "--deadline", "20", "--fail-on-miss"]);
    let saved = tried(&["save", "--key", "k", "a", "--deadline", "20"]);
    let names: Vec<_> = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["a"]);
    (restored, strict, saved)
}

#[test]
fn a_store_that_refuses_connections_is_a_miss_of_one_clear_line() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (restored, strict, saved) = against(&format!("http://{free}"));
    assert_eq!((restored.code, strict.code, saved.code), (Some(0), Some(3), Some(4)));
    assert_eq!(restored.out.lines().count(), 1);
    assert!(restored.out.contains("list s3://bucket/prefix/v1/default/unprotected/refs/k/"), "{restored:?}");
    assert!(restored.out.contains("refused"), "{restored:?}");
    assert!(saved.err.starts_with("error: put s3://bucket/") && saved.err.lines().count() == 1, "{saved:?}");
}

#[test]
fn a_store_that_never_answers_is_a_miss_at_the_deadline() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let directory = tempdir().unwrap();
    let url = format!("s3://bucket?endpoint=http://{}", silent.local_addr().unwrap());
    let mut command = command(&url, &at(directory.path(), &["restore", "--key", "k", "--deadline", "1"]));
    let said = run(command.env("AWS_ACCESS_KEY_ID", "id").env("AWS_SECRET_ACCESS_KEY", "hush"));
    assert_eq!(said.code, Some(0));
    assert!(said.out.contains("look for the key: not done after 1 s"), "{said:?}");
}

#[tokio::test]
async fn credentials_and_endpoint_come_by_the_usual_chain_of_aws() {
    let (moto, directory) = (Moto::start(), tempdir().unwrap());
    moto.make_bucket("chain").await;
    write(directory.path(), "a", "1");
    let aws = |arguments: &[&str]| {
        let mut command = command("s3://chain/prefix", &at(directory.path(), arguments));
        command.env("AWS_ACCESS_KEY_ID", "testing").env("AWS_SECRET_ACCESS_KEY", "testing");
        run(command.env("AWS_ENDPOINT_URL", &moto.endpoint).env("AWS_REGION", "eu-central-1"))
    };
    assert!(aws(&["save", "--key", "k", "a"]).out.starts_with("Saved k: 1 file"));
    assert!(aws(&["restore", "--key", "k"]).out.starts_with("Restored k: 1 file"));
}

/// A running `serve`, and what it said first.
fn serve(store: &str, listen: &str) -> (std::process::Child, String) {
    let arguments = ["serve", "--listen", listen, "--scope", "default/unprotected"];
    let mut command = command(store, &arguments);
    let mut child = command.env("WARMSTART_CACHE_TOKEN", TOKEN).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (child, line)
}

fn terminate(mut child: std::process::Child) -> Option<i32> {
    let id = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
    child.wait().unwrap().code()
}

const TOKEN: &str = "hush-hush-hush-hush";

#[test]
fn serve_offers_a_store_to_clients_without_credentials_until_it_is_ended() {
    let (store, from, to) = (tempdir().unwrap(), tempdir().unwrap(), tempdir().unwrap());
    write(from.path(), "a", "1");
    let socket = format!("unix://{}/s", store.path().display());
    for listen in [socket.as_str(), "127.0.0.1:0"] {
        let (child, line) = serve(&url(store.path()), listen);
        assert!(line.starts_with("Serving default/unprotected at ") && !line.contains(TOKEN), "{line}");
        let address = line.trim_end().trim_end_matches('.').rsplit(' ').next().unwrap();
        let client = |arguments: &[&str]| {
            let mut command = command(address, arguments);
            run(command.env("WARMSTART_CACHE_TOKEN", TOKEN).env("SSL_CERT_FILE", "/nowhere"))
        };
        let saved = client(&at(from.path(), &["save", "--key", "k", "a"]));
        assert!(saved.out.starts_with("Saved k: 1 file"), "{saved:?}");
        let restored = client(&at(to.path(), &["restore", "--key", "k", "--fail-on-miss"]));
        assert!(restored.out.starts_with("Restored k: 1 file"), "{restored:?}");
        let other = client(&at(from.path(), &["save", "--key", "k", "a", "--scope", "other/unprotected"]));
        assert_eq!(other.code, Some(4));
        assert!(other.err.contains("other/unprotected") && other.err.lines().count() == 1, "{other:?}");
        assert_eq!(terminate(child), Some(0));
        let gone = client(&at(to.path(), &["restore", "--key", "k"]));
        assert!(gone.code == Some(0) && gone.out.contains("no answer"), "{gone:?}");
    }
    assert!(!store.path().join("s").exists());
}

#[test]
fn serve_on_a_port_without_a_token_is_a_mistake() {
    let serve = ["serve", "--listen", "127.0.0.1:0", "--scope", "1/unprotected"];
    let said = run(&mut command("memory:", &serve));
    assert_eq!(said.code, Some(2));
    assert!(said.err.contains("a port needs a token; set WARMSTART_CACHE_TOKEN"), "{said:?}");
    let said = run(command("memory:", &serve).env("WARMSTART_CACHE_TOKEN", "short-secret"));
    assert!(said.code == Some(2) && !said.err.contains("short-secret"), "{said:?}");
    assert_eq!(run(&mut command("memory:", &["serve", "--listen", "127.0.0.1:0"])).code, Some(2));
    let nowhere = ["serve", "--listen", "nowhere", "--scope", "1/unprotected"];
    assert_eq!(run(&mut command("memory:", &nowhere)).code, Some(2));
}
