//! The table of docs/endings.md: what each way to end does at both ends, and whether peers come back.

use quicpool_core::{Config, Event, Reason, Undeliverable};
use quicpool_sim::{Net, NodeId, ms, secs};

use crate::support::{connected, news, reasons, send_many, undelivered};

/// What the first of two nodes does while messages are queued at both.
type Way = fn(&mut Net, NodeId, NodeId);

#[test]
fn a_session_that_ends_is_reported_at_both_ends() {
    let ways: [(&str, Way); 3] = [
        ("disconnect", Net::disconnect),
        ("forget", Net::forget),
        ("block", Net::block),
    ];
    for (way, end) in ways {
        let (mut net, a, b) = queued();
        end(&mut net, a, b);
        net.advance(secs(1));
        assert_ends(&mut net, [a, b], Undeliverable::Disconnected, way);
        assert_eq!(net.status(a, b).is_none(), way == "forget", "{way}");

        net.send(b, a, b"come back");
        net.advance(secs(1));
        assert_eq!(net.are_connected(a, b), way != "block", "{way}: {net:?}");
        if way == "block" {
            let reasons = reasons(&net, b);
            let failure = reasons.iter().rfind(|reason| **reason != Reason::Dialling);
            assert_eq!(failure, Some(&Reason::NotAccepted));
            net.unblock(a, b);
            net.send(a, b, b"come back");
            net.advance(secs(1));
            assert!(net.are_connected(a, b), "{net:?}");
        }
    }
}

#[test]
fn a_manager_that_ends_is_reported_at_both_ends() {
    let ways: [(&str, Way); 2] = [
        ("close", |net, a, _| net.close(a)),
        ("abort", |net, a, _| net.abort(a)),
    ];
    for (way, end) in ways {
        let (mut net, a, b) = queued();
        end(&mut net, a, b);
        net.advance(secs(6)); // longer than close_timeout
        assert_ends(&mut net, [a, b], Undeliverable::Closed, way);
    }
}

#[test]
fn a_machine_that_is_dropped_leaves_without_a_word() {
    let (mut net, a, b) = queued();
    net.crash(a);
    net.advance(secs(20)); // longer than liveness_timeout
    assert!(reasons(&net, b).contains(&Reason::Unresponsive), "{net:?}");
    assert!(news(&mut net, b).is_empty(), "what it had queued waits");

    net.restart(a);
    net.introduce(a, b);
    net.connect(a, b);
    net.advance(secs(10));
    let restarted = |event: &Event| matches!(event, Event::PeerRestarted { .. });
    assert!(news(&mut net, b).iter().any(restarted), "{net:?}");
}

/// Two nodes that are connected, read nothing, and have sent two messages and one to each other.
fn queued() -> (Net, NodeId, NodeId) {
    let (mut net, a, b) = connected(Net::new(1), Config::default());
    net.pause_reader(a);
    net.pause_reader(b);
    send_many(&mut net, a, b, 2);
    send_many(&mut net, b, a, 1);
    net.advance(ms(100));
    for node in [a, b] {
        net.events(node);
    }
    (net, a, b)
}

/// What both had queued is undelivered, and the second end received Goodbye.
fn assert_ends(net: &mut Net, [a, b]: [NodeId; 2], why: Undeliverable, way: &str) {
    let ours = undelivered(net, b, 0..2, why);
    assert!(news(net, a).contains(&ours), "{way}: {net:?}");
    let theirs = undelivered(net, a, 0..1, Undeliverable::Goodbye);
    assert!(news(net, b).contains(&theirs), "{way}: {net:?}");
    assert_eq!(reasons(net, b).last(), Some(&Reason::Goodbye), "{way}");
}
