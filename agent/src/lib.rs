//! Runs GitLab jobs through the local Docker daemon and reports to GitLab by itself.
