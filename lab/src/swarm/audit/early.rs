//! Whether early data (0-RTT) is sent, which could be replayed.

use crate::{
    Kinds,
    swarm::marks::{Log, never},
};

/// A datagram leaves a node. Which packets it holds is in the clear.
pub(super) fn look(log: &mut Log, datagram: &[u8]) {
    let kinds = Kinds::of(datagram);
    never!(log, kinds.zero_rtt, NoEarlyData, "{kinds:?} are sent");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::swarm::Property::NoEarlyData;

    #[test]
    fn early_data_is_noticed_behind_an_initial_packet_too() {
        // Version 1, ids of no length, no token, and a length of one byte.
        let initial = [0xc0, 0, 0, 0, 1, 0, 0, 0, 1, 7];
        let early = [0xd0, 0, 0, 0, 1, 0, 0, 1, 7];
        let mut log = Log::new();
        look(&mut log, &initial);
        assert_eq!(log.broken(), []);
        look(&mut log, &early);
        assert_eq!(log.broken(), [NoEarlyData]);
        look(&mut log, &[&initial[..], &early].concat());
        assert_eq!(log.broken(), [NoEarlyData]);
    }
}
