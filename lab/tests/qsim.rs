//! The program: what it prints, what it writes, and how it exits.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Duration,
};

use quicpool_lab::swarm::{Failure, LinkProfile, Operation, Property, Repro, Scenario, Step};
use quicpool_sim::{Delay, secs};

#[test]
fn a_world_is_told_step_by_step() {
    let output = qsim(&["replay", "7"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let told = text(&output);
    for step in &Scenario::draw(7).steps {
        assert!(told.contains(&step.operation.to_string()), "{told}");
    }
    assert!(told.contains("the core is well again"), "{told}");
    assert!(!told.contains("StatusChanged"), "{told}");
    assert!(text(&qsim(&["replay", "7", "-v"])).contains("StatusChanged"));
}

#[test]
fn a_world_is_left_when_it_is_told_to() {
    let output = qsim(&["replay", "7", "--until", "1500ms"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let told = text(&output);
    assert!(told.contains("the network at 1.5s"), "{told}");
    assert!(!told.contains("the core is well again"), "{told}");
}

#[test]
fn a_world_that_fails_exits_as_it_fails_and_is_made_smaller() {
    let directory = Directory::new("fails");
    let file = directory.write("slow.json", &too_far_apart().to_string());
    let output = qsim(&["replay", &file]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output));
    assert!(text(&output).contains("!!! Converges"), "{}", text(&output));

    let small = directory.path("small.json");
    let output = qsim(&["shrink", &file, "--out", &small]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert!(text(&output).contains(&format!("qsim replay {small}")));
    let shrunk = Repro::read(Path::new(&small)).expect("it was written");
    assert_eq!(shrunk.failure, Failure::Property(Property::Converges));
    let [step] = &shrunk.scenario.steps[..] else {
        panic!("{}", shrunk.scenario);
    };
    assert!(matches!(step.operation, Operation::Send { .. }));
    assert_eq!(qsim(&["replay", &small]).status.code(), Some(3));
}

#[test]
fn a_file_that_is_wrong_is_said_to_be_so() {
    let directory = Directory::new("wrong");
    let good = too_far_apart().to_string();
    let bad = good.replace("\"format\": 1", "\"format\": 7");
    for (file, error) in [
        (
            directory.write("format.json", &bad),
            "format is 7, allowed is 1",
        ),
        (
            directory.write("short.json", &good[..40]),
            "EOF while parsing",
        ),
        (directory.path("none.json"), "No such file"),
    ] {
        let output = qsim(&["replay", &file]);
        assert_eq!(output.status.code(), Some(1), "{}", text(&output));
        let told = text(&output);
        assert!(told.contains(error) && told.contains(&file), "{told}");
    }
}

#[test]
fn a_world_in_which_nothing_fails_is_not_made_smaller() {
    let output = qsim(&["shrink", "7"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("seed 7: nothing fails in it"));
}

#[test]
fn what_is_not_understood_is_no_failure_of_a_world() {
    for arguments in [
        &["run", "--seeds", "9..3"][..],
        &["run", "--jobs", "0"],
        &["run", "--budget", "1h"],
        &["replay"],
        &["dance"],
    ] {
        let output = qsim(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
    let help = qsim(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    assert!(text(&help).contains("130  interrupted"), "{}", text(&help));
}

#[test]
fn the_last_seeds_are_the_end() {
    let seeds = "18446744073709551613..18446744073709551615";
    // A search for a seed after the last would begin anew, and never end.
    let output = qsim(&[
        "run", "--seeds", seeds, "--jobs", "8", "--budget", "60s", "--json",
    ]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    assert_eq!(report["seeds"], 2, "{report}");
}

#[test]
fn a_summary_for_machines_is_one_object() {
    let output = qsim(&["run", "--seeds", "0..2", "--json"]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    for key in [
        "seeds",
        "failures",
        "seeds_per_second",
        "simulated_seconds",
        "faults",
        "marks",
        "hash",
    ] {
        assert!(!report[key].is_null(), "{key} is not in {report}");
    }
    assert_eq!(report["interrupted"], false);
}

#[test]
fn a_smaller_world_is_written_though_nobody_reads_of_it() {
    let directory = Directory::new("unread");
    let file = directory.write("slow.json", &too_far_apart().to_string());
    let small = directory.path("small.json");
    let mut child = Command::new(env!("CARGO_BIN_EXE_qsim"))
        .args(["shrink", &file, "--out", &small])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    drop((child.stdout.take(), child.stderr.take()));
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
    Repro::read(Path::new(&small)).expect("it was written");

    // A file is no directory: what is left of the world is printed, at least.
    let nowhere = format!("{file}/small.json");
    let output = qsim(&["shrink", &file, "--out", &nowhere]);
    assert_eq!(output.status.code(), Some(1));
    let (told, said) = (&output.stdout, &output.stderr);
    assert!(String::from_utf8_lossy(told).contains("Converges: "));
    assert!(String::from_utf8_lossy(said).contains(&nowhere));
}

#[cfg(target_os = "linux")]
#[test]
fn what_cannot_be_printed_or_read_is_said_so() {
    let full = fs::File::create("/dev/full").expect("Linux has it");
    let mut command = Command::new(env!("CARGO_BIN_EXE_qsim"));
    let output = command.args(["replay", "7"]).stdout(full).output();
    let output = output.expect("it runs");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("No space left"), "{}", text(&output));

    let output = qsim(&["replay", "/dev/zero"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("longer than"), "{}", text(&output));
}

#[test]
fn a_difference_between_two_builds_is_found() {
    let directory = Directory::new("compare");
    let [before, after] = ["before.jsonl", "after.jsonl"].map(|name| directory.path(name));
    let write = |file: &str| {
        let output = qsim(&["outcomes", "--seeds", "0..4", "--whole", "--to", file]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    };
    write(&before);
    write(&after);
    let output = qsim(&["compare", &before, &after]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert!(text(&output).contains(" 0 differ"), "{}", text(&output));

    // As of a build with another order of events, one event more, and another counter.
    let written = fs::read_to_string(&after).expect("it was written");
    let planted: Vec<String> = written.lines().map(plant).collect();
    fs::write(&after, planted.join("\n")).expect("it can be written again");
    let output = qsim(&["compare", &before, &after]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    let told = text(&output);
    for line in [
        "seed 3, n1 of n0: events.Planted 0 -> 1; planted none -> 7",
        "seed 3, n0 of n1: order or contents of events event 0 ",
        "       1        1         +1  events.Planted",
        "2 differ, in 1 worlds",
    ] {
        assert!(told.contains(line), "{line} is not in {told}");
    }
}

/// Changes two lines of outcomes, if this is one of them.
fn plant(line: &str) -> String {
    let mut line: serde_json::Value = serde_json::from_str(line).expect("it is JSON");
    match (&line["seed"], &line["node"], &line["peer"]) {
        (seed, node, peer) if *seed == 3 && *node == 1 && *peer == 0 => {
            line["kinds"]["Planted"] = 1.into();
            let metrics = line["metrics"].as_object_mut().expect("it has metrics");
            metrics.insert("planted".into(), "7".into());
        }
        (seed, node, peer) if *seed == 3 && *node == 0 && *peer == 1 => {
            let events = line["sequence"].as_array_mut().expect("it has a sequence");
            events.reverse();
            line["events"] = "0".into();
        }
        _ => {}
    }
    line.to_string()
}

/// Two nodes so far apart that a handshake never ends in time: an honest failure.
fn too_far_apart() -> Repro {
    let mut scenario = Scenario::draw(7);
    scenario.links = LinkProfile::Delay(Delay::Constant(secs(9)));
    scenario.steps.push(Step {
        operation: Operation::Send {
            from: 0,
            to: 1,
            lengths: vec![100],
        },
        pause: Duration::ZERO,
    });
    Repro::new(
        scenario,
        Failure::Property(Property::Converges),
        "they never meet",
    )
}

fn qsim(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_qsim"));
    command.args(arguments).output().expect("it runs")
}

fn text(output: &Output) -> String {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&text).into_owned()
}

/// A directory that is gone with the test.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&directory).expect("the target directory can be written to");
        Self(directory)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    fn write(&self, name: &str, text: &str) -> String {
        fs::write(self.0.join(name), text).expect("the target directory can be written to");
        self.path(name)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
