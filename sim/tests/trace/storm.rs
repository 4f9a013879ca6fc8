//! Small networks in which everything goes wrong that can, as a seed decides.

use quicpool_core::Config;
use quicpool_sim::{Burst, Faults, Net, NodeId, Queue, Rate, ms, trace::Recorder};

/// Plays a network for two dozen steps, and gives it with the nodes that are in it.
pub(crate) fn play(seed: u64, recorder: Option<&Recorder>) -> (Net, Vec<NodeId>) {
    let mut net = Net::new(seed).latency(ms(5 + seed % 60));
    if let Some(recorder) = recorder {
        net.record(recorder);
    }
    let config = Config::default();
    let nodes = net.nodes(2 + (seed % 3) as usize, &config);
    net.introduce_all();
    net.faults(|faults| all_at_once(seed, faults));
    for n in 0..24 {
        step(&mut net, &nodes, seed.wrapping_mul(31).wrapping_add(n * 7));
        net.advance(ms(40 + 90 * (n % 5)));
    }
    (net, nodes)
}

fn all_at_once(seed: u64, faults: &mut Faults) {
    faults.loss = 0.05;
    faults.duplicate = 0.1;
    faults.duplicate_max = 3;
    faults.corrupt = 0.02;
    faults.reorder = 0.1;
    faults.reorder_extra = ms(60);
    faults.first.initial = (seed % 3) as u32;
    faults.burst = Some(Burst {
        to_bad: 0.02,
        to_good: 0.3,
        loss: 0.8,
    });
    faults.mtu = 1_350;
    faults.rate = Some(Rate {
        bytes_per_second: 60_000,
        queue: Queue::Packets(6),
        mark_above: Some(3),
    });
}

fn step(net: &mut Net, nodes: &[NodeId], n: u64) {
    let a = nodes[(n % nodes.len() as u64) as usize];
    let b = nodes[((n + 1) % nodes.len() as u64) as usize];
    let is_running = |net: &Net, node| net.machine(node).is_some() && !net.is_paused(node);
    if is_running(net, a) {
        for length in [10, 900, 3_000, 20_000] {
            // What does not fit any more is refused, which is no matter here.
            let _ = net.try_send(a, b, &vec![7; length]);
        }
        net.advance(ms(20));
    }
    match n % 11 {
        0 => net.cut(a, b),
        1 => net.cut_one_way(a, b),
        2 => net.heal_all(),
        3 => net.clog(a, b, ms(150)),
        4 if is_running(net, a) => net.rebind(a),
        5 if is_running(net, a) => net.crash(a),
        6 => {
            net.restart(a);
            for other in nodes.iter().filter(|other| **other != a) {
                net.introduce_one_way(a, *other);
            }
        }
        7 => net.pause(a),
        8 => net.resume(a),
        9 => net.block_socket(a, ms(80)),
        _ => {}
    }
}
