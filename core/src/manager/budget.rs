//! What all peers share: half of `memory_max` for outboxes, a quarter for inboxes.
//!
//! Outboxes that fill up for peers that are gone must not keep everybody else from sending. So an
//! outbox may hold no more than a part of what is free, and that part is the one that is free of the
//! whole: alone it may have much, and of a tenth that is left it may have a tenth. The hundredth that
//! fills up still leaves about a hundredth, where with any fixed part nothing would be left by then.
//! Who waits for room of others is told once there is enough: who needs least first, and among equals
//! who has waited longest; no more of them at a time than the room is for.
//!
//! Inboxes that are full together hold back the streams of all peers but those of whom nothing waits:
//! one record of inbox is reserved for each connected peer, so nobody waits for another's reader.

use std::{
    collections::{BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use super::{
    Manager, Timer,
    peer::{Peer, Place, Reading, Wanted},
};
use crate::{Config, Event, PeerId, peer::PeerKey};

/// How long those who were told of room have for taking it, before the next are told of what is left.
const TURN: Duration = Duration::from_millis(1);

/// The limits, and who has met them.
pub(super) struct Budget {
    outboxes_max: usize,
    inboxes_max: usize,
    outbox_max: usize,
    /// So much is free that the limit of each outbox comes first.
    plenty: usize,
    /// Peers for whom somebody waits until others hold less: how much must be free, and in which
    /// order they came.
    waiting: BTreeSet<(Place, PeerKey)>,
    came: u64,
    /// Peers whose streams are not read until other inboxes hold less.
    held_back: VecDeque<PeerKey>,
}

impl Budget {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            outboxes_max: config.outboxes_bytes_max(),
            inboxes_max: config.inboxes_bytes_max(),
            outbox_max: config.outbox_bytes_max,
            plenty: root(config.outboxes_bytes_max(), config.outbox_bytes_max),
            waiting: BTreeSet::new(),
            came: 0,
            held_back: VecDeque::new(),
        }
    }

    /// Bytes that an outbox may accept, of those that are free, when it holds so many.
    fn share(&self, free: usize, held: usize) -> usize {
        if free >= self.plenty {
            return free;
        }
        let part = free as u128 * free as u128 / self.outboxes_max as u128;
        (part as usize).saturating_sub(held)
    }

    /// The least that must be free for [`share`](Self::share) to be as much as is wanted.
    fn needed(&self, wanted: usize, held: usize) -> usize {
        root(self.outboxes_max, wanted + held)
            .min(self.plenty)
            .max(wanted)
    }

    /// A peer is forgotten.
    pub(super) fn forget(&mut self, key: PeerKey, peer: &Peer) {
        if let Some(place) = peer.wanted_room.as_deref().and_then(|wanted| wanted.place) {
            self.waiting.remove(&(place, key));
        }
    }
}

/// The least number whose square is not less than the product.
fn root(a: usize, b: usize) -> usize {
    let product = a as u128 * b as u128;
    let root = product.isqrt();
    (root + u128::from(root * root < product)) as usize
}

impl Manager {
    /// Bytes that the peer's outbox can still accept, in terms of
    /// [`OpenBatch::cost`](crate::OpenBatch::cost).
    ///
    /// A driver may lend them to other threads: what they stage within this room is accepted.
    pub fn room(&self, peer: PeerId) -> usize {
        let free = self.free();
        let unknown = || self.budget.share(free, 0).min(self.budget.outbox_max);
        self.peer(peer)
            .map_or_else(unknown, |known| self.room_of(known))
    }

    pub(super) fn room_of(&self, peer: &Peer) -> usize {
        let outbox = &peer.session.outbox;
        let share = self.budget.share(self.free(), outbox.held());
        outbox.room().min(share)
    }

    /// Bytes that all outboxes together may still accept.
    fn free(&self) -> usize {
        self.budget.outboxes_max.saturating_sub(self.queued.outbox)
    }

    /// Asks for [`Event::Writable`] once `bytes` of room are there.
    pub fn want_room(&mut self, now: Instant, peer: PeerId, bytes: usize) {
        self.now = now;
        let Some(key) = self.peers.key(peer) else {
            self.events.push_back(Event::Writable { peer });
            return;
        };
        // More than a peer can have at best would be waited for in vain.
        let budget = &self.budget;
        let most = budget.share(budget.outboxes_max, 0).min(budget.outbox_max);
        if let Some(known) = self.peers.get_mut(key) {
            let bytes = bytes.min(most);
            let wanted = known
                .wanted_room
                .get_or_insert_with(|| Box::new(Wanted { bytes, place: None }));
            wanted.bytes = wanted.bytes.min(bytes);
        }
        self.refresh(now, key);
    }

    /// Tells whoever waits for room in a peer's outbox that there is enough, or notes whether it is
    /// for other peers to make it.
    pub(super) fn tell_of_room(&mut self, key: PeerKey) {
        let free = self.free();
        let Some(peer) = self.peers.get_mut(key) else {
            return;
        };
        let Some(wanted) = &mut peer.wanted_room else {
            return;
        };
        let outbox = &peer.session.outbox;
        let fits = wanted.bytes <= outbox.room();
        let needed = self.budget.needed(wanted.bytes, outbox.held());
        let waits = fits && needed > free;
        if let Some(place) = wanted.place
            && (!waits || place.needed != needed)
        {
            self.budget.waiting.remove(&(place, key));
        }
        if waits {
            let came = wanted.place.map_or(self.budget.came, |place| place.came);
            self.budget.came += u64::from(wanted.place.is_none());
            let place = Place { needed, came };
            wanted.place = Some(place);
            self.budget.waiting.insert((place, key));
        } else if fits {
            peer.wanted_room = None;
            self.events.push_back(Event::Writable { peer: peer.id });
        } else {
            wanted.place = None;
        }
    }

