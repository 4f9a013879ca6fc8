//! The health that machines report on paths that become longer, lose packets, or go silent.

use std::time::Duration;

use quicpool_core::{
    Config, Event,
    Health::{self, Degraded, Healthy, Unresponsive},
    HealthReason, Reason,
};
use quicpool_sim::{Delay, Net, NodeId, Path, ms, secs};

use crate::support::{connected, introduced, reasons};

const LIVENESS: Duration = secs(15);

#[test]
fn a_path_that_becomes_longer_is_told_with_both_times_and_recovers_when_it_is_short_again() {
    let (mut net, a, b) = connected(Net::new(1).latency(ms(20)), Config::default());
    chat(&mut net, a, b, secs(30), ms(200));
    assert_eq!(net.health(a, b), Some(Healthy));
    assert_eq!(moves(&net, a), []);

    for step in 1..=10 {
        set_delay(&mut net, a, b, ms(20 + 10 * step));
        chat(&mut net, a, b, secs(3), ms(200));
    }
    let [(_, Healthy, Degraded, HealthReason::Slow { rtt, usual })] = moves(&net, a)[..] else {
        panic!("{:?}", moves(&net, a));
    };
    assert!(rtt > ms(180) && usual < ms(50), "{rtt:?} {usual:?}");
    let machine = net.machine(a).expect("it is up");
    let told = machine.explain(net.instant(), net.peer_id(b));
    let told = told.expect("it is known").to_string();
    assert!(
        told.contains("It is degraded: a round trip takes"),
        "{told}"
    );
    let metrics = net.peer_metrics(a, b).expect("it is known");
    assert_eq!(metrics.health, Some(Degraded));

    set_delay(&mut net, a, b, ms(20));
    chat(&mut net, a, b, secs(15), ms(200));
    assert_eq!(kinds(&net, a), [Degraded, Healthy], "{net:?}");
}

#[test]
fn a_path_that_loses_every_fifth_packet_is_told_and_recovers_when_it_does_not() {
    let (mut net, a, b) = connected(Net::new(2), Config::default());
    net.loss(0.2);
    chat(&mut net, a, b, secs(60), ms(50));
    let told = moves(&net, a);
    let [(_, Healthy, Degraded, HealthReason::Lossy { lost, sent })] = told[..] else {
        panic!("{told:?}");
    };
    assert!(lost * 20 > sent, "{lost} of {sent}");
    net.loss(0.0);
    chat(&mut net, a, b, secs(30), ms(50));
    assert_eq!(kinds(&net, a), [Degraded, Healthy], "{net:?}");
}

#[test]
fn a_silent_cut_is_told_at_half_of_the_time_after_which_the_connection_is_lost() {
    let (mut net, a, b) = connected(Net::new(3).latency(ms(20)), Config::default());
    net.advance(secs(7));
    net.cut(a, b);
    let cut = net.now();
    net.run_until(secs(30), |n| n.health(a, b).is_none());
    let history = net.history(a).to_vec();
    let [.., (told, changed), (lost, failed)] = &history[..] else {
        panic!("{net:?}");
    };
    let Event::HealthChanged { to, reason, .. } = changed else {
        panic!("{changed:?}");
    };
    let silence = LIVENESS / 2;
    assert_eq!(
        (*to, *reason),
        (Unresponsive, HealthReason::Silent { silence })
    );
    assert!(matches!(
        failed,
        Event::StatusChanged {
            reason: Reason::Unresponsive,
            ..
        }
    ));
    assert!(*told <= cut + LIVENESS / 2, "{told:?}");
    assert_eq!(*lost - *told, LIVENESS / 2);

    // The next connection begins healthy.
    net.heal(a, b);
    net.send(a, b, b"are you there?");
    net.run_until(secs(60), |n| n.are_connected(a, b));
    assert_eq!(
        (net.health(a, b), net.health(b, a)),
        (Some(Healthy), Some(Healthy))
    );
    assert_eq!(kinds(&net, a), [Unresponsive]);
}

#[test]
fn a_peer_that_is_heard_and_does_not_hear_is_told_and_lost_in_time() {
    for phase in 0..10 {
        for talks in [false, true] {
            let (mut net, a, b) = connected(Net::new(8).latency(ms(20)), Config::default());
            net.advance(secs(20) + ms(700) * phase);
            net.cut_one_way(a, b);
            let cut = net.now();
            let until = |net: &mut Net, time: Duration, health: Option<Health>| {
                while net.health(a, b) != health && net.now() - cut <= time {
                    if talks {
                        let _ = net.try_send(a, b, &[7; 200]);
                        let _ = net.try_send(b, a, &[7; 200]);
                    }
                    net.advance(ms(10));
                }
                assert_eq!(net.health(a, b), health, "{phase} {talks}: {net:?}");
            };
            until(&mut net, LIVENESS * 2 / 3 + ms(50), Some(Unresponsive));
            until(&mut net, LIVENESS + ms(50), None);
        }
    }
}

#[test]
fn a_cut_that_heals_in_time_leaves_the_connection_and_a_peer_that_recovers() {
    let (mut net, a, b) = connected(Net::new(4).latency(ms(20)), Config::default());
    net.advance(secs(7));
    net.cut(a, b);
    net.run_until(secs(10), |n| n.health(a, b) == Some(Unresponsive));
    net.heal(a, b);
    net.run_until(secs(5), |n| n.health(a, b) == Some(Degraded));
    net.run_until(secs(20), |n| n.health(a, b) == Some(Healthy));
    let told: Vec<_> = moves(&net, a)
        .into_iter()
        .map(|(.., reason)| reason)
        .collect();
    assert_eq!(told[1..], [HealthReason::Heard, HealthReason::Recovered]);
    assert_eq!(reasons(&net, a), [Reason::Dialling, Reason::Confirmed]);
}

