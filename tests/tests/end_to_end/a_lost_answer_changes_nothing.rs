//! Each call of the agent API is lost once, before and after the runner saw it: the job ends once, well.

use crate::jobs::{ends_well, go, waiting, witnessed};
use warmstart_tests::faults::Fault;
use warmstart_tests::gitlab::JobState;
use warmstart_tests::harness::{Deployment, Setup};

async fn lost(call: &str, fault: Fault) {
    let deployment = Deployment::start(Setup::default()).await.unwrap();
    let mut gate = deployment.proxy.once(call, fault);
    let job = deployment.gitlab.add_job(waiting());
    if call == "heartbeat" {
        gate.reached().await;
    }
    go(&deployment, job);
    ends_well(&deployment, job).await;
    gate.reached().await;
}

macro_rules! each_call {
    ($($name:ident: $call:literal, $fault:ident;)*) => {
        $(#[tokio::test]
        async fn $name() {
            lost($call, Fault::$fault).await;
        })*
    };
}

each_call! {
    a_lost_registration: "register", LoseRequest;
    a_lost_answer_to_a_registration: "register", LoseAnswer;
    a_lost_poll: "next", LoseRequest;
    a_lost_assignment: "next", LoseAnswer;
    a_lost_acknowledgement: "ack", LoseRequest;
    a_lost_answer_to_an_acknowledgement: "ack", LoseAnswer;
    a_lost_call_at_the_barrier: "script", LoseRequest;
    a_lost_answer_at_the_barrier: "script", LoseAnswer;
    a_lost_heartbeat: "heartbeat", LoseRequest;
    a_lost_answer_to_a_heartbeat: "heartbeat", LoseAnswer;
    a_lost_release: "release", LoseRequest;
    a_lost_answer_to_a_release: "release", LoseAnswer;
}

/// An agent leaves when it is told to stop.
async fn lost_leave(fault: Fault) {
    let fleet = vec!["max_use_count = 10".to_owned(), "reuse = \"pool\"".to_owned()];
    let deployment = Deployment::start(Setup { idle_time: "1h".to_owned(), fleet, ..Setup::default() }).await.unwrap();
    let job = deployment.gitlab.add_job(witnessed());
    assert_eq!(deployment.gitlab.wait_finished(job).await.state, JobState::Success);
    let mut gate = deployment.proxy.once("leave", fault);
    let executors = deployment.wait_executors(1).await;
    executors[0].stop();
    gate.reached().await;
    deployment.wait_nothing_left(&executors).await;
    let job = deployment.gitlab.add_job(witnessed());
    assert_eq!(deployment.gitlab.wait_finished(job).await.state, JobState::Success, "another executor serves");
    deployment.gitlab.assert_clean();
}

#[tokio::test]
async fn a_lost_leave() {
    lost_leave(Fault::LoseRequest).await;
}

#[tokio::test]
async fn a_lost_answer_to_a_leave() {
    lost_leave(Fault::LoseAnswer).await;
}
