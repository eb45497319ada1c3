//! The build container: the job's image with a shell that reads each stage's script (protocol §4.6).

use crate::docker::config::{Role, Spec, body, entrypoint};
use crate::docker::container::Container;
use crate::docker::pull::Image;
use crate::docker::sandbox::Sandbox;
use crate::fault::Fault;
use bollard::errors::Error as DockerError;
use warmstart_api::settings::Docker;

/// Becomes the first shell that the image has, once the first line of a script is there: a container may be started
/// before its job's files are, and a shell may want some as it starts (`BASH_ENV`). That line, `#!`, says nothing to it.
const SHELL: &str = "read -r first; for s in /usr/local/bin/bash /usr/bin/bash /bin/bash /usr/local/bin/sh /usr/bin/sh /bin/sh \
                     /busybox/sh; do if [ -x \"$s\" ]; then exec \"$s\"; fi; done; echo shell not found; exit 1";

/// What is particular to the build container.
#[derive(Clone, Debug)]
pub struct Build {
    /// The job's image.
    pub image: Image,
    /// The image's name, for messages.
    pub name: String,
    /// The payload's entrypoint; empty keeps the image's.
    pub entrypoint: Vec<String>,
    /// `linux/arm64`; empty for the machine's own.
    pub platform: String,
}

impl Build {
    /// Makes the container. `spec` has what all containers of the job have in common.
    pub async fn create(&self, sandbox: &Sandbox, docker: &Docker, spec: Spec) -> Result<Container, Fault> {
        let spec = Spec {
            role: Role::Build,
            name: self.name.clone(),
            image: self.image.reference.clone(),
            cmd: Some(["sh", "-c", SHELL].map(str::to_owned).to_vec()),
            entrypoint: entrypoint(&self.entrypoint, docker),
            labels: sandbox.identity.container_labels("build"),
            stdin: true,
            ..spec
        };
        let id = sandbox.create("build", body(spec, docker)?, &self.platform).await?;
        Ok(Container { docker: sandbox.docker.clone(), id })
    }

    /// Whether a started container runs nothing of the image's or the job's own before it gets a script.
    #[must_use]
    pub fn waits_for_a_script(&self, docker: &Docker) -> bool {
        entrypoint(&self.entrypoint, docker)
            .map_or(!self.image.entrypoint, |wanted| wanted.iter().all(String::is_empty))
    }

    /// Says what a failed start means when the image has no shell.
    #[must_use]
    pub fn explain(&self, fault: Fault) -> Fault {
        let (Fault::Docker { source: DockerError::DockerResponseServerError { message, .. }, .. }
        | Fault::Configuration(message)) = &fault
        else {
            return fault;
        };
        let missing = ["executable file not found", "no such file or directory"].iter().any(|m| message.contains(m));
        if missing && message.contains("exec") {
            return Fault::Configuration(format!(
                "image \"{}\" cannot start a shell ({message}): a job needs sh or bash in its image, and an \
                 entrypoint that runs the command it is given; set `entrypoint: [\"\"]` to go without one",
                self.name
            ));
        }
        fault
    }
}
