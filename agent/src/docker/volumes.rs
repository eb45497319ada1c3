//! Which directories and volumes the containers of a job see (protocol §4.8).

use crate::fault::Fault;
use md5::{Digest, Md5};
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use warmstart_gitlab::payload::Job;

/// What the plan is made from.
pub struct Wanted<'a> {
    /// `[runners.docker] volumes`, destinations expanded.
    pub volumes: &'a [Volume],
    /// The directory of the builds, inside and on the host.
    pub builds: &'a Builds,
    /// The project directory inside the containers.
    pub project_dir: &'a str,
    /// Beginning of the names of volumes that later jobs of the project may find again.
    pub reusable: &'a str,
    /// Beginning of the names of volumes that end with the job.
    pub temporary: &'a str,
    /// Whether the job's volumes are apart from those of unprotected refs.
    pub protected: bool,
    /// Keep nothing for later jobs.
    pub disable_cache: bool,
    /// A host directory for cache volumes; empty for Docker's own volumes.
    pub cache_dir: &'a str,
}

/// The directory of the builds.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Builds {
    /// Inside every container.
    pub inside: String,
    /// On the host; `None` for a volume of Docker's, which only containers see.
    pub host: Option<PathBuf>,
    /// Mounted by the runner's settings: shared with other jobs and kept after this one (protocol §3.1).
    pub shared: bool,
}

/// One entry of `volumes`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Volume {
    /// A host directory or a named volume, with Docker's options.
    Bind {
        /// Path or name.
        source: String,
        /// Where it is mounted.
        dest: String,
        /// `ro`, `rw`, `z`, …; empty for none.
        options: String,
    },
    /// A volume without a source: kept between jobs of the same project.
    Cache {
        /// Where it is mounted.
        dest: String,
    },
}

impl Volume {
    /// Where it is mounted.
    #[must_use]
    pub fn dest(&self) -> &str {
        match self {
            Self::Bind { dest, .. } | Self::Cache { dest } => dest,
        }
    }
}

/// What to make and to mount.
#[derive(Debug, Default, Eq, PartialEq)]
pub struct Plan {
    /// Docker's `Binds` of every container.
    pub binds: Vec<String>,
    /// Named volumes to make first.
    pub named: Vec<Named>,
    /// Destinations below the project directory: what the host has there is not what containers see.
    pub hidden: Vec<String>,
}

/// A volume of ours.
#[derive(Debug, Eq, PartialEq)]
pub struct Named {
    /// Docker's name: GitLab Runner's, so that either finds the other's.
    pub name: String,
    /// Where it is mounted; made writable for every user.
    pub dest: String,
    /// Removed with the job.
    pub temporary: bool,
    /// Whether it is apart from those of unprotected refs.
    pub protected: bool,
}

impl Named {
    /// GitLab Runner's labels of it, without their prefix.
    #[must_use]
    pub fn labels(&self) -> HashMap<&'static str, String> {
        HashMap::from([
            ("destination", self.dest.clone()),
            ("protected", self.protected.to_string()),
            ("reusable", (!self.temporary).to_string()),
        ])
    }
}

/// Reads the `volumes` of the settings. Only destinations are expanded; relative ones are below `base`.
pub fn parse(entries: &[String], base: &str, expand: impl Fn(&str) -> String) -> Result<Vec<Volume>, Fault> {
    let mut seen = HashSet::new();
    let mut volumes = Vec::with_capacity(entries.len());
    for entry in entries {
        let volume = parse_one(entry, base, &expand)?;
        let dest = Path::new(volume.dest());
        if dest == Path::new("/") {
            return Err(Fault::Configuration(format!("invalid volume \"{entry}\": it cannot be mounted at /")));
        }
        if !seen.insert(dest.to_owned()) {
            let dest = volume.dest();
            return Err(Fault::Configuration(format!("volume for container path \"{dest}\" is defined twice")));
        }
        volumes.push(volume);
    }
    Ok(volumes)
}

