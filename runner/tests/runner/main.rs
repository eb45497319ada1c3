//! The runner as a process, between the fake GitLab and agents that do as each test says.

mod a_job_is_handed_over;
mod a_killed_runner_goes_on;
mod a_lost_executor;
mod a_token_expires;
mod an_instance_serves;
mod ec2;
mod registering;
mod site;
mod stopping;
mod support;
mod waiting;
mod what_an_instance_proves;
mod what_is_wrong_is_said;
mod who_may_call;
