//! TLS that repeats byte for byte, and what it takes.

use std::{
    cell::RefCell,
    collections::BTreeSet,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use quicpool_core::{Config, Event, Identity, PeerAddr, Reason, TlsSources};
use quicpool_sim::{Crypto, Net, NodeId, SeededTls, ms, secs};
use rustls::{pki_types::UnixTime, time_provider::TimeProvider};

use crate::{
    pair::{Hours, tls},
    sessions::{relay, sessions},
};

#[test]
fn networks_that_take_turns_on_one_thread_do_not_disturb_each_other() {
    let mut alone = Busy::new(1, SeededTls::new);
    (0..TURNS).for_each(|_| alone.turn());

    let (mut one, mut other) = (Busy::new(1, SeededTls::new), Busy::new(2, SeededTls::new));
    for n in 0..TURNS {
        one.turn();
        if n % 3 != 0 {
            other.turn();
        }
    }
    assert_eq!(one.net.hash(), alone.net.hash());
    assert_ne!(other.net.hash(), alone.net.hash());
}

#[test]
fn without_any_one_of_its_sources_a_run_does_not_repeat() {
    let repeats = |make: Make| {
        let run = || {
            let mut busy = Busy::new(1, make);
            (0..TURNS).for_each(|_| busy.turn());
            busy.net.hash()
        };
        run() == run()
    };
    assert!(repeats(SeededTls::new));
    let knobs: [(&str, Make); 3] = [
        ("randomness", |identity, seed, time| {
            let system = TlsSources::system().random;
            SeededTls::altered(identity, seed, time, |sources| sources.random = system)
        }),
        ("key exchange", |identity, seed, time| {
            let system = TlsSources::system().kx_groups;
            SeededTls::altered(identity, seed, time, |sources| sources.kx_groups = system)
        }),
        ("time", |identity, seed, time| {
            SeededTls::altered(identity, seed, time, |sources| {
                sources.time = Arc::new(Erratic)
            })
        }),
    ];
    for (knob, make) in knobs {
        assert!(!repeats(make), "{knob} of the system makes no difference");
    }
}

#[test]
fn identities_are_keys_and_are_proved() {
    let mut net = Net::new(1).crypto(Crypto::Tls);
    let [a, b, impostor] = [0; 3].map(|_| net.node(Config::default()));
    net.introduce(a, b);
    net.connect(a, b);
    net.advance(secs(1));
    assert!(net.are_connected(a, b));

    // A node that has the address and not the key is found out.
    net.forget(a, b);
    net.advance(secs(1));
    let promised = PeerAddr::new(net.peer_id(b), net.addr(impostor));
    let added = net.with(a, |machine, now| machine.add_address(now, promised));
    assert_eq!(added, Ok(()));
    net.connect(a, b);
    net.advance(secs(1));
    let found = Some(net.peer_id(impostor));
    let told = net.events(a).into_iter().any(|event| {
        matches!(event, Event::StatusChanged { reason: Reason::WrongPeer { found: who }, .. } if who == found)
    });
    assert!(told, "{net:?}");
}

#[test]
fn no_process_of_any_node_has_the_seed_of_another() {
    let seeds = Rc::new(RefCell::new(Vec::new()));
    let mut net = Net::new(1);
    let nodes = [1, 2].map(|number| {
        let (identity, seeds) = (Identity::from_seed(&[number; 32]), seeds.clone());
        net.node_as(Config::default(), move |process| {
            seeds.borrow_mut().push(process.seed);
            let clock = Arc::new(process.wall_clock.clone());
            Arc::new(SeededTls::new(&identity, process.seed, clock))
        })
    });
    for _ in 0..3 {
        net.crash(nodes[0]);
        nodes.iter().for_each(|node| net.restart(*node));
    }
    // One more of each node, from which its identity was read.
    let drawn: Vec<u64> = seeds
        .borrow()
        .iter()
        .copied()
        .filter(|seed| *seed != 0)
        .collect();
    assert_eq!(drawn.len(), 8);
    assert_eq!(BTreeSet::from_iter(&drawn).len(), 8);
}

#[test]
fn no_session_of_a_process_or_of_its_successor_sends_a_random_twice() {
    let processes = [1, 2].map(|seed| tls(1, seed, &Arc::default()));
    let server = tls(2, 1, &Arc::default());
    let mut secrets = BTreeSet::new();
    for process in &processes {
        for _ in 0..50 {
            let (mut client, _) = sessions(process, &server);
            let mut hello = Vec::new();
            let _ = client.write_handshake(&mut hello);
            secrets.extend([random(&hello), key_share(&hello)]);
        }
    }
    assert_eq!(secrets.len(), 2 * 2 * 50);

    let (mut client, _) = sessions(&tls(1, 1, &Arc::default()), &server);
    let mut hello = Vec::new();
    let _ = client.write_handshake(&mut hello);
    assert!(secrets.contains(&random(&hello)), "the seed decides");
}

#[test]
fn handshakes_are_resumed_until_a_ticket_is_a_day_old_or_a_process_starts_again() {
    let time = Arc::new(Hours::default());
    let [mut client, mut server] = [1, 2].map(|number| tls(number, 1, &time));
    let full = handshake_len(&client, &server);
    let resumed = handshake_len(&client, &server);
    assert!(resumed + 400 < full, "{resumed} and {full} bytes");

    time.0.store(23, Ordering::Relaxed);
    assert_eq!(handshake_len(&client, &server), resumed);
    time.0.store(23 + 25, Ordering::Relaxed);
    assert_eq!(handshake_len(&client, &server), full);
    assert_eq!(handshake_len(&client, &server), resumed);

    // The client offers a ticket that the new process does not know.
    server = tls(2, 2, &time);
    assert!(handshake_len(&client, &server) >= full);
    assert_eq!(handshake_len(&client, &server), resumed);
    client = tls(1, 2, &time);
    assert_eq!(handshake_len(&client, &server), full);
}

/// How a node's credentials are made.
type Make = fn(&Identity, u64, Arc<dyn TimeProvider>) -> SeededTls;

/// Turns of a [`Busy`] network, enough for some full and some resumed handshakes.
const TURNS: u64 = 40;

/// Two nodes that connect and part again and again, and of which one dies from time to time.
struct Busy {
    net: Net,
    nodes: [NodeId; 2],
    turn: u64,
}

impl Busy {
    fn new(seed: u64, make: Make) -> Self {
        let mut net = Net::new(seed);
        let nodes = [1, 2].map(|number| {
            let identity = Identity::from_seed(&[number; 32]);
            net.node_as(Config::default(), move |process| {
                let clock = Arc::new(process.wall_clock.clone());
                Arc::new(make(&identity, process.seed, clock))
            })
        });
        net.introduce_all();
        net.loss(0.02);
        let turn = 0;
        Self { net, nodes, turn }
    }

    fn turn(&mut self) {
        self.turn += 1;
        let [a, b] = self.nodes;
        match self.turn % 20 {
            0 => {
                self.net.restart(b);
                self.net.introduce(a, b);
            }
            n if n % 4 == 0 => self.net.disconnect(a, b),
            _ => {
                let _ = self.net.try_send(a, b, &[7; 300]);
            }
        }
        self.net.advance(ms(700));
    }
}

/// A wall clock that never shows the same interval again, as that of the system would not.
#[derive(Debug)]
struct Erratic;

impl TimeProvider for Erratic {
    fn current_time(&self) -> Option<UnixTime> {
        static CALLS: AtomicU64 = AtomicU64::new(0);
        let calls = CALLS.fetch_add(1, Ordering::Relaxed);
        Some(UnixTime::since_unix_epoch(Duration::from_secs(
            calls * calls,
        )))
    }
}

/// Bytes of a whole handshake, with the ticket behind it.
fn handshake_len(client: &SeededTls, server: &SeededTls) -> usize {
    let (mut client, mut server) = sessions(client, server);
    let mut len = 0;
    for _ in 0..2 {
        len += relay(&mut *client, &mut *server);
        len += relay(&mut *server, &mut *client);
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    len
}

/// The random of a ClientHello: behind kind, length and version (RFC 8446 section 4.1.2).
fn random(hello: &[u8]) -> Vec<u8> {
    hello[6..][..32].to_vec()
}

/// The only key share: behind its group, X25519, and its length (RFC 8446 section 4.2.8).
fn key_share(hello: &[u8]) -> Vec<u8> {
    let head = [0x00, 0x1d, 0x00, 0x20];
    let at = hello.windows(4).position(|window| window == head);
    let at = at.expect("there is a key share") + head.len();
    hello[at..][..32].to_vec()
}
