//! The bugs that the simulator is tried with can be planted: see `src/bin/mutants.rs`.

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::Value;

#[test]
fn each_mutant_changes_one_place_of_the_core_or_the_driver() {
    let mutants: Vec<Value> = serde_json::from_str(include_str!("../mutants.json")).expect("JSON");
    assert!(mutants.len() >= 20, "{} mutants", mutants.len());
    let mut names = BTreeSet::new();
    for mutant in &mutants {
        let text = |key: &str| {
            mutant[key]
                .as_str()
                .unwrap_or_else(|| panic!("{key} of {mutant}"))
        };
        let (name, find) = (text("name"), text("find"));
        let file = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("..")
            .join(text("file"));
        let is_ours = ["core/src/", "driver/src/"]
            .iter()
            .any(|dir| text("file").starts_with(dir));
        assert!(is_ours, "{name}");
        let source = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(
            source.matches(find).count(),
            1,
            "{name}: {find:?} in {}",
            file.display()
        );
        assert_ne!(find, text("replace"), "{name}");
        assert!(names.insert(name), "two are called {name}");
    }
}

#[test]
fn each_test_that_finds_a_mutant_exists() {
    let mutants: Vec<Value> = serde_json::from_str(include_str!("../mutants.json")).expect("JSON");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let tests: Vec<Vec<&str>> = mutants
        .iter()
        .filter_map(|mutant| mutant["by"]["test"].as_array())
        .map(|words| words.iter().filter_map(Value::as_str).collect())
        .collect();
    assert!(!tests.is_empty());
    for test in tests {
        let (crate_dir, sources) = match test[..] {
            ["-p", "quicpool-core", "--lib", _] => ("core/src", String::new()),
            ["-p", "quicpool-sim", "--test", target, _] => ("sim/tests", format!("{target}/")),
            _ => panic!("{test:?} is neither of the core nor of the simulator"),
        };
        let path: Vec<&str> = test[test.len() - 1].split("::").collect();
        let (name, modules) = path.split_last().expect("a name");
        let modules: Vec<&str> = modules.iter().copied().filter(|m| *m != "tests").collect();
        let file = root
            .join(crate_dir)
            .join(format!("{sources}{}", modules.join("/")));
        let candidates = [
            file.with_extension("rs"),
            file.join("mod.rs"),
            file.join("tests.rs"),
        ];
        let is_there = candidates.iter().any(|file| {
            let source = fs::read_to_string(file).unwrap_or_default();
            source.contains(&format!("fn {name}("))
        });
        assert!(is_there, "{test:?} in one of {candidates:?}");
    }
}
