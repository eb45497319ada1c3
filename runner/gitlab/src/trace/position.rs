//! Where the log here lies within GitLab's, and what GitLab has of it (protocol §1.7; design: one log).

use crate::update::LogState;
use std::ops::Range;

/// GitLab takes at most so many bytes in one patch.
pub(super) const PATCH: u64 = 1024 * 1024;

/// Offsets, and the decisions about them; no I/O.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Position {
    /// Where in GitLab's log ours begins: 0, unless the job was taken over; none until GitLab told.
    base: Option<u64>,
    /// So many bytes of ours GitLab has.
    sent: u64,
    /// Whether GitLab's log is wholly ours: only then a checksum says anything.
    whole: bool,
}

/// The next patch: this range of our log, at this offset of GitLab's.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Patch {
    pub(super) offset: u64,
    pub(super) ours: Range<u64>,
}

/// GitLab lacks bytes that are not here.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Lost(pub(super) String);

impl Position {
    /// Of a log that is wholly ours.
    pub(super) fn whole() -> Self {
        Self { base: Some(0), sent: 0, whole: true }
    }

    /// Of a log that goes on after what a lost process sent.
    pub(super) fn taken_over() -> Self {
        Self { base: None, sent: 0, whole: false }
    }

    /// What to send next of `bytes` bytes.
    ///
    /// Where GitLab's size is not known, one byte is offered at offset 1, which GitLab refuses with its size. Offset 0
    /// would be taken by an empty log and then be repeated if that answer is lost; a large one would be taken for a
    /// log above the limit, and fail the job.
    pub(super) fn next(&self, bytes: u64) -> Option<Patch> {
        if self.sent >= bytes {
            return None;
        }
        Some(match self.base {
            None => Patch { offset: 1, ours: 0..1 },
            Some(base) => Patch { offset: base + self.sent, ours: self.sent..bytes.min(self.sent + PATCH) },
        })
    }

    /// GitLab has stored a patch.
    pub(super) fn stored(&mut self, patch: &Patch) {
        self.base.get_or_insert(patch.offset);
        self.sent = patch.ours.end;
    }

    /// GitLab has `stored` bytes, and not what was offered; `bytes` are here.
    pub(super) fn refused(&mut self, stored: u64, bytes: u64) -> Result<(), Lost> {
        let Some(base) = self.base else {
            self.base = Some(stored);
            return Ok(());
        };
        let Some(ours) = stored.checked_sub(base) else {
            return Err(Lost(format!("it has {stored} bytes of the {base} that were there")));
        };
        if ours > bytes {
            // Somebody else wrote to the log: GitLab's size is the truth, what is not sent goes after it.
            self.base = Some(stored - self.sent);
            self.whole = false;
        } else {
            self.sent = ours;
        }
        Ok(())
    }

    /// GitLab's log differs: everything is to be sent again.
    pub(super) fn restart(&mut self) -> Result<(), Lost> {
        if !self.whole {
            return Err(Lost("it asks for the whole log".into()));
        }
        self.sent = 0;
        Ok(())
    }

    /// How many bytes of ours GitLab has.
    pub(super) fn sent(&self) -> u64 {
        self.sent
    }

    /// What an update says about a log of `bytes` bytes with this checksum: nothing, if it is not wholly ours.
    pub(super) fn log_state(&self, bytes: u64, checksum: u32) -> LogState {
        if self.whole { LogState { checksum: Some(checksum), bytes } } else { LogState::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_goes_out_in_patches_of_at_most_a_mebibyte() {
        let mut position = Position::whole();
        let bytes = 2 * PATCH + 5;
        let mut ranges = Vec::new();
        while let Some(patch) = position.next(bytes) {
            assert_eq!(patch.offset, patch.ours.start);
            position.stored(&patch);
            ranges.push(patch.ours);
        }
        assert_eq!(ranges, [0..PATCH, PATCH..2 * PATCH, 2 * PATCH..bytes]);
        assert_eq!(position.next(bytes), None);
    }

    #[test]
    fn gitlabs_size_says_where_to_go_on() {
        let mut position = Position { base: Some(0), sent: 50, whole: true };
        position.refused(20, 100).expect("all is here");
        assert_eq!(position.next(100), Some(Patch { offset: 20, ours: 20..100 }));
        position.refused(100, 100).expect("all is here");
        assert_eq!(position.next(100), None);
        assert_eq!(position.log_state(100, 7), LogState { checksum: Some(7), bytes: 100 });
    }

    #[test]
    fn a_log_that_is_taken_over_goes_on_after_gitlabs_size() {
        let mut position = Position::taken_over();
        assert_eq!(position.next(30), Some(Patch { offset: 1, ours: 0..1 }));
        position.refused(700, 30).expect("GitLab told its size");
        assert_eq!(position.next(30), Some(Patch { offset: 700, ours: 0..30 }));
        position.stored(&Patch { offset: 700, ours: 0..30 });
        position.refused(710, 40).expect("all is here");
        assert_eq!(position.next(40), Some(Patch { offset: 710, ours: 10..40 }));
        assert_eq!(position.log_state(40, 7), LogState::default(), "no checksum");
        assert!(position.refused(699, 40).is_err(), "what is missing is not here");
        assert!(position.restart().is_err(), "the beginning is not here");
    }

    #[test]
    fn even_a_log_of_one_byte_can_be_taken_over() {
        let mut position = Position::taken_over();
        let patch = position.next(30).expect("the probe");
        position.stored(&patch);
        assert_eq!(position.next(30), Some(Patch { offset: 2, ours: 1..30 }));
    }

    #[test]
    fn what_a_stranger_wrote_is_not_overwritten_and_ends_the_checksum() {
        let mut position = Position { base: Some(0), sent: 10, whole: true };
        position.refused(500, 20).expect("all is here");
        assert_eq!(position.next(20), Some(Patch { offset: 500, ours: 10..20 }));
        assert_eq!(position.log_state(20, 7), LogState::default());
    }

    #[test]
    fn a_log_that_differs_is_sent_again_from_the_start() {
        let mut position = Position { base: Some(0), sent: 10, whole: true };
        position.restart().expect("all is here");
        assert_eq!(position.next(20), Some(Patch { offset: 0, ours: 0..20 }));
    }
}
