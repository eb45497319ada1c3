//! Jobs that print more than anybody reads.

use crate::lone::{Lone, ended, says};
use warmstart_tests::gitlab::{JobSpec, JobState};

#[tokio::test]
async fn fifty_megabytes_of_output_are_cut_at_the_limit_and_the_job_succeeds() {
    let lone = Lone::start().await;
    let print = "yes 'a line of output that nobody will ever read' | head -c 52428800 || true; echo printed > done";
    let finished = lone.run(JobSpec::script([print, "cat done"]).after_script(["test -e done"])).await;
    ended(&finished, JobState::Success);
    says(&finished, "Job's log exceeded limit of 4194304 bytes.");
    assert!(finished.log.len() < 4_194_304 + 300, "{} bytes", finished.log.len());
}

#[tokio::test]
async fn output_that_is_no_text_does_not_break_the_log() {
    let lone = Lone::start().await;
    let finished =
        lone.run(JobSpec::script(["head -c 100000 /dev/urandom", "printf '\\377\\n'", "echo still here"])).await;
    ended(&finished, JobState::Success);
    says(&finished, "still here\n");
}
