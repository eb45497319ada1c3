//! `get_sources` against real repositories over HTTP: protocol §3 and §7.8 A75.

use super::super::{StageScript, cleanup, clear_worktree, get_sources, untracked};
use super::server::{Server, TOKEN};
use super::{Bench, Context, Ran, SHELLS, git};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use warmstart_gitlab::payload::Hook;

/// A project on a server, and a job that checks it out.
struct Project {
    bench: Bench,
    server: Server,
    /// A work tree of the project; what is committed and pushed there, the server has.
    author: PathBuf,
}

impl Project {
    fn new(variables: Value) -> Self {
        Self::with_format(variables, "sha1")
    }

    fn with_format(variables: Value, format: &str) -> Self {
        let mut bench = Bench::new(variables);
        let server = Server::start(&bench.path("served"));
        let author = repository(&bench.path("served"), &bench.path("authors"), "group/demo.git", format);
        bench.fixture.job.git_info.repo_url = server.url("group/demo.git").into();
        bench.fixture.job.git_info.repo_object_format = format.to_owned();
        bench.fixture.gitlab.url = format!("http://{}/", server.address);
        let mut this = Self { bench, server, author };
        this.commit("file", "1");
        this
    }

    /// Commits a file, pushes, and makes the job ask for that commit.
    fn commit(&mut self, file: &str, content: &str) -> String {
        let sha = commit(&self.author, file, content);
        self.ask_for(&sha);
        sha
    }

    /// Makes the job ask for a commit as GitLab does: by a ref of its pipeline.
    fn ask_for(&mut self, sha: &str) {
        git(&self.author, &["push", "-f", "-q", "origin", &format!("{sha}:refs/pipelines/7")]);
        let info = &mut self.bench.fixture.job.git_info;
        sha.clone_into(&mut info.sha);
        "main".clone_into(&mut info.ref_name);
        info.refspecs = ["+refs/pipelines/7:refs/pipelines/7", "+refs/heads/main:refs/remotes/origin/main"]
            .map(str::to_owned)
            .to_vec();
    }

    fn set(&mut self, key: &str, value: &str) {
        let variable = serde_json::from_value(json!({"key": key, "value": value, "public": true}));
        self.bench.fixture.job.variables.push(variable.unwrap());
    }

    fn get(&self, shell: &[&str]) -> Ran {
        self.bench.run(shell, sources)
    }

    fn file(&self, name: &str) -> String {
        fs::read_to_string(self.bench.project().join(name)).unwrap_or_else(|error| format!("{name}: {error}"))
    }

    fn git(&self, arguments: &[&str]) -> String {
        git(&self.bench.project(), arguments)
    }

    /// Every byte below the project directory.
    fn holds(&self, needle: &str) -> bool {
        holds(&self.bench.project(), needle)
    }
}

fn sources(context: &Context<'_>) -> StageScript {
    get_sources(context).unwrap()
}

/// A bare repository on the server and a clone of it that pushes there.
fn repository(served: &Path, authors: &Path, name: &str, format: &str) -> PathBuf {
    let bare = served.join(name);
    let author = authors.join(name);
    fs::create_dir_all(&bare).unwrap();
    fs::create_dir_all(&author).unwrap();
    git(&bare, &["init", "-q", "--bare", "--object-format", format]);
    git(&author, &["init", "-q", "--object-format", format]);
    git(&author, &["remote", "add", "origin", bare.to_str().unwrap()]);
    author
}

fn commit(author: &Path, file: &str, content: &str) -> String {
    let path = author.join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
    git(author, &["add", "-A"]);
    git(author, &["commit", "-q", "-m", content]);
    git(author, &["push", "-f", "-q", "origin", "HEAD:main"]);
    git(author, &["rev-parse", "HEAD"])
}

fn holds(directory: &Path, needle: &str) -> bool {
    walkdir::WalkDir::new(directory)
        .into_iter()
        .map(Result::unwrap)
        .filter(|e| e.file_type().is_file())
        .any(|entry| fs::read(entry.path()).unwrap().windows(needle.len()).any(|window| window == needle.as_bytes()))
}

