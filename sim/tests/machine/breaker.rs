//! The breaker: it opens after failures in a row, refuses at once, tries one dial at a time, and closes.

use std::time::{Duration, Instant};

use quicpool_core::{
    Config,
    ConnectionStatus::{Connected, Connecting, Failed},
    PeerError, Reason, SendError,
};
use quicpool_sim::{Net, NodeId, ms, secs};

use crate::support::introduced;

const FAILURES_MAX: u32 = 3;

#[test]
fn an_open_breaker_refuses_at_once_and_costs_no_dial() {
    let (mut net, a, b) = open();
    let before = net.metrics(a).expect("it is up").counters;
    for _ in 0..1_000 {
        let retry_at = refusal(&mut net, a, b).expect("it is open");
        assert!(retry_at > net.instant());
        let refused = net.try_connect(a, b);
        assert!(matches!(refused, Err(PeerError::CircuitOpen { .. })));
    }
    let after = net.metrics(a).expect("it is up").counters;
    assert_eq!(after.dials, before.dials);
    assert_eq!(after.messages_accepted, before.messages_accepted);
}

#[test]
fn while_one_dial_tries_everybody_else_is_refused_until_it_has_failed() {
    let (mut net, a, b) = open();
    let retry_at = refusal(&mut net, a, b).expect("it is open");
    net.advance(retry_at - net.instant());
    assert_eq!(refusal(&mut net, a, b), None, "this one tries");
    assert_eq!(net.status(a, b), Some(Connecting));
    let dials = dials(&net, a, b);
    let limit = refusal(&mut net, a, b).expect("a dial is under way");
    while net.instant() < limit {
        assert_eq!(refusal(&mut net, a, b), Some(limit), "{net:?}");
        assert_eq!(self::dials(&net, a, b), dials);
        net.advance(ms(100));
    }
    assert_eq!(net.status(a, b), Some(Failed));
    let again = refusal(&mut net, a, b).expect("it is open again");
    assert!(again > net.instant());
}

#[test]
fn it_closes_with_the_first_connection_and_messages_pass() {
    let (mut net, a, b) = open();
    net.restart(b);
    let retry_at = refusal(&mut net, a, b).expect("it is open");
    net.advance(retry_at - net.instant());
    assert_eq!(refusal(&mut net, a, b), None);
    net.run_until(secs(1), |n| n.status(a, b) == Some(Connected));
    for _ in 0..100 {
        assert_eq!(refusal(&mut net, a, b), None);
    }
    net.advance(secs(20));
    assert_eq!(net.received(b).len(), 101);

    // The connection has proved stable: as many failures are allowed again, its loss among them.
    let before = failures(&net, a, b);
    net.crash(b);
    net.run_until(secs(30), |n| n.status(a, b) != Some(Connected));
    loop {
        let failed = failures(&net, a, b) - before;
        let refused = refusal(&mut net, a, b).is_some();
        assert_eq!(refused, failed >= FAILURES_MAX.into(), "after {failed}");
        if refused {
            break;
        }
        net.run_until(secs(20), |n| failures(n, a, b) > before + failed);
    }
}

#[test]
fn a_try_that_is_called_off_leaves_the_way_free_for_the_next() {
    let (mut net, a, b) = open();
    for _ in 0..5 {
        let retry_at = refusal(&mut net, a, b).expect("it is open");
        net.advance(retry_at.max(net.instant()) - net.instant());
        assert_eq!(refusal(&mut net, a, b), None, "{net:?}");
        net.advance(ms(100));
        net.disconnect(a, b);
        net.advance(ms(100));
        assert_eq!(refusal(&mut net, a, b), None, "nothing is tried; {net:?}");
        assert_eq!(net.status(a, b), Some(Connecting));
        net.run_until(secs(6), |n| n.status(a, b) == Some(Failed));
        net.disconnect(a, b);
    }
}

