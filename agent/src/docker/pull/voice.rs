//! What a pull says in the job's log, and when.

use crate::log::Log;
use std::sync::{Arc, Mutex, PoisonError};
use warmstart_gitlab::sections::Level;

/// The lines of one pull: kept until its turn comes, so that none talks into another's. Clones are the same.
#[derive(Clone, Debug)]
pub(super) struct Voice {
    log: Log,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
enum State {
    Waiting(Vec<(Level, String)>),
    Speaking,
    Silent,
}

impl Voice {
    /// A voice whose turn has not come.
    pub(super) fn new(log: &Log) -> Self {
        Self { log: log.clone(), state: Arc::new(Mutex::new(State::Waiting(Vec::new()))) }
    }

    /// Says a line, or keeps it.
    pub(super) fn say(&self, level: Level, text: impl Into<String>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *state {
            State::Waiting(lines) => lines.push((level, text.into())),
            State::Speaking => self.log.line(level, &text.into()),
            State::Silent => {}
        }
    }

    /// Its turn has come: what it has kept is said now, the rest at once.
    pub(super) fn speak(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let State::Waiting(lines) = std::mem::replace(&mut *state, State::Speaking) {
            for (level, text) in lines {
                self.log.line(level, &text);
            }
        }
    }

    /// Nobody wants to hear more of it.
    pub(super) fn hush(&self) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = State::Silent;
    }

    fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.state, &other.state)
    }

    /// Lets only this one of them speak.
    pub(super) fn alone_of(&self, all: &[Self]) {
        all.iter().filter(|voice| !voice.is(self)).for_each(Self::hush);
        self.speak();
    }
}
