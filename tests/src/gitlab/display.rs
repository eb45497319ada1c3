//! A log as GitLab shows it: section markers gone, lines without their timestamps.

/// Writes a log for a terminal, piece by piece: markers are removed, colours kept.
#[derive(Debug, Default)]
pub struct Terminal {
    /// The beginning of a line that is not complete.
    rest: Vec<u8>,
}

impl Terminal {
    /// Takes the next bytes of a log and gives the lines that are complete.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        self.rest.extend_from_slice(bytes);
        let Some(end) = self.rest.iter().rposition(|byte| *byte == b'\n') else { return Vec::new() };
        let rest = self.rest.split_off(end + 1);
        let complete = std::mem::replace(&mut self.rest, rest);
        String::from_utf8_lossy(&complete).lines().filter_map(line).collect()
    }

    /// Gives the last line, which has no end.
    pub fn finish(&mut self) -> Option<String> {
        let rest = std::mem::take(&mut self.rest);
        line(&String::from_utf8_lossy(&rest))
    }
}

/// One line for a terminal; none when it had nothing but markers.
fn line(text: &str) -> Option<String> {
    let text = strip_timestamp(text);
    let shown = strip_markers(text);
    let only_markers = shown.len() < text.len() && plain(&shown).trim().is_empty();
    (!only_markers).then(|| shown.replace("\x1b[0K", "").trim_end_matches('\r').to_owned())
}

/// `2026-05-05T12:00:00.000000Z 01O ` before a line (protocol §2.7).
fn strip_timestamp(line: &str) -> &str {
    let bytes = line.as_bytes();
    let is_header = bytes.len() >= 32
        && bytes[..4].iter().all(u8::is_ascii_digit)
        && bytes[10] == b'T'
        && &bytes[26..28] == b"Z "
        && matches!(bytes[30], b'O' | b'E')
        && matches!(bytes[31], b' ' | b'+');
    if is_header { &line[32..] } else { line }
}

fn strip_markers(line: &str) -> String {
    let mut shown = String::new();
    let mut rest = line;
    while let Some(at) = rest.find("section_start:").into_iter().chain(rest.find("section_end:")).min() {
        shown.push_str(&rest[..at]);
        let Some(end) = rest[at..].find("\r\x1b[0K") else {
            shown.push_str(&rest[at..]);
            return shown;
        };
        rest = &rest[at + end + "\r\x1b[0K".len()..];
    }
    shown + rest
}

/// A log without markers and colours.
#[must_use]
pub fn plain(log: &str) -> String {
    let mut shown = String::new();
    for text in log.lines().map(strip_timestamp) {
        let mut rest = &*strip_markers(text);
        while let Some(at) = rest.find("\x1b[") {
            shown.push_str(&rest[..at]);
            let sequence = &rest[at + 2..];
            let end = sequence.find(|c: char| c.is_ascii_alphabetic()).map_or(sequence.len(), |end| end + 1);
            rest = &sequence[end..];
        }
        shown.push_str(rest);
        shown.push('\n');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_go_and_colours_stay() {
        let mut terminal = Terminal::default();
        let log = b"section_start:5:get_sources\r\x1b[0K\x1b[0K\x1b[36;1mGetting\x1b[0;m\x1b[0;m\nsection_end:6:get_sources\r\x1b[0K";
        assert_eq!(terminal.push(log), ["\x1b[36;1mGetting\x1b[0;m\x1b[0;m"]);
        assert_eq!(terminal.push(b"next li"), Vec::<String>::new());
        assert_eq!(terminal.push(b"ne\n"), ["next line"]);
    }

    #[test]
    fn timestamps_are_not_shown() {
        assert_eq!(plain("2026-05-05T12:00:00.000000Z 01O hello"), "hello\n");
    }
}
