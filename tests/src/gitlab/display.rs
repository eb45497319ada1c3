//! A log as GitLab shows it: lines without their timestamps and put together again, section markers gone.

use super::judge::timestamps::header;

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
        untimed(&String::from_utf8_lossy(&complete)).lines().filter_map(line).collect()
    }

    /// Gives the last line, which has no end.
    pub fn finish(&mut self) -> Option<String> {
        let rest = std::mem::take(&mut self.rest);
        line(&untimed(&String::from_utf8_lossy(&rest)))
    }
}

/// One line for a terminal; none when it had nothing but markers.
fn line(text: &str) -> Option<String> {
    let shown = strip_markers(text);
    let only_markers = shown.len() < text.len() && plain(&shown).trim().is_empty();
    (!only_markers).then(|| shown.replace("\x1b[0K", "").trim_end_matches('\r').to_owned())
}

/// A log without timestamps: headers gone, continuations joined to what they continue (protocol §2.7).
#[must_use]
pub fn untimed(log: &str) -> String {
    let mut text = String::new();
    for line in log.split_inclusive('\n') {
        let Some(header) = header(line) else {
            text.push_str(line);
            continue;
        };
        if header.continues && text.ends_with('\n') {
            text.pop();
        }
        text.push_str(header.text);
    }
    text
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
    for text in untimed(log).lines() {
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
    fn timestamps_are_not_shown_and_lines_are_put_together() {
        let time = "2026-05-05T12:00:00.000000Z";
        let log = format!("{time} 01O 10%\r\n{time} 01O+20%\r\n{time} 01O+\n{time} 01O \x1b[32;1mdone\n");
        assert_eq!(untimed(&log), "10%\r20%\r\n\x1b[32;1mdone\n");
        assert_eq!(plain(&log), "10%\r20%\ndone\n");
    }
}
