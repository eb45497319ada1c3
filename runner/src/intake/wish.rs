//! What a job's variables ask of the fleet.

use crate::config::Entry;
use crate::ownership::End;
use warmstart_gitlab::payload::Job;

/// The variable that names a pool.
const POOL: &str = "WARMSTART_POOL";

/// The pool whose executors may run a job: the one it names, if the entry allows it, else the entry's.
pub(super) fn pool(entry: &Entry, job: &Job) -> Result<String, End> {
    let Some(wanted) = job.variable(POOL).filter(|pool| !pool.is_empty()) else { return Ok(entry.pool.clone()) };
    let mut allowed: Vec<&str> = entry.allowed_pools.iter().map(String::as_str).collect();
    if !allowed.contains(&entry.pool.as_str()) {
        allowed.insert(0, &entry.pool);
    }
    if allowed.contains(&wanted) {
        return Ok(wanted.to_owned());
    }
    let allowed = allowed.join(", ");
    Err(End::system(format!("{POOL} is \"{wanted}\", which this runner's jobs may not have; they may have {allowed}.")))
}

#[cfg(test)]
mod tests {
    use super::pool;
    use crate::config;
    use std::path::Path;
    use warmstart_gitlab::payload::Job;

    fn choice(variables: &str) -> Result<String, String> {
        let text = r#"
[[pools]]
name = "small"
[[pools]]
name = "large"
[[pools]]
name = "deploy"
[[runners]]
url = "https://gitlab.test"
token = "glrt-1"
allowed_pools = ["large"]
"#;
        let entry = config::read(text, Path::new("config.toml")).expect("good").0.entries.remove(0);
        let job: Job =
            serde_json::from_str(&format!(r#"{{"id": 1, "token": "t", "variables": [{variables}]}}"#)).expect("a job");
        pool(&entry, &job).map_err(|end| end.text)
    }

    #[test]
    fn a_job_may_choose_among_the_pools_that_its_runner_allows() {
        let named = |name: &str| choice(&format!(r#"{{"key": "WARMSTART_POOL", "value": "{name}"}}"#));
        assert_eq!(choice(""), Ok("small".to_owned()));
        assert_eq!(named(""), Ok("small".to_owned()));
        assert_eq!(named("large"), Ok("large".to_owned()));
        assert_eq!(named("small"), Ok("small".to_owned()));
        for name in ["deploy", "huge"] {
            let why = named(name).expect_err("refused");
            assert_eq!(
                why,
                format!(
                    "WARMSTART_POOL is \"{name}\", which this runner's jobs may not have; they may have small, large."
                )
            );
        }
    }
}