#[test]
fn a_first_fetch_makes_a_repository_at_the_jobs_commit() {
    for shell in SHELLS {
        let project = Project::new(json!([]));
        let shown = project.get(shell).success();
        let sha = &project.bench.fixture.job.git_info.sha;
        for wanted in [
            "Fetching changes...",
            "Created fresh repository.",
            &format!("Checking out {} as detached HEAD (ref is main)...", &sha[..8]),
            "Skipping Git submodules setup",
        ] {
            assert!(shown.contains(&format!("\x1b[32;1m{wanted}\x1b[0;m\n")), "{wanted:?} in {shown}");
        }
        assert_eq!(project.file("file"), "1");
        assert_eq!(&project.git(&["rev-parse", "HEAD"]), sha);
    }
}

#[test]
fn a_second_fetch_updates_the_same_directory() {
    for shell in SHELLS {
        let mut project = Project::new(json!([]));
        project.get(shell).success();
        fs::write(project.bench.project().join("file"), "dirty").unwrap();
        fs::write(project.bench.project().join("junk"), "untracked").unwrap();
        let inode = fs::metadata(project.bench.project()).unwrap();
        project.commit("file", "2");
        project.get(shell).success();
        assert_eq!((project.file("file").as_str(), project.bench.project().join("junk").exists()), ("2", false));
        assert_eq!(inode.created().ok(), fs::metadata(project.bench.project()).unwrap().created().ok());
    }
}

#[test]
fn a_commit_that_was_pushed_over_is_still_found() {
    let mut project = Project::new(json!([]));
    project.get(&["dash"]).success();
    git(&project.author, &["commit", "-q", "--amend", "-m", "forced"]);
    let forced = project.commit("file", "forced");
    project.get(&["dash"]).success();
    assert_eq!(project.git(&["rev-parse", "HEAD"]), forced);
    let old = git(&project.author, &["rev-parse", "HEAD~1"]);
    project.commit("file", "newer");
    project.ask_for(&old);
    project.get(&["dash"]).success();
    assert_eq!(project.git(&["rev-parse", "HEAD"]), old);
}

#[test]
fn depth_limits_the_history_and_its_absence_completes_it() {
    for shell in SHELLS {
        let mut project = Project::new(json!([]));
        for content in ["2", "3", "4"] {
            project.commit("file", content);
        }
        project.bench.fixture.job.git_info.depth = 2;
        let shown = project.get(shell).success();
        assert!(shown.contains("Fetching changes with git depth set to 2..."), "{shown}");
        assert_eq!(project.git(&["rev-list", "--count", "HEAD"]), "2");
        project.bench.fixture.job.git_info.depth = 0;
        project.get(shell).success();
        assert_eq!(project.git(&["rev-list", "--count", "HEAD"]), "4");
    }
}

#[test]
fn the_token_is_nowhere_in_the_project_and_gone_after_cleanup() {
    for shell in SHELLS {
        let project = Project::new(json!([]));
        project.get(shell).success();
        assert!(!project.holds(TOKEN));
        assert_eq!(project.git(&["remote", "get-url", "origin"]), project.server.url("group/demo.git"), "a rewrite");
        project.bench.run(shell, cleanup).success();
        assert!(!holds(project.bench.root.path().join("builds").as_path(), TOKEN));
        assert!(!holds(&project.bench.path("home"), TOKEN));
    }
}

#[test]
fn the_token_is_never_sent_to_a_server_whose_name_begins_like_gitlabs() {
    let project = Project::new(json!([]));
    project.get(&["bash"]).success();
    let config = project.bench.tmp().join(".gitlab-runner.ext.conf");
    let rewrites = git(project.bench.root.path(), &["config", "-f", config.to_str().unwrap(), "--get-regexp", "^url"]);
    assert_eq!(rewrites.lines().count(), 2);
    for line in rewrites.lines() {
        let (_, prefix) = line.split_once(' ').unwrap();
        assert!(prefix.ends_with('/') || prefix.ends_with("demo.git"), "{line}");
    }
}

#[test]
fn a_wrong_token_fails_without_asking_anybody() {
    let mut project = Project::new(json!([]));
    let url = project.server.url("group/demo.git").replace(TOKEN, "wrong");
    project.bench.fixture.job.git_info.repo_url = url.into();
    let ran = project.get(&["dash"]);
    assert_ne!(ran.code, Some(0));
    assert!(ran.stderr.contains("Authentication failed"), "{}", ran.stderr);
}

