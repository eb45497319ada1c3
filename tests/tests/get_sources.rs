//! A job's scripts without Docker: written from a payload of the fake GitLab, run by real shells, fetching over HTTP
//! with the job's token (protocol §2.4, §3).

mod client_support;

use client_support::{Taken, fake, quick_fake, succeed, timing};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use warmstart_agent::script::{self, Context, StageScript};
use warmstart_agent::variables::{Directories, Inputs, JobSettings, Variables};
use warmstart_api::assignment::GitLab;
use warmstart_api::settings::Settings;
use warmstart_tests::gitlab::{FakeGitlab, JobSpec, Options, Outage};

/// A builds directory in which jobs run one after the other, as on one machine.
struct Machine {
    root: tempfile::TempDir,
    shell: Vec<&'static str>,
}

/// A job on the machine.
struct Running<'a> {
    machine: &'a Machine,
    taken: Taken,
    settings: Settings,
    gitlab: GitLab,
}

/// What a script did.
struct Ran {
    code: Option<i32>,
    output: String,
}

impl Ran {
    #[track_caller]
    fn success(self) -> String {
        assert_eq!(self.code, Some(0), "{}", self.output);
        self.output
    }
}

impl Machine {
    fn new(shell: &[&'static str]) -> Self {
        let root = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(root.path().join("home")).expect("a directory");
        Self { root, shell: shell.to_vec() }
    }

    async fn take(&self, gitlab: &FakeGitlab, spec: JobSpec) -> Running<'_> {
        let taken = Taken::new(gitlab, spec, timing()).await;
        taken.start().await;
        let builds_dir = self.root.path().join("builds").to_string_lossy().into_owned();
        Running {
            machine: self,
            taken,
            settings: Settings { builds_dir, ..Settings::default() },
            gitlab: GitLab {
                url: gitlab.url(),
                ca: None,
                client_certificate: None,
                runner_name: "test".to_owned(),
                short_token: "abcdefghi".to_owned(),
                system_id: "s_0123456789ab".to_owned(),
                concurrent_id: 0,
                concurrent_project_id: 0,
                volume_prefix: "runner-test".to_owned(),
            },
        }
    }
}

impl Running<'_> {
    /// Writes a script from the job and runs it.
    async fn run(&self, write: impl FnOnce(&Context<'_>) -> StageScript) -> Ran {
        let inputs = Inputs { job: &self.taken.job, settings: &self.settings, gitlab: &self.gitlab };
        let directories = self.directories();
        let variables = Variables::compose(&inputs, &directories, None);
        let (settings, warnings) = JobSettings::read(&variables, inputs.job);
        assert_eq!(warnings, Vec::<String>::new());
        let correlation_id = &self.taken.correlation_id;
        let context =
            Context { inputs, variables: &variables, settings: &settings, directories: &directories, correlation_id };
        self.feed(write(&context).text()).await
    }

    async fn get_sources(&self) -> Ran {
        self.run(|context| script::get_sources(context).expect("a script")).await
    }

    /// Runs the whole job, and gives the output of its scripts.
    async fn all(&self) -> String {
        let mut output = self.run(|context| script::prepare(context, "host")).await.success();
        output += &self.get_sources().await.success();
        for step in self.taken.job.steps.iter().filter(|step| step.name != "after_script") {
            output += &self.run(|context| script::step(context, step).expect("commands")).await.success();
        }
        if self.taken.job.steps.iter().any(|step| step.name == "after_script") {
            output += &self.run(|context| script::after_script(context).expect("commands")).await.success();
        }
        output + &self.run(script::cleanup).await.success()
    }

    /// Feeds a script to the shell, as the agent does.
    async fn feed(&self, text: &str) -> Ran {
        let mut command = Command::new(self.machine.shell[0]);
        command.args(&self.machine.shell[1..]).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.machine.root.path().join("home")).env("GIT_CONFIG_NOSYSTEM", "1");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("a shell");
        let mut stdin = child.stdin.take().expect("a pipe");
        let feeding = async move { stdin.write_all(text.as_bytes()).await };
        let (fed, output) = tokio::join!(feeding, child.wait_with_output());
        fed.expect("the shell reads its script");
        let output = output.expect("an end");
        let text = [output.stdout, output.stderr].concat();
        Ran { code: output.status.code(), output: String::from_utf8_lossy(&text).into_owned() }
    }

    fn directories(&self) -> Directories {
        let inputs = Inputs { job: &self.taken.job, settings: &self.settings, gitlab: &self.gitlab };
        Directories::resolve(&inputs).expect("directories")
    }

    fn project(&self) -> PathBuf {
        self.directories().project.into()
    }

    fn file(&self, path: &str) -> String {
        std::fs::read_to_string(self.project().join(path)).unwrap_or_else(|error| format!("{path}: {error}"))
    }

    async fn end(self) {
        succeed(self.taken.open(warmstart_gitlab::trace::Start::Fresh)).await;
    }
}

/// Whether a file below the directory holds the text.
fn holds(directory: &Path, text: &str) -> bool {
    let grep = std::process::Command::new("grep").args(["-rqaF", "-e", text]).arg(directory).status();
    grep.expect("grep").success()
}

const SHELLS: [&[&str]; 3] = [&["bash"], &["dash"], &["busybox", "sh"]];

