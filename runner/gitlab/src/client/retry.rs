//! Which answers are asked for again, and when (protocol §1.1, automatic retry layer).

use jiff::{Timestamp, fmt::rfc2822::DateTimeParser};
use reqwest::header::HeaderMap;
use std::time::Duration;

/// Attempts in all.
pub(super) const ATTEMPTS: usize = 5;

pub(super) fn is_retried(status: u16) -> bool {
    matches!(status, 408 | 429 | 500 | 502..=504 | 512..)
}

/// The wait that the answer asks for, if it asks for a positive one.
pub(super) fn asked(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let reset = text("RateLimit-ResetTime").and_then(|date| until(date, now));
    let after = || text("Retry-After").and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs);
    reset.or_else(after).filter(|wait| !wait.is_zero())
}

fn until(date: &str, now: Timestamp) -> Option<Duration> {
    let date = DateTimeParser::new().parse_timestamp(date).ok()?;
    Duration::try_from(date.duration_since(now)).ok().filter(|wait| !wait.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retried_are_timeouts_rate_limits_and_broken_servers() {
        let retried: Vec<u16> = (400..520).filter(|&status| is_retried(status)).collect();
        assert_eq!(retried, [408, 429, 500, 502, 503, 504, 512, 513, 514, 515, 516, 517, 518, 519]);
    }

    #[test]
    fn the_first_header_with_a_positive_wait_counts() {
        let date = "Wed, 21 Oct 2015 07:28:00 GMT";
        let at = DateTimeParser::new().parse_timestamp(date).expect("a date");
        let before = at - Duration::from_secs(7);
        let after = at + Duration::from_secs(1);
        let cases = [
            (vec![], before, None),
            (vec![("RateLimit-ResetTime", date), ("Retry-After", "3")], before, Some(7)),
            (vec![("RateLimit-ResetTime", date), ("Retry-After", "3")], after, Some(3)),
            (vec![("RateLimit-ResetTime", "soon"), ("Retry-After", "3")], before, Some(3)),
            (vec![("Retry-After", date)], before, None),
            (vec![("Retry-After", "0")], before, None),
            (vec![("Retry-After", "-1")], before, None),
        ];
        for (headers, now, expected) in cases {
            let headers: HeaderMap = headers
                .iter()
                .map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a value")))
                .collect();
            let wait = asked(&headers, now);
            assert_eq!(wait, expected.map(Duration::from_secs), "{headers:?}");
        }
    }
}
