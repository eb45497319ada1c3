//! The fake GitLab, the harness of the end-to-end tests, and the demo.

pub mod aws;
pub mod demo;
pub mod faults;
pub mod gitlab;
pub mod harness;
pub mod s3;
