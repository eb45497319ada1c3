//! Steps of the user's: protocol §2.4 to §2.6 and §7.8 A70 to A72.

use super::super::{after_script, cleanup, prepare, step};
use super::{Bench, Ran, SHELLS};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use warmstart_gitlab::payload::Step;

fn script(commands: &[&str]) -> Step {
    Step { name: "script".to_owned(), script: commands.iter().map(|c| (*c).to_owned()).collect(), ..Step::default() }
}

fn run(bench: &Bench, shell: &[&str], commands: &[&str]) -> Ran {
    bench.run(shell, |context| step(context, &script(commands)).unwrap())
}

/// Runs the commands in each shell, in a fresh directory each, and hands the results over.
fn each(variables: &Value, commands: &[&str], check: impl Fn(Ran, &str)) {
    for shell in SHELLS {
        let bench = Bench::new(variables.clone());
        check(run(&bench, shell, commands), &shell.join(" "));
    }
}

/// The output without the echoed commands.
fn printed(ran: Ran) -> Vec<String> {
    ran.success().lines().filter(|line| !line.starts_with("\x1b[32;1m$ ")).map(str::to_owned).collect()
}

#[test]
fn commands_are_echoed_and_run_in_the_project_directory() {
    each(&json!([]), &["  pwd ", "cd /", "pwd"], |ran, shell| {
        let text = ran.success();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "\x1b[32;1m$ pwd\x1b[0;m", "{shell}");
        assert!(lines[1].ends_with("/builds/group/demo"), "{shell}");
        assert_eq!(lines[2..], ["\x1b[32;1m$ cd /\x1b[0;m", "\x1b[32;1m$ pwd\x1b[0;m", "/"], "{shell}");
    });
}

#[test]
fn commands_of_several_lines_are_echoed_collapsed_and_empty_ones_as_empty_lines() {
    each(&json!([]), &["if true\nthen echo 'a\n  b'\nfi", " ", "cat <<E\n$((1+1))\nE"], |ran, shell| {
        let wanted = [
            "\x1b[32;1m$ if true # collapsed multi-line command\x1b[0;m",
            "a",
            "  b",
            "",
            "\x1b[32;1m$ cat <<E # collapsed multi-line command\x1b[0;m",
            "2",
        ];
        assert_eq!(ran.success().lines().collect::<Vec<_>>(), wanted, "{shell}");
    });
}

#[test]
fn commands_of_several_lines_can_be_sections() {
    for shell in SHELLS {
        let mut bench = Bench::new(json!([{"key": "FF_SCRIPT_SECTIONS", "value": "true"}]));
        bench.fixture.job.features.trace_sections = true;
        let shown = run(&bench, shell, &["echo one", "echo 'two\n%s'"]).success();
        let mut lines = shown.split('\n').skip(2);
        let options = "[hide_duration=true,collapsed=true]\r\x1b[0K\x1b[32;1m$ echo 'two";
        let start = lines.next().unwrap();
        assert!(start.starts_with("section_start:1") || start.starts_with("section_start:2"), "{start}");
        assert!(start.ends_with(&format!(":section_script_step_1{options}")), "{start}");
        assert_eq!(lines.next(), Some("%s'\x1b[0;m"));
        assert!(lines.next().is_some_and(|line| line.ends_with(":section_script_step_1\r\x1b[0Ktwo")), "{shown}");
        assert_eq!(lines.next(), Some("%s"));
    }
}

#[test]
fn path_and_home_of_the_job_are_for_its_image_only() {
    let variables = json!([{"key": "PATH", "value": "/nowhere"}, {"key": "HOME", "value": "/nowhere"}, {"key": "GIT_STRATEGY", "value": "none"}]);
    let bench = Bench::new(variables);
    bench.run(&["bash"], |context| super::super::get_sources(context).unwrap()).success();
    assert_eq!(printed(run(&bench, &["bash"], &["echo $PATH $HOME"])), ["/nowhere /nowhere"]);
}

