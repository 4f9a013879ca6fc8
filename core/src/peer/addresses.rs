//! Keeps the addresses of one peer, and which of them a dial attempt has still to try.

use std::net::SocketAddr;

/// The addresses of one peer, the one that was added first at the beginning.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Addresses {
    known: Vec<Known>,
    /// Addresses that the present attempt has not tried, the next one last.
    untried: Vec<SocketAddr>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Known {
    address: SocketAddr,
    /// A dial to it was answered by the peer.
    has_worked: bool,
}

impl Addresses {
    pub(crate) fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }

    /// Bytes of memory.
    pub(crate) fn memory(&self) -> usize {
        self.known.capacity() * size_of::<Known>()
            + self.untried.capacity() * size_of::<SocketAddr>()
    }

    /// Adds an address, unless it is known. At the bound of `max` the oldest one is forgotten that has
    /// never worked, or the oldest if all have.
    pub(crate) fn add(&mut self, address: SocketAddr, max: usize, is_dialling: bool) {
        if self.known.iter().any(|known| known.address == address) {
            return;
        }
        while self.known.len() >= max {
            let never_worked = self.known.iter().position(|known| !known.has_worked);
            let forgotten = self.known.remove(never_worked.unwrap_or(0));
            self.untried.retain(|untried| *untried != forgotten.address);
        }
        self.known.push(Known {
            address,
            has_worked: false,
        });
        if is_dialling {
            self.untried.insert(0, address);
        }
    }

    /// Removes an address.
    pub(crate) fn remove(&mut self, address: SocketAddr) {
        self.known.retain(|known| known.address != address);
        self.untried.retain(|untried| *untried != address);
    }

    /// Notes that the peer has answered a dial to an address.
    pub(crate) fn worked(&mut self, address: SocketAddr) {
        let mut known = self.known.iter_mut();
        if let Some(known) = known.find(|known| known.address == address) {
            known.has_worked = true;
        }
    }

    // Attempts

    /// Begins an attempt: every address is to be tried, in the order in which they were added.
    pub(crate) fn begin_attempt(&mut self) {
        self.untried.clear();
        let addresses = self.known.iter().rev().map(|known| known.address);
        self.untried.extend(addresses);
    }

    /// Takes the next address of the attempt.
    pub(crate) fn next_untried(&mut self) -> Option<SocketAddr> {
        self.untried.pop()
    }

    /// Ends the attempt.
    pub(crate) fn end_attempt(&mut self) {
        self.untried = Vec::new();
    }

    /// Gives back unused memory.
    pub(crate) fn rest(&mut self) {
        self.known.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn address(port: u16) -> SocketAddr {
        ([192, 0, 2, 1], port).into()
    }

    fn known(addresses: &Addresses) -> Vec<u16> {
        let known = addresses.known.iter();
        known.map(|known| known.address.port()).collect()
    }

    #[test]
    fn at_the_bound_the_oldest_goes_that_never_worked() {
        let mut addresses = Addresses::default();
        for port in 1..=3 {
            addresses.add(address(port), 3, false);
        }
        addresses.worked(address(1));
        addresses.add(address(4), 3, false);
        assert_eq!(known(&addresses), [1, 3, 4]);
        for port in [3, 4] {
            addresses.worked(address(port));
        }
        addresses.add(address(5), 3, false);
        assert_eq!(known(&addresses), [3, 4, 5], "all have worked");
        addresses.add(address(4), 3, false);
        assert_eq!(known(&addresses), [3, 4, 5], "it is known");
    }

    #[test]
    fn a_removal_amid_an_attempt_leaves_the_others_to_be_tried() {
        let mut addresses = Addresses::default();
        for port in 1..=4 {
            addresses.add(address(port), 32, false);
        }
        addresses.begin_attempt();
        assert_eq!(addresses.next_untried(), Some(address(1)));
        addresses.remove(address(1));
        addresses.remove(address(3));
        addresses.add(address(5), 32, true);
        let rest = [2, 4, 5].map(address);
        for next in rest {
            assert_eq!(addresses.next_untried(), Some(next));
        }
        assert_eq!(addresses.next_untried(), None);
    }

    proptest! {
        #[test]
        fn the_bound_holds_and_only_known_addresses_are_tried(
            max in 1..8usize,
            steps in prop::collection::vec((0..4u8, 0..12u16), 0..100),
        ) {
            let mut addresses = Addresses::default();
            for (step, port) in steps {
                match step {
                    0 => addresses.add(address(port), max, true),
                    1 => addresses.remove(address(port)),
                    2 => addresses.worked(address(port)),
                    _ => addresses.begin_attempt(),
                }
                let known = known(&addresses);
                prop_assert!(known.len() <= max);
                for untried in &addresses.untried {
                    prop_assert!(known.contains(&untried.port()));
                }
            }
        }
    }
}
