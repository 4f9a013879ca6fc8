//! Ranges, defaults, and what the documents state of them.

use super::*;

/// One change for each end of each range.
type Change = (&'static str, fn(&mut Config));

const OUT_OF_RANGE: &[Change] = &[
    ("connections_max", |c| c.connections_max = 0),
    ("connections_max", |c| c.connections_max = 1_000_001),
    ("handshakes_max", |c| c.handshakes_max = 0),
    ("handshakes_max", |c| c.handshakes_max = 65_537),
    ("peers_max", |c| c.peers_max = 0),
    ("peers_max", |c| c.peers_max = 16_777_217),
    ("addresses_max", |c| c.addresses_max = 0),
    ("addresses_max", |c| c.addresses_max = 1_025),
    ("batch_messages_max", |c| c.batch_messages_max = 0),
    ("batch_messages_max", |c| c.batch_messages_max = 65_537),
    ("batch_bytes_max", |c| c.batch_bytes_max = 1_023),
    ("batch_bytes_max", |c| c.batch_bytes_max = MIB + 1),
    ("batch_delay_max", |c| c.batch_delay_max = secs(11)),
    ("message_bytes_max", |c| c.message_bytes_max = 0),
    ("message_bytes_max", |c| c.message_bytes_max = 16 * MIB + 1),
    ("outbox_bytes_max", |c| c.outbox_bytes_max = MIB),
    ("outbox_bytes_max", |c| c.outbox_bytes_max = 128 * MIB + 1),
    ("inbox_bytes_max", |c| c.inbox_bytes_max = 1_023),
    ("inbox_bytes_max", |c| c.inbox_bytes_max = GIB + 1),
    ("datagram_queue_bytes_max", |c| {
        c.datagram_queue_bytes_max = 1;
    }),
    ("datagram_queue_bytes_max", |c| {
        c.datagram_queue_bytes_max = 16 * MIB + 1;
    }),
    ("memory_max", |c| c.memory_max = MIB - 1),
    ("memory_max", |c| c.memory_max = 1_024 * GIB + 1),
    ("tuning.control_reserve", |c| {
        c.tuning.control_reserve = 4 * KIB - 1
    }),
    ("tuning.control_reserve", |c| {
        c.tuning.control_reserve = MIB + 1
    }),
    ("pool_ttl", |c| c.pool_ttl = millis(99)),
    ("pool_ttl", |c| c.pool_ttl = DAY + millis(1)),
    ("session_timeout", |c| c.session_timeout = secs(125)),
    ("session_timeout", |c| c.session_timeout = DAY + millis(1)),
    ("liveness_timeout", |c| c.liveness_timeout = millis(999)),
    ("liveness_timeout", |c| c.liveness_timeout = secs(601)),
    ("handshake_timeout", |c| c.handshake_timeout = millis(99)),
    ("handshake_timeout", |c| c.handshake_timeout = secs(61)),
    ("backoff.initial", |c| c.backoff.initial = ZERO),
    ("backoff.initial", |c| c.backoff.initial = HOUR + millis(1)),
    ("backoff.factor", |c| c.backoff.factor = 0.9),
    ("backoff.factor", |c| c.backoff.factor = 10.1),
    ("backoff.factor", |c| c.backoff.factor = f64::NAN),
    ("backoff.max", |c| c.backoff.max = millis(999)),
    ("backoff.max", |c| c.backoff.max = HOUR + millis(1)),
    ("tuning.stable_after", |c| {
        c.tuning.stable_after = HOUR + millis(1)
    }),
    ("dial_rate", |c| c.dial_rate = 0),
    ("dial_rate", |c| c.dial_rate = 1_000_001),
    ("breaker_failures", |c| c.breaker_failures = 0),
    ("breaker_failures", |c| c.breaker_failures = 1_001),
    ("tuning.hold_time_min", |c| {
        c.tuning.hold_time_min = HOUR + millis(1)
    }),
    ("tuning.slot_wait", |c| {
        c.tuning.slot_wait = HOUR + millis(1)
    }),
    ("reconnect_poll", |c| c.reconnect_poll = millis(999)),
    ("reconnect_poll", |c| c.reconnect_poll = DAY + millis(1)),
    ("close_timeout", |c| c.close_timeout = HOUR + millis(1)),
    ("stall_timeout", |c| c.stall_timeout = millis(999)),
    ("stall_timeout", |c| c.stall_timeout = DAY + millis(1)),
];

#[test]
fn the_defaults_are_in_range() {
    assert_eq!(Config::default().check(), Ok(()));
}

#[test]
fn a_value_out_of_range_is_named_with_its_range() {
    for (field, change) in OUT_OF_RANGE {
        let mut config = Config::default();
        change(&mut config);
        let error = config.check().expect_err(field);
        assert_eq!(error.field(), *field);
        let text = error.to_string();
        assert!(text.starts_with(field), "{text}");
        assert!(
            text.contains("is out of range") && text.contains(".."),
            "{text}"
        );
    }
}

#[test]
fn a_largest_message_fits_through_every_window() {
    let mut config = Config {
        message_bytes_max: 16 * MIB,
        ..Config::default()
    };
    assert_eq!(
        config.check().expect_err("too small").field(),
        "outbox_bytes_max"
    );
    config.outbox_bytes_max = config.record_bytes_max();
    assert_eq!(config.check(), Ok(()));
}

#[test]
fn no_datagrams_at_all_are_in_range() {
    let config = Config {
        datagram_queue_bytes_max: 0,
        ..Config::default()
    };
    assert_eq!(config.check(), Ok(()));
}

#[test]
fn a_mesh_key_without_sealing_is_refused() {
    let config = Config {
        sealing: Sealing::Off,
        mesh_key: Some(MeshKey::new(&[1; 32])),
        ..Config::default()
    };
    let error = config.check().expect_err("it would protect nothing");
    assert_eq!(
        error.to_string(),
        "mesh_key is set, and has no effect while sealing = Off"
    );
}

#[test]
fn a_mesh_key_is_not_printed() {
    let key = MeshKey::new(&[0xab; 32]);
    assert_eq!(format!("{key:?}"), "MeshKey(..)");
}

#[test]
fn the_documents_state_every_default() {
    // Not `..`: a new field has to be documented.
    let Config {
        connections_max,
        handshakes_max,
        peers_max,
        addresses_max,
        batch_messages_max,
        batch_bytes_max,
        batch_delay_max,
        flush,
        message_bytes_max,
        outbox_bytes_max,
        inbox_bytes_max,
        datagram_queue_bytes_max,
        memory_max,
        pool_ttl,
        session_timeout,
        liveness_timeout,
        handshake_timeout,
        backoff,
        dial_rate,
        breaker_failures,
        reconnect_poll,
        close_timeout,
        stall_timeout,
        sealing,
        mesh_key,
        on_peer_restart,
        accept,
        tuning,
    } = Config::default();
    let Tuning {
        control_reserve,
        stable_after,
        hold_time_min,
        slot_wait,
    } = tuning;
    let rows = [
        ("connections_max", counted(connections_max)),
        ("handshakes_max", counted(handshakes_max)),
        ("peers_max", counted(peers_max)),
        ("addresses_max", counted(addresses_max)),
        ("batch_messages_max", counted(batch_messages_max)),
        ("batch_bytes_max", sized(batch_bytes_max)),
        (
            "batch_delay_max",
            format!("{} ms", batch_delay_max.as_millis()),
        ),
        ("flush", format!("{flush:?}")),
        ("message_bytes_max", sized(message_bytes_max)),
        ("outbox_bytes_max", sized(outbox_bytes_max)),
        ("inbox_bytes_max", sized(inbox_bytes_max)),
        ("datagram_queue_bytes_max", sized(datagram_queue_bytes_max)),
        ("memory_max", sized(memory_max)),
        ("tuning.control_reserve", sized(control_reserve)),
        ("pool_ttl", format!("{} s", pool_ttl.as_secs())),
        (
            "session_timeout",
            format!("{} s", session_timeout.as_secs()),
        ),
        (
            "liveness_timeout",
            format!("{} s", liveness_timeout.as_secs()),
        ),
        (
            "handshake_timeout",
            format!("{} s", handshake_timeout.as_secs()),
        ),
        (
            "backoff",
            format!(
                "{} s, x{}, at most {} s",
                backoff.initial.as_secs(),
                backoff.factor,
                backoff.max.as_secs()
            ),
        ),
        (
            "tuning.stable_after",
            format!("{} s", stable_after.as_secs()),
        ),
        ("dial_rate", counted(dial_rate as usize)),
        ("breaker_failures", counted(breaker_failures as usize)),
        (
            "tuning.hold_time_min",
            format!("{} s", hold_time_min.as_secs()),
        ),
        ("tuning.slot_wait", format!("{} ms", slot_wait.as_millis())),
        ("reconnect_poll", format!("{} s", reconnect_poll.as_secs())),
        ("close_timeout", format!("{} s", close_timeout.as_secs())),
        ("stall_timeout", format!("{} s", stall_timeout.as_secs())),
        ("sealing", format!("{sealing:?}")),
        ("mesh_key", mesh_key.map_or("none", |_| "some").to_owned()),
        ("on_peer_restart", format!("{on_peer_restart:?}")),
        ("accept", format!("{accept:?}")),
    ];
    let document = include_str!("../../../docs/defaults.md");
    for (field, default) in rows {
        let row = format!("| `{field}` | {default} |");
        assert!(
            document.contains(&row),
            "docs/defaults.md should contain: {row}"
        );
    }
}

/// With a comma between thousands.
fn counted(count: usize) -> String {
    match (count / 1_000, count % 1_000) {
        (0, rest) => rest.to_string(),
        (thousands, rest) => format!("{thousands},{rest:03}"),
    }
}

fn sized(bytes: usize) -> String {
    if bytes.is_multiple_of(MIB) {
        format!("{} MiB", bytes / MIB)
    } else {
        format!("{} KiB", bytes / KIB)
    }
}
