//! Every file of the corpus is replayed by the functions that libFuzzer calls.

use std::{
    collections::BTreeMap,
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use quicpool_fuzz_targets::TARGETS;

/// Files of the corpus, and their bytes: what a clone brings along.
const FILES_MAX: usize = 600;
const BYTES_MAX: u64 = 1 << 20;

#[test]
fn every_input_of_the_corpus_passes() {
    let mut failed = Vec::new();
    for target in TARGETS {
        let files = inputs(target.name);
        assert!(!files.is_empty(), "{} has no corpus", target.name);
        for file in files {
            let bytes = fs::read(&file).expect("the file is readable");
            let run = AssertUnwindSafe(|| (target.run)(&bytes));
            if catch_unwind(run).is_err() {
                failed.push(file);
            }
        }
    }
    assert!(failed.is_empty(), "these inputs fail: {failed:#?}");
}

#[test]
fn the_corpus_is_small_and_belongs_to_targets() {
    let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
    let (mut seen, mut bytes): (BTreeMap<Vec<u8>, PathBuf>, u64) = (BTreeMap::new(), 0);
    for folder in fs::read_dir(corpus()).expect("there is a corpus") {
        let folder = folder.expect("the folder is readable").file_name();
        let name = folder.to_str().expect("names are ASCII");
        assert!(names.contains(&name), "no target is called {name}");
        for file in inputs(name) {
            let content = fs::read(&file).expect("the file is readable");
            bytes += content.len() as u64;
            let key = [name.as_bytes(), b"/", &content].concat();
            let twin = seen.insert(key, file.clone());
            assert!(twin.is_none(), "{file:?} and {twin:?} are equal");
        }
    }
    assert!(seen.len() <= FILES_MAX, "{} files", seen.len());
    assert!(bytes <= BYTES_MAX, "{bytes} bytes");
}

#[test]
fn every_target_has_a_program() {
    for target in TARGETS {
        let program = root().join(format!("fuzz_targets/{}.rs", target.name));
        let text = fs::read_to_string(&program).expect("the target has a program");
        let name = format!("\"{}\"", target.name);
        assert!(text.contains(&name), "{program:?} runs another target");
    }
}

/// Any bytes at all, so that a target is known to return.
#[test]
fn noise_passes() {
    let mut state = 7u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for target in TARGETS {
        for round in 0..64 {
            let bytes: Vec<u8> = (0..round * 4).map(|_| random() as u8).collect();
            (target.run)(&bytes);
        }
    }
}

fn root() -> PathBuf {
    let targets = Path::new(env!("CARGO_MANIFEST_DIR"));
    targets.parent().expect("it is in `fuzz`").to_owned()
}

fn corpus() -> PathBuf {
    root().join("corpus")
}

fn inputs(name: &str) -> Vec<PathBuf> {
    let Ok(files) = fs::read_dir(corpus().join(name)) else {
        return Vec::new();
    };
    let mut files: Vec<_> = files.flatten().map(|file| file.path()).collect();
    files.sort();
    files
}