    /// Whether somebody waits for room that others have made.
    pub(super) fn is_room_to_tell(&self) -> bool {
        let first = self.budget.waiting.first();
        first.is_some_and(|(place, _)| place.needed <= self.free())
            && self.deadlines.get(Timer::Room).is_none()
    }

    /// Tells those who wait for room that others have made, as many as it is for.
    pub(super) fn tell_waiting(&mut self, now: Instant) {
        if !self.is_room_to_tell() {
            return;
        }
        let mut free = self.free();
        while let Some((place, key)) = self.budget.waiting.first().copied()
            && place.needed <= free
        {
            self.budget.waiting.pop_first();
            let Some(peer) = self.peers.get_mut(key) else {
                continue;
            };
            if let Some(wanted) = peer.wanted_room.take() {
                free -= wanted.bytes;
                self.events.push_back(Event::Writable { peer: peer.id });
            }
        }
        if !self.budget.waiting.is_empty() {
            // They may not take it.
            self.deadlines.set(Timer::Room, Some(now + TURN));
        }
    }

    /// Tells whoever waits for room that others make: from now on they wait in vain.
    pub(super) fn tell_all_waiting(&mut self) {
        while let Some((_, key)) = self.budget.waiting.pop_first() {
            self.tell_to_give_up(key);
        }
        self.deadlines.set(Timer::Room, None);
    }

    /// Tells whoever waits for room in a peer's outbox to look again, room or not.
    pub(super) fn tell_to_give_up(&mut self, key: PeerKey) {
        if let Some(peer) = self.peers.get_mut(key)
            && let Some(wanted) = peer.wanted_room.take()
        {
            if let Some(place) = wanted.place {
                self.budget.waiting.remove(&(place, key));
            }
            self.events.push_back(Event::Writable { peer: peer.id });
        }
    }

    // Inboxes

    /// Whether another record of a peer may be read.
    pub(super) fn may_read(&self, peer: &Peer) -> bool {
        let inbox = &peer.session.inbox;
        let is_spared = inbox.held() == 0;
        inbox.has_room() && (is_spared || self.queued.inbox < self.budget.inboxes_max)
    }

    /// Whether inboxes hold twice their part: more of peers that have come, said something that nobody
    /// reads, and gone, than connections could account for.
    pub(super) fn are_inboxes_overfull(&self) -> bool {
        self.queued.inbox >= 2 * self.budget.inboxes_max
    }

    /// A peer's stream is not read. If that is for the sake of others, it is once they hold less.
    pub(super) fn hold_back(&mut self, key: PeerKey) {
        let Some(peer) = self.peers.get_mut(key) else {
            return;
        };
        if peer.session.inbox.has_room() && peer.reading == Reading::Free {
            peer.reading = Reading::HeldBack;
            self.budget.held_back.push_back(key);
        }
    }

    /// Whether a stream that was held back can be read.
    pub(super) fn is_room_to_read(&self) -> bool {
        !self.budget.held_back.is_empty() && self.queued.inbox < self.budget.inboxes_max
    }

    /// Has the stream of the peer read that was held back first, if there is room again.
    pub(super) fn let_one_read(&mut self) -> Option<()> {
        while self.queued.inbox < self.budget.inboxes_max {
            let key = self.budget.held_back.pop_front()?;
            let Some(peer) = self.peers.get_mut(key) else {
                continue;
            };
            if std::mem::replace(&mut peer.reading, Reading::Free) == Reading::HeldBack {
                self.read_on(key);
                return Some(());
            }
        }
        None
    }

    /// Has a peer's stream read that was not, for want of room.
    pub(super) fn read_on(&mut self, key: PeerKey) {
        let links = |peer: &Peer| peer.links.confirmed().collect::<Vec<_>>();
        for link in self.peers.get(key).map(links).unwrap_or_default() {
            self.transport.mark_dirty(link);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_needed_is_the_least_that_is_enough(
            memory_max in (1usize << 20)..(1 << 40),
            free in 0usize..(1 << 40),
            held in 0usize..(1 << 30),
            wanted in 1usize..(1 << 30),
        ) {
            let config = Config {
                memory_max,
                outbox_bytes_max: (memory_max / 2).min(1 << 30),
                ..Config::default()
            };
            let budget = Budget::new(&config);
            let held = held % config.outbox_bytes_max;
            let wanted = wanted.min(config.outbox_bytes_max - held);
            let free = free % (budget.outboxes_max + 1);
            let is_enough = |free| budget.share(free, held) >= wanted;
            let needed = budget.needed(wanted, held);
            prop_assert!(needed <= budget.outboxes_max);
            prop_assert!(is_enough(needed), "{needed}");
            prop_assert!(!is_enough(needed - 1), "{needed}");
            prop_assert_eq!(is_enough(free), free >= needed);
        }
    }
}
