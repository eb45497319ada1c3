//! Each call of the agent API is lost once, before and after the runner saw it: the job ends once, well.

use crate::jobs::{ends_well, go, waiting};
use warmstart_tests::faults::Fault;
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
    a_lost_leave: "leave", LoseRequest;
    a_lost_answer_to_a_leave: "leave", LoseAnswer;
}