#[test]
fn it_never_sticks_whatever_happens_to_the_peer() {
    for seed in 0..20 {
        let (mut net, a, b) = introduced(Net::new(seed).latency(ms(20)), config());
        let mut is_up = true;
        for step in 0..200u64 {
            // Now it is there for a moment, now it is gone for long, and now and then called off.
            match (seed + step * step) % 7 {
                0 if is_up => net.crash(b),
                1 if !is_up => net.restart(b),
                2 => net.disconnect(a, b),
                _ => {}
            }
            is_up = net.machine(b).is_some();
            if let Some(retry_at) = refusal(&mut net, a, b) {
                assert!(retry_at > net.instant(), "seed {seed}; {net:?}");
                assert!(
                    retry_at <= net.instant() + longest(),
                    "seed {seed}; {net:?}"
                );
            }
            net.advance(ms(50 + step * 13 % 1_500));
        }
        if !is_up {
            net.restart(b);
        }
        net.advance(longest());
        let _ = refusal(&mut net, a, b);
        net.run_until(longest() + secs(1), |n| n.status(a, b) == Some(Connected));
        assert_eq!(refusal(&mut net, a, b), None, "seed {seed}; {net:?}");
    }
}

#[test]
fn a_herd_of_peers_that_are_gone_is_dialled_no_faster_than_the_rate() {
    const RATE: u32 = 10;
    const SECONDS: u64 = 20;
    let mut config = config();
    config.dial_rate = RATE;
    config.handshake_timeout = ms(100);
    let mut net = Net::new(1);
    let a = net.node(config);
    for other in net.nodes(40, &Config::default()) {
        net.introduce(a, other);
        // A second address: dialled at once when the first has failed.
        let (id, addr) = (net.peer_id(other), ([10, 9, 9, 9], 1).into());
        net.with(a, |machine, now| {
            machine.add_address(now, quicpool_core::PeerAddr { id, addr })
        })
        .expect("there is room");
        net.isolate(other);
        net.send(a, other, b"are you there?");
    }
    let mut before = 0;
    for second in 1..=SECONDS {
        net.advance(secs(1));
        let dials = net.metrics(a).expect("it is up").counters.dials;
        // The bursts of users and of the machine itself, and second addresses of dials under way.
        let allowed = second * u64::from(RATE) + 4;
        assert!(dials <= allowed, "{dials} dials in {second} s");
        assert!(dials > before, "and they go on");
        before = dials;
    }
}

// Helpers

fn config() -> Config {
    let mut config = Config::default();
    config.breaker_failures = FAILURES_MAX;
    config.backoff.initial = ms(500);
    config.backoff.max = secs(4);
    config
}

/// The longest refusal.
fn longest() -> Duration {
    let config = config();
    config.backoff.max.max(config.handshake_timeout)
}

/// A node whose breaker is open for another that is down, and nothing is queued.
fn open() -> (Net, NodeId, NodeId) {
    let (mut net, a, b) = introduced(Net::new(7), config());
    net.crash(b);
    net.send(a, b, b"are you there?");
    net.run_until(secs(60), |n| failures(n, a, b) == u64::from(FAILURES_MAX));
    net.disconnect(a, b);
    (net, a, b)
}

/// Sends a message; until when it is refused, if it is.
fn refusal(net: &mut Net, a: NodeId, b: NodeId) -> Option<Instant> {
    match net.try_send(a, b, b"x") {
        Ok(()) => None,
        Err(SendError::Peer(PeerError::CircuitOpen { retry_at, reason })) => {
            assert_ne!(reason, Reason::CalledOff);
            Some(retry_at)
        }
        Err(error) => panic!("{error}: {net:?}"),
    }
}

fn failures(net: &Net, a: NodeId, b: NodeId) -> u64 {
    net.peer_metrics(a, b).map_or(0, |peer| peer.failures)
}

fn dials(net: &Net, a: NodeId, b: NodeId) -> u64 {
    net.peer_metrics(a, b).map_or(0, |peer| peer.dials)
}
