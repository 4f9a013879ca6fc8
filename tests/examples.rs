//! The examples as a user runs them: processes, with their output and exit codes.

use std::{
    env, fs,
    io::{BufRead, BufReader, Read, Write},
    path::PathBuf,
    process::{Child, ChildStderr, Command, Output, Stdio},
    thread,
};

/// Cargo runs the tests of an example only when it is asked to; here its test is one of ours.
#[path = "../examples/register.rs"]
#[expect(dead_code, reason = "the program is run as a process, too")]
mod register;

/// Where cargo puts examples: beside the directory of this program.
fn example(name: &str) -> Command {
    let mut path: PathBuf = env::current_exe().expect("this program has a path");
    path.pop();
    path.pop();
    Command::new(path.join("examples").join(name))
}

/// A listening pipe, and the address that it printed.
fn listen() -> (Child, BufReader<ChildStderr>, String) {
    let mut listener = example("pipe")
        .arg("listen")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the example is built with the tests");
    let mut stderr = BufReader::new(listener.stderr.take().expect("stderr is piped"));
    let mut address = String::new();
    stderr.read_line(&mut address).expect("it prints a line");
    (listener, stderr, address.trim().to_owned())
}

fn send(address: &str) -> Child {
    example("pipe")
        .args(["send", address])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the example is built with the tests")
}

fn interrupt(child: &Child) {
    let status = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(status.expect("there is a kill").success());
}

#[test]
fn hello_says_hello() {
    let output = example("hello").output().unwrap();
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stdout).ends_with("says b\"hello\"\n"));
}

#[test]
fn a_pipe_brings_out_what_went_in() {
    for len in [0, 1, 16 * 1024, 3_000_001] {
        let input: Vec<u8> = (0..len).map(|n: u32| (n / 7 + n) as u8).collect();
        let (mut listener, _stderr, address) = listen();
        let mut sender = send(&address);
        let mut stdin = sender.stdin.take().unwrap();
        let feed = input.clone();
        let feeder = thread::spawn(move || stdin.write_all(&feed).unwrap());
        let mut output = Vec::new();
        let mut stdout = listener.stdout.take().unwrap();
        stdout.read_to_end(&mut output).unwrap();
        feeder.join().unwrap();
        assert!(output == input, "{len} bytes");
        assert_eq!(sender.wait().unwrap().code(), Some(0), "{len} bytes");
        assert_eq!(listener.wait().unwrap().code(), Some(0), "{len} bytes");
    }
}

#[test]
fn an_interrupted_pipe_says_so_at_both_ends() {
    let (mut listener, mut stderr, address) = listen();
    let mut sender = send(&address);
    let mut stdin = sender.stdin.take().unwrap();
    stdin.write_all(b"some of it").unwrap();
    let mut some = [0; 10];
    listener
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut some)
        .unwrap();
    assert_eq!(&some, b"some of it");
    interrupt(&sender);
    assert_eq!(sender.wait().unwrap().code(), Some(130));
    assert_eq!(listener.wait().unwrap().code(), Some(1));
    let mut last = String::new();
    stderr.read_to_string(&mut last).unwrap();
    assert!(last.contains("the other end has left"), "{last}");
}

#[test]
fn a_pipe_survives_ten_cuts_of_its_path() {
    let output = example("cuts")
        .args(["--mib", "5", "--cut", "0.2", "--long-cut", "2"])
        .args(["--liveness-timeout", "1"])
        .output()
        .expect("the example is built with the tests");
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    assert!(stdout.contains("\nequal checksums; "), "{stdout}");
}

#[test]
fn a_receiver_that_crashes_acts_on_each_message_once() {
    let output = example("exactly_once")
        .args(["--messages", "20000", "--crashes", "3"])
        .output()
        .expect("the example is built with the tests");
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    assert!(stdout.contains(": 20000 done, "), "{stdout}");
    assert!(stdout.ends_with("; each once and in order\n"), "{stdout}");
}

