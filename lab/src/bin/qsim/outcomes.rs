//! Writes how each world ends for each of its nodes, one line for each, to compare two builds.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    fs,
    io::{self, BufWriter, Write},
    ops::{ControlFlow, Range},
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use quicpool_lab::swarm::{Failure, Outcome, Scenario, Watch};
use quicpool_sim::{Crypto, Net, NodeId};
use serde::{Deserialize, Serialize};

use crate::{interrupt, run::on_all_cores, seeds};

/// Which worlds to play, and where to write their outcomes.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Seeds, from the first up to, but not including, the last
    #[arg(long, value_name = "A..B", default_value = "0..2000", value_parser = seeds)]
    seeds: Range<u64>,
    /// The file to write
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
    /// Write each sequence of events whole, besides its hash
    #[arg(long)]
    whole: bool,
    /// Threads, from 1 to 1024; as many as there are cores by default
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,
    /// What sessions are made of: checksum, or tls as in production
    #[arg(long, default_value_t)]
    crypto: Crypto,
}

/// The end of a world for itself, for one of its nodes, or for one peer of a node.
///
/// Everything is text that was printed by the build that played the world. So two builds can be
/// compared although their events and metrics have other fields.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Line {
    #[serde(flatten)]
    pub(crate) place: Place,
    /// The hash of the sequence of events.
    pub(crate) events: String,
    /// The number of events by kind.
    pub(crate) kinds: BTreeMap<String, u64>,
    /// Counters and metrics by name.
    pub(crate) metrics: BTreeMap<String, String>,
    /// The sequence of events, if it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sequence: Option<Vec<String>>,
}

/// What a line is about. Without a peer it is the node, and without a node the world.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub(crate) struct Place {
    pub(crate) seed: u64,
    pub(crate) node: Option<usize>,
    pub(crate) peer: Option<usize>,
}

