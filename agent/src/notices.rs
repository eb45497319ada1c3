//! Notices that the cloud is about to take this machine away.

use jiff::Timestamp;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// What is going to happen.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// A spot instance is reclaimed.
    Interruption,
    /// A spot instance is more likely to be reclaimed than others.
    Rebalance,
}

/// A notice.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Notice {
    /// What is going to happen.
    pub kind: Kind,
    /// When the machine goes, or since when that is likely.
    pub time: Timestamp,
}

impl Notice {
    /// What the log of a job says.
    #[must_use]
    pub fn text(&self) -> String {
        let time = self.time.strftime("%H:%M:%S UTC");
        match self.kind {
            Kind::Interruption => format!("This spot instance will be reclaimed at {time}"),
            Kind::Rebalance => format!("This spot instance may be reclaimed soon, AWS says since {time}"),
        }
    }

    /// How long it is until then.
    #[must_use]
    pub fn left(&self) -> Duration {
        Duration::try_from(self.time.duration_since(Timestamp::now())).unwrap_or_default()
    }

    /// What the runner is told.
    #[must_use]
    pub fn call(&self) -> warmstart_api::Notice {
        let kind = match self.kind {
            Kind::Interruption => "interruption",
            Kind::Rebalance => "rebalance",
        };
        warmstart_api::Notice { kind: kind.to_owned(), time: self.time.to_string() }
    }
}

/// All notices so far, the newest last. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Notices {
    all: Arc<watch::Sender<Vec<Notice>>>,
}

impl Notices {
    /// Adds one.
    pub fn add(&self, notice: Notice) {
        self.all.send_modify(|all| all.push(notice));
    }

    /// Hands out each notice, also the earlier ones.
    #[must_use]
    pub fn follow(&self) -> Follow {
        Follow { all: self.all.subscribe(), seen: 0 }
    }
}

/// The notices, one after the other.
#[derive(Debug)]
pub struct Follow {
    all: watch::Receiver<Vec<Notice>>,
    seen: usize,
}

impl Follow {
    /// Waits for the next one.
    pub async fn next(&mut self) -> Notice {
        let seen = self.seen;
        let next = self.all.wait_for(|all| all.len() > seen).await.ok().and_then(|all| all.get(seen).copied());
        self.seen += 1;
        match next {
            Some(notice) => notice,
            // Whoever could add one is gone.
            None => std::future::pending().await,
        }
    }
}