#[test]
fn the_correlation_id_goes_to_the_server_and_into_the_log() {
    let project = Project::new(json!([]));
    let shown = project.get(&["bash"]).success();
    let id = "0123456789abcdef0123456789abcdef";
    assert!(shown.contains(&format!("Gitaly correlation ID: {id}\n")), "{shown}");
    let requests = project.server.requests.lock().unwrap();
    assert!(requests.iter().all(|head| head.contains(&format!("X-Gitaly-Correlation-ID: {id}"))));
    assert!(requests.iter().any(|head| head.contains("User-Agent: warmstart-agent ")));
}

#[test]
fn locks_hooks_and_configuration_of_an_earlier_job_do_nothing() {
    for shell in SHELLS {
        let mut project = Project::new(json!([]));
        project.get(shell).success();
        let dot_git = project.bench.project().join(".git");
        let pwned = project.bench.path("pwned");
        let program = format!("#!/bin/sh\ntouch {}\n", pwned.display());
        fs::create_dir_all(dot_git.join("hooks")).unwrap();
        let planted = dot_git.join("planted");
        for hook in [dot_git.join("hooks/post-checkout"), dot_git.join("hooks/reference-transaction"), planted.clone()]
        {
            fs::write(&hook, &program).unwrap();
            fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
        }
        for key in ["core.fsmonitor", "core.sshCommand", "credential.helper", "core.pager"] {
            project.git(&["config", key, planted.to_str().unwrap()]);
        }
        for lock in ["index.lock", "shallow.lock", "HEAD.lock", "config.lock", "refs/heads/x.lock"] {
            fs::write(dot_git.join(lock), "").unwrap();
        }
        project.commit("file", "2");
        project.get(shell).success();
        assert_eq!((project.file("file").as_str(), pwned.exists()), ("2", false), "{shell:?}");
    }
}

