//! Compares the outcomes of the same worlds in two builds.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    fs::File,
    io::{self, BufRead, BufReader, Write},
    path::{Path, PathBuf},
};

use crate::{
    outcomes::{Line, Place},
    stdout::to_stdout,
};

/// Which files to compare, and how much to print.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// A file that `outcomes` of the one build has written
    before: PathBuf,
    /// A file that `outcomes` of the other build has written, for the same seeds
    after: PathBuf,
    /// Print at most this many lines that differ; the totals are of all
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    show: usize,
}

/// Compares two files, prints what differs, and gives the exit code.
pub(crate) fn compare(options: &Options) -> io::Result<u8> {
    let found = Found::between(read(&options.before)?, read(&options.after)?)?;
    to_stdout(|out| found.print(options.show, out))?;
    Ok(match found.differing.is_empty() {
        true => 0,
        false => 2,
    })
}

fn read(path: &Path) -> io::Result<impl Iterator<Item = io::Result<Line>>> {
    let name = |error| io::Error::other(format!("{}: {error}", path.display()));
    let lines = BufReader::new(File::open(path).map_err(name)?).lines();
    Ok(lines.map(|line| Ok(serde_json::from_str(&line?)?)))
}

/// The differences of two files.
#[derive(Default)]
struct Found {
    /// Lines that both files have.
    compared: usize,
    differing: Vec<(Place, Vec<Difference>)>,
}

/// One thing that differs in a line.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Difference {
    kind: String,
    before: String,
    after: String,
}

impl Found {
    /// Goes through two files at once, both of which are in the order of places.
    fn between(
        before: impl Iterator<Item = io::Result<Line>>,
        after: impl Iterator<Item = io::Result<Line>>,
    ) -> io::Result<Self> {
        let (mut before, mut after) = (before, after);
        let (mut one, mut other) = (before.next().transpose()?, after.next().transpose()?);
        let mut found = Self::default();
        while let Some(place) = one.iter().chain(&other).map(|line| line.place).min() {
            let is_here = |line: &mut Line| line.place == place;
            let pair = (one.take_if(is_here), other.take_if(is_here));
            if pair.0.is_some() {
                one = before.next().transpose()?;
            }
            if pair.1.is_some() {
                other = after.next().transpose()?;
            }
            found.add(place, pair);
        }
        Ok(found)
    }

    fn add(&mut self, place: Place, pair: (Option<Line>, Option<Line>)) {
        let differences = match pair {
            (Some(before), Some(after)) => {
                self.compared += 1;
                differences(&before, &after)
            }
            (before, _) => {
                let [missing, there] = ["missing", "there"].map(str::to_owned);
                let (before, after) = match before {
                    Some(_) => (there, missing),
                    None => (missing, there),
                };
                vec![Difference::new("line", before, after)]
            }
        };
        if !differences.is_empty() {
            self.differing.push((place, differences));
        }
    }

    fn print(&self, show: usize, out: &mut impl Write) -> io::Result<()> {
        for (place, differences) in self.differing.iter().take(show) {
            let texts: Vec<String> = differences.iter().map(Difference::to_string).collect();
            writeln!(out, "{place}: {}", texts.join("; "))?;
        }
        let hidden = self.differing.len().saturating_sub(show);
        if hidden > 0 {
            writeln!(out, "and {hidden} more")?;
        }
        self.print_totals(out)?;
        let worlds: BTreeSet<u64> = self.differing.iter().map(|(place, _)| place.seed).collect();
        writeln!(
            out,
            "{} lines compared; {} differ, in {} worlds",
            self.compared,
            self.differing.len(),
            worlds.len()
        )
    }

    /// Prints each kind of difference with its lines and worlds, and by how much a number has
    /// changed in all of them together.
    fn print_totals(&self, out: &mut impl Write) -> io::Result<()> {
        let mut totals: BTreeMap<&str, Total> = BTreeMap::new();
        for (place, differences) in &self.differing {
            for difference in differences {
                let total = totals.entry(&difference.kind).or_default();
                total.lines += 1;
                total.worlds.insert(place.seed);
                total.change += difference.change();
            }
        }
        if !totals.is_empty() {
            writeln!(
                out,
                "\n{:>8} {:>8} {:>10}  kind",
                "lines", "worlds", "change"
            )?;
        }
        for (kind, total) in totals {
            let (lines, worlds, change) = (total.lines, total.worlds.len(), total.change);
            writeln!(out, "{lines:>8} {worlds:>8} {change:>+10}  {kind}")?;
        }
        Ok(())
    }
}

#[derive(Default)]
struct Total {
    lines: usize,
    worlds: BTreeSet<u64>,
    change: i64,
}

impl Difference {
    fn new(kind: impl Into<String>, before: String, after: String) -> Self {
        Self {
            kind: kind.into(),
            before,
            after,
        }
    }

    /// By how much a count has changed; 0 for what is no count.
    fn change(&self) -> i64 {
        let [before, after] = [&self.before, &self.after].map(|text| text.parse::<i64>().ok());
        after
            .zip(before)
            .map_or(0, |(after, before)| after - before)
    }
}

/// Compares two lines about one place.
fn differences(before: &Line, after: &Line) -> Vec<Difference> {
    let counts = |line: &Line| {
        let counts = line.kinds.iter();
        let counts = counts.map(|(kind, count)| (format!("events.{kind}"), count.to_string()));
        counts.collect::<BTreeMap<String, String>>()
    };
    let mut found = by_name(&counts(before), &counts(after), "0");
    if found.is_empty() && before.events != after.events {
        found.push(first_that_differs(before, after));
    }
    found.extend(by_name(&before.metrics, &after.metrics, "none"));
    found
}

/// Finds the first event of two sequences that have the same events in another order, or with other
/// contents. Without the sequences only their hashes are known.
fn first_that_differs(before: &Line, after: &Line) -> Difference {
    let kind = "order or contents of events";
    if let (Some(before), Some(after)) = (&before.sequence, &after.sequence) {
        let pairs = before.iter().zip(after).enumerate();
        let mut pairs = pairs.filter(|(_, (before, after))| before != after);
        if let Some((n, (before, after))) = pairs.next() {
            let [before, after] = [before, after].map(|event| format!("event {n} {event}"));
            return Difference::new(kind, before, after);
        }
    }
    Difference::new(kind, before.events.clone(), after.events.clone())
}

fn by_name(
    before: &BTreeMap<String, String>,
    after: &BTreeMap<String, String>,
    missing: &str,
) -> Vec<Difference> {
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let value = |of: &BTreeMap<String, String>, name: &String| {
        of.get(name).cloned().unwrap_or_else(|| missing.to_owned())
    };
    let pairs = names.into_iter().map(|name| {
        let (before, after) = (value(before, name), value(after, name));
        Difference::new(name.as_str(), before, after)
    });
    pairs.filter(|pair| pair.before != pair.after).collect()
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kind,
            before,
            after,
        } = self;
        write!(f, "{kind} {before} -> {after}")
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {}", self.seed)?;
        if let Some(node) = self.node {
            write!(f, ", n{node}")?;
        }
        if let Some(peer) = self.peer {
            write!(f, " of n{peer}")?;
        }
        Ok(())
    }
}
