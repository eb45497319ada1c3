//! The comparison: what three jobs in a row do with a cache, for every peer, again and again.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use crate::{
    Places,
    corpus::{self, Corpus},
    filesystem::{Bound, Fresh, run as run_command},
    machine::Machine,
    measure::{Cost, Meter},
    peer::{self, Peer, Scene},
    report,
    results::{self, Comparison, Costs, Measured, Step},
    say,
    server::Process,
};

/// How to compare.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    places: Places,
    /// How often every peer is measured; slow ones three times at most.
    #[arg(long, default_value = "5")]
    rounds: usize,
    /// Only one round, and no report: for work on the cache.
    #[arg(long)]
    quick: bool,
    /// Only these peers.
    #[arg(long, value_delimiter = ',')]
    peers: Vec<String>,
    /// Only these corpora.
    #[arg(long, value_delimiter = ',')]
    corpora: Vec<String>,
}

/// Runs the command of one step.
type Run<'a> = dyn FnMut(Step, &Command) -> Result<()> + 'a;

/// Everything that stays the same through a run.
pub(crate) struct Stage {
    /// Work files on the machine's disk.
    disk: TempDir,
    /// Work files in memory.
    memory: TempDir,
    pub(crate) server: Process,
    scene: Scene,
}

/// Compares all peers, and writes the report.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let Places { cache, source, report, .. } = &arguments.places;
    run_command(Command::new(source.join("corpora/make")).arg(cache.join("corpora")))?;
    let stage = Stage::new(&arguments.places)?;
    let (peers, versions, missing) = installed(&stage.scene, &arguments.peers);
    let rounds = if arguments.quick { 1 } else { arguments.rounds };
    let mut comparison = Comparison { machine: Machine::here(), rounds, versions, missing, corpora: Vec::new() };
    for name in corpus::ALL.into_iter().filter(|name| chosen(&arguments.corpora, name)) {
        let corpus = Corpus::read(&cache.join("corpora"), name)?;
        comparison.corpora.push(stage.compare(name, &corpus, &peers, rounds)?);
    }
    results::keep(cache, "comparison.json", &comparison)?;
    let report = if arguments.quick { &cache.join("quick.md") } else { report };
    report::update(cache, report)?;
    say(&format!("the report is {}", report.display()));
    Ok(())
}

fn chosen(wanted: &[String], name: &str) -> bool {
    wanted.is_empty() || wanted.iter().any(|wanted| wanted == name)
}

/// Gives the peers to measure, their versions, and those that are not installed.
fn installed(scene: &Scene, wanted: &[String]) -> (Vec<Peer>, BTreeMap<String, String>, Vec<String>) {
    let (mut peers, mut versions, mut missing) = (Vec::new(), BTreeMap::new(), Vec::new());
    for peer in peer::ALL.into_iter().filter(|peer| chosen(wanted, peer.name)) {
        match scene.version(peer.name) {
            Ok(version) => {
                peers.push(peer);
                versions.insert(peer.name.to_owned(), version);
            }
            Err(error) => {
                say(&format!("going on without {}: {error:#}", peer.name));
                missing.push(peer.name.to_owned());
            }
        }
    }
    (peers, versions, missing)
}

impl Stage {
    pub(crate) fn new(places: &Places) -> Result<Self> {
        let disk = tempfile::tempdir_in(&places.cache).context("make a directory for work files")?;
        let memory = tempfile::tempdir_in("/dev/shm").context("make a directory in memory")?;
        let server = Process::start()?;
        let absolute = |path: &Path| path.canonicalize().with_context(|| format!("find {}", path.display()));
        let scene = Scene {
            scripts: absolute(&places.source.join("peers"))?,
            warmstart: absolute(&places.warmstart)?,
            rustic: places.cache.join("rustic/bin/rustic"),
            endpoint: server.endpoint.clone(),
            memory: memory.path().to_owned(),
        };
        Ok(Self { disk, memory, server, scene })
    }

    /// Gives the directory for work files on the disk.
    pub(crate) fn disk(&self) -> &Path {
        self.disk.path()
    }

    fn compare(&self, name: &str, corpus: &Corpus, peers: &[Peer], rounds: usize) -> Result<Measured> {
        let (first, second, changes) = (corpus.first.size(), corpus.second.size(), corpus.changes());
        let mut measured = Measured { name: name.to_owned(), first, second, changes, peers: BTreeMap::new() };
        for round in 0..rounds {
            for peer in peers.iter().filter(|peer| round < 3 || !peer.slow) {
                let costs = measured.peers.entry(peer.name.to_owned()).or_default();
                self.sequence(corpus, peer.name, costs)
                    .with_context(|| format!("measure {} with {name}", peer.name))?;
                say(&format!("{name}, round {} of {rounds}: {}", round + 1, summary(peer.name, costs)));
            }
        }
        Ok(measured)
    }

    fn sequence(&self, corpus: &Corpus, peer: &str, costs: &mut Costs) -> Result<()> {
        let meter = self.meter();
        self.jobs(corpus, peer, &mut |step, command| {
            costs.entry(step).or_default().push(meter.measure(command)?);
            Ok(())
        })
    }

    /// The cache's own jobs.
    pub(crate) fn warmstart(&self, corpus: &Corpus, run: &mut Run<'_>) -> Result<()> {
        self.jobs(corpus, peer::WARMSTART, run)
    }

    /// Three jobs of one peer, from an empty store on. Each is on a fresh machine as far as a file system goes.
    fn jobs(&self, corpus: &Corpus, peer: &str, run: &mut Run<'_>) -> Result<()> {
        self.server.clear()?;
        let mut keep = |step, verb, work: &Path| run(step, &self.scene.command(peer, verb, work));
        {
            let work = self.work()?;
            run_command(&mut self.scene.command(peer, "prepare", work.path()))?;
            let _bound = Bound::new(&corpus.first.path, &work.path().join("tree"))?;
            keep(Step::SaveFirst, "save", work.path())?;
        }
        {
            let (work, tree) = self.work_and_tree()?;
            keep(Step::RestoreFirst, "restore", work.path())?;
            corpus.first.check(&tree)?;
            keep(Step::SaveUnchanged, "save", work.path())?;
            corpus.upgrade(&tree)?;
            keep(Step::SaveSecond, "save", work.path())?;
        }
        let (work, tree) = self.work_and_tree()?;
        keep(Step::RestoreSecond, "restore", work.path())?;
        corpus.second.check(&tree)
    }

    fn work(&self) -> Result<Fresh> {
        let work = Fresh::new(self.disk.path(), self.memory.path())?;
        fs::create_dir(work.path().join("state")).context("make the state directory")?;
        Ok(work)
    }

    fn work_and_tree(&self) -> Result<(Fresh, PathBuf)> {
        let work = self.work()?;
        let tree = work.path().join("tree");
        Ok((work, tree))
    }

    pub(crate) fn measure(&self, peer: &str, verb: &str, work: &Path) -> Result<Cost> {
        self.meter().measure(&self.scene.command(peer, verb, work))
    }

    fn meter(&self) -> Meter<'_> {
        Meter { server: &self.server, directory: self.memory.path() }
    }
}

/// Tells what the last round came to.
fn summary(peer: &str, costs: &Costs) -> String {
    let last = |step: &Step| costs.get(step).and_then(|costs| costs.last()).map_or(0.0, |cost| cost.wall);
    let steps: Vec<_> = Step::ALL.iter().map(|step| format!("{:.2}", last(step))).collect();
    format!("{peer} {} s", steps.join(" "))
}
