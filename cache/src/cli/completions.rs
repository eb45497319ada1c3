//! `warmstart-cache completions` and `warmstart-cache man`

use std::{
    fs,
    io::{Write as _, stdout},
    path::PathBuf,
};

use clap::Command;
use clap_complete::Shell;

use super::{Failure, Outcome};

/// Writes the completions of a shell to standard output.
///
/// For bash: `warmstart-cache completions bash > /etc/bash_completion.d/warmstart-cache`.
#[derive(Debug, clap::Args)]
pub(super) struct Completions {
    /// The shell.
    shell: Shell,
}

/// Writes the manual pages into a directory, one for each subcommand.
#[derive(Debug, clap::Args)]
pub(super) struct Man {
    /// The directory; made where it is missing.
    #[arg(value_name = "DIRECTORY")]
    directory: PathBuf,
}

/// Writes completions of `command`.
pub(super) fn completions(arguments: &Completions, mut command: Command) -> Outcome {
    let mut text = Vec::new();
    clap_complete::generate(arguments.shell, &mut command, "warmstart-cache", &mut text);
    // Whoever closed the pipe does not want to know.
    let _ = stdout().write_all(&text);
    Outcome::Done
}

/// Writes manual pages of `command`.
pub(super) fn man(arguments: &Man, command: Command) -> Result<Outcome, Failure> {
    let directory = &arguments.directory;
    let written = fs::create_dir_all(directory).and_then(|()| clap_mangen::generate_to(command, directory));
    written.map_err(|error| Failure::Error(format!("write manual pages to {}: {error}", directory.display())))?;
    Ok(Outcome::Done)
}