/// Plays the worlds and writes the file.
pub(crate) fn write(options: &Options) -> io::Result<u8> {
    interrupt::watch();
    let file = InOrder {
        out: BufWriter::new(fs::File::create(&options.to)?),
        next: options.seeds.start,
        waiting: BTreeMap::new(),
    };
    let file = Mutex::new((file, Ok(())));
    on_all_cores(&options.seeds, options.jobs, |seed| {
        let lines = lines_of(seed, options);
        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
        let (file, result) = &mut *file;
        *result = file.add(seed, lines);
        match result {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    });
    let (mut file, result) = file.into_inner().unwrap_or_else(PoisonError::into_inner);
    result?;
    file.out.flush()?;
    Ok(match interrupt::has_come() {
        true => interrupt::EXIT_CODE,
        false => 0,
    })
}

/// Writes worlds by seed, in whichever order they end.
struct InOrder {
    out: BufWriter<fs::File>,
    next: u64,
    waiting: BTreeMap<u64, Vec<Line>>,
}

impl InOrder {
    fn add(&mut self, seed: u64, lines: Vec<Line>) -> io::Result<()> {
        self.waiting.insert(seed, lines);
        while let Some(lines) = self.waiting.remove(&self.next) {
            for line in lines {
                serde_json::to_writer(&mut self.out, &line)?;
                writeln!(self.out)?;
            }
            self.next += 1;
        }
        Ok(())
    }
}

/// Plays a world. Its own line comes first, then each node's, followed by those of its peers.
fn lines_of(seed: u64, options: &Options) -> Vec<Line> {
    let scenario = Scenario::draw(seed).crypto(options.crypto);
    let mut end = End {
        seed,
        is_whole: options.whole,
        nodes: Vec::new(),
    };
    let played = catch_unwind(AssertUnwindSafe(|| scenario.play(&mut end, None)));
    let metrics = match played {
        Ok(outcome) => of_outcome(&outcome),
        Err(payload) => {
            let (failure, _) = Failure::in_panic(&*payload);
            BTreeMap::from([("failure".to_owned(), failure.to_string())])
        }
    };
    let mut world = Line::about(seed, None, None);
    world.metrics = metrics;
    [world].into_iter().chain(end.nodes).collect()
}

fn of_outcome(outcome: &Outcome) -> BTreeMap<String, String> {
    let mut metrics: BTreeMap<String, String> = BTreeMap::from([
        ("messages".to_owned(), outcome.messages.to_string()),
        (
            "converged_in".to_owned(),
            format!("{:?}", outcome.converged_in),
        ),
    ]);
    for violation in &outcome.violations {
        let name = format!("violations.{:?}", violation.property);
        let so_far = metrics.get(&name).and_then(|count| count.parse().ok());
        metrics.insert(name, (so_far.unwrap_or(0_u64) + 1).to_string());
    }
    metrics
}

/// Looks at the nodes once the core has settled, before they forget each other.
struct End {
    seed: u64,
    is_whole: bool,
    nodes: Vec<Line>,
}

impl Watch for End {
    fn settled(&mut self, net: &Net) {
        let lines = net.ids().flat_map(|node| self.lines_of(net, node));
        self.nodes = lines.collect();
    }
}

impl End {
    fn lines_of(&self, net: &Net, node: NodeId) -> Vec<Line> {
        let names = net.ids().map(|id| format!("{:?}", net.peer_id(id)));
        let names: Vec<String> = names.collect();
        let mut told: BTreeMap<Option<usize>, Vec<String>> = BTreeMap::new();
        for (_, event) in net.history(node) {
            let (text, peer) = with_short_names(&format!("{event:?}"), &names);
            told.entry(peer).or_default().push(text);
        }
        let place = place_of(net, node);
        let others = net.ids().filter(|other| *other != node);
        let about = [None].into_iter().chain(others.map(Some));
        let lines = about.map(|about| {
            let peer = about.map(|about| place_of(net, about));
            let mut line = Line::about(self.seed, Some(place), peer);
            line.metrics = match about {
                None => net.metrics(node).map_or_else(down, |all| fields(&all)),
                Some(of) => net
                    .peer_metrics(node, of)
                    .map_or_else(down, |all| fields(&all)),
            };
            line.tell(told.remove(&peer).unwrap_or_default(), self.is_whole);
            line
        });
        lines.collect()
    }
}

impl Line {
    fn about(seed: u64, node: Option<usize>, peer: Option<usize>) -> Self {
        Self {
            place: Place { seed, node, peer },
            ..Self::default()
        }
    }

    fn tell(&mut self, sequence: Vec<String>, is_whole: bool) {
        for event in &sequence {
            let kind = event.split([' ', '(']).next().unwrap_or_default();
            *self.kinds.entry(kind.to_owned()).or_default() += 1;
        }
        self.events = format!("{:016x}", hash(&sequence));
        self.sequence = is_whole.then_some(sequence);
    }
}

/// The metrics of a node that is down, or of a peer that its node does not know.
fn down() -> BTreeMap<String, String> {
    BTreeMap::from([("known".to_owned(), "no".to_owned())])
}

fn place_of(net: &Net, node: NodeId) -> usize {
    net.ids().position(|id| id == node).unwrap_or_default()
}

/// Replaces the names of peers by those of nodes, and finds the peer that is named first.
fn with_short_names(event: &str, names: &[String]) -> (String, Option<usize>) {
    let found = names.iter().enumerate();
    let found = found.filter_map(|(node, name)| Some((event.find(name.as_str())?, node)));
    let first = found.min().map(|(_, node)| node);
    let short = names
        .iter()
        .enumerate()
        .fold(event.to_owned(), |text, (node, name)| {
            text.replace(name, &format!("n{node}"))
        });
    (short, first)
}

/// FNV-1a, which is the same in every build.
fn hash(sequence: &[String]) -> u64 {
    let bytes = sequence.iter().flat_map(|event| event.bytes().chain([0]));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The fields of a struct as its `Debug` prints them, those of structs in it as `outer.inner`.
fn fields(of: &impl Debug) -> BTreeMap<String, String> {
    let text = format!("{of:#?}");
    let mut fields = BTreeMap::new();
    let mut path: Vec<&str> = Vec::new();
    for line in text.lines().skip(1).map(|line| line.trim()) {
        let (name, value) = line.split_once(": ").unwrap_or(("", line));
        let value = value.trim_end_matches(',');
        if value.ends_with(['{', '(', '[']) {
            path.push(name);
        } else if value.ends_with(['}', ')', ']']) && name.is_empty() {
            path.pop();
        } else {
            let names = path.iter().chain([&name]).filter(|name| !name.is_empty());
            let names: Vec<&str> = names.copied().collect();
            fields.insert(names.join("."), value.to_owned());
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_peer_of_an_event_is_the_one_it_is_about() {
        let names = ["PeerId(a..)".to_owned(), "PeerId(b..)".to_owned()];
        let event = "Moved { peer: PeerId(b..), reason: Replaced(PeerId(a..)) }";
        let (text, peer) = with_short_names(event, &names);
        assert_eq!(text, "Moved { peer: n1, reason: Replaced(n0) }");
        assert_eq!(peer, Some(1));
        assert_eq!(with_short_names("Closed", &names).1, None);
    }

    #[test]
    fn fields_within_fields_have_their_path_as_a_name() {
        #[derive(Debug)]
        #[expect(dead_code, reason = "they are printed")]
        struct Outer {
            dials: u64,
            rtt: Option<u8>,
            inner: Inner,
            last: u8,
        }
        #[derive(Debug)]
        #[expect(dead_code, reason = "they are printed")]
        struct Inner {
            sent: u64,
        }
        let outer = Outer {
            dials: 7,
            rtt: Some(3),
            inner: Inner { sent: 2 },
            last: 1,
        };
        let expected = [
            ("dials", "7"),
            ("inner.sent", "2"),
            ("last", "1"),
            ("rtt", "3"),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(fields(&outer), BTreeMap::from(expected));
    }
}
