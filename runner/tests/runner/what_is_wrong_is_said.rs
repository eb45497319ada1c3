//! One clear line and an exit code.

use super::support::Bench;
use anyhow::Result;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;
use tokio::process::Command;
use warmstart_tests::harness::Ended;

/// The last line, which is all that was said of the error.
fn said(ended: &Ended, code: i32) -> String {
    assert_eq!(ended.status.code(), Some(code), "{}", ended.output);
    assert!(!ended.output.contains("panicked"), "{}", ended.output);
    ended.output.trim_end().rsplit('\n').next().unwrap_or_default().to_owned()
}

fn replace(bench: &Bench, from: &str, to: &str) -> Result<()> {
    let path = bench.file("config.toml");
    let text = std::fs::read_to_string(&path)?;
    assert!(text.contains(from), "{from} in {text}");
    Ok(std::fs::write(path, text.replace(from, to))?)
}

#[tokio::test]
async fn an_unknown_key() -> Result<()> {
    let bench = Bench::prepare("max_idle = 3").await?;
    let line = said(&bench.fail().await?, 1);
    assert!(line.contains("config.toml:10: unknown key `max_idle` in [fleet]; did you mean `max_"), "{line}");
    Ok(())
}

#[tokio::test]
async fn a_wrong_token() -> Result<()> {
    let bench = Bench::prepare("").await?;
    replace(&bench, "name = \"test\"", "name = \"test\"\ntoken = \"glrt-wrong\"")?;
    let ended = bench.fail().await?;
    let line = said(&ended, 1);
    assert!(
        line.contains("does not accept the token of runner \"test\"") && !ended.output.contains("glrt-wrong"),
        "{line}"
    );
    Ok(())
}

#[tokio::test]
async fn a_missing_agent_program() -> Result<()> {
    let bench = Bench::prepare("").await?;
    replace(&bench, "/agent\"", "/nowhere\"")?;
    let line = said(&bench.fail().await?, 1);
    assert!(line.contains("no agent program at") && line.contains("fleet.local.command"), "{line}");
    Ok(())
}

#[tokio::test]
async fn a_port_that_is_taken() -> Result<()> {
    let bench = Bench::prepare("").await?;
    let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
    replace(&bench, "127.0.0.1:0", &taken.local_addr()?.to_string())?;
    let line = said(&bench.fail().await?, 1);
    assert!(line.contains("another program has that port") && line.contains("agents.listen"), "{line}");
    Ok(())
}

#[tokio::test]
async fn a_state_directory_that_cannot_be_one() -> Result<()> {
    let bench = Bench::prepare("").await?;
    std::fs::write(bench.file("state"), "a file")?;
    let line = said(&bench.fail().await?, 1);
    assert!(line.contains("cannot use directory") && line.contains("state"), "{line}");
    Ok(())
}

#[tokio::test]
async fn a_second_runner_on_the_same_state() -> Result<()> {
    let bench = Bench::start("").await?;
    bench.wait_log("runner is up").await;
    let line = said(&bench.fail().await?, 1);
    assert!(line.contains("another warmstart-runner uses it"), "{line}");
    Ok(())
}

#[tokio::test]
async fn a_configuration_that_is_not_there_and_no_configuration_at_all() -> Result<()> {
    let bench = Bench::prepare("").await?;
    std::fs::remove_file(bench.file("config.toml"))?;
    let line = said(&bench.fail().await?, 1);
    assert!(line.contains("cannot read configuration"), "{line}");

    let runner = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_warmstart-runner"));
        command.env_remove("WARMSTART_RUNNER_CONFIG").stdin(Stdio::null());
        command
    };
    assert_eq!(runner().arg("run").output().await?.status.code(), Some(2));
    let version = runner().arg("--version").output().await?;
    assert_eq!(String::from_utf8(version.stdout)?, format!("warmstart-runner {}\n", env!("CARGO_PKG_VERSION")));
    Ok(())
}

#[tokio::test]
async fn check_reads_a_configuration_and_names_keys_without_effect() -> Result<()> {
    let bench = Bench::prepare("").await?;
    replace(&bench, "image = \"alpine\"", "image = \"alpine\"\nvolume_keep = true")?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_warmstart-runner"));
    command.arg("check").arg("--config").arg(bench.file("config.toml")).env("WARMSTART_RUNNER_TOKEN", "t");
    let output = command.output().await?;
    let text = String::from_utf8(output.stdout)?;
    assert!(output.status.success() && text.contains("`runners.docker.volume_keep` has no effect here"), "{text}");
    assert!(text.trim_end().ends_with("good, 1 runner(s)"), "{text}");
    Ok(())
}

#[tokio::test]
async fn an_agent_that_cannot_be_started_is_said_in_the_log_of_the_job() -> Result<()> {
    let bench = Bench::prepare("acquire_timeout = \"5s\"").await?;
    std::fs::set_permissions(bench.file("agent"), std::fs::Permissions::from_mode(0o644))?;
    let mut bench = bench;
    bench.start_runner()?;
    let job = bench.gitlab.add_job(warmstart_tests::gitlab::JobSpec::script(["true"]));
    bench.gitlab.wait_finished(job).await;
    let log = String::from_utf8(bench.gitlab.log(job).to_vec())?;
    assert!(log.contains("cannot start") && log.contains("Permission denied"), "{log}");
    bench.wait_no_job().await;
    bench.gitlab.assert_clean();
    Ok(())
}
