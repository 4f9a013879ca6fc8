//! A recording as a page for a browser: one file, which needs nothing else.

use std::{
    fmt,
    io::{self, Write},
    time::Duration,
};

use serde_json::{Value, json};

use super::{
    Alert, DatagramRecord, Fate, FaultRecord, Moment, PacketRecord, Place, Recording, Scope, What,
    bars::Bar, jsonl::nanos, words::seconds,
};
use crate::NodeId;

const TEMPLATE: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/page.css");
const SCRIPTS: [&str; 5] = [
    include_str!("page/model.js"),
    include_str!("page/layout.js"),
    include_str!("page/draw.js"),
    include_str!("page/datagrams.js"),
    include_str!("page/main.js"),
];
/// The number that stands for the fate of a datagram under way.
const UNDER_WAY: usize = Fate::ALL.len();

impl Recording {
    /// Writes a page that shows the run: a lane per node with a bar per peer, datagrams as arrows
    /// coloured by their fate, faults as shaded windows, and a mark at what did not hold.
    ///
    /// The page is one file and asks the network for nothing. Its data are in the element `data`,
    /// as JSON.
    ///
    /// # Errors
    ///
    /// Those of the writer.
    pub fn write_html(&self, out: &mut impl Write) -> io::Result<()> {
        let mut rest = TEMPLATE;
        while let Some((before, after)) = rest.split_once("{{") {
            let (name, after) = after.split_once("}}").unwrap_or((after, ""));
            out.write_all(before.as_bytes())?;
            self.fill(name, out)?;
            rest = after;
        }
        out.write_all(rest.as_bytes())
    }

    /// Writes what a place in the template is for.
    fn fill(&self, name: &str, out: &mut impl Write) -> io::Result<()> {
        match name {
            "title" => write!(out, "{}", Escaped(&self.title)),
            "summary" => write!(out, "{}", Escaped(&self.summary())),
            "style" => out.write_all(STYLE.as_bytes()),
            "script" => SCRIPTS
                .iter()
                .try_for_each(|script| out.write_all(script.as_bytes())),
            "data" => self.write_data(&mut ScriptWriter(out)),
            "lanes" => self.write_lanes(out),
            "faults" => {
                numbered(&self.faults).try_for_each(|(n, fault)| write_fault(out, n, fault))
            }
            "violations" => {
                numbered(&self.alerts).try_for_each(|(n, alert)| write_violation(out, n, alert))
            }
            _ => Err(io::Error::other(format!("the template asks for {name}"))),
        }
    }

    fn summary(&self) -> String {
        let (nodes, datagrams) = (self.nodes.len(), self.datagrams.len());
        let unrecorded = match self.unrecorded {
            0 => String::new(),
            more => format!(" ({more} more are not recorded)"),
        };
        let seconds = self.ended.as_secs_f64();
        format!("{nodes} nodes · {datagrams} datagrams{unrecorded} · {seconds:.3} s")
    }

    fn write_lanes(&self, out: &mut impl Write) -> io::Result<()> {
        let bars = self.bars();
        for (n, node) in self.nodes.iter().enumerate() {
            let (name, addr, peer) = (node.node, node.addr, node.peer);
            write!(
                out,
                "<li class=\"lane\" data-node=\"{n}\" title=\"{peer} at {addr}\">\
                 <label><input type=\"checkbox\" checked> {name}</label>\
                 <span class=\"addr\">{addr}</span><ol class=\"peers\">"
            )?;
            for bar in bars.iter().filter(|bar| bar.node == node.node) {
                write!(out, "<li>{}</li>", peer_name(bar))?;
            }
            writeln!(out, "</ol></li>")?;
        }
        Ok(())
    }

