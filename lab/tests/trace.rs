//! `qsim trace`: where it writes to, and its errors; and records of worlds.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Command, Output, Stdio},
};

use quicpool_lab::swarm::Scenario;
use quicpool_sim::trace::Recorder;

#[test]
fn a_world_goes_the_same_way_with_and_without_a_record() {
    for seed in 0..20 {
        let scenario = Scenario::draw(seed);
        let recorded = scenario.run_recorded(&Recorder::new());
        assert_eq!(recorded.hash, scenario.run().hash);
    }
}

#[test]
fn a_page_a_chart_and_lines_are_written() {
    let dir = env!("CARGO_TARGET_TMPDIR");
    let page = format!("{dir}/seed-3.html");
    let written = qsim(&["3", "--html", &page]);
    assert!(written.status.success(), "{written:?}");
    assert!(
        text(&written.stderr).contains("datagrams, 0 violations"),
        "{written:?}"
    );
    let page = fs::read_to_string(page).expect("it has been written");
    assert!(page.contains("<title>world 3 · quicpool</title>"));
    assert_eq!(text(&qsim(&["3", "--html", "-"]).stdout), page);

    let chart = qsim(&["3", "--text"]);
    assert!(text(&chart.stdout).starts_with("world 3: "), "{chart:?}");
    assert_eq!(
        chart.stdout,
        qsim(&["3"]).stdout,
        "a chart is what you get unasked"
    );
    let lines = qsim(&["3", "--jsonl"]);
    assert!(
        text(&lines.stdout)
            .lines()
            .all(|line| line.starts_with('{')),
        "{lines:?}"
    );

    let early = text(&qsim(&["3", "--jsonl", "--until", "500ms"]).stdout)
        .lines()
        .count();
    assert!(early < text(&lines.stdout).lines().count());
}

#[test]
fn errors_are_clear_and_exit_with_1() {
    for (arguments, error) in [
        (
            &["3", "--html", "/no/such/directory/page.html"][..],
            "/no/such/directory/page.html: ",
        ),
        (&["no-such-file"], "no-such-file: "),
    ] {
        let output = qsim(arguments);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(
            text(&output.stderr).starts_with(&format!("qsim: {error}")),
            "{output:?}"
        );
        assert!(!text(&output.stderr).contains("panicked"), "{output:?}");
    }
    let both = qsim(&["3", "--text", "--jsonl"]);
    assert_eq!(both.status.code(), Some(1), "{both:?}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error() {
    let output = qsim(&["3", "--html", "/dev/full"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(
        text(&output.stderr).starts_with("qsim: /dev/full: "),
        "{output:?}"
    );
}

#[test]
fn a_reader_that_goes_away_is_none() {
    let mut child = command(&["42", "--jsonl"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("qsim is there");
    let mut line = String::new();
    let mut stdout = BufReader::with_capacity(64, child.stdout.take().expect("it is piped"));
    stdout.read_line(&mut line).expect("there is a line");
    drop(stdout);
    let output = child.wait_with_output().expect("it ends");
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{output:?}"
    );
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_qsim"));
    command.arg("trace").args(arguments);
    command
}

fn qsim(arguments: &[&str]) -> Output {
    command(arguments).output().expect("qsim is there")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("qsim writes text")
}
