//! Services: their names, their network, and what is said about those that do not answer.

use crate::lone::{Lone, ended, says};
use warmstart_tests::gitlab::{JobSpec, JobState, ServiceSpec};
use warmstart_tests::harness::BUSYBOX;

/// A web server that shows the files of busybox.
fn web(alias: &str) -> ServiceSpec {
    ServiceSpec {
        name: BUSYBOX.to_owned(),
        alias: alias.to_owned(),
        command: Some(["httpd", "-f", "-p", "80", "-h", "/etc"].map(str::to_owned).to_vec()),
        variables: vec![("HEALTHCHECK_TCP_PORT".to_owned(), "80".to_owned())],
        ..ServiceSpec::default()
    }
}

#[tokio::test]
async fn a_service_is_reached_by_its_given_and_its_derived_names() {
    let lone = Lone::start().await;
    let names = ["web", "two", "warmstart-test__busybox", "warmstart-test-busybox"];
    let lines = names.map(|name| format!("wget -q -O /dev/null http://{name}/passwd && echo {name} answers"));
    let finished = lone.run(JobSpec::script(lines).service_with(web("web, two"))).await;
    ended(&finished, JobState::Success);
    for name in names {
        says(&finished, &format!("{name} answers\n"));
    }
    assert!(!finished.text().contains("probably didn't start properly"));
}

#[tokio::test]
async fn in_a_network_per_build_service_and_job_reach_each_other() {
    let lone = Lone::start().await;
    let mut caller = web("caller");
    let call = "while ! wget -q -O /dev/null http://web/passwd; do sleep 0.1; done; httpd -f -p 80 -h /etc";
    caller.command = Some(["sh", "-c", call].map(str::to_owned).to_vec());
    let spec = JobSpec::script([
        "wget -q -O /dev/null http://web/passwd && echo web answers",
        "wget -q -O /dev/null http://caller/passwd && echo web answered the caller",
        "ping -c 1 build > /dev/null && echo I am build in $CI_BUILD_NETWORK_NAME",
    ]);
    let spec = spec.service_with(web("web")).service_with(caller).variable("FF_NETWORK_PER_BUILD", "true");
    let finished = lone.run(spec).await;
    ended(&finished, JobState::Success);
    says(&finished, "web answers\n");
    says(&finished, "web answered the caller\n");
    says(&finished, "I am build in runner-");
}

#[tokio::test]
async fn a_service_that_ends_is_warned_about_with_its_output_and_the_job_goes_on() {
    let lone = Lone::start().await;
    let mut service = web("web");
    service.command = Some(["sh", "-c", "echo I cannot; exit 3"].map(str::to_owned).to_vec());
    let finished = lone.run(JobSpec::script(["echo all the same"]).service_with(service)).await;
    ended(&finished, JobState::Success);
    let log = String::from_utf8_lossy(&finished.log);
    let block = log.lines().find(|line| line.contains("probably didn't start properly")).expect("a block");
    assert_eq!(block.get(28..32), Some("00E "), "{block}");
    says(&finished, "service ended with exit code 3");
    says(&finished, "I cannot");
    says(&finished, "all the same\n");
}

#[tokio::test]
async fn the_output_of_services_is_in_the_log_masked_and_to_its_end_where_the_job_debugs_them() {
    let lone = Lone::start().await;
    let mut service = web("web");
    // Docker cuts the long line within the secret.
    let cut_line = "{ head -c 16380 /dev/zero | tr '\\0' x; echo \"$PASSWORD and more\"; }";
    let command = format!("echo it is up; echo it warns >&2; {cut_line}; httpd -f -p 80 -h /etc");
    service.command = Some(["sh", "-c", &command].map(str::to_owned).to_vec());
    service.variables.push(("PASSWORD".to_owned(), "$SECRET".to_owned()));
    let spec = JobSpec::script(["echo the script has run"]).service_with(service).masked("SECRET", "s3cr3tvalue");
    let finished = lone.run(spec.variable("CI_DEBUG_SERVICES", "true")).await;
    ended(&finished, JobState::Success);
    let name = "\x1b[0;37m[service:warmstart-test__busybox-warmstart-test-busybox-web] 20";
    let log = String::from_utf8_lossy(&finished.log);
    assert_eq!(log.matches(&format!("Z 0fO {name}")).count(), 3, "{log}");
    for line in ["Z it is up\n", "Z it warns\n", "[MASKED] and more\n", "Job succeeded\n"] {
        says(&finished, line);
    }
    assert!(!finished.text().contains("3tvalue"), "{}", finished.text());
}

#[tokio::test]
async fn a_service_sees_the_jobs_files_and_its_own_variables_only_the_public_ones() {
    let lone = Lone::start().await;
    let mut service = web("web");
    let command = "env > /builds/env; httpd -f -p 80 -h /etc";
    service.command = Some(["sh", "-c", command].map(str::to_owned).to_vec());
    service.variables.push(("OWN".to_owned(), "$SHOWN-own".to_owned()));
    let spec = JobSpec::script(["grep -c HIDDEN /builds/env || true", "grep ^OWN= /builds/env"]);
    let finished = lone.run(spec.variable("SHOWN", "yes").masked("HIDDEN", "hidden-value").service_with(service)).await;
    ended(&finished, JobState::Success);
    says(&finished, "OWN=yes-own\n");
    says(&finished, "\n0\n");
}

#[tokio::test]
async fn two_services_of_the_same_image_need_different_names() {
    let lone = Lone::start().await;
    let spec = JobSpec::script(["wget -q -O /dev/null http://b/passwd && echo b answers"]);
    let finished = lone.run(spec.service_with(web("a")).service_with(web("b")).service_with(web("a"))).await;
    ended(&finished, JobState::Success);
    says(&finished, "b answers\n");
    says(&finished, "is not started: all its aliases are taken");
}
