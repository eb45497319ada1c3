//! Promises that cross binaries: runner, agents and cache as real processes, a real Docker daemon, real git, and a fake
//! GitLab that judges every call. One module per promise; `make test` builds the binaries first.

#![expect(clippy::unwrap_used, reason = "what cannot be set up has failed the test")]

mod a_job_goes_all_the_way;
mod a_killed_agent_loses_nothing_before_the_script;
mod a_killed_runner_loses_no_job;
mod a_lost_answer_changes_nothing;
mod a_restarted_runner_keeps_its_leases;
mod docker_in_docker;
mod gitlab_asks_who_calls;
mod gitlab_may_be_away;
mod jobs;
mod what_is_wrong_is_said_in_one_line;