#[test]
fn a_pipe_says_what_is_wrong_with_an_option() {
    for (seconds, complaint) in [
        ("soon", "not a number"),
        ("0.5", "liveness_timeout = 500ms is out of range 1s..=600s"),
    ] {
        let output = example("pipe")
            .args(["listen", "--liveness-timeout", seconds])
            .output()
            .expect("the example is built with the tests");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{seconds}");
        assert!(stderr.contains(complaint), "{stderr}");
    }
}

#[test]
fn an_identity_on_disk_comes_back() {
    let path = env::temp_dir().join(format!("quicpool-test-{}", std::process::id()));
    let address = |path: &PathBuf| {
        let mut listener = example("pipe")
            .args(["listen", "--identity"])
            .arg(path)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let stderr = listener.stderr.take().unwrap();
        BufReader::new(stderr).read_line(&mut line).unwrap();
        interrupt(&listener);
        assert_eq!(listener.wait().unwrap().code(), Some(130));
        line.split('@').next().unwrap().to_owned()
    };
    let [first, second] = [address(&path), address(&path)];
    fs::remove_file(&path).unwrap();
    assert_eq!(first, second);
}

/// The program in `docs/simulation.md`, and what its test takes from the environment.
const REGISTER: &str = include_str!("../examples/register.rs");

#[test]
fn the_documents_show_the_register() {
    let begin = REGISTER
        .find("use quicpool::Message")
        .expect("it begins so");
    let end = REGISTER.find("\nfn main").expect("it ends so");
    let shown = REGISTER[begin..end].replace("#[cfg_attr(test, test)]", "#[test]");
    let block = format!("```rust\n{shown}```\n");
    let document = include_str!("../docs/simulation.md");
    assert!(document.contains(&block), "docs/simulation.md: {block}");
    let test = shown.split("#[test]").nth(1).expect("there is a test");
    assert!(test.trim().lines().count() < 20, "{test}");
}

/// The event loop in `docs/event-loop.md` and in the documentation of the machine.
const EVENT_LOOP: &str = include_str!("../examples/event_loop_std.rs");

/// What the example imports for its peers, and the event loop does not need.
const OF_THE_PEERS: [&str; 3] = [
    "    collections::BTreeMap,\n",
    "    sync::atomic::{AtomicBool, Ordering},\n",
    "    thread,\n",
];

#[test]
fn the_documents_show_the_event_loop() {
    let begin = EVENT_LOOP.find("use std::{").expect("it begins so");
    let end = EVENT_LOOP.find("\nconst PEERS").expect("it ends so");
    let shown = OF_THE_PEERS
        .iter()
        .fold(EVENT_LOOP[begin..end].to_owned(), |shown, import| {
            assert!(shown.contains(import), "{import}");
            shown.replace(import, "")
        });
    let document = include_str!("../docs/event-loop.md");
    let block = format!("```rust\n{shown}```\n");
    assert!(document.contains(&block), "docs/event-loop.md: {block}");

    let lines = shown
        .lines()
        .map(|line| format!("//! {line}").trim_end().to_owned() + "\n");
    let block = lines
        .collect::<String>()
        .replace("quicpool::machine", "quicpool_core");
    let rustdoc = include_str!("../core/src/lib.rs");
    assert!(
        rustdoc.contains(&block),
        "core/src/lib.rs should contain: {block}"
    );
}

#[test]
fn event_loops_end_well() {
    for (name, last) in [
        ("event_loop_std", "8 peers in "),
        ("event_loop_mio", "800000 answers to 16 peers in "),
    ] {
        let output = example(name)
            .output()
            .expect("the example is built with the tests");
        let stdout = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{name}: {output:?}");
        let tail = stdout.lines().last().unwrap_or_default();
        assert!(tail.starts_with(last), "{name}: {stdout}");
    }
}

