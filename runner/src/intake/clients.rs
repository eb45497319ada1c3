//! A client for each entry's GitLab.

use crate::config::Entry;
use crate::ownership::Job;
use std::collections::BTreeMap;
use warmstart_gitlab::Error;
use warmstart_gitlab::client::{Client, JobClient, Options};

/// The clients by entry.
#[derive(Clone, Debug)]
pub struct Clients {
    by_entry: BTreeMap<String, (String, Client)>,
}

impl Clients {
    /// Makes the clients. No call is made.
    pub fn new(entries: &[Entry]) -> Result<Self, Error> {
        let client =
            |entry: &Entry| Ok((entry.id.clone(), (entry.url.clone(), Client::new(&entry.url, &entry.options())?)));
        Ok(Self { by_entry: entries.iter().map(client).collect::<Result<_, Error>>()? })
    }

    /// The client of an entry.
    #[must_use]
    pub fn of(&self, entry: &str) -> Option<&Client> {
        self.by_entry.get(entry).map(|(_, client)| client)
    }

    /// The calls of a job, also of one whose entry is not configured any more.
    pub fn job(&self, job: &Job) -> Result<JobClient, Error> {
        let known = self.by_entry.get(&job.entry).filter(|(url, _)| *url == job.url);
        let client = match known {
            Some((_, client)) => client.clone(),
            None => Client::new(&job.url, &Options::default())?,
        };
        Ok(client.job(job.id, &job.token))
    }
}
