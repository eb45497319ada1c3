//! What a restore and a save came to, in one line of the job's log.

use crate::times::seconds;
use std::time::Duration;
use warmstart_cache::{Restored, Saved};

/// Says what was restored, how long that took and how long the job was held by it.
#[must_use]
pub fn restored(restored: &Restored, is_fallback: bool, spent: Duration, waited: Duration) -> String {
    let key = restored.key.as_deref().unwrap_or_default();
    let fallback = if is_fallback { " (a fallback)" } else { "" };
    let content = content(restored.files, restored.bytes);
    format!("Restored {key}{fallback}: {content}, in {} (waited {})", seconds(spent), seconds(waited))
}

/// Says what was saved, how much of it had to be sent and how long that took.
#[must_use]
pub fn saved(saved: &Saved, spent: Duration) -> String {
    let content = content(saved.files, saved.bytes);
    format!("Saved {}: {content}, sent {}, in {}", saved.key, size(saved.sent), seconds(spent))
}

fn content(files: u64, bytes: u64) -> String {
    format!("{} {}, {}", thousands(files), if files == 1 { "file" } else { "files" }, size(bytes))
}

fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Three digits at most, in the largest unit that leaves one before the point.
fn size(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let at = (bytes.ilog2() / 10) as usize;
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let amount = bytes as f64 / (1_u64 << (10 * at)) as f64;
    let decimals = usize::from(amount < 9.95);
    format!("{amount:.decimals$} {}", units[at - 1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restore_is_told_in_one_line() {
        let result =
            Restored { key: Some("main".into()), files: 25_159, bytes: 453 << 20, hit: true, ..Restored::default() };
        let (spent, waited) = (Duration::from_millis(2100), Duration::ZERO);
        let line = "Restored main: 25,159 files, 453 MiB, in 2.1 s (waited 0.0 s)";
        assert_eq!(restored(&result, false, spent, waited), line);
        assert!(restored(&result, true, spent, waited).starts_with("Restored main (a fallback): "));
    }

    #[test]
    fn a_save_is_told_in_one_line() {
        let result = Saved { key: "main".into(), files: 1, bytes: 1536, sent: 0, ..Saved::default() };
        assert_eq!(saved(&result, Duration::from_millis(40)), "Saved main: 1 file, 1.5 KiB, sent 0 B, in 0.0 s");
    }

    #[test]
    fn sizes_and_numbers_read_well() {
        for (bytes, text) in
            [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (10 << 20, "10 MiB"), (5 << 30, "5.0 GiB")]
        {
            assert_eq!(size(bytes), text);
        }
        for (number, text) in [(1, "1"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(thousands(number), text);
        }
        assert!(size(u64::MAX).ends_with("EiB"));
    }
}
