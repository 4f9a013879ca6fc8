//! Slots and queues, which have limits at every instant.

use quicpool_core::{
    Config,
    ConnectionStatus::{Connected, Connecting},
};

use super::{
    lifecycle::Lifecycle,
    sample::{PeerSample, Sample},
};
use crate::swarm::marks::{Log, always, sometimes};

/// Bytes of a record beside its body and of a message's length, generously.
const FRAMING_MAX: usize = 64;

/// After each event the peers that hold a slot are within `connections_max`.
pub(super) fn hear(log: &mut Log, config: &Config, model: &Lifecycle) {
    let (holders, max) = (model.holders(), config.connections_max);
    always!(
        log,
        holders <= max,
        SlotsWithinLimit,
        "{holders} peers are connected or about to be, of {max}"
    );
}

/// The machine has nothing more to do.
pub(super) fn settle(log: &mut Log, config: &Config, sample: &Sample) {
    let Sample {
        slots, handshakes, ..
    } = *sample;
    let max = config.connections_max;
    always!(
        log,
        slots <= max,
        SlotsWithinLimit,
        "it holds {slots} slots of {max}"
    );
    let has_way = |peer: &&PeerSample| matches!(peer.status, Connecting | Connected);
    let visitors = sample.strangers.iter().map(|visitor| &visitor.now);
    let ways = sample.peers.iter().chain(visitors).filter(has_way).count();
    always!(
        log,
        slots <= ways,
        SlotsWithinLimit,
        "it holds {slots} slots, for {ways} peers that are connected or about to be"
    );
    sometimes!(log, slots == max, "every slot was taken");
    sometimes!(log, sample.waiting_dials > 0, "a dial waited for a slot");
    let max = config.handshakes_max;
    always!(
        log,
        handshakes <= max,
        QueuesWithinLimit,
        "{handshakes} handshakes of {max}"
    );
    queues(log, config, sample);
}

fn queues(log: &mut Log, config: &Config, sample: &Sample) {
    let record_max = config.batch_bytes_max.max(config.message_bytes_max) + FRAMING_MAX;
    // Room is asked for before a record is read, not for it.
    // Each of two connections may have credit, until one of them is closed.
    let inbox_max = 2 * config.inbox_bytes_max + record_max;
    let mut sum = 0;
    let visitors = sample.strangers.iter().map(|visitor| &visitor.now);
    for peer in sample.peers.iter().chain(visitors) {
        let (outbox, inbox) = (peer.outbox_bytes, peer.inbox_bytes);
        always!(
            log,
            outbox <= config.outbox_bytes_max,
            QueuesWithinLimit,
            "an outbox holds {outbox} bytes"
        );
        always!(
            log,
            inbox < inbox_max,
            QueuesWithinLimit,
            "an inbox holds {inbox} bytes"
        );
        sometimes!(log, inbox >= config.inbox_bytes_max, "an inbox was full");
        sum += outbox + inbox + peer.datagram_bytes;
    }
    always!(
        log,
        sum == sample.queued_bytes && sample.queued_bytes <= sample.memory_usage,
        QueuesWithinLimit,
        "queues hold {sum} bytes, {} are counted, and {} of memory",
        sample.queued_bytes,
        sample.memory_usage
    );
}

#[cfg(test)]
mod tests {
    use quicpool_core::ConnectionStatus::New;

    use super::*;
    use crate::swarm::Property::{QueuesWithinLimit, SlotsWithinLimit};
    use crate::swarm::audit::testing::moved;

    #[test]
    fn one_slot_too_many_is_noticed_at_once() {
        let mut config = Config::default();
        config.connections_max = 1;
        let (mut log, mut model) = (Log::new(), Lifecycle::default());
        let dialled = PeerSample {
            status: Connecting,
            ..PeerSample::default()
        };
        let mut sample = Sample {
            slots: 1,
            peers: vec![dialled; 2],
            ..Sample::default()
        };
        model.hear(&mut log, &moved(New, Connecting));
        hear(&mut log, &config, &model);
        settle(&mut log, &config, &sample);
        assert_eq!(log.broken(), []);
        sample.slots = 2;
        settle(&mut log, &config, &sample);
        assert_eq!(log.broken(), [SlotsWithinLimit]);
        config.connections_max = 0;
        hear(&mut log, &config, &model);
        assert_eq!(log.broken(), [SlotsWithinLimit], "between two events, too");
    }

    #[test]
    fn a_slot_that_nobody_uses_is_noticed() {
        let mut log = Log::new();
        let sample = Sample {
            slots: 1,
            peers: vec![PeerSample::default()],
            ..Sample::default()
        };
        settle(&mut log, &Config::default(), &sample);
        assert_eq!(log.broken(), [SlotsWithinLimit]);
    }

    #[test]
    fn queues_beyond_their_limits_are_noticed() {
        let config = Config::default();
        let mut log = Log::new();
        let mut check = |outbox_bytes, inbox_bytes, queued_bytes, memory_usage| {
            let peer = PeerSample {
                outbox_bytes,
                inbox_bytes,
                ..PeerSample::default()
            };
            let sample = Sample {
                queued_bytes,
                memory_usage,
                peers: vec![peer],
                ..Sample::default()
            };
            settle(&mut log, &config, &sample);
            log.broken()
        };
        let max = config.outbox_bytes_max;
        assert_eq!(check(max, 5, max + 5, max + 5), []);
        assert_eq!(check(max + 1, 0, max + 1, max + 1), [QueuesWithinLimit]);
        let inbox = 4 * config.inbox_bytes_max;
        assert_eq!(check(0, inbox, inbox, inbox), [QueuesWithinLimit]);
        assert_eq!(check(5, 5, 9, 9), [QueuesWithinLimit], "not all is counted");
    }

    #[test]
    fn too_many_handshakes_are_noticed() {
        let config = Config::default();
        let mut log = Log::new();
        let handshakes = config.handshakes_max + 1;
        let sample = Sample {
            handshakes,
            ..Sample::default()
        };
        settle(&mut log, &config, &sample);
        assert_eq!(log.broken(), [QueuesWithinLimit]);
    }
}
