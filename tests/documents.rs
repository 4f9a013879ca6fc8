//! Facts that are documented in several places are the same in all of them.

use std::{fs, path::Path};

#[test]
fn the_ways_to_end_are_one_table() {
    let [guide, machine, handle] = [
        "docs/endings.md",
        "core/src/manager/mod.rs",
        "driver/src/manager.rs",
    ]
    .map(table);
    assert_eq!(guide.len(), 8, "a header, a line, and six ways");
    assert_eq!(machine, guide);
    assert_eq!(handle, guide);
}

/// The rows of the table whose first column is `way`.
fn table(file: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let text = fs::read_to_string(path).expect("it is in the repository");
    let lines = text.lines().map(|line| line.trim_start_matches("/// "));
    let rows = lines.skip_while(|line| !line.starts_with("| way |"));
    let rows = rows.take_while(|line| line.starts_with('|'));
    rows.map(str::to_owned).collect()
}
