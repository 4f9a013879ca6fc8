//! Lists the rows of the slot table (`core/src/slots/table.rs`) that the worlds use that have failed once.

use std::{
    collections::BTreeSet,
    env,
    fmt::{self, Write},
    fs,
    path::Path,
    sync::{Arc, Mutex},
};

use quicpool_lab::swarm::Repro;
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

/// `GOLDEN=write cargo test -p quicpool-lab --test slot_rows` writes the rows anew.
#[test]
fn worlds_use_the_rows_that_are_written_down() {
    let repros = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/repros"));
    let mut used = String::new();
    for name in names(repros) {
        let repro = Repro::read(&repros.join(&name)).expect("it is a repro");
        let rows = Rows::default();
        tracing::subscriber::with_default(rows.clone(), || repro.scenario.run());
        writeln!(used, "{name}").expect("a string takes everything");
        for row in rows.0.lock().expect("no panic before").iter() {
            writeln!(used, "    {row}").expect("a string takes everything");
        }
    }
    println!("{used}");
    let file = repros.join("slot-rows.txt");
    if env::var("GOLDEN").is_ok_and(|what| what == "write") {
        fs::write(file, used).expect("the file can be written");
        return;
    }
    let written = fs::read_to_string(file).expect("it is written down");
    assert_eq!(used, written);
}

fn names(repros: &Path) -> Vec<String> {
    let entries = fs::read_dir(repros).expect("it is a folder");
    let names = entries.map(|entry| entry.expect("it can be read").file_name());
    let names = names.filter_map(|name| name.into_string().ok());
    let mut names: Vec<String> = names.filter(|name| name.ends_with(".json")).collect();
    names.sort();
    assert!(!names.is_empty(), "there are repros");
    names
}

/// Collects the rows by which slots are taken.
#[derive(Clone, Default)]
struct Rows(Arc<Mutex<BTreeSet<String>>>);

impl Subscriber for Rows {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "quicpool_core::slots"
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        event.record(&mut Row(self));
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

struct Row<'a>(&'a Rows);

impl Visit for Row<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "row" {
            let mut rows = self.0.0.lock().expect("no panic before");
            rows.insert(format!("{value:?}"));
        }
    }
}
