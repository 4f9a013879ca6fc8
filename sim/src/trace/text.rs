//! A recording as a sequence chart for a terminal: a column per node, time runs down.

use std::io::{self, Write};

use super::{
    DatagramRecord, Fate, FaultRecord, Flags, Place, Recording, Scope, order::Entry, words::seconds,
};
use crate::NodeId;

/// Between the columns of two nodes, if there are few.
const COLUMN_WIDTH: usize = 12;
/// Between the columns of two nodes at least.
const COLUMN_WIDTH_MIN: usize = 5;
/// The columns of all nodes together at most, if they can be.
const CHART_WIDTH: usize = 60;
/// Seconds with six digits behind the point.
const TIME_WIDTH: usize = 12;

impl Recording {
    /// Writes a sequence chart: a column per node, a line for each datagram, event and fault.
    ///
    /// An arrow is drawn when a datagram leaves, and shows when it arrives. `├╌╌✕` is one that does
    /// not, `●` an event or a verb of a node, `▒` a fault.
    ///
    /// # Errors
    ///
    /// Those of the writer.
    pub fn write_text(&self, out: &mut impl Write) -> io::Result<()> {
        let chart = Chart::of(self);
        let (datagrams, ended) = (self.datagrams.len(), seconds(self.ended));
        writeln!(out, "{}: {datagrams} datagrams in {ended} s", self.title)?;
        if self.unrecorded > 0 {
            writeln!(out, "{} more are not recorded", self.unrecorded)?;
        }
        writeln!(out, "{:TIME_WIDTH$}  {}", "", chart.head())?;
        for entry in self.entries() {
            let (drawing, words) = chart.draw(&entry);
            let time = seconds(entry.at());
            writeln!(out, "{time:>TIME_WIDTH$}  {drawing}  {words}")?;
        }
        Ok(())
    }
}

/// Where the columns are.
struct Chart {
    nodes: Vec<NodeId>,
    width: usize,
}

impl Chart {
    fn of(recording: &Recording) -> Self {
        let nodes: Vec<NodeId> = recording.nodes.iter().map(|node| node.node).collect();
        let width = CHART_WIDTH / nodes.len().max(1);
        Self {
            nodes,
            width: width.clamp(COLUMN_WIDTH_MIN, COLUMN_WIDTH),
        }
    }

    fn head(&self) -> String {
        let names = self.nodes.iter().map(|node| {
            let width = self.width;
            format!("{:width$}", node.to_string())
        });
        names.collect::<String>().trim_end().to_owned()
    }

    /// A line of the chart, and the words beside it.
    fn draw(&self, entry: &Entry<'_>) -> (String, String) {
        let mut line = self.lifelines();
        let words = match entry {
            Entry::FaultBegins(fault) => {
                self.shade(&mut line, fault.scope);
                begins(fault)
            }
            Entry::FaultEnds(fault) => {
                self.shade(&mut line, fault.scope);
                format!("{} is over", fault.label())
            }
            Entry::Moment(moment) => {
                if let Some(at) = self.column(moment.node) {
                    line[at] = '●';
                }
                format!("{} {}", moment.node, moment.words())
            }
            Entry::Datagram(_, datagram) => {
                self.arrow(&mut line, datagram);
                describe(datagram)
            }
            Entry::Alert(alert) => {
                line.fill('!');
                format!("{}: {}", alert.property, alert.what)
            }
        };
        (line.into_iter().collect(), words)
    }

    fn lifelines(&self) -> Vec<char> {
        let length = self.width * self.nodes.len().saturating_sub(1) + 1;
        let is_column = |at: usize| at.is_multiple_of(self.width);
        (0..length)
            .map(|at| if is_column(at) { '│' } else { ' ' })
            .collect()
    }

    fn column(&self, node: NodeId) -> Option<usize> {
        let place = self.nodes.iter().position(|other| *other == node)?;
        Some(place * self.width)
    }

    fn shade(&self, line: &mut [char], scope: Scope) {
        let (from, to) = match scope {
            Scope::Everywhere => (Some(0), Some(line.len() - 1)),
            Scope::OneWay(a, b) | Scope::Between(a, b) => (self.column(a), self.column(b)),
            Scope::Node(node) => (self.column(node), self.column(node)),
        };
        if let (Some(from), Some(to)) = (from, to) {
            line[from.min(to)..=from.max(to)].fill('▒');
        }
    }

    fn arrow(&self, line: &mut [char], datagram: &DatagramRecord) {
        let column = |place| match place {
            Place::Node(node) => self.column(node),
            Place::Outside(_) => None,
        };
        let (from, to) = match (column(datagram.from), column(datagram.to)) {
            (Some(from), Some(to)) if from != to => (from, to),
            // There is nothing to draw between a node and the world outside.
            (Some(at), _) | (None, Some(at)) => {
                line[at] = '◆';
                return;
            }
            (None, None) => return,
        };
        let is_lost = datagram.end.is_some_and(|end| end.fate != Fate::Delivered);
        let (low, high) = (from.min(to), from.max(to));
        let (line_end, tail) = match from < to {
            true => ('▶', '├'),
            false => ('◀', '┤'),
        };
        let dash = if is_lost { '╌' } else { '─' };
        for cell in &mut line[low + 1..high] {
            *cell = if *cell == '│' { '┼' } else { dash };
        }
        line[from] = tail;
        let head = match from < to {
            true => to - 1,
            false => to + 1,
        };
        line[head] = if is_lost { '✕' } else { line_end };
    }
}

fn begins(fault: &FaultRecord) -> String {
    match fault.until {
        Some(until) if until > fault.from => {
            format!("{} until {}", fault.label(), seconds(until))
        }
        Some(_) => fault.label(),
        None => format!("{} to the end", fault.label()),
    }
}

fn describe(datagram: &DatagramRecord) -> String {
    let packets: Vec<String> = datagram.packets.iter().map(ToString::to_string).collect();
    let mut words = match (datagram.from, datagram.to) {
        (Place::Node(_), Place::Node(_)) => String::new(),
        (from, to) => format!("{from} → {to}: "),
    };
    words += &format!("{} ({} B)", packets.join(" + "), datagram.length);
    if datagram.copy_of.is_some() {
        words += ", a copy";
    }
    words += &match datagram.end {
        None => ", under way".to_owned(),
        Some(end) if end.fate == Fate::Delivered => format!(", arrives at {}", seconds(end.at)),
        Some(end) if end.at == datagram.at => format!(", {}", end.fate.explanation()),
        Some(end) => format!(", {} at {}", end.fate.explanation(), seconds(end.at)),
    };
    if datagram.flags != Flags::default() {
        let flags: Vec<&str> = datagram.flags.names().collect();
        words += &format!(" [{}]", flags.join(", "));
    }
    words
}
