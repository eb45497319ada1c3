//! Takes GitLab jobs, keeps a fleet of executors, and hands each job to one.