#[test]
fn quiet_connections_are_healthy_on_every_kind_of_path() {
    for (seed, path) in (0..).zip(paths()) {
        let (mut net, a, b) = tied(Net::new(seed).path(path), Config::default());
        net.advance(secs(280));
        assert_eq!(
            (moves(&net, a), moves(&net, b)),
            (vec![], vec![]),
            "{net:?}"
        );
    }
}

#[test]
fn a_path_of_seconds_is_not_silent_between_keep_alives() {
    let rtt = secs(4);
    let mut config = Config::default();
    config.handshake_timeout = secs(20);
    let (mut net, a, b) = tied(Net::new(5).latency(rtt / 2), config);
    net.advance(secs(280));
    assert!(net.are_connected(a, b), "{net:?}");
    assert_eq!((moves(&net, a), moves(&net, b)), (vec![], vec![]));
}

#[test]
fn busy_connections_do_not_flap_on_any_steady_path() {
    let ten_minutes = secs(600);
    // A fade lasts for some datagrams, and so for seconds where few are sent: it is not steady.
    let fades = |path: &Path| path.up.burst.is_some();
    let steady = paths().into_iter().filter(|path| !fades(path));
    let wifi = [0.01, 0.03, 0.04, 0.05, 0.06, 0.1, 0.2].map(|loss| {
        let mut path = Path::wifi_fade();
        for way in [&mut path.up, &mut path.down] {
            (way.burst, way.loss) = (None, loss);
        }
        path
    });
    for (seed, path) in (0..).zip(steady.chain(wifi)) {
        let (mut net, a, b) = tied(Net::new(seed).path(path.clone()), Config::default());
        chat(&mut net, a, b, ten_minutes, ms(20));
        for node in [a, b] {
            assert!(moves(&net, node).len() <= 4, "{path:?}: {net:?}");
        }
    }
}

#[test]
fn a_path_that_fades_now_and_then_is_told_twice_a_minute_at_most() {
    let (mut net, a, b) = tied(Net::new(7).path(Path::wifi_fade()), Config::default());
    chat(&mut net, a, b, secs(600), ms(20));
    for node in [a, b] {
        assert!(moves(&net, node).len() <= 20, "{net:?}");
    }
}

#[test]
fn a_process_that_stood_still_calls_nobody_silent() {
    for seed in 0..20 {
        let (mut net, a, b) = connected(Net::new(seed), Config::default());
        net.advance(ms(500 * seed));
        net.pause(a);
        net.advance(secs(9));
        net.resume(a);
        net.advance(secs(20));
        assert!(
            !kinds(&net, a).contains(&Unresponsive),
            "seed {seed}: {net:?}"
        );
        assert!(net.are_connected(a, b), "seed {seed}: {net:?}");
    }
}

#[test]
fn another_connection_in_the_place_of_one_that_ails_begins_healthy() {
    let mut net = Net::new(6).latency(ms(20));
    let mut single = Config::default();
    single.connections_max = 1;
    let a = net.node(single);
    let [b, c] = [0; 2].map(|_| net.node(Config::default()));
    net.introduce_one_way(a, b);
    net.introduce_one_way(a, c);
    net.send(a, b, b"before");
    net.advance(secs(7));
    // The connection is closed at one end, and its close does not reach the other.
    net.cut(a, b);
    net.send(a, c, b"takes the only slot");
    net.run_until(secs(10), |n| n.health(b, a) == Some(Unresponsive));
    net.heal(a, b);
    net.send(a, b, b"again");
    net.run_until(secs(3), |n| n.health(b, a) == Some(Healthy));
    assert_eq!(reasons(&net, b).len(), 2, "it never was without: {net:?}");
    let last = moves(&net, b).last().map(|(.., reason)| *reason);
    assert_eq!(last, Some(HealthReason::NewConnection));
}

fn paths() -> [Path; 6] {
    [
        Path::lan(),
        Path::dsl(),
        Path::lte(),
        Path::satellite(),
        Path::wifi_fade(),
        Path::datacenter(),
    ]
}

/// Two nodes that are connected, however long the path is.
fn tied(net: Net, config: Config) -> (Net, NodeId, NodeId) {
    let (mut net, a, b) = introduced(net, config);
    net.connect(a, b);
    net.run_until(secs(20), |n| n.are_connected(a, b));
    (net, a, b)
}

/// Both send a message now and then.
fn chat(net: &mut Net, a: NodeId, b: NodeId, time: Duration, pause: Duration) {
    let end = net.now() + time;
    while net.now() < end {
        for (from, to) in [(a, b), (b, a)] {
            // On a path that is cut there is no room at some time.
            let _ = net.try_send(from, to, &[7; 200]);
        }
        net.advance(pause);
    }
}

fn set_delay(net: &mut Net, a: NodeId, b: NodeId, delay: Duration) {
    for (from, to) in [(a, b), (b, a)] {
        net.faults_between(from, to, |faults| faults.delay = Delay::Constant(delay));
    }
}

/// Every move of health that a node has reported.
fn moves(net: &Net, node: NodeId) -> Vec<(Duration, Health, Health, HealthReason)> {
    let history = net.history(node).iter();
    let told = history.filter_map(|(at, event)| {
        if let Event::HealthChanged {
            from, to, reason, ..
        } = event
        {
            Some((*at, *from, *to, *reason))
        } else {
            None
        }
    });
    told.collect()
}

/// What each of them led to.
fn kinds(net: &Net, node: NodeId) -> Vec<Health> {
    moves(net, node)
        .into_iter()
        .map(|(_, _, to, _)| to)
        .collect()
}
