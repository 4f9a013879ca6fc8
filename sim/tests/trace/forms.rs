//! A recording in a terminal, and for other programs.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    str,
};

use quicpool_core::Config;
use quicpool_sim::{
    Net, ms, secs,
    trace::{Alert, Recorder, Recording},
};
use serde_json::Value;

use crate::storm;

/// The chart of [`a_tiny_world`].
const CHART: &str = include_str!("tiny.txt");

#[test]
fn the_chart_of_a_tiny_world_reads_like_a_story() {
    let mut chart = Vec::new();
    a_tiny_world()
        .write_text(&mut chart)
        .expect("memory takes it all");
    let chart = str::from_utf8(&chart).expect("a chart is text");
    assert_eq!(chart, CHART, "tests/trace/tiny.txt should be:\n{chart}");
}

#[test]
fn lines_of_json_have_the_keys_that_are_documented() {
    let keys = BTreeMap::from([
        ("run", "datagrams ended_ns title type unrecorded"),
        ("node", "addr node peer type"),
        (
            "datagram",
            "at_ns copy_of destination ecn end_ns fate flags from length n packets source to type",
        ),
        ("process", "at_ns node type what"),
        ("fault", "detail family from_ns scope type until_ns"),
        ("violation", "at_ns property type what"),
    ]);
    let lines = lines_of(&a_tiny_world());
    for line in &lines {
        let kind = line["type"].as_str().expect("each line has a type");
        let object = line.as_object().expect("each line is an object");
        let own = object
            .keys()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join(" ");
        match kind {
            "event" if line["event"] == "StatusChanged" => {
                assert_eq!(own, "about at_ns event from node reason text to type");
            }
            "event" => assert_eq!(own, "about at_ns event node text type"),
            "verb" if line["verb"] == "send" || line["verb"] == "receive" => {
                assert_eq!(own, "about at_ns bytes messages node refused type verb");
            }
            "verb" => assert_eq!(own, "about at_ns node refused type verb"),
            kind => assert_eq!(own, keys[kind], "{kind}"),
        }
    }
    for kind in keys.keys().chain(&["event", "verb"]) {
        assert!(lines.iter().any(|line| line["type"] == *kind), "no {kind}");
    }
}

#[test]
fn lines_of_json_tell_each_datagram_once_and_in_order() {
    for seed in 0..30 {
        let recorder = Recorder::new();
        let (net, nodes) = storm::play(seed, Some(&recorder));
        let lines = lines_of(&recorder.take());
        let at = |line: &Value| line["at_ns"].as_u64().or(line["from_ns"].as_u64());
        let times: Vec<u64> = lines.iter().filter_map(at).collect();
        assert!(times.is_sorted(), "seed {seed}");
        for from in &nodes {
            for to in nodes.iter().filter(|to| *to != from) {
                let own = lines.iter().filter(|line| {
                    line["type"] == "datagram"
                        && line["from"] == from.to_string()
                        && line["to"] == to.to_string()
                });
                let mut fates: BTreeMap<&str, u64> = BTreeMap::new();
                own.for_each(|line| {
                    *fates
                        .entry(line["fate"].as_str().expect("a name"))
                        .or_default() += 1
                });
                let counts = net.link_counts(*from, *to);
                let sum =
                    |names: &[&str]| names.iter().filter_map(|name| fates.get(name)).sum::<u64>();
                assert_eq!(
                    fates.values().sum::<u64>(),
                    counts.offered + counts.duplicated
                );
                assert_eq!(sum(&["first", "loss", "burst"]), counts.lost);
                assert_eq!(sum(&["cut"]), counts.cut);
                assert_eq!(sum(&["queue full"]), counts.overflowed);
                assert_eq!(sum(&["too long"]), counts.too_long);
            }
        }
    }
}

#[test]
fn what_happens_after_the_end_of_a_recording_is_not_in_it() {
    let whole = Recorder::new();
    let _ = storm::play(4, Some(&whole));
    let half = Recorder::new().until(ms(900));
    let _ = storm::play(4, Some(&half));
    let (whole, half) = (whole.take(), half.take());
    assert!(half.ended <= ms(900) && whole.ended > ms(900));
    let early = whole
        .datagrams
        .iter()
        .filter(|datagram| datagram.at <= ms(900))
        .count();
    assert_eq!(half.datagrams.len(), early);
    let late = half
        .datagrams
        .iter()
        .filter_map(|datagram| datagram.end)
        .any(|end| end.at > ms(900));
    assert!(!late, "what is under way then has no fate");
    assert!(half.moments.iter().all(|moment| moment.at <= ms(900)));
}

#[test]
fn a_recording_that_was_taken_has_ended_and_another_can_begin() {
    let recorder = Recorder::new();
    let (mut net, nodes) = storm::play(4, Some(&recorder));
    assert!(!recorder.take().datagrams.is_empty());
    net.advance(ms(500));
    let nothing = recorder.take();
    assert!(nothing.nodes.is_empty() && nothing.datagrams.is_empty() && nothing.faults.is_empty());
    net.record(&recorder);
    net.advance(secs(20));
    let second = recorder.take();
    assert_eq!(second.nodes.len(), nodes.len());
    assert!(
        second
            .datagrams
            .iter()
            .all(|datagram| datagram.end.is_none_or(|end| end.at >= datagram.at))
    );
}

#[test]
fn the_record_of_a_run_that_panics_goes_up_to_its_panic() {
    let recorder = Recorder::new();
    let run = AssertUnwindSafe(|| {
        let mut net = Net::new(1);
        net.record(&recorder);
        let (a, b) = (net.node(Config::default()), net.node(Config::default()));
        net.introduce(a, b);
        net.connect(a, b);
        net.run_until(secs(1), |net| net.now() > secs(10));
    });
    assert!(catch_unwind(run).is_err());
    let recording = recorder.take();
    assert_eq!((recording.ended, recording.nodes.len()), (secs(1), 2));
    assert!(!recording.datagrams.is_empty());
}

/// Two nodes that meet, one message, one cut, and one thing that did not hold.
fn a_tiny_world() -> Recording {
    let recorder = Recorder::new();
    let mut net = Net::new(1).latency(ms(10));
    net.record(&recorder);
    let config = Config::default();
    let (a, b) = (net.node(config.clone()), net.node(config));
    net.introduce(a, b);
    net.send(a, b, b"hello");
    net.advance(ms(52));
    net.cut_one_way(a, b);
    net.send(a, b, b"is anyone there?");
    net.advance(ms(20));
    net.heal_all();
    net.crash(b);
    net.inject(a, ([192, 0, 2, 1], 9).into(), b"noise");
    let mut recording = recorder.take();
    recording.title = "a tiny world".to_owned();
    recording.alerts.push(Alert {
        at: ms(52),
        property: "NothingIsLost".to_owned(),
        what: "the second message".to_owned(),
    });
    recording
}

fn lines_of(recording: &Recording) -> Vec<Value> {
    let mut lines = Vec::new();
    recording
        .write_jsonl(&mut lines)
        .expect("memory takes it all");
    let lines = String::from_utf8(lines).expect("JSON is text");
    let lines = lines.lines().map(serde_json::from_str);
    lines.collect::<Result<_, _>>().expect("each line is JSON")
}
