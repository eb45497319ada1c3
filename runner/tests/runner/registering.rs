//! `warmstart-runner register` and `unregister` (protocol §1.4).

use super::support::Bench;
use anyhow::Result;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Output;
use tokio::process::Command;
use warmstart_tests::gitlab::Endpoint;
use warmstart_tests::harness::SmallDisk;

async fn run(config: &Path, arguments: &[&str]) -> Result<Output> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_warmstart-runner"));
    command.arg(arguments[0]).arg("--config").arg(config).args(&arguments[1..]);
    Ok(command.env_remove("WARMSTART_RUNNER_TOKEN").output().await?)
}

/// A configuration of which only its entries are missing.
fn start(bench: &Bench, config: &Path) -> Result<()> {
    let text = format!("concurrent = 4 # many\n[state]\nstore = \"file://{}/state\"\n", bench.path().display());
    Ok(std::fs::write(config, text)?)
}

async fn register(bench: &Bench, config: &Path, token: &str, name: &str) -> Result<Output> {
    run(config, &["register", "--url", &bench.gitlab.url(), "--token", token, "--name", name]).await
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

#[tokio::test]
async fn a_runner_comes_and_goes_and_the_rest_of_the_file_stays() -> Result<()> {
    let bench = Bench::prepare("").await?;
    let config = bench.file("new.toml");
    start(&bench, &config)?;
    for (token, name) in [(bench.gitlab.runner_token(), "new kind"), (bench.gitlab.registration_token(), "old kind")] {
        let output = register(&bench, &config, &token, name).await?;
        assert!(output.status.success() && said(&output).contains(name), "{}", said(&output));
    }
    let text = std::fs::read_to_string(&config)?;
    assert!(text.starts_with("concurrent = 4 # many\n") && text.contains("token = \"glrtr-"), "{text}");
    assert!(!text.contains(&bench.gitlab.registration_token()), "{text}");
    assert_eq!(std::fs::metadata(&config)?.permissions().mode() & 0o777, 0o600);
    let checked = run(&config, &["check"]).await?;
    assert!(said(&checked).contains("good, 2 runner(s)"), "{}", said(&checked));

    let unknown = run(&config, &["unregister", "--name", "nobody"]).await?;
    assert!(said(&unknown).contains("no such entry; it has \"new kind\", \"old kind\""), "{}", said(&unknown));
    let gone = run(&config, &["unregister", "--name", "new kind"]).await?;
    assert!(said(&gone).contains("\"new kind\" is gone"), "{}", said(&gone));
    assert!(std::fs::read_to_string(&config)?.contains("old kind"));
    let nameless = "[[runners]]\nurl = \"@\"\ntoken = \"glrt-gone\"\n".replace('@', &bench.gitlab.url()).repeat(2);
    std::fs::write(&config, std::fs::read_to_string(&config)? + &nameless)?;
    let gone = run(&config, &["unregister", "--all-runners"]).await?;
    assert!(gone.status.success(), "{}", said(&gone));
    let text = std::fs::read_to_string(&config)?;
    assert!(text.starts_with("concurrent = 4 # many\n") && !text.contains("runners"), "{text}");
    for endpoint in [Endpoint::Unregister, Endpoint::UnregisterManager] {
        bench.gitlab.wait_requests(endpoint, 1).await;
    }
    bench.gitlab.assert_clean();
    Ok(())
}

#[tokio::test]
async fn a_token_that_gitlab_does_not_know_changes_nothing() -> Result<()> {
    let bench = Bench::prepare("").await?;
    let config = bench.file("new.toml");
    start(&bench, &config)?;
    let before = std::fs::read_to_string(&config)?;
    for token in ["glrt-wrong", "GR1348941wrong"] {
        let output = register(&bench, &config, token, "x").await?;
        assert_eq!(output.status.code(), Some(1));
        assert!(said(&output).contains("register the runner") && !said(&output).contains(token), "{}", said(&output));
        assert_eq!(std::fs::read_to_string(&config)?, before);
    }
    Ok(())
}

#[tokio::test]
async fn a_runner_whose_token_cannot_be_kept_is_not_left_in_gitlab() -> Result<()> {
    let bench = Bench::prepare("").await?;
    std::fs::create_dir(bench.file("small"))?;
    let disk = SmallDisk::mount(&bench.file("small"), "64k")?;
    let config = bench.file("small").join("config.toml");
    start(&bench, &config)?;
    disk.fill()?;
    let output = register(&bench, &config, &bench.gitlab.registration_token(), "x").await?;
    assert!(said(&output).contains("cannot be kept"), "{}", said(&output));
    bench.gitlab.wait_requests(Endpoint::Unregister, 1).await;
    assert!(!std::fs::read_to_string(&config)?.contains("runners"), "the old file is whole");
    bench.gitlab.assert_clean();
    Ok(())
}
