//! Arguments that several subcommands have, and what they default to.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use jiff::SignedDuration;
use warmstart_cache::{Key, Limits, Scope};

use super::{Failure, env};

/// The scope of a command.
#[derive(Clone, Debug, Args)]
pub(super) struct ScopeArguments {
    /// Who shares the caches: <project>/protected or <project>/unprotected [default: the project is $CI_PROJECT_ID,
    /// else "default"; protected if the key ends in -protected].
    #[arg(long, env = env::SCOPE, value_name = "SCOPE")]
    scope: Option<String>,
    /// GitLab's number of the project.
    #[arg(long, env = env::CI_PROJECT_ID, hide = true)]
    project: Option<String>,
}

impl ScopeArguments {
    /// Gives the scope that was named, else the one of the key.
    pub(super) fn scope(&self, key: Option<&Key>) -> Result<Scope, Failure> {
        if let Some(scope) = &self.scope {
            return Ok(scope.parse()?);
        }
        let project = self.project.as_deref().unwrap_or("default");
        match key {
            Some(key) => Ok(Scope::of_key(project, key)?),
            None => Ok(Scope::new(project, warmstart_cache::Protection::Unprotected)?),
        }
    }
}

/// A key, positional or by its option.
#[derive(Clone, Debug, Args)]
pub(super) struct KeyArguments {
    /// The name of the cache.
    #[arg(value_name = "KEY", required_unless_present = "key", conflicts_with = "key")]
    name: Option<String>,
    /// The name of the cache, as an option.
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
}

impl KeyArguments {
    pub(super) fn key(&self) -> Result<Key, Failure> {
        let key = self.name.as_deref().or(self.key.as_deref()).unwrap_or_default();
        Ok(Key::new(key)?)
    }
}

/// A key, and the scope that it lies in.
#[derive(Clone, Debug, Args)]
pub(super) struct CacheArguments {
    #[command(flatten)]
    key: KeyArguments,
    #[command(flatten)]
    scope: ScopeArguments,
}

impl CacheArguments {
    pub(super) fn scope_and_key(&self) -> Result<(Scope, Key), Failure> {
        let key = self.key.key()?;
        Ok((self.scope.scope(Some(&key))?, key))
    }
}

/// The directory of a command.
#[derive(Clone, Debug, Args)]
pub(super) struct DirectoryArguments {
    /// Paths are relative to this directory [default: $CI_PROJECT_DIR, else the current one].
    #[arg(
        short = 'C',
        long,
        env = env::CI_PROJECT_DIR,
        value_name = "DIRECTORY",
        default_value = ".",
        hide_default_value = true
    )]
    pub(super) directory: PathBuf,
}

/// The time of a command.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct TimeArguments {
    /// Give up after this time: seconds, or such as 90s, 10m, 1h30m.
    #[arg(long, env = env::DEADLINE, value_name = "TIME", default_value = "10m", value_parser = parse_time)]
    pub(super) deadline: Duration,
}

/// The size of what a command takes.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct SizeArguments {
    /// Neither save nor restore more than this many bytes of files, such as 500MB or 20GiB.
    #[arg(long, env = env::MAX_SIZE, value_name = "SIZE", default_value = "100GiB", value_parser = parse_size)]
    max_size: u64,
}

impl SizeArguments {
    pub(super) fn limits(self) -> Limits {
        Limits { bytes: self.max_size, ..Limits::default() }
    }
}

fn parse_time(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no time; give seconds, or such as 90s, 10m, 1h30m");
    let time = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => text.parse::<SignedDuration>().ok().and_then(|time| time.try_into().ok()).ok_or_else(wrong)?,
    };
    if time.is_zero() { Err("no time at all is not enough for anything".to_owned()) } else { Ok(time) }
}

/// Reads a number of bytes: K, M, G, T and KB, … are powers of 1000, KiB, … of 1024.
pub(super) fn parse_size(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no size; give bytes, or such as 500MB, 20GiB");
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim().to_ascii_lowercase();
    let (base, power) = match unit.strip_suffix("ib") {
        Some(power) => (1024_u64, power),
        None => (1000, unit.strip_suffix('b').unwrap_or(&unit)),
    };
    let power = match power {
        "" if base == 1000 => 0,
        power => ["k", "m", "g", "t"].iter().zip(1..).find(|(name, _)| **name == power).ok_or_else(wrong)?.1,
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    base.checked_pow(power).and_then(|factor| number.checked_mul(factor)).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds_or_have_units() {
        assert_eq!(parse_time("90"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_time("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_time("1h30m"), Ok(Duration::from_mins(90)));
        for text in ["", "0", "-5", "-5s", "soon", "5 parsecs"] {
            assert!(parse_time(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_bytes_or_have_units() {
        for (text, size) in [
            ("0", 0),
            ("17", 17),
            ("17b", 17),
            ("5k", 5_000),
            ("5KB", 5_000),
            ("5KiB", 5_120),
            ("2 GiB", 2 << 30),
            ("1tib", 1 << 40),
        ] {
            assert_eq!(parse_size(text), Ok(size), "{text}");
        }
        for text in ["", "GB", "-1", "1.5G", "5 ib", "5XB", "99999999999T", "5KiBB"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }
}
