//! What a job wants of its caches, decided from its payload and variables alone.

use crate::fault::Fault;
use crate::job::order::asks_for_files;
use crate::stage::cache::notes::Notes;
use crate::stage::cache_key::{is_protected_fallback, sanitize};
use crate::variables::Variables;
use warmstart_cache::Key;
use warmstart_gitlab::payload::{Cache, Job};

/// Where keys and policies come from.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The payload.
    pub job: &'a Job,
    /// The job's variables.
    pub variables: &'a Variables,
}

/// A cache to restore.
#[derive(Debug)]
pub struct Wanted {
    /// The key as the log names it where nothing is fetched.
    pub name: String,
    /// The keys to try, in order; none where nothing is to be fetched.
    pub keys: Vec<Key>,
    /// Whether the policy asks for it.
    pub pull: bool,
    /// What to say first.
    pub notes: Notes,
}

/// A cache to save.
#[derive(Debug)]
pub struct Kept {
    /// The key; none where nothing is left of it.
    pub key: Option<Key>,
    /// Whether the policy asks for it.
    pub push: bool,
    /// What to say first.
    pub notes: Notes,
}

impl<'a> Source<'a> {
    /// The caches that name files, in order. The others are none (protocol §5).
    pub fn caches(self) -> impl Iterator<Item = &'a Cache> {
        self.job.cache.iter().filter(|cache| asks_for_files(cache))
    }

    /// Fails for the first of these caches whose policy nobody knows. GitLab Runner then does nothing of the stage.
    pub fn check_policies(self, caches: impl Iterator<Item = &'a Cache>) -> Result<(), Fault> {
        for cache in caches {
            let Some(sanitized) = sanitize(&self.key(cache)) else { continue };
            let word = self.variables.expand(&cache.policy);
            if Policy::of(&word).is_none() {
                return Err(Fault::System(format!("unknown cache policy {word} for {}", sanitized.key)));
            }
        }
        Ok(())
    }

    /// Decides how a cache is restored.
    #[must_use]
    pub fn wanted(self, cache: &Cache) -> Wanted {
        let mut notes = Notes::default();
        let pull = self.policy(cache).pull;
        let keys = if pull { self.keys(cache, &mut notes) } else { Vec::new() };
        Wanted { name: self.key(cache), keys, pull, notes }
    }

    /// Decides how a cache is saved.
    #[must_use]
    pub fn kept(self, cache: &Cache) -> Kept {
        let mut notes = Notes::default();
        let key = self.sound(&self.key(cache), &mut notes);
        let push = key.is_some() && self.policy(cache).push;
        Kept { key, push, notes }
    }

    /// A cache whose policy nobody knows is left alone.
    fn policy(self, cache: &Cache) -> Policy {
        Policy::of(&self.variables.expand(&cache.policy)).unwrap_or(Policy { pull: false, push: false })
    }

    /// The cache's key as text: `<job name>/<ref>` when the job gives none.
    #[must_use]
    pub fn key(self, cache: &Cache) -> String {
        let key = self.variables.expand(&cache.key);
        if key.is_empty() { format!("{}/{}", self.job.job_info.name, self.job.git_info.ref_name) } else { key }
    }

    /// The keys to try, in order.
    fn keys(self, cache: &Cache, notes: &mut Notes) -> Vec<Key> {
        let fallbacks = cache.fallback_keys.iter().map(|key| self.variables.expand(key)).filter(|key| !key.is_empty());
        let last = self.variables.get("CACHE_FALLBACK_KEY");
        let refused = is_protected_fallback(last);
        if refused {
            notes.caution(format!("CACHE_FALLBACK_KEY {last} not allowed to end in \"-protected\""));
        }
        let last = (!last.is_empty() && !refused).then(|| last.to_owned());
        let all = std::iter::once(self.key(cache)).chain(fallbacks).chain(last);
        all.filter_map(|key| self.sound(&key, notes)).collect()
    }

    /// Makes a key of it, if it can be one that this job may use.
    fn sound(self, raw: &str, notes: &mut Notes) -> Option<Key> {
        let Some(sanitized) = sanitize(raw) else {
            notes.caution(format!("cache key \"{raw}\" is empty once sanitized"));
            notes.info("Skipping cache due to empty cache key");
            return None;
        };
        if sanitized.changed {
            notes.caution(format!("cache key \"{raw}\" sanitized to \"{}\"", sanitized.key));
        }
        let key = Key::new(sanitized.key).map_err(|error| notes.warn(error.to_string())).ok()?;
        // GitLab appends the suffix, but where a project does not keep the two apart, its jobs may write it.
        if key.is_protected() && self.job.git_info.protected != Some(true) {
            notes.caution(format!("cache key \"{key}\" is for protected branches and tags, this job's ref is none"));
            return None;
        }
        Some(key)
    }
}

/// What a cache is used for.
struct Policy {
    pull: bool,
    push: bool,
}

impl Policy {
    fn of(word: &str) -> Option<Self> {
        let (pull, push) = match word {
            "" | "pull-push" => (true, true),
            "pull" => (true, false),
            "push" => (false, true),
            _ => return None,
        };
        Some(Self { pull, push })
    }
}
