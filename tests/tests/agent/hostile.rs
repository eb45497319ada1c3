//! Jobs that mean harm: they end as with GitLab Runner, the agent lives on in bounded memory, and the next job finds
//! nothing of them.

use crate::lone::{Lone, ended, plain, says};
use rustix::process::Signal;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;
use warmstart_tests::gitlab::{ArtifactSpec, CacheSpec, Finished, JobId, JobSpec, JobState, ServiceSpec, Upload};
use warmstart_tests::harness::{BUSYBOX, DEBIAN, Deployment, Process, Setup, SmallDisk};

/// What an agent may need, whatever its jobs do.
const MEMORY: u64 = 100 << 20;

/// An agent that has to stand what jobs do to it.
pub(crate) struct Target {
    pub(crate) lone: Lone,
    agent: Process,
}

impl Target {
    pub(crate) fn start(lone: Lone) -> Self {
        let agent = lone.steady_agent();
        Self { lone, agent }
    }

    /// Runs a job to its end.
    pub(crate) async fn suffer(&self, spec: JobSpec) -> (JobId, Finished) {
        let job = self.lone.gitlab.add_job(spec);
        (job, self.lone.gitlab.wait_finished(job).await)
    }

    /// The same agent still works, has had little memory, and leaves nothing.
    pub(crate) async fn unharmed(self) -> Lone {
        let (job, finished) = self.suffer(JobSpec::script(["ls -A .. | wc -l", "echo the next job"])).await;
        ended(&finished, JobState::Success);
        let peak = self.agent.peak_memory();
        assert!(peak > 0 && peak < MEMORY, "the agent has had {} MiB", peak >> 20);
        self.agent.signal(Signal::QUIT);
        self.lone.ends_clean(self.agent, job).await;
        self.lone
    }
}

/// A directory of this machine that no job may see, and one into which none may write.
struct Outside {
    secret: PathBuf,
    empty: PathBuf,
}

const SECRET: &str = "the secret of this machine";

impl Outside {
    fn of(lone: &Lone) -> Self {
        let (secret, empty) = (lone.directory.path().join("secrets"), lone.directory.path().join("empty"));
        std::fs::create_dir(&secret).and_then(|()| std::fs::create_dir(&empty)).expect("directories");
        std::fs::write(secret.join("file"), SECRET).expect("written");
        Self { secret, empty }
    }

    /// The way up from a project's directory on this machine to its root, and down again.
    fn relative(&self) -> String {
        format!("{}{}", "../".repeat(40), self.secret.join("file").display())
    }

    #[track_caller]
    fn is_untouched(&self) {
        assert_eq!(std::fs::read_dir(&self.empty).expect("a directory").count(), 0);
    }
}

/// The files of an archive, with their content.
fn unzip(upload: &Upload) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut zip = zip::ZipArchive::new(std::io::Cursor::new(&upload.bytes)).expect("a zip");
    let entries = zip.len();
    let read = |at| {
        let mut file = zip.by_index(at).expect("an entry");
        let mut content = Vec::new();
        file.read_to_end(&mut content).expect("its content");
        (file.name_raw().to_vec(), content)
    };
    (0..entries).map(read).collect()
}

#[track_caller]
fn is_no_secret_in(finished: &Finished) {
    for upload in &finished.artifacts {
        for (name, content) in unzip(upload) {
            let found = content.windows(SECRET.len()).any(|part| part == SECRET.as_bytes());
            assert!(!found, "{}", String::from_utf8_lossy(&name));
        }
    }
}