    /// The data of the page. Datagrams are rows of numbers, since there are many.
    fn write_data(&self, out: &mut impl Write) -> io::Result<()> {
        let names = Names::of(self);
        let head = json!({
            "title": self.title,
            "ended": nanos(self.ended),
            "nodes": self.nodes.iter().map(|node| json!({
                "name": node.node.to_string(),
                "peer": node.peer.to_string(),
                "addr": node.addr.to_string(),
            })).collect::<Vec<_>>(),
            "fates": fates(),
            "bars": self.bars().iter().map(|bar| names.bar(bar)).collect::<Vec<_>>(),
            "moments": self.moments.iter().map(|moment| names.moment(moment)).collect::<Vec<_>>(),
            "faults": self.faults.iter().map(|fault| names.fault(fault)).collect::<Vec<_>>(),
            "violations": self.alerts.iter().map(|alert| json!({
                "at": nanos(alert.at),
                "property": alert.property,
                "what": alert.what,
            })).collect::<Vec<_>>(),
        });
        let head = head.to_string();
        // The rows go into the same object, one by one.
        let head = head.strip_suffix('}').unwrap_or(&head);
        write!(out, "{head},\"datagrams\":[")?;
        for (n, datagram) in self.datagrams.iter().enumerate() {
            let comma = if n == 0 { "" } else { ",\n" };
            write!(out, "{comma}{}", names.datagram(datagram))?;
        }
        out.write_all(b"]}")
    }
}

/// Nodes are known to the page by their place.
struct Names(Vec<NodeId>);

impl Names {
    fn of(recording: &Recording) -> Self {
        Self(recording.nodes.iter().map(|node| node.node).collect())
    }

    fn node(&self, node: NodeId) -> Value {
        self.0.iter().position(|other| *other == node).into()
    }

    fn place(&self, place: Place) -> Value {
        match place {
            Place::Node(node) => self.node(node),
            Place::Outside(_) => Value::Null,
        }
    }

    fn bar(&self, bar: &Bar) -> Value {
        let spans = bar.spans.iter().map(|span| {
            let (from, until) = (nanos(span.from), nanos(span.until));
            json!([from, until, format!("{:?}", span.status), span.reason])
        });
        json!({
            "node": self.node(bar.node),
            "peer": peer_name(bar),
            "spans": spans.collect::<Vec<_>>(),
        })
    }

    /// Time, node, peer, kind, name and text of a moment.
    fn moment(&self, moment: &Moment) -> Value {
        let about = moment.about.map_or(Value::Null, |about| self.node(about));
        let kind = match &moment.what {
            What::Started | What::Crashed => "process",
            What::Event(quicpool_core::Event::StatusChanged { .. }) => "status",
            What::Event(_) => "event",
            What::Sent { .. } | What::Took { .. } | What::Asked(_) => "verb",
            What::Refused { .. } => "refused",
        };
        let (at, node) = (nanos(moment.at), self.node(moment.node));
        json!([at, node, about, kind, moment.what.name(), moment.words()])
    }

    fn fault(&self, fault: &FaultRecord) -> Value {
        let (scope, nodes) = match fault.scope {
            Scope::Everywhere => ("everywhere", Vec::new()),
            Scope::OneWay(a, b) => ("one way", vec![self.node(a), self.node(b)]),
            Scope::Between(a, b) => ("between", vec![self.node(a), self.node(b)]),
            Scope::Node(node) => ("node", vec![self.node(node)]),
        };
        json!({
            "family": fault.family,
            "scope": scope,
            "nodes": nodes,
            "from": nanos(fault.from),
            "until": fault.until.map(nanos),
            "place": fault.scope.to_string(),
            "detail": fault.detail,
            "label": fault.label(),
        })
    }

    /// When it left and ended, whence, whither, length, fate, flags, original, mark, addresses, and
    /// packets.
    fn datagram(&self, datagram: &DatagramRecord) -> Value {
        let fate = datagram.end.and_then(|end| {
            let mut fates = Fate::ALL.iter();
            fates.position(|fate| *fate == end.fate)
        });
        json!([
            nanos(datagram.at),
            datagram.end.map(|end| nanos(end.at)),
            self.place(datagram.from),
            self.place(datagram.to),
            datagram.length,
            fate.unwrap_or(UNDER_WAY),
            datagram.flags.names().collect::<Vec<_>>(),
            datagram.copy_of,
            datagram.ecn.map(|ecn| format!("{ecn:?}")),
            datagram.source.to_string(),
            datagram.destination.to_string(),
            datagram.packets.iter().map(packet).collect::<Vec<_>>(),
        ])
    }
}

fn packet(packet: &PacketRecord) -> Value {
    json!([
        packet.kind.name(),
        packet.number,
        packet.length,
        packet.frames
    ])
}

