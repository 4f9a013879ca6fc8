//! When something is wrong, and since when.

use std::{collections::BTreeMap, time::Duration};

use super::{FaultRecord, Scope};
use crate::{Faults, NodeId, Path, Queue};

/// The longest datagram of a path that is as it should be.
const USUAL_MTU: usize = 1_472;

/// The faults of a run as they come and go.
#[derive(Debug, Default)]
pub(super) struct FaultLog {
    records: Vec<FaultRecord>,
    /// Those that go on, by family and place.
    open: BTreeMap<(&'static str, Scope), usize>,
}

impl FaultLog {
    /// Something takes no time.
    pub(super) fn strike(
        &mut self,
        now: Duration,
        family: &'static str,
        scope: Scope,
        detail: String,
    ) {
        self.records.push(FaultRecord {
            family,
            scope,
            from: now,
            until: Some(now),
            detail,
        });
    }

    /// Something goes wrong, until it [ends](Self::end), or for longer than it would have anyway.
    pub(super) fn begin(
        &mut self,
        now: Duration,
        family: &'static str,
        scope: Scope,
        until: Option<Duration>,
    ) {
        if let Some(open) = self.current(now, family, scope) {
            open.until = open.until.max(until);
            return;
        }
        self.open(now, family, scope, until, String::new());
    }

    /// It is over, if it was not before.
    pub(super) fn end(&mut self, now: Duration, family: &'static str, scope: Scope) {
        if let Some(open) = self.current(now, family, scope) {
            open.until = Some(now);
        }
        self.open.remove(&(family, scope));
    }

    /// All of a family are over.
    pub(super) fn end_all(&mut self, now: Duration, family: &'static str) {
        let open = self.open.keys().filter(|(open, _)| *open == family);
        for (family, scope) in open.copied().collect::<Vec<_>>() {
            self.end(now, family, scope);
        }
    }

    /// From this moment on these settings hold at a place, and no others.
    pub(super) fn set(&mut self, now: Duration, scope: Scope, settings: &Settings) {
        for family in FAMILIES {
            let detail = settings.get(family);
            let current = self.current(now, family, scope).map(|open| &open.detail);
            if current == detail {
                continue;
            }
            self.end(now, family, scope);
            if let Some(detail) = detail {
                self.open(now, family, scope, None, detail.clone());
            }
        }
    }

    /// All faults, those of both directions put together if they are the same.
    pub(super) fn take(&mut self) -> Vec<FaultRecord> {
        self.open.clear();
        let mut merged: Vec<FaultRecord> = Vec::new();
        for record in std::mem::take(&mut self.records) {
            let (from, to) = match record.scope {
                Scope::OneWay(from, to) => (from, to),
                Scope::Everywhere | Scope::Between(..) | Scope::Node(_) => {
                    merged.push(record);
                    continue;
                }
            };
            let back = FaultRecord {
                scope: Scope::OneWay(to, from),
                ..record.clone()
            };
            match merged.iter_mut().find(|earlier| **earlier == back) {
                Some(earlier) => earlier.scope = Scope::Between(to, from),
                None => merged.push(record),
            }
        }
        merged
    }

    fn open(
        &mut self,
        now: Duration,
        family: &'static str,
        scope: Scope,
        until: Option<Duration>,
        detail: String,
    ) {
        self.open.insert((family, scope), self.records.len());
        self.records.push(FaultRecord {
            family,
            scope,
            from: now,
            until,
            detail,
        });
    }

    /// The one that goes on at this moment.
    fn current(
        &mut self,
        now: Duration,
        family: &'static str,
        scope: Scope,
    ) -> Option<&mut FaultRecord> {
        let place = *self.open.get(&(family, scope))?;
        let record = &mut self.records[place];
        record
            .until
            .is_none_or(|until| until > now)
            .then_some(record)
    }
}

/// The families that are settings of a link.
const FAMILIES: [&str; 9] = [
    "first",
    "loss",
    "burst",
    "mtu",
    "black hole",
    "duplicate",
    "corrupt",
    "rate",
    "reorder",
];

/// The unusual settings of a link, in words, by family.
pub(super) type Settings = BTreeMap<&'static str, String>;

/// The settings of all links; where the directions differ, of both.
pub(super) fn of_path(path: &Path) -> Settings {
    let (up, down) = (of_link(&path.up), of_link(&path.down));
    let mut settings = Settings::new();
    for family in up.keys().chain(down.keys()) {
        let text = match (up.get(family), down.get(family)) {
            (Some(up), Some(down)) if up == down => up.clone(),
            (up, down) => {
                let text =
                    |detail: Option<&String>| detail.map_or("none", String::as_str).to_owned();
                format!("{} up, {} down", text(up), text(down))
            }
        };
        settings.insert(family, text);
    }
    settings
}

/// Returns the settings of one link that differ from the path between all.
pub(super) fn of_link_beside(link: &Faults, path: &Faults) -> Settings {
    let usual = of_link(path);
    let mut own = of_link(link);
    own.retain(|family, detail| usual.get(family) != Some(detail));
    own
}

fn of_link(faults: &Faults) -> Settings {
    let mut settings = Settings::new();
    let mut set = |family, is_set: bool, detail: String| {
        if is_set {
            settings.insert(family, detail);
        }
    };
    let first = &faults.first;
    let counts = format!(
        "{} Initial, {} Handshake, {} 1-RTT",
        first.initial, first.handshake, first.one_rtt
    );
    set(
        "first",
        first.initial + first.handshake + first.one_rtt > 0,
        counts,
    );
    set("loss", faults.loss > 0.0, percent(faults.loss));
    if let Some(burst) = &faults.burst {
        let often = percent(burst.to_bad);
        set(
            "burst",
            burst.to_bad > 0.0,
            format!("{often}, {:.0} long", 1.0 / burst.to_good),
        );
    }
    set("mtu", faults.mtu != USUAL_MTU, format!("{} B", faults.mtu));
    set(
        "duplicate",
        faults.duplicate > 0.0,
        percent(faults.duplicate),
    );
    set("corrupt", faults.corrupt > 0.0, percent(faults.corrupt));
    set("reorder", faults.reorder > 0.0, percent(faults.reorder));
    if let Some(rate) = &faults.rate {
        let queue = match rate.queue {
            Queue::Bytes(bytes) => format!("{} kB", bytes / 1_000),
            Queue::Packets(packets) => format!("{packets} datagrams"),
        };
        set(
            "rate",
            true,
            format!("{} kB/s, queue {queue}", rate.bytes_per_second / 1_000),
        );
    }
    if let Some(hole) = &faults.black_hole {
        let (from, until) = (hole.from.as_secs_f64(), hole.until.as_secs_f64());
        set(
            "black hole",
            true,
            format!("{} B from {from} s to {until} s", hole.mtu),
        );
    }
    settings
}

fn percent(probability: f64) -> String {
    let rounded = (probability * 1_000.0).round() / 10.0;
    format!("{rounded} %")
}

/// One way between two nodes, unless they are one.
pub(super) fn way(from: NodeId, to: NodeId) -> Option<Scope> {
    (from != to).then_some(Scope::OneWay(from, to))
}