#[test]
fn a_git_directory_that_points_elsewhere_is_not_followed() {
    for kind in ["file", "symlink", "commondir"] {
        let project = Project::new(json!([]));
        let elsewhere = project.bench.path("elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        git(&elsewhere, &["init", "-q"]);
        let before = fs::read(elsewhere.join(".git/config")).unwrap();
        let dot_git = project.bench.project().join(".git");
        match kind {
            "file" => fs::write(&dot_git, format!("gitdir: {}/.git\n", elsewhere.display())).unwrap(),
            "symlink" => symlink(elsewhere.join(".git"), &dot_git).unwrap(),
            _ => {
                git(&project.bench.project(), &["init", "-q"]);
                fs::write(dot_git.join("commondir"), format!("{}/.git\n", elsewhere.display())).unwrap();
            }
        }
        project.get(&["dash"]).success();
        assert_eq!(project.file("file"), "1", "{kind}");
        assert_eq!(fs::read(elsewhere.join(".git/config")).unwrap(), before, "{kind}");
        assert!(!elsewhere.join(".git/refs/pipelines").exists(), "{kind}");
    }
}

#[test]
fn clone_begins_afresh() {
    let mut project = Project::new(json!([]));
    project.get(&["bash"]).success();
    fs::write(project.bench.project().join(".git/marker"), "").unwrap();
    project.set("GIT_STRATEGY", "clone");
    project.get(&["bash"]).success();
    assert_eq!((project.file("file").as_str(), project.bench.project().join(".git/marker").exists()), ("1", false));
}

#[test]
fn none_leaves_what_is_there_and_empty_leaves_nothing() {
    for shell in SHELLS {
        let mut project = Project::new(json!([]));
        project.set("GIT_STRATEGY", "none");
        project.bench.fixture.job.hooks =
            vec![Hook { name: "pre_get_sources_script".to_owned(), script: vec!["exit 1".to_owned()] }];
        fs::write(project.bench.project().join("kept"), "kept").unwrap();
        let shown = project.get(shell).success();
        assert!(shown.contains("Skipping Git repository setup"), "{shown}");
        assert_eq!(project.file("kept"), "kept");
        project.set("GIT_STRATEGY", "empty");
        fs::create_dir_all(project.bench.project()).unwrap();
        fs::write(project.bench.project().join("gone"), "").unwrap();
        project.get(shell).success();
        assert!(project.bench.project().ends_with("group/demo-empty"));
        assert_eq!(fs::read_dir(project.bench.project()).unwrap().count(), 0);
    }
}

#[test]
fn the_work_tree_stays_without_checkout_and_uncleaned_without_clean_flags() {
    let mut project = Project::new(json!([]));
    project.get(&["dash"]).success();
    project.commit("file", "2");
    project.set("GIT_CHECKOUT", "false");
    let shown = project.get(&["dash"]).success();
    assert!(shown.contains("Skipping Git checkout"), "{shown}");
    assert_eq!(project.file("file"), "1");
    project.set("GIT_CHECKOUT", "true");
    project.set("GIT_CLEAN_FLAGS", "none");
    fs::write(project.bench.project().join("junk"), "junk").unwrap();
    project.get(&["dash"]).success();
    assert_eq!((project.file("file").as_str(), project.file("junk").as_str()), ("2", "junk"));
    project.set("GIT_CLEAN_FLAGS", "-ffdx -e junk");
    fs::write(project.bench.project().join("other"), "other").unwrap();
    project.get(&["dash"]).success();
    assert_eq!((project.file("junk").as_str(), project.bench.project().join("other").exists()), ("junk", false));
}

#[test]
fn hooks_run_in_order_around_git() {
    let mut project = Project::new(json!([]));
    let hook = |name: &str, text: &str| Hook { name: name.to_owned(), script: vec![format!("echo {text}")] };
    project.bench.fixture.job.hooks =
        vec![hook("pre_get_sources_script", "two"), hook("post_get_sources_script", "$(cat file) three")];
    "echo one".clone_into(&mut project.bench.fixture.settings.pre_get_sources_script);
    "echo four".clone_into(&mut project.bench.fixture.settings.post_get_sources_script);
    let shown = project.get(&["busybox", "sh"]).success();
    let words: Vec<_> = shown.lines().filter(|line| !line.contains(' ') || line.starts_with("1 ")).collect();
    assert_eq!(words, ["one", "two", "1 three", "four"]);
}

#[test]
fn a_repository_of_sha256_works_twice() {
    for shell in SHELLS {
        let mut project = Project::with_format(json!([]), "sha256");
        project.get(shell).success();
        project.commit("file", "2");
        project.get(shell).success();
        assert_eq!((project.file("file").as_str(), project.bench.fixture.job.git_info.sha.len()), ("2", 64));
    }
}

#[test]
fn a_broken_repository_is_cleared_for_the_next_attempt() {
    let project = Project::new(json!([]));
    project.get(&["bash"]).success();
    fs::remove_dir_all(project.bench.project().join(".git/objects")).unwrap();
    fs::write(project.bench.project().join(".git/objects"), "").unwrap();
    assert_ne!(project.get(&["bash"]).code, Some(0));
    let shown = project.bench.run(&["bash"], |context| clear_worktree(context).unwrap()).success();
    assert_eq!((shown.as_str(), project.bench.project().exists()), ("", false));
    project.get(&["bash"]).success();
    assert_eq!(project.file("file"), "1");
}

#[test]
fn untracked_files_are_listed_by_their_bytes() {
    let project = Project::new(json!([]));
    project.get(&["bash"]).success();
    fs::create_dir(project.bench.project().join("d")).unwrap();
    for name in ["d/new\nline", "sp ace", "ä"] {
        fs::write(project.bench.project().join(name), "").unwrap();
    }
    let listed = project.bench.run(&["dash"], untracked).stdout;
    let mut names: Vec<_> = listed.split(|b| *b == 0).map(|n| String::from_utf8(n.to_vec()).unwrap()).collect();
    names.sort();
    assert_eq!(names, ["", "d/new\nline", "sp ace", "ä"]);
}

#[test]
fn odd_names_of_directories_and_refs_are_only_names() {
    for shell in SHELLS {
        let mut project = Project::new(json!([]));
        project.set("GIT_CLONE_PATH", "$CI_BUILDS_DIR/it's \"a\" $(touch pwned) dir;");
        git(&project.author, &["push", "-q", "origin", "HEAD:refs/heads/it's;$x"]);
        let info = &mut project.bench.fixture.job.git_info;
        "it's;$x`id`".clone_into(&mut info.ref_name);
        info.refspecs.push("+refs/heads/it's;$x:refs/remotes/origin/it's;$x".to_owned());
        let shown = project.get(shell).success();
        assert!(shown.contains("(ref is it's;$x`id`)"), "{shown}");
        assert_eq!(project.file("file"), "1");
        assert!(!project.bench.path("pwned").exists());
    }
}

/// Adds a submodule `lib` with a submodule `deep` of its own to the project, by relative URLs.
fn with_submodules(project: &mut Project) -> PathBuf {
    let (served, authors) = (project.bench.path("served"), project.bench.path("authors"));
    let deep = repository(&served, &authors, "group/deep.git", "sha1");
    let lib = repository(&served, &authors, "group/lib.git", "sha1");
    commit(&deep, "deep-file", "deep");
    commit(&lib, "lib-file", "lib 1");
    add_submodule(&lib, &deep, "deep");
    add_submodule(&project.author, &lib, "lib");
    project.commit("with", "submodules");
    lib
}

fn add_submodule(author: &Path, of: &Path, name: &str) {
    git(author, &["submodule", "add", "-q", of.to_str().unwrap(), name]);
    git(author, &["config", "-f", ".gitmodules", &format!("submodule.{name}.url"), &format!("../{name}.git")]);
    git(author, &["add", "-A"]);
    git(author, &["commit", "-q", "-m", "submodule"]);
    git(author, &["push", "-f", "-q", "origin", "HEAD:main"]);
}

#[test]
fn submodules_are_left_alone_unless_asked_for() {
    let mut project = Project::new(json!([]));
    with_submodules(&mut project);
    project.get(&["bash"]).success();
    assert_eq!(fs::read_dir(project.bench.project().join("lib")).unwrap().count(), 0);
}

#[test]
fn submodules_are_updated_with_the_token_and_without_keeping_it() {
    for (shell, strategy, deep) in [(0, "normal", false), (1, "recursive", true), (2, "recursive", true)] {
        let shell = SHELLS[shell];
        let mut project = Project::new(json!([]));
        let lib = with_submodules(&mut project);
        project.set("GIT_SUBMODULE_STRATEGY", strategy);
        let shown = project.get(shell).success();
        let headline = if deep { "submodules recursively..." } else { "submodules..." };
        assert!(shown.contains(&format!("Updating/initializing {headline}")), "{shown}");
        assert_eq!(project.file("lib/lib-file"), "lib 1");
        assert_eq!(project.bench.project().join("lib/deep/deep-file").exists(), deep);
        assert!(!project.holds(TOKEN));

        // A second job: the submodule moved on, its work tree is dirty, its repository holds a lock and a hook.
        commit(&lib, "lib-file", "lib 2");
        git(&project.author.join("lib"), &["pull", "-q", "origin", "main"]);
        project.commit("with", "a newer submodule");
        fs::write(project.bench.project().join("lib/lib-file"), "dirty").unwrap();
        fs::write(project.bench.project().join("lib/junk"), "junk").unwrap();
        let module = project.bench.project().join(".git/modules/lib");
        fs::write(module.join("index.lock"), "").unwrap();
        fs::create_dir_all(module.join("hooks")).unwrap();
        let pwned = project.bench.path("pwned");
        fs::write(module.join("hooks/post-checkout"), format!("#!/bin/sh\ntouch {}\n", pwned.display())).unwrap();
        fs::set_permissions(module.join("hooks/post-checkout"), fs::Permissions::from_mode(0o755)).unwrap();
        project.get(shell).success();
        assert_eq!(project.file("lib/lib-file"), "lib 2", "{shell:?} {strategy}");
        assert!(!project.bench.project().join("lib/junk").exists() && !pwned.exists());
        assert!(!project.holds(TOKEN));
    }
}

#[test]
fn submodules_can_be_chosen_by_path_and_limited_in_depth() {
    let mut project = Project::new(json!([]));
    let lib = with_submodules(&mut project);
    commit(&lib, "lib-file", "lib 2");
    git(&project.author.join("lib"), &["pull", "-q", "origin", "main"]);
    let other = repository(&project.bench.path("served"), &project.bench.path("authors"), "group/other.git", "sha1");
    commit(&other, "other-file", "other");
    add_submodule(&project.author, &other, "other");
    project.commit("with", "two");
    project.set("GIT_SUBMODULE_STRATEGY", "normal");
    project.set("GIT_SUBMODULE_PATHS", ":(exclude)other");
    project.set("GIT_SUBMODULE_DEPTH", "1");
    project.set("GIT_SUBMODULE_UPDATE_FLAGS", "--jobs 2");
    let shown = project.get(&["busybox", "sh"]).success();
    assert!(shown.contains("submodules with git depth set to 1..."), "{shown}");
    assert_eq!(project.file("lib/lib-file"), "lib 2");
    assert!(!project.bench.project().join("other/other-file").exists());
    assert_eq!(git(&project.bench.project().join("lib"), &["rev-list", "--count", "HEAD"]), "1");
}

#[test]
fn submodules_with_ssh_urls_can_be_had_over_http() {
    let mut project = Project::new(json!([{"key": "CI_SERVER_HOST", "value": "git.gitlab.test"}]));
    with_submodules(&mut project);
    for url in ["git@git.gitlab.test:group/lib.git", "ssh://git@git.gitlab.test/group/lib.git"] {
        git(&project.author, &["config", "-f", ".gitmodules", "submodule.lib.url", url]);
        project.commit("with", url);
        project.set("GIT_SUBMODULE_STRATEGY", "normal");
        project.set("GIT_SUBMODULE_FORCE_HTTPS", "true");
        project.set("GIT_STRATEGY", "clone");
        project.get(&["dash"]).success();
        assert_eq!(project.file("lib/lib-file"), "lib 1", "{url}");
    }
}

#[test]
fn a_submodule_strategy_that_nobody_knows_is_a_sentence() {
    for (key, value) in [("GIT_SUBMODULE_STRATEGY", "recursiv"), ("GIT_SUBMODULE_PATHS", "a :(exclude) b")] {
        let mut project = Project::new(json!([]));
        project.set(key, value);
        let mut sentence = None;
        project.bench.run(&["sh"], |context| {
            sentence = get_sources(context).err();
            cleanup(context)
        });
        assert!(sentence.is_some_and(|text| text.contains(key)), "{key}");
    }
}

#[test]
fn large_files_come_with_the_checkout_or_stay_pointers() {
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:\
                   2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae\nsize 3\n";
    let mut project = Project::new(json!([{"key": "GIT_LFS_SKIP_SMUDGE", "value": "true"}]));
    fs::write(project.author.join(".gitattributes"), "*.bin filter=lfs -text\n").unwrap();
    project.commit("big.bin", pointer);
    project.get(&["bash"]).success();
    assert_eq!(project.file("big.bin"), pointer);
    // The store of large files already holds the object, as after an earlier job: `git lfs pull` needs no server.
    let object = ".git/lfs/objects/2c/26/2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae";
    let path = project.bench.project().join(object);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, "foo").unwrap();
    project.set("GIT_LFS_SKIP_SMUDGE", "false");
    project.get(&["bash"]).success();
    let wanted = if has_lfs() { "foo" } else { pointer };
    assert_eq!(project.file("big.bin"), wanted);
}

fn has_lfs() -> bool {
    std::process::Command::new("git").args(["lfs", "version"]).output().is_ok_and(|output| output.status.success())
}

#[test]
fn the_runners_ca_is_gits_for_that_host_only() {
    let mut project = Project::new(json!([]));
    project.bench.fixture.gitlab.ca = Some("PEM".to_owned());
    let url = format!("https://gitlab-ci-token:{TOKEN}@{}/group/demo.git", project.server.address);
    project.bench.fixture.job.git_info.repo_url = url.into();
    let ran = project.get(&["bash"]);
    assert_ne!(ran.code, Some(0));
    let config = fs::read_to_string(project.bench.path("home/.gitconfig")).unwrap();
    assert!(config.contains(&format!("[http \"https://{}\"]", project.server.address)), "{config}");
    assert!(config.contains("sslCAInfo = ") && config.contains("demo.tmp/CI_SERVER_TLS_CA_FILE"), "{config}");
}
