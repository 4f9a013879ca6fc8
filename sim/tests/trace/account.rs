//! Every datagram has one fate, and together they are what the links have counted.

use std::collections::{BTreeMap, BTreeSet};

use quicpool_sim::{
    LinkCounts, NodeId,
    trace::{DatagramRecord, Fate, Place, Recorder, Recording},
};

use crate::storm;

const SEEDS: u64 = 150;

#[test]
fn fates_agree_with_the_counts_of_links_in_any_storm() {
    let mut seen = BTreeSet::new();
    for seed in 0..SEEDS {
        let recorder = Recorder::new();
        let (net, nodes) = storm::play(seed, Some(&recorder));
        let recording = recorder.take();
        assert_eq!(recording.unrecorded, 0);
        let counted = by_link(&recording);
        for from in &nodes {
            for to in nodes.iter().filter(|to| *to != from) {
                let told = counted.get(&(*from, *to)).copied().unwrap_or_default();
                assert_eq!(
                    told,
                    net.link_counts(*from, *to),
                    "seed {seed}: {from} to {to}"
                );
            }
        }
        let ends = recording
            .datagrams
            .iter()
            .filter_map(|datagram| datagram.end);
        seen.extend(ends.map(|end| end.fate));
    }
    let never: Vec<Fate> = Fate::ALL
        .into_iter()
        .filter(|fate| !seen.contains(fate))
        .collect();
    assert_eq!(
        never,
        [Fate::NoRoom, Fate::Astray],
        "a storm has all the others"
    );
}

#[test]
fn the_rest_of_a_datagrams_record_agrees_with_its_fate() {
    for seed in 0..SEEDS {
        let recorder = Recorder::new();
        let _net = storm::play(seed, Some(&recorder));
        let recording = recorder.take();
        for datagram in &recording.datagrams {
            let length: usize = datagram.packets.iter().map(|packet| packet.length).sum();
            assert_eq!(length, datagram.length);
            if let Some(end) = datagram.end {
                assert!(end.at >= datagram.at && end.at <= recording.ended);
                assert!(
                    !datagram.flags.waited || is_received(end.fate),
                    "{datagram:?}"
                );
            }
            if let Some(original) = datagram.copy_of {
                assert!(recording.datagrams[original].flags.duplicated);
            }
        }
        assert!(recording.datagrams.is_sorted_by_key(|datagram| datagram.at));
        assert!(recording.moments.is_sorted_by_key(|moment| moment.at));
    }
}

#[test]
fn a_run_goes_the_same_way_with_and_without_a_record() {
    for seed in 0..20 {
        let (without, _) = storm::play(seed, None);
        let (with, _) = storm::play(seed, Some(&Recorder::new()));
        assert_eq!(without.hash(), with.hash());
    }
}

fn is_received(fate: Fate) -> bool {
    matches!(fate, Fate::Delivered | Fate::NobodyHome)
}

/// What the links would have counted, had they only seen what is in the record.
fn by_link(recording: &Recording) -> BTreeMap<(NodeId, NodeId), LinkCounts> {
    let mut links: BTreeMap<(NodeId, NodeId), LinkCounts> = BTreeMap::new();
    for datagram in &recording.datagrams {
        let (Place::Node(from), Place::Node(to)) = (datagram.from, datagram.to) else {
            continue;
        };
        count(links.entry((from, to)).or_default(), datagram);
    }
    links
}

fn count(counts: &mut LinkCounts, datagram: &DatagramRecord) {
    match datagram.copy_of {
        None => counts.offered += 1,
        Some(_) => counts.duplicated += 1,
    }
    // Links count what they have done when they do it, whatever becomes of the datagram later.
    counts.corrupted += u64::from(datagram.flags.damaged);
    counts.marked += u64::from(datagram.flags.marked);
    let fate = datagram.end.map(|end| end.fate);
    let count = match fate {
        None if datagram.flags.waited => &mut counts.arrived,
        None => &mut counts.in_flight,
        Some(Fate::Lost(_)) => &mut counts.lost,
        Some(Fate::TooLong) => &mut counts.too_long,
        Some(Fate::QueueFull) => &mut counts.overflowed,
        Some(Fate::Cut) => &mut counts.cut,
        Some(_) => &mut counts.arrived,
    };
    *count += 1;
}
