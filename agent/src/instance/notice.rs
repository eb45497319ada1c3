//! Watching for the end of a spot instance.
//!
//! Sources: "Spot Instance interruption notices" and "EC2 instance rebalance recommendations" in the Amazon EC2 User
//! Guide. Both items are missing until there is something to say.

use super::metadata::Metadata;
use crate::notices::{Kind, Notice, Notices};
use anyhow::{Context, Result};
use jiff::Timestamp;
use serde::Deserialize;
use std::time::Duration;

/// How often the service is asked. AWS recommends 5 s; two minutes are left at the notice.
const POLL: Duration = Duration::from_secs(3);

/// Adds each notice once. Nothing more is to come after that of an interruption.
pub async fn watch(metadata: Metadata, notices: Notices) {
    let mut rebalance = false;
    loop {
        if !rebalance && let Some(time) = look(&metadata, REBALANCE).await {
            rebalance = true;
            notices.add(Notice { kind: Kind::Rebalance, time });
        }
        if let Some(time) = look(&metadata, INTERRUPTION).await {
            return notices.add(Notice { kind: Kind::Interruption, time });
        }
        tokio::time::sleep(POLL).await;
    }
}

const INTERRUPTION: &str = "meta-data/spot/instance-action";
const REBALANCE: &str = "meta-data/events/recommendations/rebalance";

/// `{"action": "terminate", "time": "…"}` or `{"noticeTime": "…"}`.
#[derive(Debug, Deserialize)]
struct Item {
    #[serde(alias = "noticeTime")]
    time: String,
}

async fn look(metadata: &Metadata, path: &str) -> Option<Timestamp> {
    let read = match metadata.get(path).await {
        Ok(text) => read(&text?).with_context(|| format!("cannot read {path} of the instance metadata service")),
        Err(error) => Err(error),
    };
    read.inspect_err(|error| tracing::warn!("{error:#}")).ok()
}

fn read(text: &str) -> Result<Timestamp> {
    let item: Item = serde_json::from_str(text)?;
    Ok(item.time.parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notices_are_read_as_ec2_writes_them() {
        let time = |text| read(text).expect("a time").to_string();
        assert_eq!(time(r#"{"action": "terminate", "time": "2026-09-18T08:22:00Z"}"#), "2026-09-18T08:22:00Z");
        assert_eq!(time(r#"{"noticeTime": "2026-10-27T08:22:00Z"}"#), "2026-10-27T08:22:00Z");
        assert!(read("<html>").is_err() && read("{}").is_err() && read(r#"{"time": "soon"}"#).is_err());
    }
}
