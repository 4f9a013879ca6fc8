//! The verbs of what comes in: messages and datagrams for the application.

use std::time::Instant;

use super::{Manager, datagrams, session::reading, verbs::known};
use crate::{Message, MessageKey, PeerError, PeerId, driver::TakenMessages};

impl Manager {
    /// Takes up to `max` messages of a peer, and returns how many it appended to `out`.
    ///
    /// # Errors
    ///
    /// [`PeerError::UnknownPeer`], [`PeerError::OwnId`]. State is unchanged.
    pub fn receive(
        &mut self,
        now: Instant,
        peer: PeerId,
        max: usize,
        out: &mut Vec<Message>,
    ) -> Result<usize, PeerError> {
        self.now = now;
        let known = known(peer, &mut self.peers, &self.shared)?;
        let count = reading::read(known, &mut self.shared, max, out);
        for taken in TakenMessages::of(&out[out.len() - count..]) {
            reading::mark_taken(now, known, &mut self.transport, &mut self.shared, &taken);
        }
        Ok(count)
    }

    /// Hands out up to `max` messages of a peer without taking them, and returns how many it appended to `out`.
    ///
    /// For an application that must survive its own crashes: until [`done`](Self::done) is called with a message's
    /// [key](Message::key), the sender keeps the message, and sends it again if this process restarts
    /// ([`OnPeerRestart::Resend`](crate::OnPeerRestart::Resend) at the sender). A message that is never done holds
    /// its room in the inbox, and so do all after it: when the peer's inbox is full, the peer waits; other peers do not.
    ///
    /// # Errors
    ///
    /// [`PeerError::UnknownPeer`], [`PeerError::OwnId`]. State is unchanged.
    pub fn receive_held(
        &mut self,
        now: Instant,
        peer: PeerId,
        max: usize,
        out: &mut Vec<Message>,
    ) -> Result<usize, PeerError> {
        self.now = now;
        let known = known(peer, &mut self.peers, &self.shared)?;
        Ok(reading::read(known, &mut self.shared, max, out))
    }

    /// Takes a message that [`receive_held`](Self::receive_held) has handed out, in whatever order. The sender counts
    /// it as taken once all before it are, too. A key of no such message changes nothing.
    ///
    /// # Errors
    ///
    /// [`PeerError::UnknownPeer`], [`PeerError::OwnId`]. State is unchanged.
    pub fn done(&mut self, now: Instant, key: MessageKey) -> Result<(), PeerError> {
        self.driver().mark_taken(now, &TakenMessages::new(key))
    }

    /// Takes up to `max` datagrams of a peer, and returns how many it appended to `out`.
    ///
    /// # Errors
    ///
    /// [`PeerError::UnknownPeer`], [`PeerError::OwnId`]. State is unchanged.
    pub fn receive_datagrams(
        &mut self,
        now: Instant,
        peer: PeerId,
        max: usize,
        out: &mut Vec<Message>,
    ) -> Result<usize, PeerError> {
        self.now = now;
        let known = known(peer, &mut self.peers, &self.shared)?;
        Ok(datagrams::receive(known, &mut self.shared, max, out))
    }
}