/// What a job can leave for who archives its files. Paths of 4,000 bytes are the longest that the kernel takes with
/// `/builds/…` before them; what lies deeper has no path at all.
fn traps(outside: &Outside) -> String {
    let (secret, relative) = (outside.secret.display(), outside.relative());
    format!(
        r#"
mkdir loot && cd loot
ln -s {secret}/file absolute; ln -s {secret} directory; ln -s {relative} relative
ln -s /proc/self/root magic; ln -s loop loop; ln -s two one; ln -s one two; ln -s .. up
mkfifo pipe
printf bytes > "$(printf 'not-\377-text')"
echo mine > private; chown 1234:5678 private; chmod 0 private
dd if=/dev/zero of=sparse bs=1 count=0 seek=200M 2>/dev/null
name=$(printf %0250d 0); long=long
for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do long=$long/$name; done
long=$long/$(printf %0225d 0)
mkdir -p "${{long%/*}}"; echo far > "$long"; echo the path has ${{#long}} bytes
(i=0; while [ $i -lt 20 ]; do mkdir $name; cd -P $name; i=$((i+1)); done; echo deep > file) 2>/dev/null
"#
    )
}

/// How they come back.
const CHECK: &str = r#"
cd loot
test "$(readlink loop)" = loop; test -L absolute; test -L magic
test "$(cat "$(printf 'not-\377-text')")" = bytes
test "$(stat -c '%u:%g %a' private)" = '1234:5678 0'
test $(stat -c %s sparse) = 209715200
test "$(cat "$(find long -type f)")" = far
echo all of it is here
"#;

#[tokio::test]
async fn traps_among_files_lead_nowhere_and_come_back_as_they_were() {
    let target = Target::start(Lone::start().await.with_cache());
    let outside = Outside::of(&target.lone);
    let paths = ["loot/", "loot/absolute", "loot/directory/*", "loot/up/../../../etc/passwd", "../../../etc/passwd"];
    let spec = JobSpec::script([traps(&outside)]).artifacts(ArtifactSpec::archive(paths).when("always"));
    let (job, finished) = target.suffer(spec.cache(CacheSpec::new("loot", paths))).await;
    ended(&finished, JobState::Success);
    says(&finished, "the path has 3995 bytes");
    says(&finished, "Created cache");
    is_no_secret_in(&finished);
    let (_, by_artifacts) = target.suffer(JobSpec::script([CHECK]).needs(job)).await;
    ended(&by_artifacts, JobState::Success);
    let (_, by_cache) =
        target.suffer(JobSpec::script([CHECK]).cache(CacheSpec::new("loot", paths).policy("pull"))).await;
    ended(&by_cache, JobState::Success);
    let _lone = target.unharmed().await;
}

/// A service that swaps a directory and a link out, again and again.
fn swapping(outside: &std::path::Path) -> ServiceSpec {
    let swap = format!(
        "cd /builds/group/demo; while :; do mv loot aside; ln -s {} loot; rm loot; mv aside loot; done 2>/dev/null",
        outside.display()
    );
    let command = Some(["sh", "-c", &swap].map(str::to_owned).to_vec());
    ServiceSpec { name: BUSYBOX.to_owned(), alias: "swapper".to_owned(), command, ..ServiceSpec::default() }
}

#[tokio::test]
async fn what_a_service_swaps_while_files_are_archived_and_restored_leads_nowhere() {
    let target = Target::start(Lone::start().await.with_cache());
    let outside = Outside::of(&target.lone);
    let cache = || CacheSpec::new("loot", ["loot/"]).when("always");
    let fill = "mkdir loot; for i in $(seq 300); do echo $i > loot/file$i; done; echo mine > loot/file";
    let make = JobSpec::script([fill]).artifact_paths(["loot/"]).cache(cache());
    let (job, finished) = target.suffer(make).await;
    ended(&finished, JobState::Success);
    // Whether the job's own files can be had meanwhile is the job's own affair.
    for _ in 0..3 {
        let spec = JobSpec::script(["echo here"]).needs(job).cache(cache());
        let spec = spec.artifacts(ArtifactSpec::archive(["loot/", "loot/file"]).when("always"));
        let (_, finished) = target.suffer(spec.service_with(swapping(&outside.secret))).await;
        is_no_secret_in(&finished);
        let spec = JobSpec::script(["echo here"]).needs(job).cache(cache().policy("pull"));
        target.suffer(spec.service_with(swapping(&outside.empty))).await;
        outside.is_untouched();
    }
    let _lone = target.unharmed().await;
}

#[tokio::test]
async fn a_sparse_file_of_a_hundred_gigabytes_keeps_nobody_busy_after_its_job() {
    let target = Target::start(Lone::start().await.with_cache().with(&["--concurrent", "2"]));
    let huge = || JobSpec::script(["dd if=/dev/zero of=huge bs=1 count=0 seek=100G"]).timeout(Duration::from_secs(25));
    let uploaded = target.lone.gitlab.add_job(huge().artifact_paths(["huge"]));
    let cached = target.lone.gitlab.add_job(huge().cache(CacheSpec::new("huge", ["huge"])));
    // A cache keeps a hole as a hole; an archive is compressed for minutes.
    ended(&target.lone.gitlab.wait_finished(cached).await, JobState::Success);
    let whole = JobSpec::script(["test $(stat -c %s huge) = 107374182400"]).cache(CacheSpec::new("huge", ["huge"]));
    ended(&target.suffer(whole).await.1, JobState::Success);
    let finished = target.lone.gitlab.wait_finished(uploaded).await;
    ended(&finished, JobState::Failed);
    assert_eq!(finished.failure_reason.as_deref(), Some("job_execution_timeout"), "{}", finished.text());
    target.lone.wait_nothing_left().await;
    let _lone = target.unharmed().await;
}

#[tokio::test]
async fn many_thousand_files_are_archived_and_restored_in_bounded_memory() {
    let target = Target::start(Lone::start().await.with_cache());
    // An archive takes about a kibibyte of memory for each of its files, as GitLab Runner's does: with so many the rest
    // of the agent still has room.
    let make = "mkdir many; cd many; for d in $(seq 20); do mkdir $d; (cd $d; seq 1000 | xargs touch); done";
    let paths = ["many/"];
    let spec = JobSpec::script([make]).artifact_paths(paths).cache(CacheSpec::new("many", paths));
    let (job, finished) = target.suffer(spec).await;
    ended(&finished, JobState::Success);
    says(&finished, "many/: found 20021 matching artifact files and directories");
    let count = "test $(find many -type f | wc -l) = 20000";
    let (_, finished) = target.suffer(JobSpec::script([count]).needs(job)).await;
    ended(&finished, JobState::Success);
    let (_, finished) =
        target.suffer(JobSpec::script([count]).cache(CacheSpec::new("many", paths).policy("pull"))).await;
    ended(&finished, JobState::Success);
    let _lone = target.unharmed().await;
}

#[tokio::test]
async fn output_of_any_kind_and_size_is_cut_at_the_limit_and_the_job_ends_as_its_script_does() {
    let target = Target::start(Lone::start().await);
    // More than twice of what the agent may have in memory, without an end of line. A gigabyte is no different.
    let line = "head -c 268435456 /dev/zero | tr '\\0' x";
    let (_, finished) = target.suffer(JobSpec::script([line, "exit 3"])).await;
    ended(&finished, JobState::Failed);
    assert_eq!(finished.exit_code, Some(3));
    says(&finished, "Job's log exceeded limit of 4194304 bytes.");
    assert!(finished.log.len() < 4_194_304 + 300, "{} bytes", finished.log.len());

    let (_, finished) = target.suffer(JobSpec::script(["head -c 100000 /dev/zero", "printf 'no end of line'"])).await;
    ended(&finished, JobState::Success);
    assert_eq!(finished.text().matches('\0').count(), 100_000);
    says(&finished, "no end of line");
    says(&finished, "Job succeeded");
    let _lone = target.unharmed().await;
}

#[tokio::test]
async fn a_job_that_kills_what_it_can_ends_as_its_script_does() {
    let target = Target::start(Lone::start().await);
    // The first process of a container hears only what it wants to hear: of these TERM, which ends its script with 1.
    let kill = ["sleep 3600 &", "kill -9 -1", "kill -9 1", "echo it goes on", "kill 1"];
    let (_, finished) = target.suffer(JobSpec::script(kill).after_script(["echo and after it"])).await;
    ended(&finished, JobState::Failed);
    assert_eq!(finished.exit_code, Some(1));
    says(&finished, "it goes on\n");
    says(&finished, "and after it\n");
    let _lone = target.unharmed().await;
}

/// Kills a running container of a job, as who has the host's socket can, or the kernel for want of memory.
fn kill_container(lone: &Lone, kind: &str) {
    let labels = [format!("warmstart.executor={}", lone.executor), format!("com.gitlab.gitlab-runner.type={kind}")];
    let [executor, kind] = labels.map(|label| format!("label={label}"));
    let ids = Command::new("docker").args(["ps", "--quiet", "--filter", &executor, "--filter", &kind]).output();
    let ids = String::from_utf8(ids.expect("docker runs").stdout).expect("ids");
    let killed = Command::new("docker").arg("kill").args(ids.split_whitespace()).stdout(Stdio::null()).status();
    assert!(killed.is_ok_and(|status| status.success()), "no {kind} container");
}

#[tokio::test]
async fn a_job_whose_container_is_killed_fails_with_its_exit_code() {
    let target = Target::start(Lone::start().await);
    let spec = JobSpec::script(["echo it runs", "sleep 3600"]).after_script(["echo after it"]);
    let job = target.lone.gitlab.add_job(spec);
    target.lone.gitlab.wait_log_contains(job, "it runs\n").await;
    kill_container(&target.lone, "build");
    let finished = target.lone.gitlab.wait_finished(job).await;
    ended(&finished, JobState::Failed);
    assert_eq!((finished.exit_code, finished.failure_reason.as_deref()), (Some(137), Some("script_failure")));
    says(&finished, "after it\n");
    let _lone = target.unharmed().await;
}

#[tokio::test]
async fn a_job_whose_helper_is_killed_still_ends() {
    let target = Target::start(Lone::start().await);
    let spec = JobSpec::script(["echo it runs", "while [ ! -e ../go ]; do sleep 0.1; done", "echo x > file"]);
    let spec = spec.artifacts(ArtifactSpec::archive(["file"]).untracked());
    let job = target.lone.gitlab.add_job(spec);
    target.lone.gitlab.wait_log_contains(job, "it runs\n").await;
    kill_container(&target.lone, "predefined");
    let builds = std::fs::read_dir(target.lone.directory.path().join("agent/builds")).expect("builds");
    let own = builds.flatten().next().expect("the job's").path();
    std::fs::write(own.join("group/go"), "").expect("written");
    let finished = target.lone.gitlab.wait_finished(job).await;
    ended(&finished, JobState::Success);
    says(&finished, "cannot list untracked files");
    assert_eq!(finished.artifacts.len(), 1);
    let _lone = target.unharmed().await;
}

#[tokio::test]
async fn a_job_that_ignores_being_stopped_is_killed() {
    let target = Target::start(Lone::start().await);
    let deaf = "trap '' TERM INT HUP; (while :; do sleep 1; done) & echo it is deaf; while :; do sleep 1; done";
    let job = target.lone.gitlab.add_job(JobSpec::script([deaf]).after_script(["echo status=$CI_JOB_STATUS"]));
    target.lone.gitlab.wait_log_contains(job, "it is deaf\n").await;
    target.lone.gitlab.cancel(job);
    let finished = target.lone.gitlab.wait_finished(job).await;
    ended(&finished, JobState::Canceled);
    says(&finished, "status=canceled\n");
    let _lone = target.unharmed().await;
}

#[tokio::test]
async fn a_fork_bomb_with_limits_ends_with_its_job() {
    let limits = [r#"user = "54321""#, r#"ulimit = { nproc = "100:100" }"#, r#"cpus = "0.2""#];
    let setup = Setup { docker: limits.map(str::to_owned).to_vec(), ..Setup::default() };
    let deployment = Deployment::start(setup).await.expect("a deployment");
    let bomb = ["mkfifo pipe; bomb() { bomb | bomb & }; bomb; echo it forks; read word < pipe", "echo never here"];
    let job = deployment.gitlab.add_job(JobSpec::script(bomb));
    deployment.gitlab.wait_log_contains(job, "it forks\n").await;
    let executors = deployment.executors();
    deployment.gitlab.cancel(job);
    ended(&deployment.gitlab.wait_finished(job).await, JobState::Canceled);
    let next = deployment.gitlab.add_job(JobSpec::script(["echo the next job"]));
    ended(&deployment.gitlab.wait_finished(next).await, JobState::Success);
    deployment.wait_nothing_left(&executors).await;
    deployment.gitlab.assert_clean();
}

#[tokio::test]
async fn a_job_that_removes_or_replaces_its_project_fails_only_where_it_needs_it() {
    let target = Target::start(Lone::start().await);
    let outside = Outside::of(&target.lone);
    let (_, finished) = target.suffer(JobSpec::script(["cd /; rm -rf /builds/* /cache/* /tmp/*", "echo gone"])).await;
    ended(&finished, JobState::Success);
    let swap = format!("cd ..; rm -rf demo; ln -s {} demo", outside.secret.display());
    let spec = JobSpec::script([swap]).after_script(["echo not here"]).artifact_paths(["file"]);
    let (_, finished) = target.suffer(spec).await;
    ended(&finished, JobState::Failed);
    assert_eq!((finished.exit_code, finished.artifacts.len()), (Some(1), 0));
    says(&finished, "cannot open the project directory");
    assert!(!plain(&finished).contains("not here\n"), "{}", plain(&finished));
    let _lone = target.unharmed().await;
}

/// Nests directories deeper than a path can say, a process may open, or a stack holds.
const DEEP: &str = "python3 -c 'import os\nfor _ in range(25000): os.mkdir(\"d\"); os.chdir(\"d\")'";

#[tokio::test]
async fn a_job_that_fills_the_disk_fails_with_its_own_exit_code_and_the_next_one_has_room() {
    let lone = Lone::start().await;
    let agent = lone.directory.path().join("agent");
    std::fs::create_dir(&agent).expect("a directory");
    // The agent's log and temporary files are on the same disk.
    let disk = SmallDisk::mount(&agent, "24m").expect("a small disk");
    let target = Target::start(lone);
    let fill = ["cat /dev/zero > full || echo it is full", "cat /dev/zero > more || exit 7"];
    let spec = JobSpec::script(fill).after_script(["echo after it"]);
    let (_, finished) = target.suffer(spec.artifacts(ArtifactSpec::archive(["full"]).when("always"))).await;
    ended(&finished, JobState::Failed);
    assert_eq!((finished.exit_code, finished.failure_reason.as_deref()), (Some(7), Some("script_failure")));
    says(&finished, "it is full\n");
    says(&finished, "after it\n");
    says(&finished, "No space left on device");
    let (_, finished) = target.suffer(JobSpec::script([DEEP]).image(DEBIAN)).await;
    ended(&finished, JobState::Success);
    let _lone = target.unharmed().await;
    drop(disk);
}
