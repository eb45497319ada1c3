//! The helper container: where git runs, one per job, with the host's own tools.

use crate::docker::attach::Sinks;
use crate::docker::config::{Role, Spec, body};
use crate::docker::container::Container;
use crate::docker::labels;
use crate::docker::rootfs::RootFs;
use crate::docker::sandbox::{Sandbox, remove_container};
use crate::fault::Fault;
use anyhow::{Context, Result, bail};
use bollard::Docker;
use bollard::models::{ContainerCreateBody, HostConfig};
use bollard::query_parameters::{CreateContainerOptions, CreateImageOptionsBuilder};
use bytes::Bytes;
use futures_util::TryStreamExt;
use std::io::Write;
use std::path::Path;
use warmstart_api::settings;

/// Waits to be removed, and takes over what scripts leave behind.
const IDLE: &str = "trap 'exit 0' TERM; while :; do sleep 3600 & wait $!; done";

/// Every stage's shell; its scripts set the umask themselves (protocol §4.6).
const SHELL: [&str; 1] = ["bash"];

/// Names what does not work, one a line; `?` before what jobs can do without.
const CHECK: &str = r#"
for tool in chmod cat find git mkdir rm sed; do command -v "$tool" >/dev/null || echo "$tool"; done
if command -v git >/dev/null; then
  git --version >/dev/null 2>&1 || echo 'git (does not start)'
  "$(git --exec-path)/git-remote-https" >/dev/null 2>&1
  [ $? -lt 126 ] || echo 'git-remote-https'
  git lfs version >/dev/null 2>&1 || echo '?git-lfs'
fi
"#;

/// The host's tools as an image and what is mounted into it.
#[derive(Clone, Debug)]
pub struct Tools {
    image: String,
    binds: Vec<String>,
}

impl Tools {
    /// Loads the image of this host, once per content.
    pub async fn load(docker: &Docker) -> Result<Self> {
        let rootfs = RootFs::for_host(Path::new("/")).context("cannot make the image of the helper container")?;
        let (repository, tag) = rootfs.name;
        let image = format!("{repository}:{tag}");
        if docker.inspect_image(&image).await.is_err() {
            let options = CreateImageOptionsBuilder::default().from_src("-").repo(repository).tag(&tag).build();
            let body = bollard::body_full(Bytes::from(rootfs.tar));
            let loading = docker.create_image(Some(options), Some(body), None);
            let loaded: std::result::Result<(), _> = loading.try_for_each(|_| async { Ok(()) }).await;
            loaded.with_context(|| format!("cannot load image {image} of the helper container into Docker"))?;
        }
        Ok(Self { image, binds: rootfs.binds })
    }

    /// Runs the tools once in a container, and looks from there at the agent's directory.
    ///
    /// Fails with the name of what is missing; tools that most jobs do without are only warned about.
    pub async fn check(&self, docker: &Docker, executor: &str, directory: &Path) -> Result<()> {
        let probe = tempfile::NamedTempFile::new_in(directory)
            .with_context(|| format!("cannot write to the directory {}", directory.display()))?;
        let name = probe.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
        let script = format!("[ -e '/warmstart/{name}' ] || echo :hidden\n{CHECK}");
        let body = self.body(executor, format!("{}:/warmstart:ro", directory.display()));
        let made = docker.create_container(None::<CreateContainerOptions>, body).await;
        let id = made.context("cannot create the helper container")?.id;
        let container = Container { docker: docker.clone(), id };
        let mut sinks = Sinks { out: Vec::new(), err: Vec::new() };
        let ran = container.run(&script, &mut sinks).await;
        let removed = remove_container(docker, &container.id).await;
        let code = ran.context("cannot run bash in the helper container")?;
        removed.context("cannot remove the helper container")?;
        if code != 0 {
            bail!("cannot run bash in the helper container: {}", String::from_utf8_lossy(&sinks.err).trim());
        }
        judge(&String::from_utf8_lossy(&sinks.out), directory)
    }

