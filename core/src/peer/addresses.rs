//! Keeps the addresses of one peer, and which of them a dial attempt has still to try.

use std::net::SocketAddr;

use super::on_demand::OnDemand;

/// The addresses of one peer, the one that was added first at the beginning. Peers that have dialled us have none.
#[derive(Debug)]
pub(crate) struct Addresses(OnDemand<Content>);

#[derive(Debug, Default)]
struct Content {
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
    /// None.
    pub(crate) const fn new() -> Self {
        Self(OnDemand::new())
    }

    fn known(&self) -> &[Known] {
        self.0.get().map_or(&[], |content| &content.known)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.known().is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.known().len()
    }

    /// Bytes of memory.
    pub(crate) fn memory(&self) -> usize {
        let Some(Content { known, untried }) = self.0.get() else {
            return 0;
        };
        self.0.memory()
            + known.capacity() * size_of::<Known>()
            + untried.capacity() * size_of::<SocketAddr>()
    }

    /// Adds an address, unless it is known. At the bound of `max` the oldest one is forgotten that has
    /// never worked, or the oldest if all have.
    pub(crate) fn add(&mut self, address: SocketAddr, max: usize, is_dialling: bool) {
        if self.known().iter().any(|known| known.address == address) {
            return;
        }
        let Content { known, untried } = self.0.get_or_make(Content::default);
        while known.len() >= max {
            let never_worked = known.iter().position(|known| !known.has_worked);
            let forgotten = known.remove(never_worked.unwrap_or(0));
            untried.retain(|untried| *untried != forgotten.address);
        }
        known.push(Known {
            address,
            has_worked: false,
        });
        if is_dialling {
            untried.insert(0, address);
        }
    }

    /// Removes an address.
    pub(crate) fn remove(&mut self, address: SocketAddr) {
        if let Some(Content { known, untried }) = self.0.get_mut() {
            known.retain(|known| known.address != address);
            untried.retain(|untried| *untried != address);
        }
    }

    /// Notes that the peer has answered a dial to an address.
    pub(crate) fn worked(&mut self, address: SocketAddr) {
        let known = self.0.get_mut().map(|content| &mut content.known);
        let mut known = known.into_iter().flatten();
        if let Some(known) = known.find(|known| known.address == address) {
            known.has_worked = true;
        }
    }

    // Attempts

    /// Begins an attempt: every address is to be tried, in the order in which they were added.
    pub(crate) fn begin_attempt(&mut self) {
        if let Some(Content { known, untried }) = self.0.get_mut() {
            untried.clear();
            untried.extend(known.iter().rev().map(|known| known.address));
        }
    }

    /// Takes the next address of the attempt.
    pub(crate) fn next_untried(&mut self) -> Option<SocketAddr> {
        self.0.get_mut()?.untried.pop()
    }

    /// Ends the attempt.
    pub(crate) fn end_attempt(&mut self) {
        if let Some(content) = self.0.get_mut() {
            content.untried = Vec::new();
        }
    }

    /// Gives back unused memory.
    pub(crate) fn rest(&mut self) {
        if self.is_empty() {
            self.0.clear();
        } else if let Some(content) = self.0.get_mut() {
            content.known.shrink_to_fit();
        }
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
        let known = addresses.known().iter();
        known.map(|known| known.address.port()).collect()
    }

    #[test]
    fn at_the_bound_the_oldest_goes_that_never_worked() {
        let mut addresses = Addresses::new();
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
        let mut addresses = Addresses::new();
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
            let mut addresses = Addresses::new();
            for (step, port) in steps {
                match step {
                    0 => addresses.add(address(port), max, true),
                    1 => addresses.remove(address(port)),
                    2 => addresses.worked(address(port)),
                    _ => addresses.begin_attempt(),
                }
                let known = known(&addresses);
                prop_assert!(known.len() <= max);
                for untried in addresses.0.get().map_or(&[][..], |content| &content.untried) {
                    prop_assert!(known.contains(&untried.port()));
                }
            }
        }
    }
}
