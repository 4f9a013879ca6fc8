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
