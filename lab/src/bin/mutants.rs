//! Does the simulator find bugs? Plants known ones in the core and the driver, one after the other, and looks.
//!
//! Each entry of `lab/mutants.json` is a small change to one file. It is made in a copy of the
//! sources; then `qsim run` has a minute of worlds to find it, and `qsim shrink` makes the world
//! that failed small. A bug that is not found, or in a large world only, fails the program.
//!
//! An entry may name what finds it: `"by": "strangers"` has strangers in the worlds, and
//! `"by": {"test": ["-p", "quicpool-core", "--lib", "name"]}` runs that test in place of worlds.
//!
//! Exits with 0 if all are found, 1 if not, or if something is in the way.

use std::{
    ffi::OsString,
    fmt, fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use clap::Parser;
use serde::Deserialize;

/// What the last world may take that was begun in time.
const GRACE: Duration = Duration::from_secs(30);
/// More than a budget is enough for.
const WORLDS: &str = "0..1000000000";
/// Operations that a shrunk world may have.
const OPERATIONS_MAX: usize = 10;

#[derive(Parser)]
#[command(
    about = "Plants bugs in the core and the driver, and shows that worlds or a test find each of them"
)]
struct Options {
    /// Only mutants whose name contains this
    #[arg(long)]
    only: Option<String>,
    /// Only this many, others with every commit
    #[arg(long)]
    rotate: Option<usize>,
    /// The mutants
    #[arg(long, default_value = "lab/mutants.json")]
    file: PathBuf,
    /// Seconds of worlds for each, and as many for shrinking
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    budget: u32,
    /// Where the copy of the sources and its builds are kept
    #[arg(long, default_value = "target/mutants")]
    dir: PathBuf,
}

/// A bug to plant.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Mutant {
    name: String,
    /// From the root of the repository.
    file: PathBuf,
    /// Occurs exactly once in the file.
    find: String,
    replace: String,
    #[serde(default)]
    by: Finder,
}

/// What finds a bug.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Finder {
    #[default]
    Worlds,
    /// Worlds with strangers.
    Strangers,
    /// A test, as `cargo test` is given it.
    Test(Vec<String>),
}

/// The fate of a mutant.
enum Verdict {
    Found {
        /// The property that did not hold, or the panic.
        failure: String,
        operations: usize,
    },
    FoundByTest,
    /// It does not compile: what it is to replace has changed.
    NotBuilt,
    Missed,
    /// The program of worlds died before it had written what it found.
    Aborts,
    /// Something was found, and could not be made smaller since a world does not end.
    Hangs,
}

