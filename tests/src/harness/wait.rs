//! Waiting for a condition, instead of sleeping for a time.

use std::time::{Duration, Instant};

/// How long a condition may take on a slow, busy machine before the test has failed.
const PATIENCE: Duration = Duration::from_mins(2);

/// Waits until `condition` gives a value.
///
/// # Panics
///
/// With `what`, when patience ends.
pub async fn eventually<T>(what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(begin.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