fn parse_one(entry: &str, base: &str, expand: impl Fn(&str) -> String) -> Result<Volume, Fault> {
    let absolute = |dest: &str| {
        let dest = expand(dest);
        if dest.starts_with('/') { dest } else { format!("{base}/{dest}") }
    };
    match entry.splitn(3, ':').collect::<Vec<_>>()[..] {
        [dest] if !dest.is_empty() => Ok(Volume::Cache { dest: absolute(dest) }),
        [source, dest, ref options @ ..] if !source.is_empty() && !dest.is_empty() => Ok(Volume::Bind {
            source: source.to_owned(),
            dest: absolute(dest),
            options: options.first().copied().unwrap_or_default().to_owned(),
        }),
        _ => Err(Fault::Configuration(format!("invalid volume \"{entry}\": expected source:destination[:options]"))),
    }
}

/// The builds directory: the one that the settings mount (of several the innermost), else `own` on the host.
#[must_use]
pub fn builds(volumes: &[Volume], inside: &str, own: PathBuf) -> Builds {
    let above = volumes.iter().filter_map(|volume| Some((volume, Path::new(inside).strip_prefix(volume.dest()).ok()?)));
    let mounted = above.min_by_key(|(_, below)| below.components().count());
    let host = match mounted {
        None => Some(own),
        Some((Volume::Bind { source, .. }, below)) if source.starts_with('/') => Some(Path::new(source).join(below)),
        Some(_) => None,
    };
    Builds { inside: inside.to_owned(), host, shared: mounted.is_some() }
}

/// Where volumes are mounted in the project directory.
pub fn beneath<'a>(volumes: &'a [Volume], project: &'a str) -> impl Iterator<Item = &'a str> {
    volumes.iter().map(Volume::dest).filter(move |dest| Path::new(dest).starts_with(project))
}

/// Decides what to make and to mount.
#[must_use]
pub fn plan(wanted: &Wanted<'_>) -> Plan {
    let mut plan = Plan::default();
    plan.hidden.extend(beneath(wanted.volumes, wanted.project_dir).map(str::to_owned));
    if let Some(host) = wanted.builds.host.as_ref().filter(|_| !wanted.builds.shared) {
        plan.binds.push(format!("{}:{}", host.display(), wanted.builds.inside));
    }
    for volume in wanted.volumes {
        plan.binds.push(match volume {
            Volume::Bind { source, dest, options } if options.is_empty() => format!("{source}:{dest}"),
            Volume::Bind { source, dest, options } => format!("{source}:{dest}:{options}"),
            Volume::Cache { dest } if !wanted.disable_cache && !wanted.cache_dir.is_empty() => {
                format!(
                    "{}/{}/{}:{dest}",
                    wanted.cache_dir.trim_end_matches('/'),
                    wanted.reusable,
                    hashed(wanted, dest)
                )
            }
            Volume::Cache { dest } => {
                let named = named(wanted, dest);
                let bind = format!("{}:{dest}", named.name);
                plan.named.push(named);
                bind
            }
        });
    }
    plan
}

fn named(wanted: &Wanted<'_>, dest: &str) -> Named {
    let (temporary, protected) = (wanted.disable_cache, wanted.protected);
    let unique = if temporary { wanted.temporary } else { wanted.reusable };
    let name = format!("{unique}-cache-{}", hashed(wanted, dest));
    Named { name, dest: dest.to_owned(), temporary, protected }
}

/// The destination as part of a name, as it is written: GitLab Runner's `/cache/` is another volume than its `/cache`.
fn hashed(wanted: &Wanted<'_>, dest: &str) -> String {
    let suffix = if wanted.protected { "-protected" } else { "" };
    format!("{}{suffix}", hex::encode(Md5::digest(dest)))
}

/// Whether the job's volumes are kept apart from those of unprotected refs.
#[must_use]
pub fn protected(job: &Job) -> bool {
    let said = job.variable("CI_COMMIT_REF_PROTECTED") == Some("true");
    job.git_info.protected.unwrap_or(said) || job.cache.iter().any(|cache| cache.key.ends_with("-protected"))
}

