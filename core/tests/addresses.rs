//! A machine with peers of many addresses: none of them costs the stack, another peer's dial, or a wait.

#![expect(
    clippy::disallowed_methods,
    reason = "any moment will do to begin a test"
)]

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use quicpool_core::{Action, Config, Identity, Incarnation, Manager, PeerAddr, PeerId};

const BOB: PeerId = PeerId::from_bytes([2; 32]);
const CAROL: PeerId = PeerId::from_bytes([3; 32]);

/// The largest list that a configuration allows.
const ADDRESSES_MAX: usize = 1_024;

#[test]
fn ten_thousand_addresses_that_cannot_be_dialled_are_bounded_and_fail_in_a_loop() {
    let start = Instant::now();
    let mut alice = machine(ADDRESSES_MAX, start);
    for number in 0..10_000 {
        add_undiallable(&mut alice, start, number);
    }
    // As little as a thread may have: a call for each address would not fit.
    let thread = std::thread::Builder::new().stack_size(256 * 1024);
    let thread = thread.spawn(move || {
        alice.send(start, BOB, b"hello").expect("bob is known");
        while alice.driver().poll_event(start).is_some() {}
        alice
    });
    let alice = thread.expect("a thread").join().expect("it survives");
    let dials = alice.metrics(start).counters.dials;
    assert_eq!(dials, ADDRESSES_MAX as u64);
    let explained = alice.explain(start, BOB).expect("bob is known");
    assert_eq!(explained.addresses, ADDRESSES_MAX);
}

#[test]
fn addresses_that_cannot_be_dialled_do_not_delay_the_dial_to_another_peer() {
    for count in [0, 100, 10_000] {
        let start = Instant::now();
        let mut alice = machine(ADDRESSES_MAX, start);
        for number in 0..count {
            add_undiallable(&mut alice, start, number);
        }
        if count > 0 {
            alice.send(start, BOB, b"hello").expect("bob is known");
        }
        let carol = PeerAddr::new(CAROL, ([192, 0, 2, 1], 4_433).into());
        alice.add_address(start, carol).expect("carol is known");
        alice.send(start, CAROL, b"hello").expect("carol is known");
        let first = first_packet_to(&mut alice, start, carol.addr, |_, _| {});
        assert_eq!(first, Duration::ZERO, "{count} addresses of bob");
    }
}

#[test]
fn an_address_that_is_removed_while_it_is_dialled_does_not_hide_the_next_one() {
    let [first, second] = [1, 2].map(|host| SocketAddr::from(([10, 0, 0, host], 4_433)));
    let after = |is_removed: bool| {
        let start = Instant::now();
        let mut alice = machine(32, start);
        for addr in [first, second] {
            let bob = PeerAddr::new(BOB, addr);
            alice.add_address(start, bob).expect("bob is known");
        }
        alice.send(start, BOB, b"hello").expect("bob is known");
        first_packet_to(&mut alice, start, second, |alice, now| {
            if is_removed {
                let bob = PeerAddr::new(BOB, first);
                alice.remove_address(now, bob).expect("bob is known");
            }
        })
    };
    let timeout = Config::default().handshake_timeout;
    assert_eq!([after(false), after(true)], [timeout; 2]);
}

#[test]
fn a_list_at_its_bound_forgets_the_oldest_address() {
    let start = Instant::now();
    let mut alice = machine(2, start);
    for host in 1..=3 {
        let bob = PeerAddr::new(BOB, ([10, 0, 0, host], 4_433).into());
        alice.add_address(start, bob).expect("adding never fails");
    }
    alice.send(start, BOB, b"hello").expect("bob is known");
    let kept = [2, 3].map(|host| SocketAddr::from(([10, 0, 0, host], 4_433)));
    let dialled = kept.map(|addr| first_packet_to(&mut alice, start, addr, |_, _| {}));
    assert_eq!(
        dialled,
        [Duration::ZERO, Config::default().handshake_timeout]
    );
}

fn machine(addresses_max: usize, now: Instant) -> Manager {
    let mut config = Config::default();
    config.addresses_max = addresses_max;
    let credentials = Identity::from_seed(&[1; 32]).credentials();
    let incarnation = Incarnation {
        started_ms: 0,
        random: 1,
    };
    Manager::new(config, credentials, incarnation, [1; 32], now).expect("it is valid")
}

fn add_undiallable(machine: &mut Manager, now: Instant, number: u32) {
    let port_0 = SocketAddr::from((Ipv4Addr::from(0x0a00_0000 + number), 0));
    let bob = PeerAddr::new(BOB, port_0);
    machine.add_address(now, bob).expect("adding never fails");
}

/// Drives a machine without network until it sends to an address, and returns how long that took.
fn first_packet_to(
    machine: &mut Manager,
    start: Instant,
    to: SocketAddr,
    between: impl Fn(&mut Manager, Instant),
) -> Duration {
    let (mut now, mut buf) = (start, Vec::new());
    let mut sends = |machine: &mut Manager, now| {
        let mut actions = std::iter::from_fn(|| machine.poll_action(now, &mut buf));
        actions.any(
            |action| matches!(action, Action::Transmit(transmit) if transmit.destination == to),
        )
    };
    while now < start + Duration::from_secs(60) {
        if sends(machine, now) {
            return now - start;
        }
        between(machine, now);
        if sends(machine, now) {
            return now - start;
        }
        now = machine.poll_timeout().expect("it waits").at.max(now);
        machine.handle_timeout(now);
    }
    panic!("nothing was sent to {to} within a minute");
}
