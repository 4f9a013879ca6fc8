//! The page of a world in which something did not hold shows the nodes, the faults around them, and
//! where to look.

use std::{env, fs, path::PathBuf, time::Duration};

use quicpool_core::Config;
use quicpool_sim::{
    Faults, Net, NodeId, Queue, Rate, ms, secs,
    trace::{Alert, DatagramRecord, Fate, Recorder, Recording},
};
use serde_json::Value;

use crate::storm;

/// All that goes wrong in [`a_failing_world`], and from when until when, in milliseconds.
const FAULTS: [(&str, u64, Option<u64>); 11] = [
    ("loss 10 %", 1_000, Some(25_000)),
    ("duplicate 10 %", 1_000, Some(25_000)),
    ("rate 60 kB/s, queue 12 datagrams", 1_000, None),
    ("clog n0 → n1", 2_000, Some(2_400)),
    ("cut n1 ⇄ n2", 2_000, Some(25_000)),
    ("paused n2", 3_000, Some(4_000)),
    ("rebind n0 to port 4434", 4_000, Some(4_000)),
    ("blocked socket n1", 4_000, Some(4_300)),
    ("corrupt 10 %", 4_000, Some(25_000)),
    ("down n1", 5_000, Some(25_000)),
    ("restart n1", 25_000, Some(25_000)),
];

#[test]
fn the_page_of_a_failing_world_has_lanes_faults_and_the_violation() {
    let recording = a_failing_world();
    let page = page_of(&recording);
    let names = ["n0", "n1", "n2", "n3"];

    let data = data_of(&page);
    let nodes: Vec<&Value> = list(&data["nodes"])
        .iter()
        .map(|node| &node["name"])
        .collect();
    assert_eq!(nodes, names);
    let lanes = elements(&page, "<li class=\"lane\"");
    assert_eq!(lanes.len(), names.len());
    for (lane, name) in lanes.iter().zip(names) {
        assert!(lane.contains(&format!("> {name}</label>")), "{lane}");
    }

    let faults = list(&data["faults"]);
    let items = elements(&page, "<li data-fault=");
    assert_eq!(
        (faults.len(), items.len()),
        (recording.faults.len(), recording.faults.len())
    );
    for ((fault, item), record) in faults.iter().zip(&items).zip(&recording.faults) {
        assert_eq!(fault["family"], record.family);
        assert_eq!(time(&fault["from"]), Some(record.from));
        assert_eq!(time(&fault["until"]), record.until);
        assert!(
            item.contains(&format!("<span>{}</span>", record.label())),
            "{item}"
        );
        assert!(
            item.contains(&format!("data-from=\"{:.6}\"", record.from.as_secs_f64())),
            "{item}"
        );
    }
    let told: Vec<_> = recording
        .faults
        .iter()
        .map(|fault| (fault.label(), fault.from, fault.until))
        .collect();
    let expected = FAULTS.map(|(label, from, until)| (label.to_owned(), ms(from), until.map(ms)));
    assert_eq!(told, expected);

    let alert = &recording.alerts[0];
    let violation = &data["violations"][0];
    assert_eq!(time(&violation["at"]), Some(alert.at));
    assert_eq!(violation["property"], "NothingIsLost");
    let marker = &elements(&page, "<li data-violation=")[0];
    assert!(marker.contains("href=\"#violation=1\""), "{marker}");
    assert!(
        marker.contains(&format!("data-at=\"{:.6}\"", alert.at.as_secs_f64())),
        "{marker}"
    );
    assert!(marker.contains("&lt;lost&gt; &amp; gone"), "{marker}");
}

#[test]
fn the_data_of_a_page_are_those_of_the_recording() {
    let recording = a_failing_world();
    let data = data_of(&page_of(&recording));
    let rows = list(&data["datagrams"]);
    assert_eq!(rows.len(), recording.datagrams.len());
    for (row, record) in rows.iter().zip(&recording.datagrams) {
        let fate = row[5].as_u64().expect("a fate is a place in the list");
        let name = record.end.map_or("under way", |end| end.fate.name());
        assert_eq!(data["fates"][fate as usize]["name"], name);
        assert_eq!(
            (time(&row[0]), time(&row[1])),
            (Some(record.at), record.end.map(|end| end.at))
        );
        assert_eq!(row[4], record.length);
    }
    let spans = list(&data["bars"])
        .iter()
        .flat_map(|bar| list(&bar["spans"]));
    let statuses: Vec<&Value> = spans.map(|span| &span[2]).collect();
    for status in ["New", "Connecting", "Connected", "Disconnected", "Failed"] {
        assert!(
            statuses.iter().any(|other| **other == status),
            "no {status}"
        );
    }
}

