//! `get_sources`: the project's files, as protocol §3 has them.

use super::body::{Body, Place, quote};
use super::remote::{Remote, remote};
use super::{Context, StageScript, submodules};
use crate::variables::{Strategy, Submodules};

/// `get_sources`. An `Err` is a sentence for the log: the stage fails without running.
pub fn get_sources(context: &Context<'_>) -> Result<StageScript, String> {
    submodules::check(context.settings)?;
    let mut body = Body::default();
    body.exports(context, Place::Helper);
    body.line("export GIT_TERMINAL_PROMPT=0 GCM_INTERACTIVE=Never");
    match context.settings.strategy {
        Strategy::None => without_git(&mut body, context, false),
        Strategy::Empty => without_git(&mut body, context, true),
        Strategy::Clone => with_git(&mut body, context, true),
        Strategy::Fetch => with_git(&mut body, context, false),
    }
    Ok(body.stage(context, Place::Helper))
}

/// `clear_worktree`, before a second attempt at `get_sources`; `None` where the job keeps its own files.
#[must_use]
pub fn clear_worktree(context: &Context<'_>) -> Option<StageScript> {
    if context.settings.strategy == Strategy::None {
        return None;
    }
    let mut body = Body::default();
    body.command(&["rm", "-rf", &context.directories.project]);
    Some(body.stage(context, Place::Helper))
}

/// Prints the paths of the files that git does not track, each ended by a NUL, relative to the project directory.
#[must_use]
pub fn untracked(context: &Context<'_>) -> StageScript {
    let mut body = Body::default();
    body.command(&["cd", &context.directories.project]);
    // Without `get_sources` nothing has told git to trust files of the job's user.
    body.line(&format!("git -c safe.directory={} ls-files -o -z", quote(&context.directories.project)));
    body.stage(context, Place::Helper)
}

fn without_git(body: &mut Body, context: &Context<'_>, empty: bool) {
    let project = &context.directories.project;
    body.notice("Skipping Git repository setup");
    if empty {
        body.command(&["rm", "-rf", project]);
    }
    body.command(&["mkdir", "-p", project]);
    body.notice("Skipping Git checkout");
    body.notice("Skipping Git submodules setup");
}

fn with_git(body: &mut Body, context: &Context<'_>, fresh: bool) {
    let remote = remote(context);
    trust_authority(body, context, &remote);
    hooks(body, context, "pre_get_sources_script", &context.inputs.settings.pre_get_sources_script, true);
    if !context.settings.lfs_skip_smudge {
        // Large files come later, by one `git lfs pull` instead of one request each.
        body.line("export GIT_LFS_SKIP_SMUDGE=1");
    }
    let depth = context.inputs.job.git_info.depth;
    body.notice(&match depth {
        0 => "Fetching changes...".to_owned(),
        depth => format!("Fetching changes with git depth set to {depth}..."),
    });
    if fresh {
        body.command(&["rm", "-rf", &context.directories.project]);
    }
    remove_stale_state(body, context);
    configure(body, context, &remote);
    initialise(body, context, &remote);
    fetch(body, context);
    checkout(body, context);
    submodules::update(body, context);
    hooks(body, context, "post_get_sources_script", &context.inputs.settings.post_get_sources_script, false);
    reject_credentials(body, context);
}

/// Hands the runner's CA, when the job has it as a file, to git.
fn trust_authority(body: &mut Body, context: &Context<'_>, remote: &Remote) {
    let Some(origin) = remote.origin.as_ref().filter(|origin| origin.starts_with("https://")) else { return };
    let files = [
        ("sslCAInfo", "CI_SERVER_TLS_CA_FILE"),
        ("sslCert", "CI_SERVER_TLS_CERT_FILE"),
        ("sslKey", "CI_SERVER_TLS_KEY_FILE"),
    ];
    for (setting, path) in files.map(|(setting, key)| (setting, context.variables.get(key))) {
        if !path.is_empty() {
            body.command(&["git", "config", "--global", &format!("http.{origin}.{setting}"), path]);
        }
    }
}

/// The scripts around git: the runner's own comes first before it and last after it.
fn hooks(body: &mut Body, context: &Context<'_>, name: &str, configured: &str, configured_first: bool) {
    let payload = context.inputs.job.hooks.iter().filter(|hook| hook.name == name);
    let section = if configured_first { "pre_clone_script" } else { "post_clone_script" };
    if configured_first {
        body.user_script(context, section, configured);
    }
    payload.for_each(|hook| body.user_commands(context, section, &hook.script));
    if !configured_first {
        body.user_script(context, section, configured);
    }
}

/// Removes what an interrupted git or an earlier job's script left that stops this one or runs in it: locks, hooks,
/// configuration, and a `.git` that points elsewhere.
pub(super) fn remove_stale_state(body: &mut Body, context: &Context<'_>) {
    if context.settings.strategy == Strategy::None {
        return;
    }
    let git = format!("{}/.git", context.directories.project);
    let quoted = quote(&git);
    body.line(&format!("if [ -L {quoted} ] || [ -f {quoted} ]; then rm -f {quoted}; fi"));
    let names =
        ["index.lock", "shallow.lock", "HEAD.lock", "config.lock", "config", "config.worktree", "commondir", "hooks"];
    let paths: Vec<_> = names.iter().map(|name| format!("{git}/{name}")).collect();
    body.command(&["rm", "-rf"].into_iter().chain(paths.iter().map(String::as_str)).collect::<Vec<_>>());
    let refs = quote(&format!("{git}/refs"));
    body.line(&format!("if [ -d {refs} ]; then find {refs} -name '*.lock' -type f -exec rm -f {{}} +; fi"));
    if context.settings.submodules != Submodules::None {
        submodules::remove_stale_state(body, &format!("{git}/modules"));
    }
}

