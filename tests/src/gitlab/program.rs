//! The program `fake-gitlab`.
