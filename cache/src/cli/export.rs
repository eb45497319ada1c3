//! `warmstart-cache export`

use std::{
    fs::File,
    io::{IsTerminal as _, Write, stdout},
    path::{Path, PathBuf},
    time::Instant,
};

use tempfile::NamedTempFile;
use warmstart_cache::{Exported, RestoreOptions, export, store};

use super::{
    Failure, Outcome,
    args::{KeyArguments, ScopeArguments, SizeArguments, TimeArguments},
    env,
    output::{Output, count, since, size, with_progress},
};

/// Writes the newest cache of a key as a tar archive, compressed by zstd.
///
/// `tar --zstd -xf` reads it. Everything is verified before the first byte is written, in a temporary directory that
/// needs room for the files. A key that has no cache is an error here.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    key: KeyArguments,
    /// The archive to write; - is standard output, and then the sentence goes to standard error.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    #[command(flatten)]
    tmp: TmpArguments,
    #[command(flatten)]
    scope: ScopeArguments,
    #[command(flatten)]
    size: SizeArguments,
    #[command(flatten)]
    time: TimeArguments,
}

/// Where archives are unpacked.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct TmpArguments {
    /// A directory with room for the files [default: $TMPDIR, else /tmp].
    #[arg(long, env = env::TMP, value_name = "DIRECTORY")]
    tmp: Option<PathBuf>,
}

impl TmpArguments {
    pub(super) fn path(&self) -> PathBuf {
        self.tmp.clone().unwrap_or_else(std::env::temp_dir)
    }
}

/// Exports, and says what became of it.
pub(super) async fn run(url: &str, arguments: Arguments, output: Output) -> Result<Outcome, Failure> {
    let start = Instant::now();
    let key = arguments.key.key()?;
    let scope = arguments.scope.scope(Some(&key))?;
    let (target, writer) = Target::open(&arguments.output)?;
    let (limits, deadline) = (arguments.size.limits(), arguments.time.deadline);
    let options = RestoreOptions { limits, deadline, ..RestoreOptions::default() };
    let exporting = async {
        let store = store::open(url, None).await?;
        export(&store, &scope, &key, writer, &arguments.tmp.path(), &options).await
    };
    let exported = with_progress("exporting", options.progress.clone(), exporting).await?;
    output.warnings(&exported.warnings);
    if let Some(reason) = &exported.reason {
        return Err(Failure::Error(format!("nothing exported: {reason}")));
    }
    let output = if matches!(target, Target::Output) { output.aside() } else { output };
    target.finish()?;
    output.result(&sentence(&exported, &arguments.output, start), &exported);
    Ok(Outcome::Done)
}

fn sentence(exported: &Exported, to: &Path, start: Instant) -> String {
    let Exported { key, files, bytes, archive, .. } = exported;
    let (files, bytes, archive) = (count(*files, "file", "files"), size(*bytes), size(*archive));
    format!("Exported {key}: {files}, {bytes}, as {archive} to {}, in {}.", to.display(), since(start))
}

/// Where the archive goes: a file appears whole or not at all.
enum Target {
    Output,
    File(NamedTempFile, PathBuf),
    /// A pipe or a device, which is written to as it is.
    Stream,
}

impl Target {
    fn open(path: &Path) -> Result<(Self, Box<dyn Write + Send>), Failure> {
        let failed = |error: std::io::Error| Failure::Error(format!("write {}: {error}", path.display()));
        if path == Path::new("-") {
            if stdout().is_terminal() {
                return Err(Failure::Usage("an archive is nothing for a terminal; use -o FILE or a pipe".to_owned()));
            }
            return Ok((Self::Output, Box::new(stdout())));
        }
        if path.exists() && !path.is_file() {
            let stream = File::options().write(true).open(path).map_err(failed)?;
            return Ok((Self::Stream, Box::new(stream)));
        }
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let file = NamedTempFile::new_in(parent).map_err(failed)?;
        let writer = file.reopen().map_err(failed)?;
        Ok((Self::File(file, path.to_owned()), Box::new(writer)))
    }

    fn finish(self) -> Result<(), Failure> {
        match self {
            Self::File(file, path) => {
                let failed = |error: std::io::Error| Failure::Error(format!("write {}: {error}", path.display()));
                file.persist(&path).map(drop).map_err(|error| failed(error.error))
            }
            Self::Output | Self::Stream => Ok(()),
        }
    }
}
