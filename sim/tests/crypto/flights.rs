//! Flights of a handshake: how long those of TLS are, and what comes of long ones.

use std::time::Duration;

use quicpool_core::{Config, Credentials, PeerId};
use quicpool_sim::{Checksum, Crypto, Flights, Net, ms, secs};
use quinn_proto::Side;

use crate::{
    pair::{Pair, credentials},
    sessions::{relay, sessions},
};

#[test]
fn flights_are_as_long_as_those_of_tls() {
    let lens = |crypto| {
        let [client, server] = [1, 2].map(|number| credentials(crypto, number, 1));
        let (mut client, mut server) = sessions(&*client, &*server);
        [
            relay(&mut *client, &mut *server),
            relay(&mut *server, &mut *client),
            relay(&mut *client, &mut *server),
        ]
    };
    let (checksum, tls) = (lens(Crypto::Checksum), lens(Crypto::Tls));
    assert_eq!(checksum, [246, 90 + 508, 351]);
    // Their transport parameters are a little shorter here than those of a machine.
    for (ours, theirs) in checksum.into_iter().zip(tls) {
        assert!(ours.abs_diff(theirs) <= 24, "{checksum:?} and {tls:?}");
    }
}

#[test]
fn a_flight_that_has_more_to_say_than_its_length_is_longer() {
    let none = Flights {
        client_hello: 0,
        server_hello: 0,
        server: 0,
        client: 0,
    };
    let mut pair = pair(none);
    assert_eq!(pair.client.peer(), Some(peer(2).local_id()));
    pair.send_and_check(b"all the same");
}

#[test]
fn a_server_flight_of_several_datagrams_arrives_within_the_limit_against_amplification() {
    let short = pair(Flights::default());
    let long = pair(Flights {
        server: 6_000,
        ..Flights::default()
    });
    let [hello, until_answered] = first_exchange(&long);
    // RFC 9000 section 8.1: three times what has come, until the address is validated.
    assert!(until_answered > 2 * hello, "{until_answered} bytes");
    assert!(until_answered <= 3 * hello, "{until_answered} bytes");
    let flown = handshake_bytes(&long, Side::Server) - handshake_bytes(&short, Side::Server);
    assert!((4_000..8_000).contains(&flown), "{flown} bytes more");
    // The rest of the flight waits for the client's first answer: one round trip more.
    assert_eq!(connected_at(&long) - connected_at(&short), ms(20));
}

#[test]
fn a_hello_with_a_post_quantum_share_takes_two_datagrams() {
    let pair = pair(Flights::POST_QUANTUM);
    let hello = pair.trace.iter().take_while(|sent| sent.by == Side::Client);
    let lens: Vec<usize> = hello.map(|sent| sent.bytes.len()).collect();
    assert_eq!(lens, [1_200, 1_200]);
}

#[test]
fn the_longest_flights_arrive_through_loss() {
    let longest = Flights {
        client_hello: Flights::LEN_MAX,
        server_hello: Flights::LEN_MAX,
        server: Flights::LEN_MAX,
        client: Flights::LEN_MAX,
    };
    for seed in 0..20 {
        let mut net = Net::new(seed).latency(ms(20));
        let nodes = [0; 2].map(|_| {
            net.node_with(Config::default(), move |credentials| {
                credentials.with_flights(longest)
            })
        });
        net.introduce_all();
        net.loss(0.1);
        net.send(nodes[0], nodes[1], b"at last");
        net.run_until(secs(120), |net| net.are_connected(nodes[0], nodes[1]));
        net.advance(secs(60));
        assert_eq!(net.received(nodes[1]).len(), 1, "seed {seed}");
    }
}

/// Two ends that have met with flights of these lengths.
fn pair(flights: Flights) -> Pair {
    let [client, server] = [1, 2].map(|number| peer(number).with_flights(flights));
    let mut pair = Pair::new(client, server);
    pair.dial();
    pair.run();
    assert!(pair.client.connected && pair.server.connected);
    pair
}

fn peer(number: u8) -> Checksum {
    Checksum::new(PeerId::from_bytes([number; 32]), 1)
}

/// How many bytes the client has sent first, and the server until it had more of the client.
fn first_exchange(pair: &Pair) -> [usize; 2] {
    let mut turns = pair.trace.chunk_by(|one, next| one.by == next.by);
    [0; 2].map(|_| {
        let turn = turns.next().expect("there are two turns");
        turn.iter().map(|sent| sent.bytes.len()).sum()
    })
}

/// Bytes in datagrams with a long header.
fn handshake_bytes(pair: &Pair, by: Side) -> usize {
    let sent = pair.trace.iter().filter(|sent| sent.by == by);
    let long = sent.filter(|sent| sent.bytes[0] & 0x80 != 0);
    long.map(|sent| sent.bytes.len()).sum()
}

/// When the client sent its first 1-RTT packet by itself.
fn connected_at(pair: &Pair) -> Duration {
    let mut by_client = pair.trace.iter().filter(|sent| sent.by == Side::Client);
    let first = by_client.find(|sent| sent.bytes[0] & 0x80 == 0);
    first.expect("the client has connected").at
}