#[test]
fn the_bars_of_one_peer_follow_each_other() {
    for seed in 0..40 {
        let recorder = Recorder::new();
        storm::play(seed, Some(&recorder));
        let recording = recorder.take();
        let data = data_of(&page_of(&recording));
        for bar in list(&data["bars"]) {
            let spans: Vec<_> = list(&bar["spans"])
                .iter()
                .map(|span| (time(&span[0]), time(&span[1])))
                .collect();
            assert!(
                spans.iter().all(|(from, until)| from < until),
                "seed {seed}: {bar}"
            );
            assert!(
                spans.windows(2).all(|pair| pair[0].1 <= pair[1].0),
                "seed {seed}: {bar}"
            );
        }
    }
}

#[test]
fn a_page_asks_the_network_for_nothing() {
    let page = page_of(&a_failing_world());
    for reference in ["http://", "https://", " src=", "url(", "@import", "fetch("] {
        assert!(!page.contains(reference), "{reference}");
    }
    assert!(page.contains("default-src 'none'"));
}

/// Four nodes, every kind of fault, and an expectation that does not hold: nothing is lost.
fn a_failing_world() -> Recording {
    let recorder = Recorder::new();
    let mut net = Net::new(42).latency(ms(25));
    net.record(&recorder);
    let nodes = net.nodes(4, &Config::default());
    let [a, b, c, d] = nodes[..] else {
        panic!("there are four");
    };
    net.introduce_all();
    talk(&mut net, &[(a, b), (b, c), (c, a)]);
    net.loss(0.1);
    net.duplicate(0.1);
    net.faults(|faults| faults.rate = Some(slow()));
    talk(&mut net, &[(a, b), (b, a), (c, a)]);
    net.clog(a, b, ms(400));
    net.cut(b, c);
    talk(&mut net, &[(a, b), (b, c), (c, b)]);
    net.pause(c);
    talk(&mut net, &[(a, c), (b, c)]);
    net.resume(c);
    net.rebind(a);
    net.block_socket(b, ms(300));
    net.corrupt(0.1);
    talk(&mut net, &[(a, b), (b, a)]);
    net.crash(b);
    net.advance(secs(20));
    net.restart(b);
    net.heal_all();
    net.faults(Faults::calm);
    net.disconnect(a, c);
    net.introduce_one_way(b, d);
    talk(&mut net, &[(b, d), (d, b)]);
    blame(recorder.take())
}

/// For a second, every node that can act sends something every 125 ms.
fn talk(net: &mut Net, pairs: &[(NodeId, NodeId)]) {
    for _ in 0..8 {
        for (from, to) in pairs {
            if net.machine(*from).is_some() && !net.is_paused(*from) {
                // An outbox without room takes nothing, which is no matter here.
                let _ = net.try_send(*from, *to, &[7; 3_000]);
            }
        }
        net.advance(ms(125));
    }
}

fn slow() -> Rate {
    Rate {
        bytes_per_second: 60_000,
        queue: Queue::Packets(12),
        mark_above: Some(4),
    }
}

/// Marks the first datagram that was lost.
fn blame(mut recording: Recording) -> Recording {
    recording.title = "a world where nothing may be lost".to_owned();
    let is_lost = |datagram: &&DatagramRecord| {
        datagram
            .end
            .is_some_and(|end| matches!(end.fate, Fate::Lost(_)))
    };
    let lost = recording
        .datagrams
        .iter()
        .find(is_lost)
        .expect("some are lost");
    recording.alerts.push(Alert {
        at: lost.end.expect("it is lost").at,
        property: "NothingIsLost".to_owned(),
        what: format!(
            "<lost> & gone: {} from {} to {}",
            lost.packets[0], lost.from, lost.to
        ),
    });
    recording
}

/// Renders the page. With `SIM_LOOK` a page with alerts is written to that directory, too.
fn page_of(recording: &Recording) -> String {
    let mut page = Vec::new();
    recording
        .write_html(&mut page)
        .expect("memory takes it all");
    if let (Some(_), Ok(dir)) = (recording.alerts.first(), env::var("SIM_LOOK")) {
        fs::write(PathBuf::from(dir).join("failing.html"), &page).expect("the directory is there");
    }
    String::from_utf8(page).expect("a page is text")
}

/// What the script of the page reads.
fn data_of(page: &str) -> Value {
    let (_, rest) = page.split_once("id=\"data\">").expect("there are data");
    let (data, _) = rest.split_once("</script>").expect("they end");
    serde_json::from_str(data).expect("they are JSON")
}

/// The elements that begin like this, up to the end of their line or list.
fn elements<'a>(page: &'a str, beginning: &str) -> Vec<&'a str> {
    let starts = page.match_indices(beginning).map(|(at, _)| &page[at..]);
    starts
        .map(|rest| rest.split_once('\n').map_or(rest, |(line, _)| line))
        .collect()
}

fn list(value: &Value) -> &Vec<Value> {
    value.as_array().expect("this is a list")
}

fn time(value: &Value) -> Option<Duration> {
    value.as_u64().map(Duration::from_nanos)
}
