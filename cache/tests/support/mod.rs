//! What several tests need: an S3 server, trees of files.

#![allow(dead_code, reason = "every test binary uses its own part")]
#![allow(clippy::missing_panics_doc, reason = "tests panic")]

pub mod moto;
