//! Each quirk as bare quinn-proto shows it: two endpoints and a network in memory, without a link of ours.
//! Of quicpool only the TLS of an identity and, where a workaround is shown, the workaround.

mod pair;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use quinn_proto::{Connection, ConnectionError, Dir, Event, StreamId, TransportConfig, VarInt};

use self::pair::{ACCEPTOR, DIALLER, Pair};
use super::{
    abandon, later_than,
    order::{BUFFER_COST, is_clear},
    window::{self, InFlight, Windows},
};
use crate::transport::lane::SEND_BUFFER_BYTES;

/// More than an initial congestion window.
const MUCH: usize = 256 * 1024;

#[test]
fn close_a_full_window_holds_back_the_last_packet() {
    let mut pair = Pair::new(TransportConfig::default());
    pair.fill_window();
    let now = pair.now;
    pair.connection(DIALLER)
        .close(now, VarInt::from_u32(0), Bytes::new());
    pair.advance_silently(secs(1));
    assert_eq!(
        pair.poll(DIALLER),
        None,
        "needless: see the entry \"close\""
    );

    let mut pair = Pair::new(with_windows());
    pair.fill_window();
    let now = pair.now;
    let connection = pair.connection(DIALLER);
    connection.close(now, VarInt::from_u32(0), Bytes::new());
    window::lift(connection);
    assert!(pair.poll(DIALLER).is_some(), "the workaround works");
}

#[test]
fn probe_a_full_window_holds_back_a_ping() {
    let mut pair = Pair::new(TransportConfig::default());
    pair.fill_window();
    let pings = pair.connection(DIALLER).stats().frame_tx.ping;
    pair.connection(DIALLER).ping();
    assert_eq!(
        pair.poll(DIALLER),
        None,
        "needless: see the entry \"probe\""
    );

    let mut pair = Pair::new(with_windows());
    pair.fill_window();
    let connection = pair.connection(DIALLER);
    connection.ping();
    window::lift(connection);
    assert!(pair.poll(DIALLER).is_some(), "the workaround works");
    let connection = pair.connection(DIALLER);
    window::lower(connection);
    assert_eq!(connection.stats().frame_tx.ping, pings + 1);
    assert_eq!(pair.poll(DIALLER), None, "and ends");
}

#[test]
fn probe_an_acknowledgement_shows_when_its_packet_was_sent() {
    let mut pair = Pair::new(with_windows());
    let sent = pair.now;
    pair.connection(DIALLER).ping();
    pair.run(secs(1));
    assert_eq!(window::answered(pair.connection(DIALLER)), Some(sent));
}

#[test]
fn datagrams_go_before_streams_that_waited_for_longer() {
    let mut pair = Pair::new(TransportConfig::default());
    let stream = open(pair.connection(DIALLER));
    write(pair.connection(DIALLER), stream, 4_000);
    let connection = pair.connection(DIALLER);
    let longest = connection
        .datagrams()
        .max_size()
        .expect("both ends have them");
    let payload = Bytes::from(vec![7; longest]);
    connection
        .datagrams()
        .send(payload, false)
        .expect("there is room");
    let before = connection.stats().frame_tx;
    assert!(pair.poll(DIALLER).is_some());
    let after = pair.connection(DIALLER).stats().frame_tx;
    assert_eq!(
        after.datagram,
        before.datagram + 1,
        "needless: see \"datagrams first\""
    );
    assert_eq!(
        after.stream, before.stream,
        "needless: see \"datagrams first\""
    );
}

#[test]
fn what_is_in_a_packet_shows_in_the_frame_counters_and_in_the_room_for_datagrams() {
    let mut pair = Pair::new(with_datagrams());
    let connection = pair.connection(DIALLER);
    assert_eq!(
        connection.datagrams().send_buffer_space(),
        SEND_BUFFER_BYTES - BUFFER_COST
    );
    assert!(is_clear(connection));
    let before = connection.stats().frame_tx;
    for _ in 0..3 {
        connection
            .datagrams()
            .send(Bytes::from_static(b"datagram"), false)
            .expect("room");
    }
    assert!(!is_clear(connection));
    let stream = open(connection);
    write(connection, stream, 10);
    assert!(pair.poll(DIALLER).is_some());
    let connection = pair.connection(DIALLER);
    let after = connection.stats().frame_tx;
    assert_eq!(
        (after.datagram, after.stream),
        (before.datagram + 3, before.stream + 1)
    );
    assert!(is_clear(connection));
}

#[test]
fn dropped_in_silence_is_a_datagram_that_has_become_too_long() {
    let mut pair = Pair::new(with_datagrams());
    pair.run(secs(5));
    let connection = pair.connection(DIALLER);
    let longest = connection
        .datagrams()
        .max_size()
        .expect("both ends have them");
    assert!(longest > 1_300, "path MTU discovery is done: {longest}");
    let before = connection.stats().frame_tx.datagram;
    pair.ends[DIALLER].longest = 1_200;
    pair.events(DIALLER);
    let mut given = 0;
    // Until the path is known to carry less.
    for _ in 0..1_000 {
        let connection = pair.connection(DIALLER);
        if connection.stats().path.black_holes_detected > 0 {
            break;
        }
        let payload = Bytes::from(vec![7; longest]);
        given += u64::from(connection.datagrams().send(payload, false).is_ok());
        pair.run(ms(10));
    }
    pair.run(secs(1));
    let connection = pair.connection(DIALLER);
    assert!(connection.stats().path.black_holes_detected > 0);
    assert!(is_clear(connection));
    let written = connection.stats().frame_tx.datagram - before;
    assert!(written < given, "none was dropped: {written} of {given}");
    let told = pair.events(DIALLER);
    let is_told = |event: &Event| matches!(event, Event::DatagramsUnblocked);
    assert!(
        !told.iter().any(is_told),
        "needless: see \"dropped in silence\""
    );
}