#[tokio::test]
async fn two_jobs_of_a_branch_and_one_of_a_tag_share_a_directory() {
    for shell in SHELLS {
        let (gitlab, machine) = (quick_fake().await, Machine::new(shell));
        let repository = gitlab.repo("group/demo");
        for (file, spec) in [
            ("first", JobSpec::script(["cat first"]).depth(1)),
            ("second", JobSpec::script(["cat second", "git log --oneline | wc -l"]).depth(0)),
            ("third", JobSpec::script(["cat third"]).git_ref("v1")),
        ] {
            repository.commit(&[(file, "content\n")], file);
            if file == "third" {
                repository.tag("v1");
            }
            let job = machine.take(&gitlab, spec).await;
            let output = job.all().await;
            assert!(output.contains("\ncontent\n"), "{output}");
            assert!(file != "second" || output.contains("\n3\n"), "the history is whole now: {output}");
            assert!(!holds(&machine.root.path().join("builds"), job.taken.job.token.expose()));
            job.end().await;
        }
        gitlab.assert_clean();
    }
}

#[tokio::test]
async fn submodules_of_submodules_come_with_the_jobs_token() {
    for shell in SHELLS {
        let (gitlab, machine) = (quick_fake().await, Machine::new(shell));
        let (deep, lib) = (gitlab.repo("group/deep"), gitlab.repo("group/lib"));
        deep.commit(&[("deep.h", "deep\n")], "deep");
        lib.commit(&[("lib.h", "lib\n")], "lib");
        lib.add_submodule("deep", &deep);
        gitlab.repo("group/demo").add_submodule("vendor/lib", &lib);
        let spec = JobSpec::script(["cat vendor/lib/lib.h vendor/lib/deep/deep.h"]);
        let job = machine.take(&gitlab, spec.variable("GIT_SUBMODULE_STRATEGY", "recursive")).await;
        let output = job.all().await;
        assert!(output.contains("\nlib\ndeep\n"), "{output}");
        assert!(!holds(&machine.root.path().join("builds"), job.taken.job.token.expose()));
        job.end().await;
        gitlab.assert_clean();
    }
}

#[tokio::test]
async fn a_server_below_a_path_and_a_repository_of_sha256_work_too() {
    let options =
        Options { relative_root: "/gitlab".into(), update_interval: 0, hold: Duration::ZERO, ..Options::default() };
    let (gitlab, machine) = (fake(options).await, Machine::new(&["dash"]));
    let (demo, lib) = (gitlab.sha256_repo("group/new"), gitlab.sha256_repo("other/lib"));
    lib.commit(&[("lib.h", "lib\n")], "lib");
    demo.add_submodule("lib", &lib);
    demo.git(&["config", "--file", ".gitmodules", "submodule.lib.url", &format!("{}/other/lib.git", gitlab.url())]);
    demo.git(&["add", ".gitmodules"]);
    demo.git(&["commit", "--quiet", "--message", "An absolute URL"]);
    let spec = JobSpec::script(["cat lib/lib.h", "git rev-parse HEAD | wc -c"]).project("group/new");
    let job = machine.take(&gitlab, spec.variable("GIT_SUBMODULE_STRATEGY", "normal")).await;
    assert!(job.project().ends_with("builds/gitlab/group/new"), "{:?}", job.project());
    let output = job.all().await;
    assert!(output.contains("\nlib\n") && output.contains("\n65\n"), "{output}");
    job.end().await;
    gitlab.assert_clean();
}

#[tokio::test]
async fn values_of_one_step_reach_the_later_ones() {
    let (gitlab, machine) = (quick_fake().await, Machine::new(&["bash"]));
    let spec = JobSpec::script(["cat \"$CERT\"", "echo MADE=here >> $GITLAB_ENV", "LOST=1"]).file("CERT", "no newline");
    let spec = spec.release(["echo \"released $MADE $LOST.\""]).after_script(["echo \"after $MADE $CI_JOB_STATUS\""]);
    let job = machine.take(&gitlab, spec).await;
    let output = job.all().await;
    assert!(output.contains("no newline\x1b[32;1m$ echo MADE"), "{output}");
    assert!(output.contains("\nreleased  .\n"), "it was expanded before anything ran: {output}");
    assert!(output.contains("\nafter here running\n"), "{output}");
    assert!(std::fs::read_dir(&job.directories().tmp).is_ok_and(|left| left.count() == 1), "the template only");
    job.end().await;
    gitlab.assert_clean();
}

#[tokio::test]
async fn after_an_outage_the_next_attempt_gets_the_sources() {
    let (gitlab, machine) = (quick_fake().await, Machine::new(&["dash"]));
    let job = machine.take(&gitlab, JobSpec::script(["true"])).await;
    gitlab.outage(Outage::Refused).await;
    let failed = job.get_sources().await;
    assert!(failed.code.is_some_and(|code| code > 0), "{}", failed.output);
    gitlab.recover().await;
    job.run(|context| script::clear_worktree(context).expect("a script")).await.success();
    assert!(!job.project().exists());
    job.get_sources().await.success();
    assert!(job.file("README.md").starts_with("A project"), "{}", job.file("README.md"));
    job.end().await;
    gitlab.assert_clean();
}

#[tokio::test]
async fn the_token_of_another_job_opens_nothing() {
    let (gitlab, machine) = (quick_fake().await, Machine::new(&["bash"]));
    let mut job = machine.take(&gitlab, JobSpec::script(["true"])).await;
    let url = job.taken.job.git_info.repo_url.expose().replace(job.taken.job.token.expose(), "glcbt-64_wrong");
    job.taken.job.git_info.repo_url = url.into();
    let ran = job.get_sources().await;
    assert_ne!(ran.code, Some(0));
    assert!(ran.output.contains("Authentication failed"), "{}", ran.output);
}
