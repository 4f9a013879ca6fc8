//! What a session costs that has no connection.

use quicpool_core::Config;
use quicpool_sim::{ms, secs};

use crate::{
    heap,
    wire::{Sessions, Wire},
};

/// Peers that are connected at one time.
pub(crate) const CONNECTED: usize = 100;

/// Peers that are known.
pub(crate) const KNOWN: usize = 10_000;

/// Bytes of memory for one session without a connection.
const SESSION_BYTES_MAX: usize = 960;

#[test]
fn a_session_without_a_connection_costs_less_than_a_kibibyte() {
    let _alone = heap::alone();
    let config = config();
    let mut wire = Wire::new(Sessions::Checksum);
    let hub = wire.node(config.clone());
    let mut before = None;
    for _ in 0..KNOWN / CONNECTED {
        visit(&mut wire, hub, &config);
        before.get_or_insert_with(|| wire.look(hub));
    }
    let metrics = wire.metrics(hub);
    assert_eq!(metrics.counters.connections_confirmed, KNOWN as u64);
    assert_eq!(metrics.counters.messages_delivered, KNOWN as u64);
    assert_eq!(metrics.connections, CONNECTED);
    let grown = wire.look(hub).since(before.expect("somebody came"));
    let each = grown.heap / (KNOWN - CONNECTED);
    println!("{each} bytes for each session without a connection, of {KNOWN}; {grown:?}");
    assert!(each < SESSION_BYTES_MAX, "{each} bytes each");
    assert!(
        grown.heap.abs_diff(grown.usage) < grown.heap / 10,
        "{grown:?}"
    );
}

// Helpers

pub(crate) fn config() -> Config {
    let mut config = Config::default();
    config.connections_max = CONNECTED;
    config.dial_rate = 1_000_000;
    // None expires while the others come.
    config.session_timeout = secs(3_000);
    config
}

/// Others come, are sent a message, take it, and are gone; their sessions stay.
pub(crate) fn visit(wire: &mut Wire, hub: usize, config: &Config) {
    wire.dismiss(hub + 1);
    let visitors: Vec<_> = (0..CONNECTED).map(|_| wire.node(config.clone())).collect();
    // All can come again by themselves: no peer has to be visited. And none is a stranger.
    for other in &visitors {
        wire.introduce(*other, hub);
        wire.add(hub, *other);
    }
    // The pool keeps a quarter of its slots for peers that dial.
    let (called, callers) = visitors.split_at(CONNECTED / 2);
    for other in called {
        wire.introduce(hub, *other);
        wire.connect(hub, *other);
    }
    wire.advance(ms(200));
    for other in callers {
        wire.connect(*other, hub);
    }
    wire.advance(ms(800));
    for other in &visitors {
        wire.send(hub, *other, b"welcome").expect("it is connected");
    }
    wire.advance(ms(500));
    for other in visitors {
        let messages = wire.read(other, hub, 10);
        wire.take(other, &messages);
    }
    wire.advance(ms(500));
}