/// Writes the template of new repositories and the configuration that holds the credentials, outside the project.
fn configure(body: &mut Body, context: &Context<'_>, remote: &Remote) {
    let external = external_config(context);
    let template = template(context);
    body.command(&["rm", "-rf", &template, &external]);
    body.command(&["mkdir", "-p", &template]);
    let config = format!("{template}/config");
    for (key, value) in [
        ("init.defaultBranch", "none"),
        ("fetch.recurseSubmodules", "false"),
        ("credential.interactive", "never"),
        ("gc.autoDetach", "false"),
        ("include.path", &external),
    ] {
        body.command(&["git", "config", "-f", &config, key, value]);
    }
    body.command(&["git", "config", "--global", "--add", "safe.directory", &context.directories.project]);
    // Where git-lfs is there but its filters are in no configuration, `git lfs pull` does nothing.
    body.line("git config filter.lfs.smudge >/dev/null || git lfs install --skip-repo >/dev/null 2>&1 || :");
    if context.variables.flag("FF_USE_GITALY_CORRELATION_ID") && !context.correlation_id.is_empty() {
        body.print(&format!("Gitaly correlation ID: {}", context.correlation_id));
        let header = format!("X-Gitaly-Correlation-ID: {}", context.correlation_id);
        body.command(&["git", "config", "-f", &external, "http.extraHeader", &header]);
    }
    if context.variables.flag("FF_USE_GIT_BUNDLE_URIS") {
        body.command(&["git", "config", "-f", &external, "transfer.bundleURI", "true"]);
    }
    for (with, without) in &remote.rewrites {
        let key = format!("url.{}.insteadOf", with.expose());
        body.command(&["git", "config", "-f", &external, "--add", &key, without]);
    }
    body.line(&format!("export GLR_EXT_GIT_CONFIG_PATH={}", quote(&external)));
}

fn initialise(body: &mut Body, context: &Context<'_>, remote: &Remote) {
    let project = &context.directories.project;
    let template = template(context);
    let mut init = vec!["git", "init", project, "--template", &template];
    let format = context.inputs.job.git_info.repo_object_format.as_str();
    if !matches!(format, "" | "sha1") {
        init.extend(["--object-format", format]);
    }
    body.command(&init);
    body.command(&["cd", project]);
    let url = quote(&remote.clean);
    body.line(&format!("if git remote add origin {url} >/dev/null 2>&1; then"));
    body.notice("Created fresh repository.");
    body.line(&format!("else\ngit remote set-url origin {url}\nfi"));
}

fn fetch(body: &mut Body, context: &Context<'_>) {
    let git = &context.inputs.job.git_info;
    let agent = format!("http.userAgent={}", user_agent(context));
    let depth = git.depth.to_string();
    let mut words = vec!["git", "-c", &agent, "fetch", "origin", "--no-recurse-submodules"];
    words.extend(git.refspecs.iter().map(String::as_str));
    if git.depth > 0 {
        words.extend(["--depth", &depth]);
    }
    words.extend(context.settings.fetch_flags.iter().map(String::as_str));
    if git.depth > 0 {
        return body.command(&words);
    }
    body.line("if [ -f .git/shallow ]; then");
    body.command(&[&words[..], &["--unshallow"]].concat());
    body.line("else");
    body.command(&words);
    body.line("fi");
}

fn checkout(body: &mut Body, context: &Context<'_>) {
    let git = &context.inputs.job.git_info;
    if !context.settings.checkout {
        return body.notice("Skipping Git checkout");
    }
    let short = git.sha.get(..8).unwrap_or(&git.sha);
    body.notice(&format!("Checking out {short} as detached HEAD (ref is {})...", git.ref_name));
    body.command(&["git", "-c", "submodule.recurse=false", "checkout", "-f", "-q", &git.sha]);
    if let Some(flags) = &context.settings.clean_flags {
        body.command(&["git", "clean"].into_iter().chain(flags.iter().map(String::as_str)).collect::<Vec<_>>());
    }
    if !context.settings.lfs_skip_smudge {
        // Most projects have no large files, and git-lfs takes its time to find that out.
        body.line(
            "if { [ -e .git/info/attributes ] || git grep -q --cached filter=lfs -- ':(glob)**/.gitattributes'; } && \
             git lfs version >/dev/null 2>&1; then\ngit lfs pull\nfi",
        );
    }
}

/// Makes credential helpers forget the token; nothing depends on it.
pub(super) fn reject_credentials(body: &mut Body, context: &Context<'_>) {
    if let Some(origin) = remote(context).origin {
        let url = quote(&format!("url={origin}"));
        body.line(&format!(
            "printf '%s\\n' {url} username=gitlab-ci-token '' | git credential reject >/dev/null 2>&1 || :"
        ));
    }
}

/// The git configuration with the credentials.
pub(super) fn external_config(context: &Context<'_>) -> String {
    format!("{}/.gitlab-runner.ext.conf", context.directories.tmp)
}

fn template(context: &Context<'_>) -> String {
    format!("{}/git-template", context.directories.tmp)
}

fn user_agent(context: &Context<'_>) -> String {
    let architecture = context.variables.get("CI_RUNNER_EXECUTABLE_ARCH");
    format!("warmstart-agent {} {architecture}", env!("CARGO_PKG_VERSION"))
}
