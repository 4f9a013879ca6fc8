//! Who waits for a peer's application to take what was sent.

use std::{ops::Range, time::Instant};

use super::{
    Manager,
    ending::Closing,
    peer::{Flush, Standing},
};
use crate::{Event, PeerError, PeerId, SendError, Undeliverable, peer::PeerKey};

impl Manager {
    /// Lets what is queued leave at once, and asks for [`Event::Flushed`] with `token` once the
    /// peer's application has taken all of it.
    ///
    /// # Errors
    ///
    /// [`PeerError::NoAddress`] if the peer is not known, [`PeerError::Closed`]. State is
    /// unchanged.
    pub fn flush(&mut self, now: Instant, peer: PeerId, token: u64) -> Result<(), PeerError> {
        self.now = now;
        if self.closing == Closing::Done {
            return Err(PeerError::Closed);
        }
        let key = self.peers.key(peer).ok_or(PeerError::NoAddress(peer))?;
        if let Some(known) = self.peers.get_mut(key) {
            known.session.outbox.close_tail();
            let messages = 0..known.session.outbox.next();
            known
                .flushes
                .get_or_insert_default()
                .push_back(Flush { token, messages });
        }
        self.refresh(now, key);
        Ok(())
    }

    /// Queues a message, and asks for [`Event::Flushed`] with `token` once the peer's application
    /// has taken it or its fate is unknown, whatever becomes of others. It leaves with its batch.
    ///
    /// # Errors
    ///
    /// See [`SendError`]. State is unchanged, and there will be no event.
    pub fn send_confirmed(
        &mut self,
        now: Instant,
        peer: PeerId,
        message: &[u8],
        token: u64,
    ) -> Result<(), SendError> {
        let key = self.accept(now, peer, message)?;
        if let Some(known) = self.peers.get_mut(key) {
            let next = known.session.outbox.next();
            let messages = next - 1..next;
            known
                .flushes
                .get_or_insert_default()
                .push_back(Flush { token, messages });
        }
        self.refresh(now, key);
        Ok(())
    }

    /// Asks for [`Event::Flushed`] with `token` once the peer's application has taken the next
    /// message that is accepted for it, or that message's fate is unknown.
    ///
    /// For drivers, right before [`handle_staged`](Self::handle_staged) of a batch that begins with
    /// that message: asked afterwards, it may have been given up by then.
    pub fn confirm_next(&mut self, now: Instant, peer: PeerId, token: u64) {
        self.now = now;
        if peer == self.id {
            return;
        }
        // As handle_staged does: what follows was accepted.
        let key = match self.peers.key(peer) {
            Some(key) => key,
            None => self.add_peer(now, peer, Standing::Added),
        };
        if let Some(known) = self.peers.get_mut(key) {
            let next = known.session.outbox.next();
            let messages = next..next + 1;
            known
                .flushes
                .get_or_insert_default()
                .push_back(Flush { token, messages });
        }
    }

    /// Everything that these cover is taken.
    pub(super) fn end_flushes(&mut self, key: PeerKey) {
        let Some(peer) = self.peers.get_mut(key) else {
            return;
        };
        let taken = peer.session.outbox.outstanding().start;
        let Some(flushes) = &mut peer.flushes else {
            return;
        };
        while let Some(flush) = flushes.front()
            && flush.messages.end <= taken
        {
            let token = flush.token;
            flushes.pop_front();
            self.events.push_back(Event::Flushed {
                peer: peer.id,
                token,
                result: Ok(()),
            });
        }
    }

    /// Those that cover a message with an unknown fate have failed.
    pub(super) fn fail_flushes(
        &mut self,
        key: PeerKey,
        messages: &Range<u64>,
        reason: Undeliverable,
    ) {
        let Some(peer) = self.peers.get_mut(key) else {
            return;
        };
        let id = peer.id;
        let Some(flushes) = &mut peer.flushes else {
            return;
        };
        let waiting = flushes.drain(..);
        let (failed, kept): (Vec<Flush>, Vec<Flush>) =
            waiting.partition(|flush| flush.covers(messages));
        **flushes = kept.into();
        self.events
            .extend(failed.into_iter().map(|flush| Event::Flushed {
                peer: id,
                token: flush.token,
                result: Err(reason),
            }));
    }
}
