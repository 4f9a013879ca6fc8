//! Failure 12: the peer was down and came back, and is not dialled again, or the dead session is
//! handed out until a restart.

use quicpool_core::{
    Config,
    ConnectionStatus::{Connected, Failed},
    Event, Reason,
};
use quicpool_sim::{Net, NodeId, ms, secs};

/// A peer that is away is dialled again and again, ever more rarely, as long as messages wait for it.
#[test]
fn failure_12_a_peer_that_comes_back_gets_what_waited_for_it() {
    for absence in [secs(1), secs(20), secs(200)] {
        let (mut net, a, b) = connected();

        net.crash(b);
        net.run_until(secs(16), |n| n.status(a, b) == Some(Failed));
        let _ = net.try_send(a, b, b"for when you are back");
        net.advance(absence);
        net.restart(b);

        net.run_until(secs(121), |n| n.status(a, b) == Some(Connected));
        net.advance(secs(1));
        let received = net.received(b);
        assert_eq!(received.len(), 1, "away for {absence:?}: {net:?}");
    }
}

/// A process that is back before it was missed does not know the old connection, and resets it: the
/// other end need not wait for a timeout.
#[test]
fn failure_12_a_dead_session_is_not_handed_out() {
    let (mut net, a, b) = connected();

    net.crash(b);
    net.advance(ms(100));
    net.restart(b);
    net.send(a, b, b"are you the one I know?");
    net.run_until(ms(100), |n| n.status(a, b) != Some(Connected));
    assert!(reasons(&net, a).contains(&Reason::Reset), "{net:?}");

    // Whether the old process took it is not known, which is reported; what is sent from here on
    // arrives.
    net.run_until(secs(5), |n| n.status(a, b) == Some(Connected));
    net.send(a, b, b"nice to meet you");
    net.advance(ms(100));
    let received = net.received(b);
    assert_eq!(received[0].payload, &b"nice to meet you"[..]);
}

fn connected() -> (Net, NodeId, NodeId) {
    let mut net = Net::new(12).latency(ms(10));
    let (a, b) = (net.node(Config::default()), net.node(Config::default()));
    net.introduce_one_way(a, b);
    net.connect(a, b);
    net.run_until(secs(1), |n| n.are_connected(a, b));
    (net, a, b)
}

/// Why a node's connections have changed.
fn reasons(net: &Net, node: NodeId) -> Vec<Reason> {
    let reason = |(_, event): &(_, Event)| {
        if let Event::StatusChanged { reason, .. } = event {
            Some(reason.clone())
        } else {
            None
        }
    };
    net.history(node).iter().filter_map(reason).collect()
}
