//! Runs a check of a test with the settings of the environment, and panics with a report.

use std::{env, path::Path};

use super::{
    App, EnvironmentError, Explored, Failure, Host, Options, Sim, environment::Environment,
    explore, repro::Repro,
};
use crate::duration;

/// Runs an application on simulated nodes, once for each seed, and fails with a report if a
/// property does not hold or anything panics. See the [module](self::super) for an example, and for
/// what the environment decides.
///
/// `name` should be the name of the test: the report ends with a command that runs it again. `make`
/// makes the application of each process, also of those that follow a crash.
///
/// # Panics
///
/// If a run fails, if a variable of the environment has no meaning, or if the options ask for what
/// cannot be run: see [`explore`].
#[track_caller]
pub fn check<A: App>(
    name: &str,
    options: Options,
    make: impl Fn(&Host) -> A + 'static,
    body: impl Fn(&mut Sim<A>),
) {
    let var = |name: &str| Some(env::var_os(name)?.to_string_lossy().into_owned());
    let checked = check_with(var, name, options, make, body);
    match checked {
        Ok(explored) => println!("{name}: {explored}"),
        Err(Unchecked::Environment(error)) => panic!("{name}: {error}"),
        Err(Unchecked::Failed(failure)) => panic!("{failure}"),
    }
}

/// Why there is nothing good to say.
#[derive(Debug)]
enum Unchecked {
    Environment(EnvironmentError),
    Failed(Box<Failure>),
}

fn check_with<A: App>(
    var: impl Fn(&str) -> Option<String>,
    name: &str,
    mut options: Options,
    make: impl Fn(&Host) -> A + 'static,
    body: impl Fn(&mut Sim<A>),
) -> Result<Explored, Unchecked> {
    let environment = Environment::read(&var).map_err(Unchecked::Environment)?;
    let repro = environment.repro.as_deref();
    let repro = repro
        .map(|path| Repro::read_of(path, name, &options))
        .transpose();
    let repro = repro.map_err(Unchecked::Environment)?;
    if let Some(seeds) = environment.seeds.clone() {
        options.seeds = seeds;
    }
    if let Some(storm) = environment.storm {
        options.storm = storm;
    }
    if let Some(repro) = &repro {
        options.seeds = repro.scenario.seed..repro.scenario.seed + 1;
        options.plan = Some(repro.scenario.plan.clone());
    }
    explore(name, &options, make, body).map_err(|mut failure| {
        failure.note = repro.map(|repro| repro.compare(&failure));
        let test = test_command(name, var("CARGO_PKG_NAME").as_deref());
        failure.commands = commands(&failure, &environment, &test);
        Unchecked::Failed(failure)
    })
}

/// Returns the command that runs the test. `cargo test` in a workspace needs the package.
fn test_command(name: &str, package: Option<&str>) -> String {
    let package = package.map_or_else(String::new, |package| format!(" -p {package}"));
    format!("cargo test{package} {}", quoted(name))
}

/// Returns the commands that run the failure again.
fn commands(failure: &Failure, environment: &Environment, test: &str) -> Vec<String> {
    if let Some(path) = &environment.repro {
        return vec![format!("SIM_REPRO={} {test}", quoted_path(path))];
    }
    let time = environment.storm.map(duration::text);
    let time = time.map_or_else(String::new, |time| format!("SIM_TIME={time} "));
    let by_seed = format!("SIM_SEED={} {time}{test}", failure.seed);
    match Repro::of(failure).save() {
        Ok(path) => vec![by_seed, format!("SIM_REPRO={} {test}", quoted_path(&path))],
        Err(error) => vec![
            by_seed,
            format!("(the run could not be written down: {error})"),
        ],
    }
}

fn quoted_path(path: &Path) -> String {
    quoted(&path.display().to_string())
}