    /// Removes a directory's content as root, for an agent that is not.
    pub async fn empty(&self, docker: &Docker, executor: &str, directory: &Path) -> Result<()> {
        let mut body = self.body(executor, format!("{}:/warmstart", directory.display()));
        body.cmd = Some(["find", "/warmstart", "-mindepth", "1", "-delete"].map(str::to_owned).to_vec());
        let id = docker.create_container(None::<CreateContainerOptions>, body).await?.id;
        let container = Container { docker: docker.clone(), id };
        let mut sinks = Sinks { out: Vec::new(), err: Vec::new() };
        let ran = container.run("", &mut sinks).await;
        remove_container(docker, &container.id).await?;
        if ran? != 0 {
            bail!("{}", String::from_utf8_lossy(&sinks.err).trim());
        }
        std::fs::remove_dir(directory).context("cannot remove the empty directory")
    }

    fn body(&self, executor: &str, own: String) -> ContainerCreateBody {
        let binds = self.binds.iter().cloned().chain([own]).collect();
        ContainerCreateBody {
            image: Some(self.image.clone()),
            cmd: Some(vec!["bash".to_owned()]),
            labels: Some(labels::of_the_machine(executor)),
            attach_stdin: Some(true),
            open_stdin: Some(true),
            stdin_once: Some(true),
            host_config: Some(HostConfig { binds: Some(binds), ..Default::default() }),
            ..Default::default()
        }
    }
}

/// What the check's output means.
fn judge(output: &str, directory: &Path) -> Result<()> {
    let mut missing = Vec::new();
    for line in output.lines() {
        match line.strip_prefix('?') {
            _ if line == ":hidden" => bail!(
                "Docker does not see the directory {}: the agent cannot run inside a container or beside a remote daemon",
                directory.display()
            ),
            Some(optional) => {
                tracing::warn!("{optional} is not installed on this machine: jobs that need it will fail");
            }
            None => missing.push(line),
        }
    }
    match missing[..] {
        [] => Ok(()),
        _ => {
            bail!("cannot run jobs on this machine: missing {}; install it, or set a helper_image", missing.join(", "))
        }
    }
}

/// What a helper container is made from.
#[derive(Clone, Debug)]
pub enum Kind {
    /// The host's tools.
    Host(Tools),
    /// An image of the settings.
    Image(String),
}

/// Makes and starts the helper container of a job.
pub async fn start(sandbox: &Sandbox, docker: &settings::Docker, kind: &Kind, spec: Spec) -> Result<Container, Fault> {
    let (image, tools) = match kind {
        Kind::Host(tools) => (tools.image.clone(), tools.binds.clone()),
        Kind::Image(reference) => (reference.clone(), Vec::new()),
    };
    let spec = Spec {
        role: Role::Helper,
        image,
        cmd: Some(vec!["-c".to_owned(), IDLE.to_owned()]),
        entrypoint: Some(vec!["bash".to_owned()]),
        env: with_home(spec.env),
        user: String::new(),
        binds: tools.into_iter().chain(spec.binds).collect(),
        tmpfs: ["/root", "/tmp"].map(|path| (path.to_owned(), "exec,mode=1777".to_owned())).into(),
        labels: sandbox.identity.container_labels("predefined"),
        ..spec
    };
    let id = sandbox.create("predefined", body(spec, docker)?, "").await?;
    let container = Container { docker: sandbox.docker.clone(), id };
    container.start().await?;
    Ok(container)
}

/// A job may set PATH or HOME for its own image; the helper's tools are elsewhere.
fn with_home(env: Vec<String>) -> Vec<String> {
    let own = ["HOME=/root", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"];
    let others = env.into_iter().filter(|entry| !entry.starts_with("HOME=") && !entry.starts_with("PATH="));
    others.chain(own.map(str::to_owned)).collect()
}

/// Runs a stage's script in the helper container and returns its exit code.
pub async fn run<W: Write>(helper: &Container, script: &str, sinks: &mut Sinks<W>) -> Result<i64, Fault> {
    helper.exec(&SHELL, script, sinks).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_tool_is_named_and_an_optional_one_is_not_an_error() {
        assert!(judge("?git-lfs\n", Path::new("/d")).is_ok());
        let error = judge("git\nsed\n", Path::new("/d")).expect_err("missing");
        assert!(error.to_string().contains("missing git, sed"));
        assert!(judge(":hidden\n", Path::new("/d")).expect_err("hidden").to_string().contains("/d"));
    }

    #[test]
    fn the_helper_keeps_its_own_home_and_path() {
        let env = with_home(vec!["PATH=/x".to_owned(), "A=1".to_owned()]);
        assert_eq!(env[0], "A=1");
        assert!(env.contains(&"HOME=/root".to_owned()) && !env.contains(&"PATH=/x".to_owned()));
    }
}
