//! The gate before QUIC: how many first packets of handshakes it is given.
//!
//! For the first packet of a handshake QUIC derives keys, opens the packet, and answers: some 7 us, for bytes that
//! cost their sender nothing and come from an address that may be anybody's. At 100,000 a second nothing else would be
//! done. The gate looks at the few bytes in clear (RFC 8999, RFC 9000 section 17.2) and lets through what its
//! buckets have tokens for; the rest is dropped unread, and its sender sends it again (RFC 9002 section 6.2).
//!
//! While the bucket for all is empty the gate counts first packets by source, in a sketch of fixed size, and sources
//! that have sent few of them lately have buckets of their own beside, the first packet of a source another than the
//! next: a flood from many sources, each of which has to be used again and again, leaves newcomers alone. Packets with a token (Retry or NEW_TOKEN) have a bucket of their
//! own: a peer that was connected before holds one.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    time::{Duration, Instant},
};

use super::Source;
use crate::bucket::Bucket;

/// First packets without a token that are let through, a second: 7 ms of work, or 0.7 % of a core.
const RATE: u32 = 1_000;

/// So many at once, if there were few before: a fleet that starts together is no flood.
const BURST: u32 = 2_048;

/// First packets with a token, a second. They are worth more: most of them are honest.
const TOKENS_RATE: u32 = 8_000;

/// First packets that name our ids, a second, and at once: each handshake has some, and QUIC drops those that it does not
/// know for 3 us each.
const OURS_RATE: u32 = 16_000;
const OURS_BURST: u32 = 8_192;

/// First packets of a source within one or two windows, up to which it has a bucket beside, and its rate: the first one,
/// those of a flight of two packets that is repeated, and those of some hosts behind one address. While a flood from
/// 10,000 sources begins, each of them is new once: the first rate is 4 % of a core, and has room for others after
/// half a second.
const NEWCOMERS: [(u8, u32); 3] = [(1, 6_000), (4, RATE), (16, RATE)];

/// How long the sketch counts in one array before it begins the next.
const WINDOW: Duration = Duration::from_secs(8);

/// Counters in an array. 10,000 sources collide with a newcomer in both of its counters at one in fifty.
const COUNTERS: usize = 1 << 17;

/// The same of newcomers, under load.
const NEWCOMERS_BURST: u32 = 256;

/// What the first bytes of a datagram begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Opening {
    /// A handshake, from an address that is only claimed; or a version that QUIC answers with its own.
    Unproved,
    /// A handshake with a token, good or not.
    Token,
    /// It names an id that this end has chosen, of a connection or of a Retry, or one that was seen on the way.
    Ours,
}

/// The buckets, and the sketch while it is needed.
#[derive(Debug)]
pub(crate) struct Gate {
    seed: u64,
    all: Bucket,
    tokens: Bucket,
    /// Of packets that name our ids: an id that was seen can be repeated.
    ours: Bucket,
    /// Of sources that have sent few first packets lately, by how many.
    newcomers: [Bucket; NEWCOMERS.len()],
    flood: Option<Box<Flood>>,
}

impl Gate {
    /// An open gate. The seed keeps senders from choosing sources whose counters collide.
    pub(crate) fn new(seed: u64, now: Instant) -> Self {
        Self {
            seed,
            all: Bucket::new(now, RATE, BURST),
            tokens: Bucket::new(now, TOKENS_RATE, BURST),
            ours: Bucket::new(now, OURS_RATE, OURS_BURST),
            newcomers: NEWCOMERS.map(|(_, rate)| Bucket::new(now, rate, NEWCOMERS_BURST)),
            flood: None,
        }
    }

    /// Bytes of memory.
    pub(crate) fn memory(&self) -> usize {
        self.flood.as_ref().map_or(0, |_| 2 * COUNTERS)
    }

