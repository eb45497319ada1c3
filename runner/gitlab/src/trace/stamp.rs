//! Lines with their time (protocol §2.7, timestamps).

use jiff::Timestamp;
use std::fmt::Write;

/// A line that is not complete is kept up to this size.
const HELD: usize = 8 * 1024;

/// Where a line comes from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stream {
    /// The runner itself.
    Runner,
    /// What the runner has to say against something.
    RunnerError,
    /// A script's standard output.
    Stdout,
    /// A script's standard error.
    Stderr,
    /// A service's output.
    Service,
}

impl Stream {
    /// Number and type.
    fn code(self) -> &'static str {
        match self {
            Self::Runner => "00O",
            Self::RunnerError => "00E",
            Self::Stdout => "01O",
            Self::Stderr => "01E",
            Self::Service => "0fO",
        }
    }
}

/// Makes entries of one stream's text: each is a line of the log that begins with 32 bytes of header.
///
/// A line that does not end is ended here where a write has a carriage return (a progress bar must be seen), where it
/// gets long, and at the stream's end. What follows is marked as its continuation.
#[derive(Debug)]
pub(super) struct Stamper {
    code: &'static str,
    /// The beginning of a line.
    line: String,
    /// When it began.
    since: Timestamp,
    /// Whether the last entry was ended before its line was.
    continues: bool,
}

impl Stamper {
    pub(super) fn new(stream: Stream) -> Self {
        Self { code: stream.code(), line: String::new(), since: Timestamp::UNIX_EPOCH, continues: false }
    }

    /// Appends to `out` the entries that one write of `text` completes. `adjacent` says whether the log's last entry
    /// is this stream's last one.
    ///
    /// GitLab joins a continuation to the entry right before it, whatever stream that is of
    /// (`Gitlab::Ci::Ansi2json::Converter#handle_line`): behind another stream's entry the line begins anew.
    pub(super) fn push(&mut self, text: &str, now: Timestamp, adjacent: bool, out: &mut String) {
        self.continues &= adjacent;
        for piece in text.split_inclusive('\n') {
            if self.line.is_empty() {
                self.since = now;
            }
            self.line.push_str(piece);
            if piece.ends_with('\n') {
                self.entry(false, out);
            } else if piece.contains('\r') || self.line.len() > HELD {
                self.line.push('\n');
                self.entry(true, out);
            }
        }
    }

    /// Appends what the last push held back: the stream ends.
    pub(super) fn finish(&mut self, out: &mut String) {
        if !self.line.is_empty() {
            self.line.push('\n');
            self.entry(false, out);
        }
    }

    fn entry(&mut self, continues: bool, out: &mut String) {
        let flag = if self.continues { '+' } else { ' ' };
        // A String takes everything.
        let _ = write!(out, "{:.6} {}{flag}{}", self.since, self.code, self.line);
        self.line.clear();
        self.continues = continues;
    }
}

/// The runner's own text as entries of now.
pub(crate) fn stamped(text: &str) -> String {
    let (mut stamper, mut out) = (Stamper::new(Stream::Runner), String::new());
    stamper.push(text, Timestamp::now(), true, &mut out);
    stamper.finish(&mut out);
    out
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Timestamp = Timestamp::constant(1_777_982_400, 1_234_567);

    /// What a stream's writes become, each stamped a second after the one before.
    fn entries(writes: &[&str]) -> String {
        let (mut stamper, mut out) = (Stamper::new(Stream::Stdout), String::new());
        for (second, text) in (0..).zip(writes) {
            stamper.push(text, NOW + jiff::SignedDuration::from_secs(second), true, &mut out);
        }
        stamper.finish(&mut out);
        out
    }

    /// The text of entries as GitLab puts them together again.
    pub(in crate::trace) fn joined(entries: &str) -> String {
        let mut text = String::new();
        for entry in entries.split_inclusive('\n') {
            if &entry[31..32] == "+" {
                text.pop();
            }
            text += &entry[32..];
        }
        text
    }

    #[test]
    fn every_line_has_a_header_of_32_bytes() {
        let cases: &[(&[&str], &[&str])] = &[
            (&["hello\n"], &["00.001234Z 01O hello\n"]),
            (&["a\n\nb\n"], &["00.001234Z 01O a\n", "00.001234Z 01O \n", "00.001234Z 01O b\n"]),
            (&["a ", "line\n"], &["00.001234Z 01O a line\n"]),
            (&["no end"], &["00.001234Z 01O no end\n"]),
            (
                &["10%\r", "20%\r", "done\n", "x\n"],
                &["00.001234Z 01O 10%\r\n", "01.001234Z 01O+20%\r\n", "02.001234Z 01O+done\n", "03.001234Z 01O x\n"],
            ),
            (&["10", "%\r", "\n"], &["00.001234Z 01O 10%\r\n", "02.001234Z 01O+\n"]),
            (&["a\r\nb\r", "c"], &["00.001234Z 01O a\r\n", "00.001234Z 01O b\r\n", "01.001234Z 01O+c\n"]),
            (&["", "a\n", ""], &["01.001234Z 01O a\n"]),
        ];
        for (writes, lines) in cases {
            let expected: Vec<_> = lines.iter().map(|line| format!("2026-05-05T12:00:{line}")).collect();
            assert_eq!(entries(writes), expected.concat(), "{writes:?}");
        }
    }

    #[test]
    fn a_line_that_does_not_end_is_cut_into_continuations_of_bounded_size() {
        let (part, mut stamper, mut out) = ("x".repeat(5000), Stamper::new(Stream::Stderr), String::new());
        for _ in 0..5 {
            stamper.push(&part, NOW, true, &mut out);
            assert!(stamper.line.len() <= HELD);
        }
        stamper.finish(&mut out);
        let flags: Vec<_> = out.lines().map(|line| (&line[28..32], line.len() - 32)).collect();
        assert_eq!(flags, [("01E ", 10_000), ("01E+", 10_000), ("01E+", 5000)]);
    }

    #[test]
    fn behind_another_streams_entry_a_line_begins_anew() {
        let (mut stamper, mut out) = (Stamper::new(Stream::Service), String::new());
        for (text, adjacent) in [("1\r", false), ("2", false), ("\r", true), ("3\n", true)] {
            stamper.push(text, NOW, adjacent, &mut out);
        }
        let texts: Vec<_> = out.split_inclusive('\n').map(|entry| &entry[28..]).collect();
        assert_eq!(texts, ["0fO 1\r\n", "0fO 2\r\n", "0fO+3\n"]);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn however_a_text_is_cut_into_writes_its_lines_are_the_same(
            writes in prop::collection::vec(prop_oneof![
                "[ab\r\né]{0,6}".prop_map(String::from),
                (4000..9000_usize).prop_map(|length| "x".repeat(length)),
            ], 0..12),
        ) {
            let writes: Vec<&str> = writes.iter().map(String::as_str).collect();
            let text = writes.concat();
            let ended = if text.is_empty() || text.ends_with('\n') { text } else { text + "\n" };
            let entries = entries(&writes);
            // A carriage return at the very end of a stream is followed by the end of its entry only.
            prop_assert_eq!(joined(&entries), ended);
            prop_assert!(entries.lines().all(|line| line.len() >= 32));
        }
    }
}