#[test]
fn the_echo_shows_the_command_as_it_was_written() {
    let command = r"true '\n' $HOME `id` %s \\ # ä 'x'";
    each(&json!([]), &[command], |ran, shell| {
        assert_eq!(ran.success(), format!("\x1b[32;1m$ {command}\x1b[0;m\n"), "{shell}");
    });
}

#[test]
fn the_exit_status_is_that_of_the_command_that_failed() {
    for code in [0, 1, 2, 126, 127, 137, 255] {
        for command in [format!("exit {code}"), format!("sh -c 'exit {code}'"), format!("f() {{ return {code}; }}\nf")]
        {
            each(&json!([]), &[&command, "echo after"], |ran, shell| {
                assert_eq!(ran.code, Some(code), "{shell}: {command}");
                let goes_on = code == 0 && !command.starts_with("exit");
                assert_eq!(ran.text().ends_with("\nafter\n"), goes_on, "{shell}: {command}");
            });
        }
    }
}

#[test]
fn the_first_failing_command_ends_the_step_unless_it_is_protected() {
    each(&json!([]), &["false || true", "if false; then :; fi", "! true", "false", "echo after"], |ran, shell| {
        assert_eq!(ran.code, Some(1), "{shell}");
        assert!(!ran.text().contains("\nafter\n"), "{shell}");
    });
}

#[test]
fn a_failure_inside_a_command_of_several_lines_ends_the_step() {
    each(&json!([]), &["echo one\nfalse\necho two"], |ran, shell| {
        assert_eq!((ran.code, ran.text().contains("two")), (Some(1), false), "{shell}");
    });
}

#[test]
fn every_exit_code_can_be_checked() {
    for (flag, code) in [("false", 0), ("true", 1)] {
        let variables = json!([{"key": "FF_ENABLE_BASH_EXIT_CODE_CHECK", "value": flag}]);
        each(&variables, &["false && true", "echo after"], |ran, shell| {
            assert_eq!((ran.code, ran.text().contains("\nafter\n")), (Some(code), code == 0), "{shell}");
        });
    }
}

#[test]
fn a_missing_command_is_127_and_a_syntax_error_fails() {
    each(&json!([]), &["no-such-command-here"], |ran, shell| assert_eq!(ran.code, Some(127), "{shell}"));
    each(&json!([]), &["echo 'open"], |ran, shell| assert!(ran.code.is_some_and(|code| code > 0), "{shell}"));
}

#[test]
fn a_failure_in_a_pipe_counts_where_the_shell_knows_pipefail() {
    each(&json!([]), &["false | cat", "echo after"], |ran, shell| {
        let knows = Bench::new(json!([])).feed(&shell.split(' ').collect::<Vec<_>>(), "set -o pipefail").code;
        let wanted = i32::from(knows == Some(0));
        assert_eq!(ran.code, Some(wanted), "{shell}");
    });
}

#[test]
fn commands_read_nothing_from_standard_input() {
    each(&json!([]), &["cat", "read line || echo nothing", "wc -c"], |ran, shell| {
        assert_eq!(printed(ran).iter().map(|line| line.trim()).collect::<Vec<_>>(), ["nothing", "0"], "{shell}");
    });
}

#[test]
fn output_that_is_not_text_passes() {
    each(&json!([]), &[r"printf '\377\000\376'"], |ran, shell| {
        assert!(ran.stdout.ends_with(b"\xff\0\xfe"), "{shell}: {:?}", ran.stdout);
    });
}

#[test]
fn hostile_values_arrive_as_they_are() {
    for value in [
        "'",
        "''",
        "\\",
        "\\'",
        "$(touch /tmp/x)",
        "`id`",
        "$HOME",
        "${x}",
        "a\nb\n",
        "\n",
        " ",
        "-n",
        "-e",
        "%s%n",
        "\t\r",
        "!$*?[a]{b,c}~",
        "ä€𝄞",
        "\u{1b}[31m",
        "#",
        ";",
        "&",
        "|",
        "<>",
        "\"",
        "=",
        "a=b",
    ] {
        each(
            &json!([{"key": "V", "value": value, "raw": true}]),
            &["printf '%s' \"$V\" > out; cat out"],
            |ran, shell| {
                let shown = ran.success();
                assert_eq!(shown.split_once("\x1b[0;m\n").unwrap().1, value, "{shell}");
            },
        );
    }
}

