//! What the cache has to achieve, and whether it does.

use std::fmt::Write as _;

use super::figures::{float, of, short};
use crate::{
    measure::Cost,
    peer::{RESTIC, TAR, TAR_ZST, WARMSTART},
    results::{Measured, Step},
};

/// Something that has to hold on every corpus.
struct Demand {
    text: &'static str,
    /// The value may be this at most.
    limit: f64,
    value: Value,
}

/// Where its value comes from.
enum Value {
    /// The time of our step against that of a peer's.
    Time(Step, &'static str, Step),
    /// Anything else.
    Other(fn(&Measured) -> Option<f64>),
}

const DEMANDS: [Demand; 9] = [
    Demand {
        text: "restore, time against tar.zst over HTTP",
        limit: 0.6,
        value: Value::Time(Step::RestoreFirst, TAR_ZST, Step::RestoreFirst),
    },
    Demand {
        text: "restore, time against `tar xf` from memory",
        limit: 1.0,
        value: Value::Time(Step::RestoreFirst, TAR, Step::RestoreFirst),
    },
    Demand {
        text: "cold save, time against tar + `zstd -3` + PUT",
        limit: 0.7,
        value: Value::Time(Step::SaveFirst, TAR_ZST, Step::SaveFirst),
    },
    Demand {
        text: "save, nothing changed, time against a cold save of tar.zst",
        limit: 0.1,
        value: Value::Time(Step::SaveUnchanged, TAR_ZST, Step::SaveFirst),
    },
    Demand {
        text: "save, nothing changed, bytes sent",
        limit: 0.0,
        value: Value::Other(|all| of(all, WARMSTART, Step::SaveUnchanged, sent)),
    },
    Demand {
        text: "save of the second version, time against restic",
        limit: 0.3,
        value: Value::Time(Step::SaveSecond, RESTIC, Step::SaveSecond),
    },
    Demand {
        text: "save of the second version, bytes sent against restic",
        limit: 0.4,
        value: Value::Other(|all| ratio(all, sent, Step::SaveSecond, RESTIC, Step::SaveSecond)),
    },
    Demand {
        text: "size in the store, first version, against tar + `zstd -3`",
        limit: 1.0,
        value: Value::Other(|all| ratio(all, stored, Step::SaveFirst, TAR_ZST, Step::SaveFirst)),
    },
    Demand { text: "peak memory of any save or restore, MiB", limit: 256.0, value: Value::Other(peak) },
];

/// Writes the table of what must hold.
pub(super) fn table(corpora: &[Measured]) -> String {
    let mut text = String::from("| on every corpus | at most |");
    for corpus in corpora {
        let _ = write!(text, " {} | |", corpus.name);
    }
    let _ = write!(text, "\n|---|---:|{}\n", "---:|---|".repeat(corpora.len()));
    for demand in &DEMANDS {
        let _ = write!(text, "| {} | {} |", demand.text, demand.limit);
        for corpus in corpora {
            text += &cells(demand, corpus);
        }
        text.push('\n');
    }
    text
}

/// Writes the value and whether it is small enough. CPU is told beside time: it is hardly moved by what else runs.
fn cells(demand: &Demand, corpus: &Measured) -> String {
    let (value, cpu) = match demand.value {
        Value::Time(ours, peer, theirs) => {
            (ratio(corpus, wall, ours, peer, theirs), ratio(corpus, Cost::cpu, ours, peer, theirs))
        }
        Value::Other(value) => (value(corpus), None),
    };
    let cpu = cpu.map(|cpu| format!(" (CPU {})", short(cpu))).unwrap_or_default();
    value.map_or_else(
        || " – | not measured |".to_owned(),
        |value| format!(" {}{cpu} | {} |", short(value), verdict(value, demand.limit)),
    )
}

fn verdict(value: f64, limit: f64) -> &'static str {
    if value <= limit { "holds" } else { "**fails**" }
}

/// Divides a figure of ours by one of a peer.
fn ratio(all: &Measured, figure: fn(&Cost) -> f64, ours: Step, peer: &str, theirs: Step) -> Option<f64> {
    Some(of(all, WARMSTART, ours, figure)? / of(all, peer, theirs, figure)?)
}

fn wall(cost: &Cost) -> f64 {
    cost.wall
}

fn sent(cost: &Cost) -> f64 {
    float(cost.sent)
}

fn stored(cost: &Cost) -> f64 {
    float(cost.stored)
}

fn peak(all: &Measured) -> Option<f64> {
    let costs = all.peers.get(WARMSTART)?.values().flatten();
    costs.map(|cost| float(cost.peak) / 1024.0).max_by(f64::total_cmp)
}
