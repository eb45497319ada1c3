//! What an address in S3 may say, and whom the program trusts.

use std::{fs, path::Path, process::Command};

use tempfile::{TempDir, tempdir};
use warmstart_cache::store::{Credentials, Store as _, open};

use super::{
    at,
    support::{
        cli::{Said, command, run},
        moto::Moto,
        noise,
        recorder::Recorder,
        write,
    },
};

fn aws(command: &mut Command) -> Said {
    run(command.env("AWS_ACCESS_KEY_ID", "testing").env("AWS_SECRET_ACCESS_KEY", "testing"))
}

#[tokio::test]
async fn encryption_and_who_pays_are_said_in_every_request() {
    let (server, from) = (Recorder::start(), tempdir().unwrap());
    write(from.path(), "a", "1");
    let key = "arn:aws:kms:eu-central-1:1:key/2";
    let options = format!("region=eu-central-1&sse=aws:kms&kms-key={key}&bucket-key=true&requester-pays=true");
    let url = format!("s3://bucket/p?endpoint=http://{}&{options}", server.address);
    let said = aws(&mut command(&url, &at(from.path(), &["save", "--key", "k", "a"])));
    assert!(said.out.starts_with("Saved k"), "{said:?}");
    aws(&mut command(&url, &["list"]));
    let credentials =
        Credentials { access_key_id: "id".into(), secret_access_key: "hush".into(), ..Credentials::default() };
    let store = open(&url, Some(&credentials)).await.unwrap();
    assert!(store.touch("x").await.unwrap());
    store.get("x", Some(0..10)).await.unwrap();
    store.delete("x").await.unwrap();
    let requests = server.requests();
    for verb in
        ["PUT /bucket/p/v1/", "GET /bucket/?list-type=2", "GET /bucket/p/x", "DELETE /bucket/p/x", "PUT /bucket/p/x"]
    {
        assert!(requests.iter().any(|request| request[0].starts_with(verb)), "no {verb} in {requests:#?}");
    }
    for request in &requests {
        let has = |line: &str| assert!(request.contains(&line.to_owned()), "no {line} in {request:#?}");
        has("x-amz-request-payer: requester");
        if request[0].starts_with("PUT") {
            has("x-amz-server-side-encryption: aws:kms");
            has(&format!("x-amz-server-side-encryption-aws-kms-key-id: {key}"));
            has("x-amz-server-side-encryption-bucket-key-enabled: true");
        }
    }
}

#[tokio::test]
async fn what_is_named_by_its_content_is_signed_by_its_name() {
    let server = Recorder::start();
    let url = format!("s3://bucket/p?endpoint=http://{}", server.address);
    let credentials =
        Credentials { access_key_id: "id".into(), secret_access_key: "hush".into(), ..Credentials::default() };
    let store = open(&url, Some(&credentials)).await.unwrap();
    let [name, other] = ["0", "a"].map(|digit| digit.repeat(64));
    for key in [format!("v1/7/protected/packs/{name}"), format!("v1/7/protected/other/{other}")] {
        store.put(&key, "content".into()).await.unwrap();
    }
    let requests = server.requests();
    let signed = |at: usize, digest: &str| requests[at].contains(&format!("x-amz-content-sha256: {digest}"));
    assert!(signed(0, &name), "{requests:#?}");
    assert!(signed(1, "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73"), "{requests:#?}");
}

#[test]
fn buckets_are_named_in_the_host_where_the_address_says_so_and_proxies_are_used() {
    let server = Recorder::start();
    for (style, wanted) in [("false", "http://bucket.s3.example.com/"), ("true", "http://s3.example.com/bucket/")] {
        let url = format!("s3://bucket/p?endpoint=http://s3.example.com&path-style={style}");
        let said = aws(command(&url, &["list"]).env("HTTP_PROXY", format!("http://{}", server.address)));
        assert_eq!(said.code, Some(0), "{said:?}");
        let last = server.requests().pop().unwrap();
        assert!(last[0].starts_with(&format!("GET {wanted}?list-type=2")), "{last:?}");
        assert!(!last.iter().any(|line| line.starts_with("x-amz-request-payer")), "{last:?}");
    }
}