#[test]
fn abandon_ends_a_connection_without_a_word() {
    let mut pair = Pair::new(TransportConfig::default());
    let now = pair.now;
    let connection = pair.connection(DIALLER);
    abandon(now, connection);
    assert!(connection.is_closed());
    let told = pair.events(DIALLER);
    let [
        Event::ConnectionLost {
            reason: ConnectionError::TimedOut,
        },
    ] = &told[..]
    else {
        panic!("{told:?}");
    };
    assert_eq!(pair.poll(DIALLER), None);
}

#[test]
fn past_deadlines_stay_after_a_timeout_that_was_served_late() {
    let mut pair = Pair::new(TransportConfig::default());
    pair.ends[DIALLER].longest = 0;
    pair.connection(DIALLER).ping();
    assert!(pair.poll(DIALLER).is_some());
    let now = pair.now + secs(3);
    let connection = pair.connection(DIALLER);
    connection.handle_timeout(now);
    let at = connection.poll_timeout().expect("a loss probe is due");
    assert!(at <= now, "needless: see \"past deadlines\"");
    assert!(later_than(now, connection).is_some_and(|at| at > now));
}

#[test]
fn drained_comes_before_the_reason_and_frees_the_index() {
    let mut pair = Pair::new(TransportConfig::default());
    let now = pair.now;
    abandon(now, pair.connection(DIALLER));
    let handle = pair.ends[DIALLER].handle();
    assert!(pair.exchange(DIALLER), "it has drained");
    let (next, _) = pair.dial();
    assert_eq!(next, handle, "needless: see \"drained\"");
    let told = pair.events(DIALLER);
    assert!(
        matches!(told[..], [Event::ConnectionLost { .. }]),
        "{told:?}"
    );
}

/// What no test shows is read again with each version.
#[test]
fn the_version_is_the_one_that_the_entries_were_read_for() {
    let lock = include_str!("../../../../Cargo.lock");
    let version = "name = \"quinn-proto\"\nversion = \"0.11.19\"\n";
    assert!(lock.contains(version), "read all entries again");
}

#[test]
fn a_limit_that_was_raised_stays_and_what_is_read_pays_for_it() {
    const WINDOW: u32 = 16_000;
    const MORE: u32 = 64_000;
    let mut config = TransportConfig::default();
    config.receive_window(VarInt::from_u32(WINDOW));
    let mut pair = Pair::new(config);
    let stream = open(pair.connection(DIALLER));
    let room = |pair: &mut Pair| {
        let mut stream = pair.connection(DIALLER).send_stream(stream);
        stream.write(&[7; 100_000]).unwrap_or_default()
    };
    assert_eq!(room(&mut pair), WINDOW as usize);
    for window in [WINDOW + MORE, WINDOW] {
        let window = VarInt::from_u32(window);
        pair.connection(ACCEPTOR).set_receive_window(window);
    }
    pair.run(secs(1));
    assert_eq!(room(&mut pair), MORE as usize);
    pair.run(secs(1));
    read(pair.connection(ACCEPTOR), stream, MORE as usize);
    pair.run(secs(1));
    assert_eq!(room(&mut pair), 0, "see \"a limit that stays raised\"");
    read(pair.connection(ACCEPTOR), stream, WINDOW as usize);
    pair.run(secs(1));
    assert_eq!(room(&mut pair), WINDOW as usize);
}

/// Settings with the controller that [`window`] makes.
fn with_windows() -> TransportConfig {
    let mut config = TransportConfig::default();
    let windows = Windows::new(InFlight::default());
    config.congestion_controller_factory(Arc::new(windows));
    config
}

fn with_datagrams() -> TransportConfig {
    let mut config = TransportConfig::default();
    config.datagram_send_buffer_size(SEND_BUFFER_BYTES);
    config
}

fn open(connection: &mut Connection) -> StreamId {
    connection
        .streams()
        .open(Dir::Uni)
        .expect("a stream is allowed")
}

fn write(connection: &mut Connection, stream: StreamId, bytes: usize) {
    let written = connection.send_stream(stream).write(&vec![7; bytes]);
    assert_eq!(written, Ok(bytes));
}

/// Reads exactly so many bytes.
fn read(connection: &mut Connection, stream: StreamId, bytes: usize) {
    let mut received = connection.recv_stream(stream);
    let mut chunks = received.read(true).expect("it is open");
    let mut read = 0;
    while read < bytes {
        let chunk = chunks.next(bytes - read).expect("nothing is missing");
        read += chunk.expect("it goes on").bytes.len();
    }
    let _ = chunks.finalize();
}

const fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}
