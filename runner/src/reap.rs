//! `warmstart-runner reap`: ends the instances of this deployment that no runner knows, whether or not one runs.

use crate::clock::{Clock, Time};
use crate::cloud::ec2::{self, Ec2};
use crate::cloud::{Cloud as _, Instance, Status};
use crate::config::{Cloud, Config};
use crate::journal::Journal;
use crate::ownership::Executor;
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::time::Duration;

/// How old an orphan must be: a runner's own listing is a few minutes late at most.
const GRACE: Duration = Duration::from_mins(10);

/// Ends orphans, or with `dry_run` only names them: a line for each, and one with their number.
pub async fn run(config: &Config, dry_run: bool) -> Result<Vec<String>> {
    let Cloud::Ec2(machines) = &config.cloud else {
        bail!("there is nothing to reap: fleet.cloud is not \"ec2\"; a runner ends its own local executors");
    };
    let journal = Journal::open(&config.state).await?;
    let (_, executors) = journal.load().await.context("read the state store")?;
    let (sdk, clock) = (ec2::sdk(machines.region.clone()).await?, Clock::start());
    let cloud = Ec2::open(machines.clone(), &sdk, "", clock).await?;
    let instances = cloud.list().await?;
    let orphans = orphans(&instances, &executors, clock.now());
    let mut lines = Vec::new();
    for orphan in &orphans {
        if !dry_run {
            cloud.terminate(&orphan.id).await?;
        }
        lines.push(line(orphan, dry_run, clock.now()));
    }
    let verb = if dry_run { "would be ended" } else { "ended" };
    lines.push(format!("{} of {} instances {verb}", orphans.len(), running(&instances).count()));
    Ok(lines)
}

/// The instances that run and that the journal does not know, by their id or their launch.
fn orphans<'a>(instances: &'a [Instance], executors: &BTreeMap<String, Executor>, now: Time) -> Vec<&'a Instance> {
    let asked_for = |token: &str| executors.values().any(|executor| executor.awaits(token));
    let known =
        |instance: &Instance| executors.contains_key(&instance.id) || instance.launch.as_deref().is_some_and(asked_for);
    running(instances).filter(|instance| !known(instance) && now.since(instance.launched) >= GRACE).collect()
}

/// Those that cost something.
fn running(instances: &[Instance]) -> impl Iterator<Item = &Instance> {
    instances.iter().filter(|instance| instance.status != Status::Gone)
}

fn line(orphan: &Instance, dry_run: bool, now: Time) -> String {
    let verb = if dry_run { "would end" } else { "ended" };
    let age = Duration::from_secs(now.since(orphan.launched).as_secs());
    let pool = if orphan.pool.is_empty() { "no pool" } else { &orphan.pool };
    format!("{verb} {} ({pool}), up for {}, which no runner knows", orphan.id, humantime::format_duration(age))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ownership::{DEFAULT_POOL, Launch, NewExecutor, Sharing};

    fn instance(id: &str, launch: Option<&str>, age: u64, status: Status) -> Instance {
        let launched = Time::from_secs(1_000_000 - age);
        Instance { id: id.to_owned(), pool: "main".to_owned(), launch: launch.map(str::to_owned), launched, status }
    }

    fn executor(launch: Option<&str>) -> Executor {
        let (pool, sharing) = (DEFAULT_POOL.to_owned(), Sharing::default());
        let launch = launch.map(|token| Launch { token: token.to_owned(), count: 1 });
        Executor::new(NewExecutor { pool, token_sha256: String::new(), launch, sharing }, Time::default())
    }

    #[test]
    fn only_what_runs_and_has_been_unknown_for_long_is_an_orphan() {
        let instances = [
            instance("i-unknown", None, 600, Status::Running),
            instance("i-stopped", Some("over"), 90_000, Status::Stopped),
            instance("i-young", None, 599, Status::Running),
            instance("i-known", None, 90_000, Status::Running),
            instance("i-unnamed", Some("asked"), 90_000, Status::Running),
            instance("i-gone", None, 90_000, Status::Gone),
        ];
        let known = [("i-known", None), ("launch-asked-0", Some("asked"))];
        let executors = known.into_iter().map(|(id, launch)| (id.to_owned(), executor(launch))).collect();
        let now = Time::from_secs(1_000_000);
        let ids: Vec<_> = orphans(&instances, &executors, now).into_iter().map(|i| i.id.as_str()).collect();
        assert_eq!(ids, ["i-unknown", "i-stopped"]);
        let line = line(&instances[0], true, now);
        assert_eq!(line, "would end i-unknown (main), up for 10m, which no runner knows");
    }
}