/// As a shell takes it for one word.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./:+@,".contains(c);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{
        app::{Context, Input},
        ms, secs,
    };

    #[test]
    fn a_file_plays_the_very_same_run_though_other_faults_are_drawn() {
        let failure = failed(&[("SIM_SEED", "7")], Options::nodes(2));
        let path = path_in(&failure);
        let env = [("SIM_REPRO", path.as_str())];
        // As if this crate had come to draw other faults.
        let again = failed(&env, Options::nodes(2).seeds(1..2).only([]));
        assert_eq!(
            (again.hash, again.at, again.seed),
            (failure.hash, failure.at, 7)
        );
        assert_eq!(again.plan, failure.plan);
        let note = again.note.as_deref();
        assert_eq!(
            note,
            Some("this is the run that was recorded, to the last byte")
        );
        assert_eq!(
            again.commands,
            [format!("SIM_REPRO={path} cargo test -p shop noisy")]
        );
    }

    #[test]
    fn a_file_of_other_code_says_so() {
        let failure = failed(&[("SIM_SEED", "8")], Options::nodes(2));
        let path = path_in(&failure);
        let config = quicpool_core::Config::default();
        let mut slower = config.clone();
        slower.batch_messages_max = 1;
        let env = [("SIM_REPRO", path.as_str())];
        let again = failed(&env, Options::nodes(2).path(crate::Path::lte()));
        let note = again.note.expect("there is one");
        assert!(note.starts_with("this is not quite the run"), "{note}");
    }

    #[test]
    fn a_file_that_does_not_fit_is_an_error() {
        let failure = failed(&[("SIM_SEED", "9")], Options::nodes(2));
        let path = path_in(&failure);
        let other = path.replace("noisy", "spoilt");
        let text = fs::read_to_string(&path).unwrap();
        let spoil = |from: &str, to: &str| fs::write(&other, text.replace(from, to)).unwrap();
        let mut complaints = Vec::new();
        complaints.push(complaint(&[("SIM_REPRO", &path)], Options::nodes(3)));
        spoil("\"noisy\"", "\"quiet\"");
        complaints.push(complaint(&[("SIM_REPRO", &other)], Options::nodes(2)));
        spoil("\"format\": 1", "\"format\": 0");
        complaints.push(complaint(&[("SIM_REPRO", &other)], Options::nodes(2)));
        spoil("\"seed\"", "\"sead\"");
        complaints.push(complaint(&[("SIM_REPRO", &other)], Options::nodes(2)));
        fs::remove_file(&other).unwrap();
        complaints.push(complaint(&[("SIM_REPRO", &other)], Options::nodes(2)));
        let expected = [
            "one of 2",
            "\"quiet\"",
            "format is 0",
            "sead",
            "No such file",
        ];
        for (complaint, part) in complaints.iter().zip(expected) {
            assert!(complaint.starts_with("SIM_REPRO is "), "{complaint}");
            assert!(complaint.contains(part), "{part} is not in {complaint}");
        }
    }

    #[test]
    fn the_environment_decides_seeds_and_time() {
        let failure = failed(
            &[("SIM_SEEDS", "40..50"), ("SIM_TIME", "2s")],
            Options::nodes(2),
        );
        assert_eq!((failure.seed, failure.plan.storm), (40, secs(2)));
        let command = "SIM_SEED=40 SIM_TIME=2s cargo test -p shop noisy";
        assert_eq!(failure.commands[0], command);
        assert_eq!(
            complaint(&[("SIM_SEEDS", "many")], Options::nodes(2)),
            "SIM_SEEDS is \"many\"; allowed is a count such as 200, which is 0..200, or a range \
             such as 100..200 that holds at least one seed"
        );
    }

    #[test]
    fn words_are_quoted_for_a_shell() {
        assert_eq!(quoted("a::b-1"), "a::b-1");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
    }

    /// Sends to all peers, all the time.
    #[derive(Debug)]
    struct Noisy;

    impl App for Noisy {
        fn handle(&mut self, input: Input<'_>, cx: &mut Context<'_>) {
            if matches!(input, Input::Started | Input::Timer(_)) {
                for peer in &cx.host.peers {
                    cx.send(*peer, "noise");
                }
                cx.set_timer("more", ms(1 + cx.host.random() % 300));
            }
        }
    }

    fn run(env: &[(&str, &str)], options: Options) -> Unchecked {
        let var = |name: &str| match name {
            "CARGO_PKG_NAME" => Some("shop".to_owned()),
            name => {
                let found = env.iter().find(|(variable, _)| *variable == name);
                found.map(|(_, value)| (*value).to_owned())
            }
        };
        let checked = check_with(
            var,
            "noisy",
            options,
            |_| Noisy,
            |sim| {
                sim.storm();
                sim.eventually("it is quiet", secs(20), |_| false);
            },
        );
        checked.expect_err("it is never quiet")
    }

    fn failed(env: &[(&str, &str)], options: Options) -> Failure {
        match run(env, options) {
            Unchecked::Failed(failure) => *failure,
            Unchecked::Environment(error) => panic!("{error}"),
        }
    }

    fn complaint(env: &[(&str, &str)], options: Options) -> String {
        match run(env, options) {
            Unchecked::Failed(failure) => panic!("{failure}"),
            Unchecked::Environment(error) => error.to_string(),
        }
    }

    /// The path in the last command.
    fn path_in(failure: &Failure) -> String {
        let command = failure.commands.last().expect("there is one");
        let word = command.split(' ').next().expect("there is one");
        word.strip_prefix("SIM_REPRO=")
            .expect("it names a file")
            .to_owned()
    }
}