#[test]
fn a_name_that_is_no_identifier_does_no_harm() {
    let variables = json!([
        {"key": "A-B", "value": "x"}, {"key": "1A", "value": "x"}, {"key": "A B", "value": "x"},
        {"key": "A;touch pwned;", "value": "x"}, {"key": "$(touch pwned)", "value": "x", "file": true},
        {"key": "UID", "value": "5"}, {"key": "PPID", "value": "5"}, {"key": "SHELLOPTS", "value": "x"},
        {"key": "ä", "value": "x"}, {"key": "../escaped", "value": "x", "file": true}, {"key": "GOOD", "value": "good"},
    ]);
    for shell in SHELLS {
        let bench = Bench::new(variables.clone());
        assert_eq!(printed(run(&bench, shell, &["echo $GOOD"])), ["good"], "{shell:?}");
        assert!(!bench.path("pwned").exists() && !bench.project().join("pwned").exists());
        assert!(!bench.project().with_file_name("escaped").exists());
    }
}

#[test]
fn a_file_variable_is_written_byte_for_byte() {
    for content in ["", "no newline", "a\nb\n", "'q' \"d\" \\n $X `y` %s", "\u{0}\u{0}1\u{0}", "-n", "\r\n\u{7f}ä"] {
        for shell in SHELLS {
            let bench = Bench::new(json!([{"key": "F", "value": content, "file": true, "raw": true}]));
            let shown = printed(run(&bench, shell, &["echo \"$F\"", "test -f \"$F\""]));
            let path = bench.tmp().join("F");
            assert_eq!(shown, [path.to_str().unwrap()], "{shell:?}");
            assert_eq!(std::fs::read(path).unwrap(), content.as_bytes(), "{shell:?}");
        }
    }
}

#[test]
fn values_written_to_gitlab_env_reach_later_stages() {
    for shell in SHELLS {
        let bench = Bench::new(json!([{"key": "OLD", "value": "from GitLab"}]));
        let write = r#"printf '%s\n' 'NEW=a b=c \n $HOME' 'OLD=changed' 'bad-name=x' '=x' '1A=x' '# no' '' >> "$GITLAB_ENV"; printf LAST=1 >> "$GITLAB_ENV""#;
        run(&bench, shell, &[write]).success();
        let shown = printed(run(&bench, shell, &["printf '%s\\n' \"$NEW\" \"$OLD\" \"$LAST\""]));
        assert_eq!(shown, [r"a b=c \n $HOME", "changed", "1"], "{shell:?}");
        bench.run(shell, |context| prepare(context, "host")).success();
        assert_eq!(printed(run(&bench, shell, &["echo \"$OLD\""])), ["from GitLab"], "{shell:?}");
    }
}

#[test]
fn the_runners_own_scripts_surround_the_step_and_the_last_needs_success() {
    for shell in SHELLS {
        let mut bench = Bench::new(json!([]));
        bench.fixture.settings.pre_build_script = "export X=pre".to_owned();
        bench.fixture.settings.post_build_script = "echo post $X".to_owned();
        assert_eq!(printed(run(&bench, shell, &["echo $X", "X=step"])), ["pre", "post step"], "{shell:?}");
        assert!(!run(&bench, shell, &["false"]).text().contains("post"), "{shell:?}");
    }
}

#[test]
fn the_after_script_is_a_process_of_its_own() {
    for shell in SHELLS {
        let mut bench = Bench::new(json!([]));
        bench.fixture.job.steps = vec![
            script(&["X=1"]),
            Step {
                name: "after_script".to_owned(),
                script: vec!["echo \"X=$X $CI_JOB_STATUS\"".to_owned()],
                ..Step::default()
            },
        ];
        let shown = printed(bench.run(shell, |context| after_script(context).unwrap()));
        assert_eq!(shown, ["\x1b[32;1mRunning after script...\x1b[0;m", "X= running"], "{shell:?}");
    }
    assert!(Bench::new(json!([])).has_no_after_script());
}

