//! Lines for the job's log that are made before their section begins.

use crate::log::Log;

/// Lines, in order, until the log takes them.
#[derive(Debug, Default, Eq, PartialEq)]
pub struct Notes(Vec<Note>);

#[derive(Debug, Eq, PartialEq)]
enum Note {
    Info(String),
    Warning(String),
    Caution(String),
}

impl Notes {
    /// Adds a green line.
    pub fn info(&mut self, text: impl Into<String>) {
        self.0.push(Note::Info(text.into()));
    }

    /// Adds a yellow line that begins with `WARNING: `.
    pub fn warn(&mut self, text: impl Into<String>) {
        self.0.push(Note::Warning(text.into()));
    }

    /// Adds a yellow line as scripts write it.
    pub fn caution(&mut self, text: impl Into<String>) {
        self.0.push(Note::Caution(text.into()));
    }

    /// Writes all of them.
    pub fn write(&self, log: &Log) {
        for note in &self.0 {
            match note {
                Note::Info(text) => log.info(text),
                Note::Warning(text) => log.warn(text),
                Note::Caution(text) => log.caution(text),
            }
        }
    }
}