#[test]
fn interrupted_event_loops_close() {
    for (name, last) in [
        ("event_loop_std", "8 peers in "),
        ("event_loop_mio", " undelivered"),
    ] {
        let mut child = example(name)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the example is built with the tests");
        let mut stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let (mut first, mut others) = (String::new(), String::new());
        stdout.read_line(&mut first).expect("it prints a line");
        interrupt(&child);
        stdout.read_to_string(&mut others).expect("it prints text");
        let code = child.wait().expect("it ends").code();
        assert_eq!(code, Some(0), "{name}: {others}");
        // Peers over std deliver what they have accepted first; the server over mio does not answer on.
        let tail = others.lines().last().unwrap_or_default();
        assert!(tail.contains(last), "{name}: {others}");
        assert!(!tail.contains("800000 answers"), "{name}: {others}");
    }
}

#[test]
fn a_simulated_application_runs_the_seeds_that_the_environment_names() {
    for (variable, value, runs) in [
        ("SIM_SEED", "17", "1 run, "),
        ("SIM_SEEDS", "3", "3 runs, "),
        ("SIM_SEEDS", "5..7", "2 runs, "),
    ] {
        let output = register(variable, value);
        let stdout = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{output:?}");
        let begin = format!("registers_agree: {runs}");
        assert!(stdout.starts_with(&begin), "{variable}={value}: {stdout}");
    }
}

#[test]
fn a_variable_that_means_nothing_is_named() {
    for (variable, value) in [
        ("SIM_SEED", "x"),
        ("SIM_SEEDS", "0"),
        ("SIM_TIME", "30"),
        ("SIM_REPRO", "no/such/file"),
    ] {
        let output = register(variable, value);
        assert!(!output.status.success(), "{variable}={value}");
        let stderr = String::from_utf8_lossy(&output.stderr);
        let complaint = format!("registers_agree: {variable} is {value:?}; allowed is ");
        assert!(stderr.contains(&complaint), "{stderr}");
    }
}

fn register(variable: &str, value: &str) -> Output {
    let mut register = example("register");
    for other in ["SIM_SEED", "SIM_SEEDS", "SIM_TIME", "SIM_REPRO"] {
        register.env_remove(other);
    }
    let output = register.env(variable, value).output();
    output.expect("the example is built with the tests")
}

#[test]
fn a_mesh_accounts_for_every_message() {
    let report = mesh(&["--messages", "20000", "--peers", "5"]);
    assert_eq!(report["messages_delivered"], 20_000);
    assert_eq!(report["undelivered"], 0);
}

#[test]
fn a_mesh_names_the_runtimes_that_there_are() {
    let refused = |runtime: &str| {
        let output = example("mesh").args(["--runtime", runtime]).output();
        let output = output.expect("the example is built with the tests");
        assert_eq!(output.status.code(), Some(2), "{runtime}");
        String::from_utf8(output.stderr).expect("it is text")
    };
    let unknown = refused("fibers");
    assert!(unknown.contains("tokio, async-std, smol"), "{unknown}");
    if !cfg!(feature = "smol") {
        let missing = refused("smol");
        assert!(missing.contains("--features smol"), "{missing}");
    }
}

#[test]
fn a_mesh_survives_a_crash() {
    let report = mesh(&["--messages", "20000", "--peers", "4", "--chaos"]);
    assert_eq!(report["messages_sent"], 20_000);
}

#[test]
fn a_mesh_with_few_connections_takes_turns() {
    let report = mesh(&[
        "--messages",
        "5000",
        "--peers",
        "5",
        "--connections-max",
        "2",
    ]);
    assert_eq!(report["messages_delivered"], 5_000);
    assert!(report["connections_peak"].as_u64().unwrap() <= 2);
}

fn mesh(args: &[&str]) -> serde_json::Value {
    let Output {
        status,
        stdout,
        stderr,
    } = example("mesh")
        .args(args)
        .arg("--json")
        .output()
        .expect("the example is built with the tests");
    let stdout = String::from_utf8_lossy(&stdout);
    let stderr = String::from_utf8_lossy(&stderr);
    assert!(status.success(), "{stdout} {stderr}");
    let report: serde_json::Value = serde_json::from_str(&stdout).expect("it prints JSON");
    for key in ["duplicates", "out_of_order", "lost"] {
        assert_eq!(report[key], 0, "{key}");
    }
    report
}