#[test]
fn an_option_that_does_not_exist_is_a_mistake_and_no_miss() {
    let directory = tempdir().unwrap();
    let said = aws(&mut command("s3://bucket/p?endpont=http://x", &at(directory.path(), &["restore", "--key", "k"])));
    assert_eq!(said.code, Some(2));
    assert!(said.err.contains("has the unknown option endpont, the nearest known one is endpoint"), "{said:?}");
}

/// An S3 server that speaks TLS with a certificate of its own.
struct Tls {
    moto: Moto,
    files: TempDir,
}

impl Tls {
    fn start() -> Self {
        let files = tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        write(files.path(), "cert.pem", made.cert.pem());
        write(files.path(), "key.pem", made.signing_key.serialize_pem());
        let path = |name: &str| files.path().join(name).to_str().unwrap().to_owned();
        let moto = Moto::start_with(&["--ssl", "--ssl-cert", &path("cert.pem"), "--ssl-key", &path("key.pem")]);
        Self { moto, files }
    }

    fn certificate(&self) -> std::path::PathBuf {
        self.files.path().join("cert.pem")
    }

    fn url(&self) -> String {
        format!("s3://bucket/p?endpoint={}", self.moto.endpoint)
    }
}

#[test]
fn certificates_of_the_machine_and_of_the_environment_are_honoured() {
    let (tls, directory) = (Tls::start(), tempdir().unwrap());
    let restore = || command(&tls.url(), &at(directory.path(), &["restore", "--key", "k"]));
    assert!(tls.moto.endpoint.starts_with("https://"));
    let said = aws(&mut restore());
    assert!(said.out.contains("certificate"), "unknown to this machine: {said:?}");
    let said = aws(restore().env("SSL_CERT_FILE", tls.certificate()));
    assert!(said.out.contains("NoSuchBucket"), "an answer: {said:?}");
    let said = aws(restore().env("SSL_CERT_FILE", "/nowhere.pem"));
    assert_eq!(said.code, Some(0));
    assert!(said.out.contains("no certificate there, as SSL_CERT_FILE says"), "{said:?}");
}

/// Runs the program with `root` as its whole file system.
fn confined(root: &Path, store: &str, arguments: &[&str]) -> Said {
    let tools = if rustix::process::geteuid().is_root() { vec!["chroot"] } else { vec!["unshare", "-r", "chroot"] };
    let mut command = Command::new(tools[0]);
    command.args(&tools[1..]).arg(root).args(["/warmstart-cache", "--store", store]).args(arguments);
    command.env("WARMSTART_LOG", "warmstart_cache=debug").env("AWS_EC2_METADATA_DISABLED", "true");
    aws(command.env_remove("SSL_CERT_FILE").env_remove("SSL_CERT_DIR").env_remove("CI_PROJECT_DIR"))
}

#[tokio::test]
async fn in_an_image_without_any_certificate_s3_is_within_reach() {
    let (tls, plain, root) = (Tls::start(), Moto::start(), tempdir().unwrap());
    fs::copy(env!("CARGO_BIN_EXE_warmstart-cache"), root.path().join("warmstart-cache")).unwrap();
    write(root.path(), "from/a", "1");
    fs::create_dir(root.path().join("to")).unwrap();
    // Which every container has.
    write(root.path(), "dev/random", noise(100_000, 1));
    write(root.path(), "dev/urandom", noise(100_000, 2));
    // Mozilla's certificates do not vouch for this server: that the handshake says so shows that they are asked.
    let said = confined(root.path(), &tls.url(), &["restore", "--key", "k", "-C", "to"]);
    assert_eq!(said.code, Some(0));
    assert!(said.err.contains("no CA certificates on this machine, using Mozilla's"), "{said:?}");
    assert!(said.out.contains("invalid peer certificate: UnknownIssuer"), "{said:?}");
    // Without TLS everything works.
    plain.make_bucket("bucket").await;
    let url = format!("s3://bucket/p?endpoint={}", plain.endpoint);
    let said = confined(root.path(), &url, &["save", "--key", "k", "-C", "from", "a"]);
    assert!(said.out.starts_with("Saved k: 1 file"), "{said:?}");
    let said = confined(root.path(), &url, &["restore", "--key", "k", "-C", "to"]);
    assert!(said.out.starts_with("Restored k: 1 file"), "{said:?}");
}
