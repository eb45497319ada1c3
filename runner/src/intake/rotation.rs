//! Renewing the token of an entry before it expires (protocol §1.4).

use crate::config::Entry;
use crate::journal::{self, Journal, Token};
use jiff::Timestamp;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use warmstart_gitlab::Error;
use warmstart_gitlab::client::{Client, Identity, Registered, Verified};
use warmstart_gitlab::flags;
use warmstart_gitlab::info::Info;

/// As whom an entry asks for jobs. `None` while its token is being renewed: who wants to ask waits.
pub type Current = watch::Receiver<Option<Identity>>;

/// Asleep no longer than this at a time: somebody may set the machine's clock.
const NAP: Duration = Duration::from_hours(1);
/// Between two tries.
const PAUSE: Duration = Duration::from_mins(1);

/// Keeps an entry's token alive.
#[derive(Debug)]
pub struct Rotation {
    /// The entry.
    pub entry: Arc<Entry>,
    /// Its GitLab.
    pub client: Client,
    /// Where tokens are kept.
    pub journal: Journal,
    /// Who the entry is, with the newest token.
    pub identity: watch::Sender<Option<Identity>>,
}

impl Rotation {
    /// Renews the token whenever it is time, until stopped or until GitLab says that it does not expire. `verified` is
    /// what GitLab said of it lately, if it could be asked.
    pub async fn keep(self, verified: Option<Verified>, stop: CancellationToken) {
        let ended = stop.run_until_cancelled(self.learn(verified)).await.flatten();
        let Some(mut token) = ended else { return };
        loop {
            // Once begun it is not broken off: the new token would be lost.
            if left(&token).is_zero() {
                match self.renew(&token).await {
                    Renewal::Done(Some(next)) => token = next,
                    Renewal::Done(None) => return,
                    Renewal::Failed => {}
                }
            }
            let wait = if left(&token).is_zero() { PAUSE } else { left(&token).min(NAP) };
            if stop.run_until_cancelled(tokio::time::sleep(wait)).await.is_none() {
                return;
            }
        }
    }

    /// When the token was got and when it expires. `None` if it does not.
    async fn learn(&self, mut verified: Option<Verified>) -> Option<Token> {
        let identity = self.identity.borrow().clone()?;
        while verified.is_none() {
            tokio::time::sleep(PAUSE).await;
            verified = self.client.verify(&identity).await.ok();
        }
        let expires = when(verified?.token_expires_at.as_deref())?;
        if self.entry.settings.feature_flags.get(flags::KEEP_TOKEN) == Some(&true) {
            tracing::warn!(runner = self.entry.name, "the runner's token expires at {expires}; set another one before");
            return None;
        }
        let known = self.journal.token(&self.entry.token).await.ok().flatten();
        let obtained = known.map_or_else(|| Timestamp::now().as_second(), |known| known.obtained);
        tracing::info!(runner = self.entry.name, "the runner's token expires at {expires}; it is renewed before");
        Some(Token { token: identity.token, obtained, expires: expires.as_second() })
    }

    /// Renews the token, if that can be remembered: GitLab accepts the old one no longer once it has given a new one.
    async fn renew(&self, token: &Token) -> Renewal {
        let runner = &self.entry.name;
        if let Err(error) = self.journal.write_token(&self.entry.token, token).await {
            tracing::error!(runner, "the runner's token is not renewed, a new one could not be kept: {error}");
            return Renewal::Failed;
        }
        let Some(identity) = self.identity.send_replace(None) else { return Renewal::Done(None) };
        match self.client.reset_token(&identity).await {
            Ok(registered) => Renewal::Done(self.adopt(identity, registered).await),
            Err(error) => {
                tracing::error!(runner, "cannot renew the runner's token: {error}; {}", advice(&error));
                self.identity.send_replace(Some(identity));
                if error.status() == Some(403) { Renewal::Done(None) } else { Renewal::Failed }
            }
        }
    }

    /// Keeps the new token, then uses it. Gives it if it expires.
    async fn adopt(&self, identity: Identity, registered: Registered) -> Option<Token> {
        let (runner, obtained) = (&self.entry.name, Timestamp::now().as_second());
        let expires = when(registered.token_expires_at.as_deref());
        let expires_at = expires.map_or(i64::MAX, Timestamp::as_second);
        let token = Token { token: registered.token, obtained, expires: expires_at };
        while let Err(error) = self.journal.write_token(&self.entry.token, &token).await {
            tracing::error!(runner, "the runner's new token is in memory only: {error}; trying again");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        self.identity.send_replace(Some(Identity { token: token.token.clone(), ..identity }));
        tracing::info!(runner, "the runner's token is renewed");
        expires.map(|_| token)
    }
}

/// As whom an entry asks: by the newest token that GitLab gave for it.
pub async fn newest(journal: &Journal, entry: &Entry, system_id: &str) -> Result<Identity, journal::Error> {
    let token = journal.token(&entry.token).await?.map_or_else(|| entry.token.clone(), |newest| newest.token);
    Ok(Identity { token, system_id: system_id.to_owned(), info: Info::default() })
}

/// What became of a renewal.
enum Renewal {
    /// There is a new token; `None` if nothing more is to be renewed.
    Done(Option<Token>),
    Failed,
}

fn advice(error: &Error) -> &'static str {
    match error.status() {
        Some(403) => "set another token, nothing renews this one any more",
        Some(_) => "trying again",
        None => "trying again (should GitLab have renewed it all the same, set another token)",
    }
}

fn when(rfc3339: Option<&str>) -> Option<Timestamp> {
    rfc3339?.parse().ok()
}

/// How long until the token is to be renewed.
fn left(token: &Token) -> Duration {
    let seconds = due(token).saturating_sub(Timestamp::now().as_second());
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

/// When three quarters of a token's life are over.
fn due(token: &Token) -> i64 {
    let life = token.expires.saturating_sub(token.obtained).max(0);
    token.obtained.saturating_add(life / 4 * 3 + life % 4 * 3 / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_renewed_after_three_quarters_of_its_life() {
        for (obtained, expires, expected) in [
            (1000, 1400, 1300),
            (1000, 1003, 1002),
            (1000, 1000, 1000),
            (1000, 900, 1000),
            (1000, i64::MAX, 1000 + (i64::MAX - 1000) / 4 * 3 + 2),
        ] {
            let token = Token { token: "t".into(), obtained, expires };
            assert_eq!(due(&token), expected, "{obtained} {expires}");
        }
    }
}
