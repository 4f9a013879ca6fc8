//! A recording for other programs: one JSON object a line.

use std::{
    io::{self, Write},
    time::Duration,
};

use quicpool_core::{EcnCodepoint, Event};
use serde_json::{Map, Value, json};

use super::{DatagramRecord, FaultRecord, Moment, PacketRecord, Recording, What, order::Entry};
use crate::NodeId;

impl Recording {
    /// Writes one JSON object a line. `type` is its kind; times are in nanoseconds since the
    /// beginning of the run, nodes are named `n0`, `n1` and so on.
    ///
    /// | `type` | other keys |
    /// |---|---|
    /// | `run`, the first line | `title`, `ended_ns`, `datagrams`, `unrecorded` |
    /// | `node`, one line each | `node`, `peer`, `addr` |
    /// | `datagram` | `n`, `at_ns`, `from`, `to` (a node or an address), `source`, `destination`, `length`, `ecn` (`ect0`, `ect1`, `ce` or null), `packets` (a list of `kind`, `number` or null, `length`, `frames`), `copy_of` (an `n` or null), `flags` (a list of `duplicated`, `damaged`, `marked`, `reordered`, `clogged`, `waited`), `fate` ([`Fate::name`](super::Fate::name), or `under way`), `end_ns` or null |
    /// | `event` | `at_ns`, `node`, `about` (a node or null), `event`, `text`; for `StatusChanged` also `from`, `to`, `reason` |
    /// | `verb` | `at_ns`, `node`, `about`, `verb`, `refused` (a text or null); for `send` and `receive` also `messages`, `bytes` |
    /// | `process` | `at_ns`, `node`, `what` (`started` or `crashed`) |
    /// | `fault` | `family`, `scope`, `from_ns`, `until_ns` or null, `detail` |
    /// | `violation` | `at_ns`, `property`, `what` |
    ///
    /// From the third kind on they come in the order of time, faults when they begin.
    ///
    /// # Errors
    ///
    /// Those of the writer.
    pub fn write_jsonl(&self, out: &mut impl Write) -> io::Result<()> {
        let head = json!({
            "type": "run",
            "title": self.title,
            "ended_ns": nanos(self.ended),
            "datagrams": self.datagrams.len(),
            "unrecorded": self.unrecorded,
        });
        writeln!(out, "{head}")?;
        for node in &self.nodes {
            let line = json!({
                "type": "node",
                "node": node.node.to_string(),
                "peer": node.peer.to_string(),
                "addr": node.addr.to_string(),
            });
            writeln!(out, "{line}")?;
        }
        for entry in self.entries() {
            let line = match entry {
                Entry::FaultEnds(_) => continue,
                Entry::FaultBegins(fault) => of_fault(fault),
                Entry::Moment(moment) => of_moment(moment),
                Entry::Datagram(n, datagram) => of_datagram(n, datagram),
                Entry::Alert(alert) => json!({
                    "type": "violation",
                    "at_ns": nanos(alert.at),
                    "property": alert.property,
                    "what": alert.what,
                }),
            };
            writeln!(out, "{line}")?;
        }
        Ok(())
    }
}

/// Nanoseconds; a run of 584 years is longer than any.
pub(super) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn of_datagram(n: usize, datagram: &DatagramRecord) -> Value {
    json!({
        "type": "datagram",
        "n": n,
        "at_ns": nanos(datagram.at),
        "from": datagram.from.to_string(),
        "to": datagram.to.to_string(),
        "source": datagram.source.to_string(),
        "destination": datagram.destination.to_string(),
        "length": datagram.length,
        "ecn": datagram.ecn.map(mark),
        "packets": datagram.packets.iter().map(of_packet).collect::<Vec<_>>(),
        "copy_of": datagram.copy_of,
        "flags": datagram.flags.names().collect::<Vec<_>>(),
        "fate": datagram.end.map_or("under way", |end| end.fate.name()),
        "end_ns": datagram.end.map(|end| nanos(end.at)),
    })
}

fn mark(ecn: EcnCodepoint) -> &'static str {
    match ecn {
        EcnCodepoint::Ect0 => "ect0",
        EcnCodepoint::Ect1 => "ect1",
        EcnCodepoint::Ce => "ce",
    }
}

fn of_packet(packet: &PacketRecord) -> Value {
    json!({
        "kind": packet.kind.name(),
        "number": packet.number,
        "length": packet.length,
        "frames": packet.frames,
    })
}

fn of_moment(moment: &Moment) -> Value {
    let mut line = Map::new();
    let mut set = |key: &str, value: Value| line.insert(key.to_owned(), value);
    set("at_ns", nanos(moment.at).into());
    set("node", moment.node.to_string().into());
    let about = moment.about.as_ref().map(NodeId::to_string);
    match &moment.what {
        What::Started | What::Crashed => {
            set("type", "process".into());
            set("what", moment.what.name().into());
        }
        What::Event(event) => {
            set("type", "event".into());
            set("about", about.into());
            set("event", moment.what.name().into());
            set("text", moment.words().into());
            if let Event::StatusChanged {
                from, to, reason, ..
            } = event
            {
                set("from", format!("{from:?}").into());
                set("to", format!("{to:?}").into());
                set("reason", reason.to_string().into());
            }
        }
        What::Sent { messages, bytes } | What::Took { messages, bytes } => {
            set("type", "verb".into());
            set("about", about.into());
            set("verb", moment.what.name().into());
            set("messages", (*messages).into());
            set("bytes", (*bytes).into());
            set("refused", Value::Null);
        }
        What::Asked(verb) => {
            set("type", "verb".into());
            set("about", about.into());
            set("verb", (*verb).into());
            set("refused", Value::Null);
        }
        What::Refused { verb, why } => {
            set("type", "verb".into());
            set("about", about.into());
            set("verb", (*verb).into());
            set("refused", why.clone().into());
        }
    }
    line.into()
}

fn of_fault(fault: &FaultRecord) -> Value {
    json!({
        "type": "fault",
        "family": fault.family,
        "scope": fault.scope.to_string(),
        "from_ns": nanos(fault.from),
        "until_ns": fault.until.map(nanos),
        "detail": fault.detail,
    })
}
