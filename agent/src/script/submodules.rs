//! Submodules (protocol §3.5).

use super::Context;
use super::body::{Body, quote};
use crate::variables::{JobSettings, Submodules};

/// Refuses settings that cannot be carried out.
pub(super) fn check(settings: &JobSettings) -> Result<(), String> {
    if let Submodules::Invalid(word) = &settings.submodules {
        return Err(format!("unknown GIT_SUBMODULE_STRATEGY {word:?}: use none, normal or recursive"));
    }
    if settings.submodule_paths.iter().any(|path| path == ":(exclude)") {
        return Err("GIT_SUBMODULE_PATHS: \":(exclude)\" must be followed by a path without a space between".to_owned());
    }
    Ok(())
}

/// Brings the submodules to the commits that the project names.
pub(super) fn update(body: &mut Body, context: &Context<'_>) {
    let recursive = match context.settings.submodules {
        Submodules::None | Submodules::Invalid(_) => return body.notice("Skipping Git submodules setup"),
        Submodules::Normal => false,
        Submodules::Recursive => true,
    };
    body.notice(&headline(context, recursive));
    let words = Words::new(context, recursive);
    body.command(&["git", "submodule", "init"]);
    body.line(&words.sync);
    body.line(&words.foreach(&words.clean));
    body.line(&words.foreach("git reset --hard"));
    body.line(&format!("if ! {}; then", words.update));
    body.warning("Updating submodules failed. Retrying...");
    if context.settings.submodule_flags.iter().any(|flag| flag == "--remote") {
        body.line(&words.foreach("git fetch origin +refs/heads/*:refs/remotes/origin/*"));
    }
    body.line(&words.sync);
    body.line(&words.update);
    body.line(&words.foreach("git reset --hard"));
    body.line("fi");
    body.line(&words.foreach(&words.clean));
    body.line("git submodule --quiet foreach --recursive 'git config include.path \"$GLR_EXT_GIT_CONFIG_PATH\"'");
    if !context.settings.lfs_skip_smudge {
        body.line("if git lfs version >/dev/null 2>&1; then");
        body.line(&words.foreach("git lfs pull"));
        body.line("fi");
    }
}

/// What an earlier job left in the repositories of the submodules, as in the project's own.
pub(super) fn remove_stale_state(body: &mut Body, modules: &str) {
    let modules = quote(modules);
    body.line(&format!("if [ -d {modules} ]; then"));
    let files = ["index.lock", "shallow.lock", "HEAD.lock", "config.lock", "config", "config.worktree", "commondir"];
    let names: Vec<_> = files.iter().map(|name| format!("-name {name}")).collect();
    body.line(&format!("find {modules} -type f '(' {} ')' -exec rm -f {{}} +", names.join(" -o ")));
    body.line(&format!("find {modules} -name hooks -prune -exec rm -rf {{}} +"));
    body.line(&format!("find {modules} -path '*/refs/*.lock' -type f -exec rm -f {{}} +"));
    body.line("fi");
}

fn headline(context: &Context<'_>, recursive: bool) -> String {
    let recursively = if recursive { " recursively" } else { "" };
    let depth = match context.settings.submodule_depth {
        0 => String::new(),
        depth => format!(" with git depth set to {depth}"),
    };
    format!("Updating/initializing submodules{recursively}{depth}...")
}

/// The commands, quoted.
struct Words {
    sync: String,
    update: String,
    clean: String,
    recursive: &'static str,
}

impl Words {
    fn new(context: &Context<'_>, recursive: bool) -> Self {
        let settings = context.settings;
        let recursive = if recursive { " --recursive" } else { "" };
        let paths = if settings.submodule_paths.is_empty() {
            String::new()
        } else {
            " --".to_owned() + &joined(&settings.submodule_paths)
        };
        let depth = match settings.submodule_depth {
            0 => String::new(),
            depth => format!(" --depth {depth}"),
        };
        let flags = joined(&settings.submodule_flags);
        let clean = settings.clean_flags.clone().unwrap_or_else(|| vec!["-ffdx".to_owned()]);
        Self {
            sync: format!("git submodule sync{recursive}{paths}"),
            // Submodules do not inherit the project's configuration.
            update: format!(
                "git -c include.path=\"$GLR_EXT_GIT_CONFIG_PATH\" submodule update --init{recursive}{depth}{flags}{paths}"
            ),
            clean: format!("git clean{}", joined(&clean)),
            recursive,
        }
    }

    fn foreach(&self, command: &str) -> String {
        let config = "-c include.path=\"$GLR_EXT_GIT_CONFIG_PATH\"";
        format!("git {config} submodule foreach{} {}", self.recursive, quote(command))
    }
}

/// Each word quoted, with a space before it.
fn joined(words: &[String]) -> String {
    words.iter().flat_map(|word| [" ".to_owned(), quote(word)]).collect()
}