    /// Whether QUIC is given a datagram. `is_ours` knows the connection ids that this end has chosen.
    pub(crate) fn admits(
        &mut self,
        now: Instant,
        source: Source,
        datagram: &[u8],
        is_ours: impl FnOnce(&[u8]) -> bool,
    ) -> bool {
        let Some(opening) = opening(datagram, is_ours) else {
            return true;
        };
        // Each is asked in its turn: a token is not taken where another was enough.
        let bucket = match opening {
            Opening::Unproved => &mut self.all,
            Opening::Token => &mut self.tokens,
            Opening::Ours => &mut self.ours,
        };
        let has_token = bucket.take(now, 1);
        if !has_token && self.flood.is_none() {
            self.flood = Some(Flood::new(now));
        }
        let Some(flood) = &mut self.flood else {
            return true;
        };
        if !has_token {
            flood.empty_at = now;
        }
        // Peers that have a token do not use up what their address has for others.
        let count = match opening {
            Opening::Unproved => flood.count(now, self.seed, source),
            Opening::Token | Opening::Ours => u8::MAX,
        };
        if flood.is_over(now) {
            self.flood = None;
        }
        let newcomer = NEWCOMERS.iter().position(|(most, _)| count <= *most);
        has_token || newcomer.is_some_and(|tier| self.newcomers[tier].take(now, 1))
    }
}

/// First packets by source, while there are more than the gate lets through: a count-min sketch (Cormode and
/// Muthukrishnan 2005) over the last window and this one.
struct Flood {
    counters: [Vec<u8>; 2],
    /// The array of this window.
    present: usize,
    began: Instant,
    /// When a bucket was last empty.
    empty_at: Instant,
}

impl std::fmt::Debug for Flood {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Flood")
            .field("began", &self.began)
            .finish_non_exhaustive()
    }
}

impl Flood {
    fn new(now: Instant) -> Box<Self> {
        Box::new(Self {
            counters: [0; 2].map(|zero| vec![zero; COUNTERS]),
            present: 0,
            began: now,
            empty_at: now,
        })
    }

    /// Counts a first packet of a source. Returns how many there were, this one included, or more.
    fn count(&mut self, now: Instant, seed: u64, source: Source) -> u8 {
        if now >= self.began + WINDOW {
            self.began = now;
            self.present = 1 - self.present;
            self.counters[self.present].fill(0);
        }
        let mut hasher = DefaultHasher::new();
        (seed, source).hash(&mut hasher);
        let hash = hasher.finish() as usize;
        let [mut present, mut last] = [u8::MAX; 2];
        for place in [hash % COUNTERS, (hash >> 32) % COUNTERS] {
            let counter = &mut self.counters[self.present][place];
            *counter = counter.saturating_add(1);
            present = present.min(*counter);
            last = last.min(self.counters[1 - self.present][place]);
        }
        present.saturating_add(last)
    }

    /// Whether no bucket was empty for two windows.
    fn is_over(&self, now: Instant) -> bool {
        now >= self.empty_at + 2 * WINDOW
    }
}

/// What a datagram begins, if it begins anything.
fn opening(datagram: &[u8], is_ours: impl FnOnce(&[u8]) -> bool) -> Option<Opening> {
    let (&first, rest) = datagram.split_first()?;
    if first & 0x80 == 0 {
        return None;
    }
    let (version, rest) = rest.split_first_chunk::<4>()?;
    match u32::from_be_bytes(*version) {
        // A Version Negotiation, which only a dial of ours can be interested in.
        0 => return None,
        1 if first & 0x30 != 0 => return None,
        1 => {}
        _ => return Some(Opening::Unproved),
    }
    let (destination, rest) = id(rest)?;
    let (_, rest) = id(rest)?;
    if is_ours(destination) {
        return Some(Opening::Ours);
    }
    match rest.first()? {
        0 => Some(Opening::Unproved),
        _ => Some(Opening::Token),
    }
}