fn main() -> ExitCode {
    match try_all(&Options::parse()) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(missed) => {
            eprintln!("mutants: {missed} not found, or not in a small world");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("mutants: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Tries the mutants that the options name; how many were not found as they should be.
fn try_all(options: &Options) -> Result<usize, String> {
    let mutants = choose(read(&options.file)?, options)?;
    let tree = Tree::copy(&options.dir)?;
    let mut missed = 0;
    for (number, mutant) in mutants.iter().enumerate() {
        eprintln!("{} of {}: {}", number + 1, mutants.len(), mutant.name);
        let began = Instant::now();
        let verdict = tree.hunt(mutant, options.budget)?;
        missed += usize::from(!verdict.is_good());
        let seconds = began.elapsed().as_secs();
        println!("{}: {verdict} ({seconds} s)", mutant.name);
    }
    Ok(missed)
}

fn read(file: &Path) -> Result<Vec<Mutant>, String> {
    let text = fs::read_to_string(file).map_err(|error| about(file, &error))?;
    serde_json::from_str(&text).map_err(|error| about(file, &error))
}

fn choose(mut mutants: Vec<Mutant>, options: &Options) -> Result<Vec<Mutant>, String> {
    if let Some(part) = &options.only {
        mutants.retain(|mutant| mutant.name.contains(part.as_str()));
    }
    if mutants.is_empty() {
        return Err("no mutant is called so".to_owned());
    }
    if let Some(count) = options.rotate {
        let commits = run(Command::new("git").args(["rev-list", "--count", "HEAD"]))?;
        let commits: usize = commits.trim().parse().unwrap_or(0);
        let len = mutants.len();
        mutants.rotate_left(commits * count % len);
        mutants.truncate(count);
    }
    Ok(mutants)
}

/// A copy of the sources that may be changed.
struct Tree {
    dir: PathBuf,
}

impl Tree {
    /// Copies what git knows, and what it would take. Files that are as they were keep their age,
    /// so that little is built anew.
    fn copy(dir: &Path) -> Result<Self, String> {
        let files = run(Command::new("git").args([
            "ls-files",
            "--cached",
            "--others",
            "--exclude-standard",
        ]))?;
        fs::create_dir_all(dir).map_err(|error| about(dir, &error))?;
        let dir = dir.canonicalize().map_err(|error| about(dir, &error))?;
        let dir = dir.join("tree");
        for file in files.lines().map(Path::new).filter(|file| file.exists()) {
            let bytes = fs::read(file).map_err(|error| about(file, &error))?;
            write_if_changed(&dir.join(file), &bytes)?;
        }
        Ok(Self { dir })
    }

    /// Plants a bug, looks for it, and takes it out again.
    fn hunt(&self, mutant: &Mutant, budget: u32) -> Result<Verdict, String> {
        let file = self.dir.join(&mutant.file);
        let sound = fs::read_to_string(&file).map_err(|error| about(&file, &error))?;
        if sound.matches(&mutant.find).count() != 1 {
            return Err(format!(
                "{}: what is to be found occurs {} times in {}, and once is allowed",
                mutant.name,
                sound.matches(&mutant.find).count(),
                mutant.file.display()
            ));
        }
        let mutated = sound.replace(&mutant.find, &mutant.replace);
        write_if_changed(&file, mutated.as_bytes())?;
        let verdict = match &mutant.by {
            Finder::Test(test) => self.test(test),
            Finder::Worlds => self.build_and_look(budget, &[]),
            Finder::Strangers => self.build_and_look(budget, &["--strangers"]),
        };
        write_if_changed(&file, sound.as_bytes())?;
        verdict
    }

    fn cargo(&self, arguments: &[&str]) -> Command {
        let mut cargo = Command::new("cargo");
        cargo.args(arguments).args(["--quiet", "--locked"]);
        cargo.args(["--target-dir", "../target"]);
        // A mutant may leave something unused.
        cargo.env("RUSTFLAGS", "-Awarnings");
        cargo.current_dir(&self.dir);
        cargo
    }

    /// Whether a test fails.
    fn test(&self, test: &[String]) -> Result<Verdict, String> {
        let Some((name, target)) = test.split_last() else {
            return Err("a test has no name".to_owned());
        };
        let mut cargo = self.cargo(&["test"]);
        cargo.args(target);
        if run(cargo.arg("--no-run")).is_err() {
            return Ok(Verdict::NotBuilt);
        }
        let mut cargo = self.cargo(&["test"]);
        cargo.args(target).args([name, "--", "--exact"]);
        cargo.stdout(Stdio::null()).stderr(Stdio::null());
        let ran = cargo.status();
        let ran = ran.map_err(|error| format!("cargo cannot be run: {error}"))?;
        Ok(match ran.success() {
            true => Verdict::Missed,
            false => Verdict::FoundByTest,
        })
    }

    fn build_and_look(&self, budget: u32, worlds: &[&str]) -> Result<Verdict, String> {
        match self.build() {
            Ok(()) => self.look(budget, worlds),
            Err(error) => {
                eprintln!("{error}");
                Ok(Verdict::NotBuilt)
            }
        }
    }

    fn build(&self) -> Result<(), String> {
        let mut cargo = self.cargo(&["build", "--release"]);
        cargo.args(["-p", "quicpool-lab", "--bin", "qsim"]);
        // What is built for a minute should not take two.
        cargo.env("CARGO_PROFILE_RELEASE_LTO", "off");
        cargo.env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16");
        cargo.env("CARGO_PROFILE_RELEASE_INCREMENTAL", "true");
        run(&mut cargo).map(drop)
    }

    fn look(&self, budget: u32, worlds: &[&str]) -> Result<Verdict, String> {
        let repros = self.dir.join("../repros");
        // What an earlier mutant has left would be taken for this one's.
        let _ = fs::remove_dir_all(&repros);
        let run = [
            "run",
            "--seeds",
            WORLDS,
            "--fail-fast",
            "--out",
            "../repros",
        ];
        let worlds = [&run, worlds].concat();
        // One that hangs may have found something on another core before.
        let ran = self.qsim(&worlds, budget)?;
        match ran {
            Some(status) if status.success() => return Ok(Verdict::Missed),
            None if !repros.exists() => return Ok(Verdict::Missed),
            Some(_) if !repros.exists() => return Ok(Verdict::Aborts),
            Some(_) | None => {}
        }
        let found = Path::new("../repros").join(first_file(&repros)?);
        let found = found.to_str().ok_or("the name of a repro is not text")?;
        let small = "../repros/small.json";
        if self
            .qsim(&["shrink", found, "--out", small], budget)?
            .is_none()
        {
            return Ok(Verdict::Hangs);
        }
        let small = self.dir.join(small);
        let text = fs::read_to_string(&small).map_err(|error| about(&small, &error))?;
        let repro: serde_json::Value =
            serde_json::from_str(&text).map_err(|error| about(&small, &error))?;
        let operations = repro["scenario"]["steps"].as_array().map(Vec::len);
        Ok(Verdict::Found {
            failure: repro["failure"].to_string(),
            operations: operations.ok_or("the repro has no steps")?,
        })
    }

    /// How `qsim` ends, or nothing if it does not: a bug may be a loop without end.
    fn qsim(&self, arguments: &[&str], budget: u32) -> Result<Option<ExitStatus>, String> {
        let mut qsim = Command::new(self.dir.join("../target/release/qsim"));
        qsim.current_dir(&self.dir)
            .args(arguments)
            .args(["--budget", &format!("{budget}s")])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let cannot = |error| format!("qsim cannot be run: {error}");
        let mut child = qsim.spawn().map_err(cannot)?;
        let end = Instant::now() + Duration::from_secs(budget.into()) + GRACE;
        while Instant::now() < end {
            if let Some(status) = child.try_wait().map_err(cannot)? {
                return Ok(Some(status));
            }
            thread::sleep(Duration::from_millis(50));
        }
        child.kill().and_then(|()| child.wait()).map_err(cannot)?;
        Ok(None)
    }
}

impl Verdict {
    fn is_good(&self) -> bool {
        match self {
            Self::Found { operations, .. } => *operations <= OPERATIONS_MAX,
            Self::FoundByTest => true,
            Self::NotBuilt | Self::Missed | Self::Aborts | Self::Hangs => false,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotBuilt => write!(f, "NOT BUILT"),
            Self::Missed => write!(f, "NOT FOUND"),
            Self::FoundByTest => write!(f, "found by its test"),
            Self::Aborts => write!(f, "found, and ABORTS before it is written"),
            Self::Hangs => write!(f, "found, and HANGS when it is made smaller"),
            Self::Found {
                failure,
                operations,
            } => write!(f, "found by {failure} in {operations} operations"),
        }
    }
}

/// Leaves a file alone that holds these bytes already: cargo goes by its age.
fn write_if_changed(file: &Path, bytes: &[u8]) -> Result<(), String> {
    if fs::read(file).is_ok_and(|present| present == bytes) {
        return Ok(());
    }
    let dir = file.parent().unwrap_or(file);
    fs::create_dir_all(dir).map_err(|error| about(dir, &error))?;
    fs::write(file, bytes).map_err(|error| about(file, &error))
}

fn first_file(dir: &Path) -> Result<OsString, String> {
    let mut entries = fs::read_dir(dir).map_err(|error| about(dir, &error))?;
    let first = entries.next().and_then(Result::ok);
    first
        .map(|entry| entry.file_name())
        .ok_or_else(|| format!("{}: qsim has failed and left no repro", dir.display()))
}

/// Runs a command, and returns its output if it succeeds.
fn run(command: &mut Command) -> Result<String, String> {
    let output = command.stderr(Stdio::inherit()).output();
    let output = output.map_err(|error| format!("{command:?}: {error}"))?;
    if !output.status.success() {
        return Err(format!("{command:?}: {}", output.status));
    }
    String::from_utf8(output.stdout).map_err(|error| format!("{command:?}: {error}"))
}

fn about(path: &Path, error: &dyn fmt::Display) -> String {
    format!("{}: {error}", path.display())
}
