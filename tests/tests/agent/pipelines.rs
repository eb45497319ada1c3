//! Jobs of the same shape as those of well-known projects' pipelines: written anew, with the features that theirs use.
//! `agent/COMPATIBILITY.md` says which project uses which.

use crate::lone::{Lone, ended, plain};
use rustix::process::Signal;
use serde_json::json;
use std::collections::HashMap;
use warmstart_tests::gitlab::{ArtifactSpec, CacheSpec, JobId, JobSpec, JobState, ServiceSpec};
use warmstart_tests::harness::{BUSYBOX, DEBIAN, Process};

/// A job, and what is to be seen of it.
struct Shape {
    project: &'static str,
    job: JobSpec,
    /// Downloads the artifacts of this project's first job.
    needs: bool,
    state: JobState,
    says: Vec<&'static str>,
    /// File names of the uploads, in order.
    uploads: Vec<&'static str>,
}

impl Shape {
    fn new<const N: usize>(project: &'static str, name: &str, lines: [&str; N]) -> Self {
        let job = JobSpec::script(lines).name(name).image(DEBIAN);
        Self { project, job, needs: false, state: JobState::Success, says: Vec::new(), uploads: Vec::new() }
    }

    fn with(mut self, change: impl FnOnce(JobSpec) -> JobSpec) -> Self {
        self.job = change(self.job);
        self
    }

