//! The log's sections: balance, times and order of the stages (A35; protocol §2.1, §2.7).

use std::time::Duration;

/// A section marker.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::gitlab) struct Marker {
    pub(in crate::gitlab) is_start: bool,
    /// Unix seconds.
    pub(in crate::gitlab) time: u64,
    pub(in crate::gitlab) name: String,
    /// Byte offset in the log.
    pub(in crate::gitlab) at: usize,
}

/// The markers of a log, also those that a script printed. Text that only resembles one is none.
pub(in crate::gitlab) fn markers(log: &str) -> Vec<Marker> {
    log.match_indices("section_").filter_map(|(at, _)| marker(&log[at..], at)).collect()
}

fn marker(text: &str, at: usize) -> Option<Marker> {
    let rest = text.strip_prefix("section_")?;
    let (is_start, rest) = match rest.strip_prefix("start:") {
        Some(rest) => (true, rest),
        None => (false, rest.strip_prefix("end:")?),
    };
    let (time, rest) = rest.split_once(':')?;
    let (name, rest) = rest.split_once('\r')?;
    let name = name.split('[').next()?;
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    if !is_name || !rest.starts_with("\x1b[0K") {
        return None;
    }
    Some(Marker { is_start, time: time.parse().ok()?, name: name.to_owned(), at })
}

/// The place of a stage in the order of protocol §2.1; none for sections that are a script's own.
pub(in crate::gitlab) fn stage(name: &str) -> Option<u8> {
    Some(match name {
        "resolve_secrets" => 0,
        "prepare_executor" => 1,
        "prepare_script" => 2,
        "get_sources" | "clear_worktree" => 3,
        "restore_cache" => 4,
        "download_artifacts" => 5,
        "after_script" => 8,
        "archive_cache" | "archive_cache_on_failure" => 9,
        "upload_artifacts_on_success" | "upload_artifacts_on_failure" => 10,
        "cleanup_file_variables" => 11,
        "step_release" => 7,
        name if name.starts_with("step_") => 6,
        _ => return None,
    })
}

/// What is wrong with the stages' sections. An executor that takes over (at the offsets `takeovers`) begins the order
/// anew and closes what may have been open: ends without a start are no fault before its first start.
pub(in crate::gitlab) fn faults(log: &str, takeovers: &[usize]) -> Vec<String> {
    let mut open: Option<Marker> = None;
    let (mut faults, mut reached, mut clock) = (Vec::new(), 0, 0);
    let mut takeovers = takeovers.iter().peekable();
    let mut closing = false;
    for marker in markers(log) {
        let Some(place) = stage(&marker.name) else { continue };
        if takeovers.next_if(|offset| **offset <= marker.at).is_some() {
            // Another machine has another clock.
            (reached, clock) = (0, 0);
            closing = true;
        }
        closing &= !marker.is_start;
        if marker.time < clock {
            faults.push(format!("section {} at {}: the times go back from {clock}", marker.name, marker.time));
        }
        clock = marker.time;
        match (&open, marker.is_start) {
            (None, true) => {
                if place < reached {
                    faults.push(format!("section {} comes too late in the order of stages", marker.name));
                }
                reached = reached.max(place);
                open = Some(marker);
            }
            (Some(before), true) => {
                faults.push(format!("section {} begins within {}", marker.name, before.name));
                open = Some(marker);
            }
            (Some(before), false) if before.name == marker.name => open = None,
            (_, false) if closing => {}
            _ => faults.push(format!("section {} ends without having begun", marker.name)),
        }
    }
    faults.extend(open.map(|marker| format!("section {} does not end", marker.name)));
    faults
}

/// Seconds of each section, in the order of their ends; sections of scripts too.
pub(in crate::gitlab) fn durations(log: &str) -> Vec<(String, f64)> {
    let mut open: Vec<Marker> = Vec::new();
    let mut durations = Vec::new();
    for marker in markers(log) {
        if marker.is_start {
            open.push(marker);
        } else if let Some(at) = open.iter().rposition(|start| start.name == marker.name) {
            let seconds = Duration::from_secs(marker.time.saturating_sub(open.remove(at).time));
            durations.push((marker.name, seconds.as_secs_f64()));
        }
    }
    durations
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(markers: &[(&str, u64, &str)]) -> String {
        let marker = |(kind, time, name): &_| format!("section_{kind}:{time}:{name}\r\x1b[0Ktext\n");
        markers.iter().map(marker).collect::<Vec<_>>().concat()
    }

    #[test]
    fn sections_in_the_order_of_stages_are_clean() {
        let log = log(&[
            ("start", 5, "get_sources"),
            ("end", 6, "get_sources"),
            ("start", 6, "step_script"),
            ("end", 9, "step_script"),
        ]);
        assert_eq!(faults(&log, &[]), Vec::<String>::new());
        assert_eq!(durations(&log), [("get_sources".to_owned(), 1.0), ("step_script".to_owned(), 3.0)]);
    }

    #[test]
    fn open_nested_reversed_and_misplaced_sections_are_found() {
        let open = log(&[("start", 5, "get_sources")]);
        let nested = log(&[("start", 5, "get_sources"), ("start", 5, "step_script"), ("end", 5, "step_script")]);
        let back = log(&[("start", 5, "get_sources"), ("end", 4, "get_sources")]);
        let order = log(&[
            ("start", 5, "step_script"),
            ("end", 5, "step_script"),
            ("start", 5, "get_sources"),
            ("end", 5, "get_sources"),
        ]);
        for log in [open, nested, back, order] {
            assert_eq!(faults(&log, &[]).len(), 1, "{log}");
        }
    }

    #[test]
    fn a_taker_closes_what_was_open_and_begins_anew() {
        let first = log(&[("start", 50, "get_sources")]);
        let second =
            log(&[("end", 7, "get_sources"), ("start", 7, "prepare_executor"), ("end", 8, "prepare_executor")]);
        assert_eq!(faults(&format!("{first}{second}"), &[first.len()]), Vec::<String>::new());
    }

    #[test]
    fn text_that_resembles_a_marker_is_none() {
        assert_eq!(markers("section_start:x:y section_end:5:get_sources\n section_start:5:a b\r\x1b[0K"), []);
    }
}
