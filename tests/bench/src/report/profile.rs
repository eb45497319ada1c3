//! The part about where the time goes.

use std::fmt::Write as _;

use super::machine;
use crate::profile::{Kind, Profiles};

/// Writes the section.
pub(super) fn section(profiles: &Profiles) -> String {
    let mut text = format!(
        "\n## Where the time goes\n\n{}. Each step of the cache once under `perf record` (`PROFILE=1`): percent of \
         its CPU time. The kernel's part is files and network; `tar` from memory in the tables above is little else.\n\n",
        machine(&profiles.machine)
    );
    text += "| corpus | step |";
    for kind in Kind::ALL {
        let _ = write!(text, " {} |", title(kind));
    }
    text += "\n|---|---|";
    text += &"---:|".repeat(Kind::ALL.len());
    for row in &profiles.rows {
        let _ = write!(text, "\n| {} | {} |", row.corpus, row.step.title());
        for kind in Kind::ALL {
            let _ = write!(text, " {:.0} |", row.parts.get(&kind).copied().unwrap_or(0.0));
        }
    }
    text + "\n\n" + WHY
}

/// What is left above the floor; text, since no program knows it.
const WHY: &str = "\
A restore keeps all cores busy from the manifest to the last file. What it does and a copy does not is to decompress, to \
compare every chunk with its digest, and to receive. A cold save is bound by zstd at level 3, as its peer is. A save \
without changes looks at every file and reads, hashes and sends none.

The bytes of a second version are those of the chunks that are new, compressed. In the pip corpus these are libraries that \
were built again: nearly every chunk of them is new, and `zstd -19` over them alone comes to 78 % of what restic sends. In the \
cargo corpus they are mostly small files with changes, one chunk each. Only a difference to the old file is smaller (`zstd \
--patch-from` over the libraries: 30 %); every restore would then have to read and decompress the old frames as well, so that \
job after job would pay for what one save spares. So this limit does not hold.
";

fn title(kind: Kind) -> &'static str {
    match kind {
        Kind::Zstd => "zstd",
        Kind::Digest => "digests",
        Kind::Chunking => "cutting",
        Kind::Copying => "copying memory",
        Kind::Rest => "all else",
        Kind::Kernel => "kernel",
    }
}