/// A path as part of a name: `/` becomes `__`.
#[must_use]
pub fn slug(path: &str) -> String {
    path.replace('/', "__")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(entries: &[&str]) -> Result<Vec<Volume>, Fault> {
        let entries: Vec<String> = entries.iter().map(ToString::to_string).collect();
        parse(&entries, "/builds/group/demo", |text| text.replace("$X", "x"))
    }

    fn planned_for(protected: bool, entries: &[&str], disable_cache: bool, cache_dir: &str) -> Plan {
        let volumes = parsed(entries).expect("valid volumes");
        let builds = builds(&volumes, "/builds", "/data/b1".into());
        plan(&Wanted {
            volumes: &volumes,
            builds: &builds,
            project_dir: "/builds/group/demo",
            reusable: "runner-25d941d626478afc3c88f65957a70ff0",
            temporary: "runner-tmp",
            protected,
            disable_cache,
            cache_dir,
        })
    }

    fn planned(entries: &[&str], disable_cache: bool) -> Plan {
        planned_for(false, entries, disable_cache, "")
    }

    /// The vectors of protocol §8.1.
    #[test]
    fn volumes_kept_for_the_project_have_gitlab_runners_names() {
        let plan = planned(&["/cache", "/builds"], false);
        assert_eq!(plan.binds.len(), 2, "the builds are in the volume: {:?}", plan.binds);
        let unique = "runner-25d941d626478afc3c88f65957a70ff0-cache-";
        let names = plan.named.iter().map(|volume| volume.name.strip_prefix(unique)).collect::<Vec<_>>();
        assert_eq!(names, [Some("3c3f060a0374fc8bc39395164f415a70"), Some("c33bcaa1fd2c77edfc3893b41966cea8")]);
        assert_eq!(plan.binds[0], format!("{}:/cache", plan.named[0].name));
        assert!(!plan.named[0].temporary);
        let protected = planned_for(true, &["/cache"], false, "");
        assert_eq!(protected.named[0].name, format!("{}-protected", plan.named[0].name));
    }

    #[test]
    fn a_cache_directory_of_the_settings_stands_in_for_volumes() {
        let plan = planned_for(true, &["/cache"], false, "/srv/caches/");
        let unique = "runner-25d941d626478afc3c88f65957a70ff0";
        let bind = format!("/srv/caches/{unique}/3c3f060a0374fc8bc39395164f415a70-protected:/cache");
        assert_eq!((&plan.binds[1], plan.named.len()), (&bind, 0));
        assert_eq!(planned_for(false, &["/cache"], true, "/srv/caches").named.len(), 1);
    }

    #[test]
    fn without_cache_every_volume_of_ours_ends_with_the_job() {
        let plan = planned(&["/cache"], true);
        assert!(plan.named[0].temporary);
        assert_eq!(plan.named[0].name, "runner-tmp-cache-3c3f060a0374fc8bc39395164f415a70");
    }

    #[test]
    fn only_destinations_are_expanded_and_relative_ones_are_below_the_project() {
        let plan = planned(&["/s/$X:/d/$X:ro", "vendor"], false);
        assert_eq!(plan.binds[1], "/s/$X:/d/x:ro");
        assert_eq!(plan.hidden, ["/builds/group/demo/vendor"]);
    }

    #[test]
    fn a_builds_directory_of_the_settings_is_used_and_shared() {
        let volumes = parsed(&["/srv/all:/"]);
        assert!(volumes.is_err());
        let volumes = parsed(&["/srv/builds:/builds:rw"]).expect("valid");
        let found = builds(&volumes, "/builds", "/data/b1".into());
        assert_eq!(found, Builds { inside: "/builds".into(), host: Some("/srv/builds".into()), shared: true });
    }

    #[test]
    fn a_volume_of_dockers_at_the_builds_directory_is_not_the_hosts() {
        for entries in [&["kept:/builds"][..], &["/builds"], &["/srv:/srv", "kept:/builds"]] {
            let found = builds(&parsed(entries).expect("valid"), "/builds", "/data/b1".into());
            assert_eq!((found.host, found.shared), (None, true), "{entries:?}");
        }
        let found = builds(&parsed(&["kept:/data", "/srv:/data/b"]).expect("valid"), "/data/b/c", "/own".into());
        assert_eq!(found.host, Some("/srv/c".into()));
    }

    #[test]
    fn the_same_destination_twice_is_refused() {
        assert!(parsed(&["/a:/x", "/b:/x/"]).is_err());
    }
}
