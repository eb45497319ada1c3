//! Much of everything: artifacts of 100 MB, thousands of lines each second.

use crate::hostile::Target;
use crate::lone::{Lone, ended, plain, says};
use std::fmt::Write as _;
use warmstart_tests::gitlab::{JobSpec, JobState};

#[tokio::test]
async fn a_hundred_megabytes_of_artifacts_come_into_the_next_job_unharmed() {
    let target = Target::start(Lone::start().await);
    let make = ["mkdir out", "head -c 100000000 /dev/urandom > out/random", "sha256sum out/random > out/sum"];
    let make = JobSpec::script(make).name("make").artifact_paths(["out/"]);
    // Noise does not get smaller.
    let (make, finished) = target.suffer(make.variable("ARTIFACT_COMPRESSION_LEVEL", "fastest")).await;
    ended(&finished, JobState::Success);
    assert!(finished.artifacts[0].bytes.len() > 100_000_000);
    let (_, finished) = target.suffer(JobSpec::script(["sha256sum -c out/sum"]).needs(make)).await;
    ended(&finished, JobState::Success);
    says(&finished, "out/random: OK\n");
    let _lone = target.unharmed().await;
}

#[tokio::test]
async fn of_many_lines_none_is_lost() {
    let target = Target::start(Lone::start().await);
    // One write for each line, on both streams, as fast as the shell can: tens of thousands a second.
    let print = "i=0; while [ $i -lt 30000 ]; do echo line $i; echo error $i >&2; i=$((i+1)); done";
    let (_, finished) = target.suffer(JobSpec::script([print])).await;
    ended(&finished, JobState::Success);
    let log = plain(&finished);
    for word in ["line", "error"] {
        let lines: Vec<&str> = log.lines().filter(|text| text.starts_with(word)).collect();
        let expected = (0..30_000).fold(String::new(), |mut all, i| {
            let _ = writeln!(all, "{word} {i}");
            all
        });
        assert_eq!(lines.len(), 30_000);
        assert!(lines.iter().copied().eq(expected.lines()), "{word}s are in order");
    }
    let _lone = target.unharmed().await;
}
