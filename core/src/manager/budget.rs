//! Shares memory among peers: half of `memory_max` for outboxes, a quarter for inboxes.
//!
//! An outbox may hold at most free^2 / total bytes (dynamic thresholds, Choudhury and Hahne 1998): outboxes
//! that fill up for peers that are gone leave room for the others, the hundredth of them still about a
//! hundredth. Callers that wait for room of other peers get `Writable` once there is enough: the smallest need
//! first, the longest wait among equals, no more of them at a time than the room is for.
//!
//! Credit counts as held from when it is granted: the other end may use it at any time. So does a record that has
//! begun. Inboxes that are full together get no more credit, but for a first one that is reserved for each connected
//! peer, so that no peer waits for another's reader. A record for which there is no room is completed all the same,
//! one at a time of all peers: otherwise many that have begun could hold each other up.

use std::{
    collections::{BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use super::{
    peer::{Peer, Place, Queued, Session, Wanted},
    report::Report,
};
use crate::{
    Config, Event,
    peer::{LinkId, PeerKey, credit::Room, inbox::HANDED_BYTES},
};

/// Messages of each peer that may be read and not taken, whatever other peers have.
const HANDED_LEAST: usize = 16;

/// The limits, what is queued, and the peers that have met a limit.
pub(super) struct Budget {
    outboxes_max: usize,
    inboxes_max: usize,
    /// Bytes of an inbox that no other one takes.
    first_credit: usize,
    outbox_max: usize,
    /// Above this many free bytes the limit of each outbox comes first.
    plenty: usize,
    /// Peers whose callers wait until others hold less.
    waiting: BTreeSet<(Place, PeerKey)>,
    came: u64,
    /// Peers that get no credit until other inboxes hold less.
    held_back: VecDeque<PeerKey>,
    /// The connection whose record is completed beyond the budget, and since when others were seen to wait.
    overdraft: Option<(LinkId, Option<Instant>)>,
    /// Peers whose records wait for that.
    unfinished: BTreeSet<PeerKey>,
    /// Whether more than `memory_max` is in use: nothing but a first credit is granted.
    is_exceeded: bool,
    /// What is in the queues of all peers.
    queued: Queued,
    /// Bytes in the datagrams of all peers.
    pub(super) datagram_bytes: usize,
}

impl Budget {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            outboxes_max: config.outboxes_bytes_max(),
            inboxes_max: config.inboxes_bytes_max(),
            first_credit: config.first_credit(),
            outbox_max: config.outbox_bytes_max,
            plenty: root(config.outboxes_bytes_max(), config.outbox_bytes_max),
            waiting: BTreeSet::new(),
            came: 0,
            held_back: VecDeque::new(),
            overdraft: None,
            unfinished: BTreeSet::new(),
            is_exceeded: false,
            queued: Queued::default(),
            datagram_bytes: 0,
        }
    }

    /// Counts what is queued for a peer and from it anew.
    pub(super) fn count(&mut self, peer: &mut Peer) {
        let after = peer.queued();
        let before = std::mem::replace(&mut peer.counted, after);
        self.queued.replace(before, after);
    }

    /// Forgets a peer.
    pub(super) fn forget(&mut self, peer: &Peer) {
        self.queued.replace(peer.counted, Queued::default());
        if let Some(place) = peer.wanted_room.as_deref().and_then(|wanted| wanted.place) {
            self.waiting.remove(&(place, peer.key));
        }
    }

    /// Bytes of messages and datagrams in all queues.
    pub(super) fn queued_bytes(&self) -> usize {
        self.queued.bytes + self.datagram_bytes
    }

    /// Bytes of memory behind all queues.
    pub(super) fn queued_memory(&self) -> usize {
        self.queued.memory + self.datagram_bytes
    }

    // Outboxes

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

    /// Bytes that all outboxes together may still accept.
    pub(super) fn free(&self) -> usize {
        self.outboxes_max.saturating_sub(self.queued.outbox)
    }

    /// Bytes that a peer's outbox can still accept.
    pub(super) fn room_of(&self, peer: &Peer) -> usize {
        let outbox = &peer.session.outbox;
        let share = self.share(self.free(), outbox.held());
        outbox.room().min(share)
    }

    /// Bytes that the outbox of a peer could accept that is not known.
    pub(super) fn room_of_unknown(&self) -> usize {
        self.share(self.free(), 0).min(self.outbox_max)
    }

    /// Notes that a caller waits for room in a peer's outbox.
    pub(super) fn want_room(&self, peer: &mut Peer, bytes: usize) {
        // No peer ever has more than this.
        let most = self.share(self.outboxes_max, 0).min(self.outbox_max);
        let bytes = bytes.min(most);
        let wanted = peer
            .wanted_room
            .get_or_insert_with(|| Box::new(Wanted { bytes, place: None }));
        wanted.bytes = wanted.bytes.min(bytes);
    }

    /// Reports room in a peer's outbox if a caller waits for it and there is enough, or notes that other
    /// peers have to make it.
    pub(super) fn report_room(&mut self, peer: &mut Peer, report: &mut Report) {
        let free = self.free();
        let Some(wanted) = &mut peer.wanted_room else {
            return;
        };
        let outbox = &peer.session.outbox;
        let fits = wanted.bytes <= outbox.room();
        let needed = self.needed(wanted.bytes, outbox.held());
        let waits = fits && needed > free;
        if let Some(place) = wanted.place
            && (!waits || place.needed != needed)
        {
            self.waiting.remove(&(place, peer.key));
        }
        if waits {
            let came = wanted.place.map_or(self.came, |place| place.came);
            self.came += u64::from(wanted.place.is_none());
            let place = Place { needed, came };
            wanted.place = Some(place);
            self.waiting.insert((place, peer.key));
        } else if fits {
            peer.wanted_room = None;
            report.event(Event::Writable { peer: peer.id });
        } else {
            wanted.place = None;
        }
    }

    /// Whether there is room for the first of those that wait for others to make it.
    pub(super) fn has_room_for_waiting(&self) -> bool {
        let first = self.waiting.first();
        first.is_some_and(|(place, _)| place.needed <= self.free())
    }

    /// Whether any peer's caller waits until others hold less.
    pub(super) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Takes the first of those that wait, if so many bytes are enough for it.
    pub(super) fn next_waiting(&mut self, free: usize) -> Option<PeerKey> {
        let (place, key) = *self.waiting.first()?;
        if place.needed > free {
            return None;
        }
        self.waiting.remove(&(place, key));
        Some(key)
    }

    /// Has a caller that waits for room in a peer's outbox look again, room or not. Returns what it
    /// waited for.
    pub(super) fn give_up_room(&mut self, peer: &mut Peer, report: &mut Report) -> usize {
        let Some(wanted) = peer.wanted_room.take() else {
            return 0;
        };
        if let Some(place) = wanted.place {
            self.waiting.remove(&(place, peer.key));
        }
        report.event(Event::Writable { peer: peer.id });
        wanted.bytes
    }

    // Inboxes

    /// Bytes that a peer's inbox may hold beside those that it has and `begun` of a record, granted ones included;
    /// `None` if it may hold no more. A first credit is reserved for each peer, so that none waits for
    /// another's reader.
    pub(super) fn inbox_room(&self, peer: &Peer, begun: usize) -> Option<Room> {
        let Session { inbox, granted, .. } = &peer.session;
        let others = self.queued.inbox.saturating_sub(*granted as usize);
        let free = match self.is_exceeded {
            true => 0,
            false => self.inboxes_max.saturating_sub(others + begun),
        };
        let reserved = self.first_credit.saturating_sub(inbox.held() + begun);
        let budget = reserved.max(free);
        let inbox = inbox.room().min(budget);
        (inbox > 0).then_some(Room { inbox, budget })
    }

    /// The same for a connection whose record has begun and lacks `wanted` bytes: if there is no room for them, they
    /// are beyond the budget for one connection at a time, and the others wait.
    pub(super) fn room_for_record(
        &mut self,
        link: LinkId,
        peer: &mut Peer,
        begun: usize,
        wanted: usize,
    ) -> Option<Room> {
        if begun == 0 {
            self.finish_record(link);
        }
        let room = self.inbox_room(peer, begun);
        let is_enough = room.is_some_and(|room| begun == 0 || room.budget >= wanted);
        if is_enough {
            return room;
        }
        if begun == 0 || !peer.session.inbox.has_room() {
            self.hold_back(peer);
            return room;
        }
        if self.may_overdraw(link) {
            self.overdraft.get_or_insert((link, None));
            let inbox = room.map_or(0, |room| room.inbox);
            let budget = wanted;
            return Some(Room { inbox, budget });
        }
        self.unfinished.insert(peer.key);
        room
    }

    fn may_overdraw(&self, link: LinkId) -> bool {
        match self.overdraft {
            Some((holder, _)) => holder == link,
            None => !self.is_exceeded,
        }
    }

    /// A connection has no record that has begun, or is closed.
    pub(super) fn finish_record(&mut self, link: LinkId) {
        self.overdraft = self.overdraft.filter(|(holder, _)| *holder != link);
    }

    /// The connection that has completed no record beyond the budget for so long, if others wait.
    pub(super) fn overdue(&mut self, now: Instant, patience: Duration) -> Option<LinkId> {
        let (link, since) = self.overdraft.as_mut()?;
        if self.unfinished.is_empty() {
            *since = None;
            return None;
        }
        let since = since.get_or_insert(now);
        (now >= *since + patience).then_some(*link)
    }

    /// Whether the memory in use is to be watched in each turn: there is too much of it, or a record is completed beyond
    /// the budget.
    pub(super) const fn is_pressed(&self) -> bool {
        self.is_exceeded || self.overdraft.is_some()
    }

    /// Notes whether more than `memory_max` is in use.
    pub(super) const fn set_exceeded(&mut self, is_exceeded: bool) {
        self.is_exceeded = is_exceeded;
    }

    /// Messages that may be read of a peer beyond those that were and are not taken: half of what the part of inboxes
    /// has room for, and a few of each peer in any case, so that none waits for another's reader. A message that
    /// was read takes more memory than its bytes in a record.
    pub(super) fn handed_room(&self, peer: &Peer) -> usize {
        let all = self.inboxes_max / HANDED_BYTES;
        let free = all.saturating_sub(self.queued.handed);
        let least = HANDED_LEAST.saturating_sub(peer.session.inbox.handed_out());
        least.max(free / 2)
    }

    fn has_inbox_room(&self) -> bool {
        !self.is_exceeded && self.queued.inbox < self.inboxes_max
    }

    fn has_overdraft_free(&self) -> bool {
        self.overdraft.is_none() && !self.is_exceeded
    }

    /// Whether inboxes hold twice their part: unread messages of peers that have come and gone, more than
    /// connected peers could account for.
    pub(super) fn are_inboxes_overfull(&self) -> bool {
        self.queued.inbox >= 2 * self.inboxes_max
    }

    /// Notes that a peer gets no credit. If other inboxes are the cause, it gets some once they hold less.
    pub(super) fn hold_back(&mut self, peer: &mut Peer) {
        if peer.session.inbox.has_room() && !std::mem::replace(&mut peer.is_held_back, true) {
            self.held_back.push_back(peer.key);
        }
    }

    /// Whether a peer that was held back can get credit.
    pub(super) fn is_room_to_grant(&self) -> bool {
        !self.held_back.is_empty() && self.has_inbox_room()
            || !self.unfinished.is_empty() && self.has_overdraft_free()
    }

    /// Takes a peer whose record waits, if it may be completed beyond the budget.
    pub(super) fn next_unfinished(&mut self) -> Option<PeerKey> {
        match self.has_overdraft_free() {
            true => self.unfinished.pop_first(),
            false => None,
        }
    }

    /// Takes the peer that was held back first, if there is room again.
    pub(super) fn next_to_grant(&mut self) -> Option<PeerKey> {
        match self.has_inbox_room() {
            true => self.held_back.pop_front(),
            false => None,
        }
    }
}

/// The least number whose square is not less than the product.
fn root(a: usize, b: usize) -> usize {
    let product = a as u128 * b as u128;
    let root = product.isqrt();
    (root + u128::from(root * root < product)) as usize
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