fn peer_name(bar: &Bar) -> String {
    let name = bar.peer.map(|peer| peer.to_string());
    name.unwrap_or_else(|| "strangers".to_owned())
}

/// All fates, and what colour they have.
fn fates() -> Vec<Value> {
    let all = Fate::ALL.iter().map(|fate| {
        let class = match fate {
            Fate::Delivered => "delivered",
            Fate::Lost(_) | Fate::TooLong | Fate::QueueFull | Fate::Cut => "lost",
            Fate::Outdated | Fate::NoRoom | Fate::NobodyHome | Fate::Astray => "missed",
        };
        (fate.name(), fate.explanation(), class)
    });
    let under_way = (
        "under way",
        "under way when the recording ended",
        "underway",
    );
    all.chain([under_way])
        .map(|(name, explanation, class)| {
            json!({ "name": name, "explanation": explanation, "class": class })
        })
        .collect()
}

fn numbered<T>(items: &[T]) -> impl Iterator<Item = (usize, &T)> {
    items.iter().enumerate()
}

fn write_fault(out: &mut impl Write, n: usize, fault: &FaultRecord) -> io::Result<()> {
    let (label, from) = (fault.label(), seconds(fault.from));
    let until = fault.until.map(seconds).unwrap_or_default();
    let short = |time: Duration| format!("{:.3}", time.as_secs_f64());
    let begin = short(fault.from);
    let time = match fault.until.map(short) {
        Some(_) if fault.is_instant() => format!("{begin} s"),
        Some(end) => format!("{begin} – {end} s"),
        None => format!("{begin} s –"),
    };
    writeln!(
        out,
        "<li data-fault=\"{n}\" data-from=\"{from}\" data-until=\"{until}\">\
         <button type=\"button\"><span>{}</span> <time>{time}</time></button></li>",
        Escaped(&label)
    )
}

fn write_violation(out: &mut impl Write, n: usize, alert: &Alert) -> io::Result<()> {
    let (number, at, short) = (n + 1, seconds(alert.at), alert.at.as_secs_f64());
    writeln!(
        out,
        "<li data-violation=\"{n}\" data-at=\"{at}\"><a href=\"#violation={number}\">\
         <b>{number}</b> <span>{}</span> <time>{short:.3} s</time></a><p>{}</p></li>",
        Escaped(&alert.property),
        Escaped(&alert.what)
    )
}

/// Text that stands for itself in HTML, in attributes as well.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        while let Some(at) = rest.find(['&', '<', '>', '"', '\'']) {
            f.write_str(&rest[..at])?;
            f.write_str(match &rest[at..=at] {
                "&" => "&amp;",
                "<" => "&lt;",
                ">" => "&gt;",
                "\"" => "&quot;",
                _ => "&#39;",
            })?;
            rest = &rest[at + 1..];
        }
        f.write_str(rest)
    }
}

/// Writes JSON into a script element: nothing in it ends the element, or begins a comment. Outside
/// of strings JSON has no `<`.
struct ScriptWriter<W>(W);

impl<W: Write> Write for ScriptWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for (n, part) in bytes.split(|byte| *byte == b'<').enumerate() {
            if n > 0 {
                self.0.write_all(b"\\u003c")?;
            }
            self.0.write_all(part)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_inserted_is_taken_for_markup() {
        let recording = Recording {
            title: "</title><script>alert('1')</script> & \"more\"".to_owned(),
            alerts: vec![Alert {
                at: std::time::Duration::from_secs(1),
                property: "<b>".to_owned(),
                what: "</script><!--".to_owned(),
            }],
            ..Recording::default()
        };
        let mut page = Vec::new();
        recording
            .write_html(&mut page)
            .expect("memory takes it all");
        let page = String::from_utf8(page).expect("it is text");
        for markup in [
            "<script>alert",
            "</script><!--",
            "<b></span>",
            "&lt;b&gt;</b>",
        ] {
            assert!(!page.contains(markup), "{markup}");
        }
        assert!(page.contains("&lt;/title&gt;&lt;script&gt;alert(&#39;1&#39;)"));
        assert_eq!(page.matches("</script>").count(), 2, "data and program");
    }
}