    fn says<const N: usize>(mut self, lines: [&'static str; N]) -> Self {
        self.says.extend(lines);
        self
    }

    fn uploads<const N: usize>(mut self, names: [&'static str; N]) -> Self {
        self.uploads.extend(names);
        self
    }

    fn fails(mut self) -> Self {
        self.state = JobState::Failed;
        self
    }

    fn needs_the_first(mut self) -> Self {
        self.needs = true;
        self
    }
}

fn web(alias: &str) -> ServiceSpec {
    let texts = |texts: &[&str]| Some(texts.iter().map(ToString::to_string).collect());
    ServiceSpec {
        name: BUSYBOX.to_owned(),
        alias: alias.to_owned(),
        entrypoint: texts(&["httpd", "-f", "-p"]),
        command: texts(&["80", "-h", "/etc"]),
        variables: vec![("HEALTHCHECK_TCP_PORT".to_owned(), "80".to_owned())],
    }
}

/// GitLab Runner, GitLab.
fn gitlabs() -> Vec<Shape> {
    let binaries = [
        "unset GPG_KEY; echo \"key: ${GPG_KEY:-none}\"",
        "export platforms=$(echo $CI_JOB_NAME | sed 's|binaries ||')",
        "mkdir -p out/binaries; echo \"$platforms\" > out/binaries/list",
        "for i in {1..3}; do succeed=1 && break; echo \"retrying\"; done",
        "[[ \"$succeed\" -eq 1 ]]",
        "echo node $CI_NODE_INDEX of $CI_NODE_TOTAL",
        "cat missing || (\n  echo\n  echo \"there is no such file\"\n)",
    ];
    let rspec = [
        "source scripts/utils.sh",
        "JOB_NAME=( $CI_JOB_NAME )",
        "export CI_NODE_INDEX=${JOB_NAME[-2]}",
        "export REPORT=knapsack/${CI_PROJECT_NAME}/${JOB_NAME[0]}_node_${CI_NODE_INDEX}.json",
        "[[ -f $REPORT ]] || { mkdir -p knapsack/${CI_PROJECT_NAME}; echo '{}' > ${REPORT}; }",
        "retry python3 -c \"import urllib.request as r; r.urlopen('http://redis/passwd').read()\" && echo redis answers",
    ];
    vec![
        Shape::new("GitLab Runner", "binaries linux/386 linux/amd64", binaries)
            .with(|job| job.masked("GPG_KEY", "a-key-of-many-letters"))
            .with(|job| job.variable("CI_NODE_INDEX", "2").variable("CI_NODE_TOTAL", "5"))
            .with(|job| job.artifacts(ArtifactSpec::archive(["out/binaries/", "out/*.exe"]).expire_in("7d")))
            .says(["key: none\n", "node 2 of 5\n", "there is no such file\n", "out/*.exe: no matching files."])
            .uploads(["artifacts.zip"]),
        Shape::new(
            "GitLab Runner",
            "test coverage report",
            ["cat out/binaries/list", "ls README.md || echo no sources"],
        )
        .needs_the_first()
        .with(|job| job.variable("GIT_STRATEGY", "none"))
        .says(["linux/386 linux/amd64\n", "no sources\n", "Skipping Git repository setup"]),
        Shape::new("GitLab", "rspec-pg 0 28", rspec)
            .with(|job| {
                job.service_with(web("postgres")).service_with(ServiceSpec { alias: "redis".into(), ..web("") })
            })
            .with(|job| job.variable("GET_SOURCES_ATTEMPTS", "3").variable("FF_NETWORK_PER_BUILD", "true"))
            .with(|job| job.cache(CacheSpec::new("ruby", ["vendor/ruby", ".yarn-cache/"]).policy("pull")))
            .with(|job| {
                job.artifacts(ArtifactSpec::archive(["log/development.log"]).when("on_failure").expire_in("1d"))
            })
            .with(|job| job.artifacts(ArtifactSpec::archive(["knapsack/", "coverage/"]).when("always")))
            .says([
                "redis answers\n",
                "Not uploading cache ruby-non_protected due to policy",
                "coverage/: no matching files.",
            ])
            .uploads(["artifacts.zip"]),
    ]
}

/// Software for desktops: built with caches of compilers, and reports.
fn desktops() -> Vec<Shape> {
    let glib = ["mkdir -p _build/meson-logs _ccache", "echo x | tee _ccache/o _build/meson-logs/log", "exit 77"];
    let vlc = "if [ \"${CI_JOB_NAME:0:8}\" = \"nightly-\" ]; then\n    FLAGS=\"-i n -l\"\nfi\n\
               echo \"Building branch '${CI_COMMIT_BRANCH}' (default: '${CI_DEFAULT_BRANCH}') with '$FLAGS'\"\n\
               ulimit -c unlimited || true\n\
               echo -e \"\\e[0Ksection_start:$(date +%s):tests\\r\\e[0KTests\"\n\
               mkdir -p build; echo '<coverage/>' > cobertura.xml; echo '<testsuites/>' > build/testlog.junit.xml\n\
               echo -e \"\\e[0Ksection_end:$(date +%s):tests\\r\\e[0K\"\n\
               echo 'coverage result: 71.2'\n";
    let wireshark = [
        "printf \"\\e[0Ksection_start:%s:env[collapsed=true]\\r\\e[0KCI environment variables\" \"$(date +%s)\"",
        "env | grep ^CI_JOB_NAME= | sort",
        "printf \"\\e[0Ksection_end:%s:env\\r\\e[0K\" \"$(date +%s)\"",
        "useradd user && git config --global --add safe.directory \"$PWD\"",
        "echo commits: $(git rev-list --count HEAD)",
        "mkdir -p ccache; echo object > ccache/o; tar cf wireshark-4.6.tar.xz README.md",
    ];
    vec![
        Shape::new("GLib", "fedora-x86_64", glib)
            .with(|job| job.image("$FEDORA_IMAGE").variable("FEDORA_IMAGE", DEBIAN))
            .with(|job| job.cache(CacheSpec::new("default", ["_ccache/"])))
            .with(|job| {
                let paths = ["_build/meson-logs", "${CI_PROJECT_DIR}/_build/*/l?g", "_coverage"];
                let archive = ArtifactSpec::archive(paths).name("glib-${CI_JOB_NAME}-${CI_COMMIT_REF_NAME}");
                job.artifacts(archive.when("always")).report("junit", ["_build/${CI_JOB_NAME}-report.xml"])
            })
            .fails()
            .says(["_coverage: no matching files.", "fedora-x86_64-report.xml: no matching files.", "exit code 77"])
            .uploads(["glib-fedora-x86_64-main.zip"]),
        Shape::new("GTK", "build", ["bash -x ./.gitlab-ci/test-docker.sh"])
            .with(|job| job.cache(CacheSpec::new("default", ["_ccache/"])))
            .says(["+ echo it builds\n", "\nit builds\n", "_ccache/: "]),
        Shape::new("VLC", "nightly-debian", ["set -x", vlc])
            .with(|job| {
                job.after_script(["export SHA=$(echo $CI_COMMIT_SHA)", "mv none some 2>/dev/null || true", "pwd"])
            })
            .with(|job| job.variable("HOST_ARCH", "x86_64").variable("TRIPLET", "$HOST_ARCH-linux-gnu"))
            .with(|job| job.artifact_paths(["contrib/vlc-contrib-${TRIPLET}-*.tar.bz2", "cobertura.xml"]))
            .with(|job| job.report("junit", ["build/testlog.junit.xml"]).report("cobertura", ["cobertura.xml"]))
            .says(["(default: 'main') with '-i n -l'", "coverage result: 71.2\n", "/builds/group/demo\n"])
            .says(["contrib/vlc-contrib-x86_64-linux-gnu-*.tar.bz2: no matching files."])
            .uploads(["artifacts.zip", "junit.xml.gz", "cobertura-coverage.xml.gz"]),
        Shape::new("Wireshark", "Source Package", wireshark)
            .with(|job| job.depth(1).variable("GIT_FETCH_EXTRA_FLAGS", "--depth=5000"))
            .with(|job| job.cache(CacheSpec::new("${CI_JOB_NAME}-release-4.6", ["ccache/"])))
            .with(|job| {
                job.after_script(["if [ \"$CI_JOB_STATUS\" != \"success\" ]; then exit 0 ; fi", "cat ccache/o"])
            })
            .with(|job| job.artifact_paths(["wireshark-*.tar.*", "wireshark-release-notes-*.html"]))
            .says(["CI_JOB_NAME=Source Package\n", "commits: 3\n", "object\n", "Created cache"])
            .uploads(["artifacts.zip"]),
        Shape::new("Wireshark", "APT Test", ["tar tf wireshark-*.tar.xz"])
            .needs_the_first()
            .with(|job| job.variable("GIT_STRATEGY", "none"))
            .says(["README.md\n"]),
    ]
}

/// F-Droid, Tor, Veloren, Meltano: scripts that do much by themselves.
fn scripts() -> Vec<Shape> {
    let veloren = [
        "if [ -d .git ]; then\n echo \"is git dir\";\nelse\n git clone -q $CI_REPOSITORY_URL . ;\nfi;",
        "git config --global --add safe.directory \"$PWD\"; rm -f .git/index.lock",
        "git remote set-url origin $CI_REPOSITORY_URL",
        "git fetch -q origin --prune +refs/heads/*:refs/remotes/origin/* +refs/tags/*:refs/tags/*",
        "git checkout -f -q $CI_COMMIT_SHA",
        "git submodule update --init --recursive",
        "git status --short --branch",
        "(cd scripts && ls utils.sh)",
    ];
    let fdroid = [
        "$pip install sdkmanager",
        "for locale in *; do\n    test -d $locale || continue;\n    for cmd in `echo one two`; do\n        echo $locale $cmd;\n    done\ndone",
        "export EXITVALUE=0",
        "function set_error() { export EXITVALUE=1; printf \"\\x1b[31mERROR\\x1b[0m\\n\"; }",
        "grep -q nothing README.md || set_error",
        "echo '[]' > pylint-report.json",
        "useradd -m testuser && chown -R testuser . && su testuser -c \"touch theirs\" && ls -l theirs",
        "exit $EXITVALUE",
    ];
    let tor = [
        "export LC_ALL=C.UTF-8\nmkdir -p apt-cache\nexport APT_CACHE_DIR=\"$(pwd)/apt-cache\"\necho 'quiet \"1\";' \\\n \
         \"Dir::Cache::Archives \\\"${APT_CACHE_DIR}\\\"; \" \\\n >> /etc/apt/apt.conf.d/99gitlab\n",
        "if [ \"$ASCIIDOC\" = yes ]; then echo asciidoc; fi",
        "mkdir artifacts; cp /etc/apt/apt.conf.d/99gitlab artifacts; echo deb > apt-cache/deb",
    ];
    let meltano = [
        "python3 -c \"import urllib.request as r; print(r.urlopen('http://$PG_ADDRESS/hostname').status)\"",
        "echo as $PG_USERNAME with \"'$PG_PASSWORD'\" to ${PG_DATABASE}",
        "mkdir -p .cache/pip; echo wheel > .cache/pip/wheel",
    ];
    vec![
        Shape::new("Veloren", "unittests", veloren).with(|job| job.variable("GIT_STRATEGY", "none")).says([
            "Skipping Git repository setup",
            "## HEAD (no branch)\n",
            "utils.sh\n",
        ]),
        Shape::new("F-Droid", "pylint", fdroid)
            .with(|job| job.depth(1).variable("pip", "echo pip3 --timeout 100 --retries 10"))
            .with(|job| job.report("codequality", ["pylint-report.json"]))
            .fails()
            .says(["pip3 --timeout 100 --retries 10 install sdkmanager\n", "scripts two\n", "testuser", "ERROR"])
            .uploads(["gl-code-quality-report.json"]),
        Shape::new("Tor", "debian-minimal", tor)
            .with(|job| job.cache(CacheSpec::new("apt", ["apt-cache"])))
            .with(|job| {
                let archive = ArtifactSpec::archive(["artifacts/"]).when("always").expire_in("1 week");
                job.artifacts(archive.name("${CI_PROJECT_PATH}_${CI_JOB_STAGE}_${CI_COMMIT_REF_NAME}"))
            })
            .says(["Created cache"])
            .uploads(["demo_test_main.zip"]),
        Shape::new("Meltano", "test_postgres", meltano)
            .with(|job| job.set("/image/entrypoint", json!([""])).service_with(web("postgres")))
            .with(|job| job.variable("POSTGRES_ADDRESS", "postgres").variable("PG_ADDRESS", "$POSTGRES_ADDRESS"))
            .with(|job| job.variable("POSTGRES_USER", "runner").variable("PG_USERNAME", "$POSTGRES_USER"))
            .with(|job| job.variable("POSTGRES_PASSWORD", "").variable("PG_PASSWORD", "$POSTGRES_PASSWORD"))
            .with(|job| job.variable("POSTGRES_DB", "pytest").variable("PG_DATABASE", "$POSTGRES_DB"))
            .with(|job| job.cache(CacheSpec::new("default", [".cache/pip", "venv/"])))
            .says(["200\n", "as runner with '' to pytest\n", "venv/: "]),
    ]
}

/// QEMU, libvirt: native builds in images of their own.
fn natives() -> Vec<Shape> {
    let qemu = [
        "source scripts/utils.sh",
        "section_start setup \"Pre-script setup\"",
        "JOBS=$(expr $(nproc) + 1)",
        "section_end setup",
        "export CCACHE_BASEDIR=\"$(pwd)\" CCACHE_DIR=\"$(pwd)/ccache\"",
        "mkdir -p build/a.p build/meson-logs ccache; echo o | tee build/a.p/x.c.o build/keep ccache/o",
        "cd build",
        "echo configure ${TARGETS:+--target-list=\"$TARGETS\"} $CONFIGURE_ARGS ||\n{ cat config.log && exit 1; }",
        "if test -n \"$LD_JOBS\";\nthen\n  echo linking ;\nfi || exit 1;",
        "echo '<testsuites/>' | tee meson-logs/a.junit.xml meson-logs/b.junit.xml",
    ];
    let libvirt = [
        "export MAKEFLAGS=\"-j$(getconf _NPROCESSORS_ONLN)\"\nexport CCACHE_DIR=\"$(pwd)/ccache\"\nexport PATH=\"$WRAPPERS:$PATH\"\n",
        "mkdir build\ncd build",
        "../scripts/missing || (echo cannot configure && exit 1)",
    ];
    vec![
        Shape::new("QEMU", "build-system-debian", qemu)
            .with(|job| job.variable("TARGETS", "x86_64-softmmu arm-softmmu"))
            .with(|job| job.cache(CacheSpec::new("$CI_JOB_NAME", ["ccache"]).when("always")))
            .with(|job| {
                let exclude = ["build/**/*.p", "build/**/*.a.p", "build/**/*.c.o", "build/**/*.c.o.d"];
                let archive = ArtifactSpec::archive(["build"]).exclude(exclude).expire_in("2 days");
                job.artifacts(archive.name("$CI_JOB_NAME-$CI_COMMIT_REF_SLUG"))
            })
            .with(|job| job.report("junit", ["build/meson-logs/*.junit.xml"]))
            .says([
                "configure --target-list=x86_64-softmmu arm-softmmu\n",
                "build/**/*.c.o: excluded 1 files",
                "Created cache",
            ])
            .uploads(["build-system-debian-main.zip", "junit.xml.gz"]),
        Shape::new(
            "QEMU",
            "check-system-debian",
            ["rm -f build/meson-logs/*", "cd build && find . -type f -exec touch {} +; ls"],
        )
        .needs_the_first()
        .says(["keep\nmeson-logs\n"]),
        Shape::new("libvirt", "x64-debian-10", libvirt)
            .with(|job| job.depth(100).variable("WRAPPERS", "/usr/lib/ccache"))
            .with(|job| job.cache(CacheSpec::new("$CI_JOB_NAME", ["ccache/"])))
            .fails()
            .says(["cannot configure\n", "Job failed: exit code 1"]),
    ]
}

/// What the scripts find in the repository.
fn commit_files(lone: &Lone) {
    let repository = lone.gitlab.repo("group/demo");
    let utils = "retry() { \"$@\" || \"$@\"; }\n\
        section_start() { printf \"section_start:%s:%s\\r\\e[0K%s\\n\" \"$(date +%s)\" \"$1\" \"$2\"; }\n\
        section_end() { printf \"section_end:%s:%s\\r\\e[0K\\n\" \"$(date +%s)\" \"$1\"; }\n";
    repository.commit(&[("scripts/utils.sh", utils)], "Add functions");
    let files = [(".gitlab-ci/test-docker.sh", "echo it builds\n"), ("scripts/readme", "")];
    repository.commit(&files, "Add a script");
}

/// Queues these jobs and waits for them all.
async fn run(lone: &Lone, shapes: &[Shape], first: &HashMap<&str, JobId>) -> Vec<JobId> {
    let queue = |shape: &Shape| {
        let job = shape.job.clone();
        lone.gitlab.add_job(if shape.needs { job.needs(first[shape.project]) } else { job })
    };
    let jobs: Vec<JobId> = shapes.iter().map(queue).collect();
    for (job, shape) in jobs.iter().zip(shapes) {
        let finished = lone.gitlab.wait_finished(*job).await;
        let (log, project) = (plain(&finished), shape.project);
        ended(&finished, shape.state);
        for text in &shape.says {
            assert!(log.contains(text), "{project}: no `{text}` in the log:\n{log}");
        }
        assert!(!log.contains("not supported"), "{project}: {log}");
        let names: Vec<_> = finished.artifacts.iter().map(|upload| upload.filename.as_str()).collect();
        assert_eq!(names, shape.uploads, "{project}: {log}");
    }
    jobs
}

#[tokio::test]
async fn jobs_of_the_shape_of_well_known_projects_work() {
    let lone = Lone::start().await.with_cache().with(&["--concurrent", "4"]);
    commit_files(&lone);
    let agent = Process::start(lone.serving(), &lone.directory.path().join("agent.log")).expect("an agent");
    let all = [gitlabs(), desktops(), scripts(), natives()].into_iter().flatten();
    let (second, first): (Vec<_>, Vec<_>) = all.partition(|shape| shape.needs);
    let jobs = run(&lone, &first, &HashMap::new()).await;
    let jobs = first.iter().map(|shape| shape.project).zip(jobs).rev().collect();
    run(&lone, &second, &jobs).await;
    agent.signal(Signal::QUIT);
    let ended = agent.wait().await.expect("the agent's end");
    assert!(ended.status.success(), "{}", ended.output);
    lone.nothing_left();
    lone.gitlab.assert_clean();
}
