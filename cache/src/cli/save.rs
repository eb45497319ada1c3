//! `warmstart-cache save`

use std::time::Instant;

use warmstart_cache::{Error, Key, SaveOptions, Saved, Selection, save, store};

use super::{
    Failure, Outcome,
    args::{DirectoryArguments, ScopeArguments, SizeArguments, TimeArguments},
    env,
    output::{Output, count, since, size, with_progress},
    records::records,
};

/// Saves files and directories under a key.
///
/// A path is a file, a directory with everything below it, or a glob (*, **, ?, […], {a,b}); ! in front excludes. A
/// name that exists is taken as it is, whatever characters it has. Nothing is followed through a symbolic link: a
/// link is saved as one. Paths that match nothing are named and do no harm.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The name of the cache.
    #[arg(long, env = env::KEY)]
    key: String,
    #[command(flatten)]
    scope: ScopeArguments,
    #[command(flatten)]
    directory: DirectoryArguments,
    #[command(flatten)]
    size: SizeArguments,
    #[command(flatten)]
    time: TimeArguments,
    /// What to save, relative to the directory.
    #[arg(required = true, value_name = "PATH", allow_hyphen_values = false)]
    paths: Vec<String>,
}

/// Saves, and says what became of it.
pub(super) async fn run(url: &str, arguments: Arguments, output: Output) -> Result<Outcome, Failure> {
    let start = Instant::now();
    let key = Key::new(arguments.key)?;
    let scope = arguments.scope.scope(Some(&key))?;
    let selection = Selection { paths: arguments.paths, untracked: Vec::new() };
    let (limits, deadline) = (arguments.size.limits(), arguments.time.deadline);
    let options = SaveOptions { limits, deadline, records: records(url), ..SaveOptions::default() };
    let saving = async {
        let store = store::open(url, None).await?;
        save(&store, &scope, &key, &arguments.directory.directory, &selection, &options).await
    };
    let saved = with_progress("saving", options.progress.clone(), saving).await;
    say("Saved", &key, saved, start, output)
}

/// Says what became of a save; `verb` is how it is called.
pub(super) fn say(
    verb: &str,
    key: &Key,
    saved: Result<Saved, Error>,
    start: Instant,
    output: Output,
) -> Result<Outcome, Failure> {
    match saved {
        Ok(saved) => {
            output.warnings(&saved.warnings);
            output.result(&sentence(verb, &saved, start), &saved);
            Ok(Outcome::Done)
        }
        Err(error) => {
            if output.json {
                let (key, reason) = (key.to_string(), Some(error.to_string()));
                output.result("", &Saved { key, reason, ..Saved::default() });
            }
            Err(error.into())
        }
    }
}

fn sentence(verb: &str, saved: &Saved, start: Instant) -> String {
    let Saved { key, files, bytes, sent, .. } = saved;
    match &saved.reason {
        Some(reason) if !saved.saved => format!("Nothing saved as {key}: {reason}."),
        _ => format!(
            "{verb} {key}: {}, {}, of which {} were sent, in {}.",
            count(*files, "file", "files"),
            size(*bytes),
            size(*sent),
            since(start)
        ),
    }
}
