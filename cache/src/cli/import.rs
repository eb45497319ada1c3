//! `warmstart-cache import`

use std::{
    fs::File,
    io::{Read, stdin},
    path::{Path, PathBuf},
    time::Instant,
};

use warmstart_cache::{Key, SaveOptions, import, store};

use super::{
    Failure, Outcome,
    args::{ScopeArguments, SizeArguments, TimeArguments},
    export::TmpArguments,
    output::{Output, with_progress},
    save,
};

/// Saves what a tar archive holds under a key.
///
/// The archive is tar compressed by zstd, or tar as it is; others are piped through their own program, as in
/// `gunzip -c old.tar.gz | warmstart-cache import KEY -`. It is unpacked into a temporary directory first. An archive
/// with a path or a hard link that leads outside is refused.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The name of the cache.
    #[arg(value_name = "KEY")]
    key: String,
    /// The archive to read; - is standard input.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    tmp: TmpArguments,
    #[command(flatten)]
    scope: ScopeArguments,
    #[command(flatten)]
    size: SizeArguments,
    #[command(flatten)]
    time: TimeArguments,
}

/// Imports, and says what became of it.
pub(super) async fn run(url: &str, arguments: Arguments, output: Output) -> Result<Outcome, Failure> {
    let start = Instant::now();
    let key = Key::new(arguments.key)?;
    let scope = arguments.scope.scope(Some(&key))?;
    let name = arguments.file.display().to_string();
    let input = open(&arguments.file).map_err(|error| Failure::Error(format!("read {name}: {error}")))?;
    let (limits, deadline) = (arguments.size.limits(), arguments.time.deadline);
    let options = SaveOptions { limits, deadline, ..SaveOptions::default() };
    let importing = async {
        let store = store::open(url, None).await?;
        import(&store, &scope, &key, (&name, input), &arguments.tmp.path(), &options).await
    };
    let saved = with_progress("importing", options.progress.clone(), importing).await;
    save::say("Imported", &key, saved, start, output)
}

fn open(path: &Path) -> std::io::Result<Box<dyn Read + Send>> {
    Ok(if path == Path::new("-") { Box::new(stdin()) } else { Box::new(File::open(path)?) })
}