impl Bench {
    fn has_no_after_script(&self) -> bool {
        let mut none = false;
        self.run(&["sh"], |context| {
            none = after_script(context).is_none() && step(context, &script(&[])).is_none();
            prepare(context, "host")
        });
        none
    }
}

#[test]
fn commands_of_the_release_step_are_expanded_before() {
    let bench = Bench::new(json!([{"key": "NAME", "value": "v1"}]));
    let release = Step { name: "release".to_owned(), script: vec!["echo '$NAME $$'".to_owned()], ..Step::default() };
    let shown = bench.run(&["sh"], |context| step(context, &release).unwrap()).success();
    assert_eq!(shown, "\x1b[32;1m$ echo 'v1 $'\x1b[0;m\nv1 $\n");
}

#[test]
fn debug_trace_shows_the_commands() {
    each(&json!([{"key": "CI_DEBUG_TRACE", "value": "true"}]), &["echo traced"], |ran, shell| {
        assert!(ran.stderr.contains("echo traced"), "{shell}: {}", ran.stderr);
    });
}

#[test]
fn a_terminated_shell_ends_with_1() {
    each(&json!([]), &["kill -TERM $$"], |ran, shell| {
        assert_eq!(ran.code, Some(1), "{shell}");
    });
}

#[test]
fn prepare_names_container_and_host_and_cleanup_removes_what_held_variables() {
    for shell in SHELLS {
        let bench = Bench::new(json!([{"key": "F", "value": "secret", "file": true}]));
        let shown = bench.run(shell, |context| prepare(context, "the 'host'")).success();
        assert!(shown.starts_with("Running on ") && shown.ends_with(" via the 'host'...\n"), "{shown}");
        run(&bench, shell, &["echo A=1 >> $GITLAB_ENV"]).success();
        assert_eq!(bench.run(shell, cleanup).success(), "");
        let left: Vec<_> = std::fs::read_dir(bench.tmp()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[test]
fn what_the_helper_makes_anybody_may_write() {
    let bench = Bench::new(json!([{"key": "F", "value": "x", "file": true}, {"key": "GIT_STRATEGY", "value": "none"}]));
    std::fs::remove_dir(bench.project()).unwrap();
    bench.run(&["bash"], |context| super::super::get_sources(context).unwrap()).success();
    let mode = |path: std::path::PathBuf| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(bench.project()), mode(bench.tmp()), mode(bench.tmp().join("F"))), (0o777, 0o777, 0o666));
}

#[test]
fn the_text_of_a_step() {
    let mut bench = Bench::new(json!([]));
    bench.fixture.settings.builds_dir = "/builds".to_owned();
    let directories = bench.directories();
    let variables = crate::variables::Variables::compose(&bench.fixture.inputs(), &directories, None);
    let (settings, _) = crate::variables::JobSettings::read(&variables, &bench.fixture.job);
    let inputs = bench.fixture.inputs();
    let context = super::Context {
        inputs,
        variables: &variables,
        settings: &settings,
        directories: &directories,
        correlation_id: "",
    };
    let text = step(&context, &script(&["make", "echo 'done'\nexit"])).unwrap().text().to_owned();
    let shown: Vec<_> =
        text.lines().filter(|line| !line.starts_with("export FF_") && !line.contains("VERSION")).collect();
    insta::assert_snapshot!(shown.join("\n"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn any_value_is_printed_back_as_it_is(value in "\\PC{0,40}|[\\x01-\\x7f]{0,40}|['\"\\\\$`\n ]{0,20}") {
        let variables = json!([
            {"key": "V", "value": value, "raw": true},
            {"key": "F", "value": value, "raw": true, "file": true},
        ]);
        for shell in SHELLS {
            let bench = Bench::new(variables.clone());
            let ran = run(&bench, shell, &["printf '%s' \"$V\" > value"]);
            prop_assert_eq!(ran.code, Some(0));
            prop_assert_eq!(std::fs::read(bench.project().join("value")).unwrap(), value.as_bytes());
            prop_assert_eq!(std::fs::read(bench.tmp().join("F")).unwrap(), value.as_bytes());
        }
    }
}