/// A connection id with its length before it, and what follows.
fn id(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&len, rest) = bytes.split_first()?;
    rest.split_at_checked(len.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::epoch;
    use proptest::prelude::*;
    use std::net::Ipv4Addr;

    fn source(number: u32) -> Source {
        Source::from(std::net::IpAddr::from(Ipv4Addr::from_bits(number)))
    }

    fn initial(id: &[u8], token: u8) -> Vec<u8> {
        let mut packet = vec![0xc0, 0, 0, 0, 1, id.len() as u8];
        packet.extend(id);
        packet.extend([0, token]);
        packet.resize(1_200, 0);
        packet
    }

    const fn never(_: &[u8]) -> bool {
        false
    }

    #[test]
    fn only_what_begins_a_handshake_counts() {
        let kind = |datagram: &[u8]| opening(datagram, |id| id == b"ours-id.");
        assert_eq!(
            kind(&initial(b"a client's own", 0)),
            Some(Opening::Unproved)
        );
        assert_eq!(kind(&initial(b"a client's own", 60)), Some(Opening::Token));
        assert_eq!(kind(&initial(b"ours-id.", 0)), Some(Opening::Ours));
        let mut other = initial(b"a client's own", 0);
        other[4] = 9;
        assert_eq!(kind(&other), Some(Opening::Unproved), "it is answered");
        for first in [0xd0, 0xe0, 0xf0, 0x40, 0x00] {
            let mut packet = initial(b"a client's own", 0);
            packet[0] = first;
            assert_eq!(kind(&packet), None, "{first:#x}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_have_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = opening(&bytes, never);
            let mut gate = Gate::new(1, epoch());
            prop_assert!(gate.admits(epoch(), source(1), &bytes, never), "there is room");
        }
    }

    /// Sends `rate` first packets for some seconds from so many sources, and a newcomer's at the end of each.
    /// Returns how many of the flood and of the newcomers are let through in the last second.
    fn flood(gate: &mut Gate, rate: u32, sources: u32, seconds: u32) -> (u32, u32) {
        let packet = initial(b"a client's own", 0);
        let start = epoch();
        let (mut passed, mut newcomers) = (0, 0);
        for second in 0..seconds {
            (passed, newcomers) = (0, 0);
            for number in 0..rate {
                let at = start
                    + Duration::from_secs(second.into())
                    + Duration::from_secs(1) * number / rate;
                let from = source(0x7f00_0000 + (second * rate + number) % sources);
                passed += u32::from(gate.admits(at, from, &packet, never));
                if number % (rate / 50) == 0 {
                    let from = source(0x0a00_0000 + second * 100 + number / (rate / 50));
                    newcomers += u32::from(gate.admits(at, from, &packet, never));
                }
            }
        }
        (passed, newcomers)
    }

    #[test]
    fn a_flood_is_held_to_its_rate_and_newcomers_pass_it() {
        for (rate, seconds) in [(20_000, 2), (20_000, 12), (100_000, 2)] {
            let mut gate = Gate::new(1, epoch());
            let (passed, newcomers) = flood(&mut gate, rate, 10_000, seconds);
            // Its sources have buckets, too, until each has sent more than a few.
            let most = if seconds < 12 { 9_000 } else { 2 * RATE };
            assert!((RATE - 60..=most).contains(&passed), "{passed}");
            assert!(newcomers >= 46, "{newcomers} of 50 at {rate}");
            assert!(gate.memory() > 0);
        }
    }

    #[test]
    fn a_flood_from_ever_new_sources_is_held_to_a_rate() {
        let mut gate = Gate::new(1, epoch());
        let (passed, _) = flood(&mut gate, 50_000, u32::MAX, 4);
        let rates: u32 = NEWCOMERS
            .iter()
            .map(|(_, rate)| rate + NEWCOMERS_BURST)
            .sum();
        assert!(passed <= RATE + rates + 60, "{passed}");
    }

    #[test]
    fn an_id_of_ours_that_was_seen_opens_the_gate_for_no_flood() {
        let mut gate = Gate::new(1, epoch());
        let packet = initial(b"ours-id.", 0);
        let start = epoch();
        let passed = (0..100_000u32)
            .filter(|number| gate.admits(start, source(*number), &packet, |_| true))
            .count();
        assert_eq!(passed, OURS_BURST as usize);
    }

    #[test]
    fn a_flood_of_tokens_leaves_the_others_alone_and_is_forgotten() {
        let mut gate = Gate::new(1, epoch());
        let packet = initial(b"a client's own", 60);
        let start = epoch();
        let passed = (0..50_000u32)
            .filter(|number| gate.admits(start, source(*number % 100), &packet, never))
            .count();
        assert!(passed < 3_000, "{passed}");
        let plain = initial(b"a client's own", 0);
        assert!(gate.admits(start, source(5), &plain, never));
        let later = start + 3 * WINDOW;
        assert!(gate.admits(later, source(5), &plain, never));
        assert_eq!(gate.memory(), 0);
    }
}
