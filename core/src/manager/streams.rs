//! What connections deliver: events, control frames, records.

use std::time::Instant;

use bytes::Bytes;

use super::{Manager, peer::Announced};
use crate::{
    Event, Reason,
    peer::{LinkId, PeerKey},
    transport::{Ending, Link, LinkEvent, Stage},
    wire::{
        code::CloseCode,
        frame::{Frame, LineId},
        record::Header,
    },
};

impl Manager {
    pub(super) fn settle_link(&mut self, now: Instant, id: LinkId) {
        if self
            .transport
            .link(id)
            .is_some_and(|link| link.ending.is_some())
        {
            return;
        }
        while let Some(event) = self.transport.poll_event(id) {
            match event {
                LinkEvent::Established { peer } => self.established(now, id, peer),
                LinkEvent::Ended(ending) => return self.ends(id, ending),
            }
        }
        self.admit_waiting(now, id);
        let greeted = self.greet_waiting(now, id);
        if let Err(code) = greeted.and_then(|()| self.read_streams(now, id)) {
            self.counters.violations += u64::from(code.is_violation());
            tracing::warn!(?id, code = code.name(), "the other end broke the protocol");
            self.close_link(now, id, code, Bytes::new(), refusal(code));
        }
        self.refuse_waiting(now, id);
        // After the hello that may have come with them.
        self.read_datagrams(id);
        self.tell_datagram_limit_on(id);
        let worn_out = |link: &Link| link.is_exhausted() && link.owner.is_some();
        if let Some(key) = self
            .transport
            .link(id)
            .filter(|link| worn_out(link))
            .and_then(|link| link.owner)
        {
            self.close_with_ack(now, id, key, CloseCode::Replaced, Reason::Replaced);
        }
    }

    /// Keeps how a connection ended until all others have said what they have to say.
    fn ends(&mut self, id: LinkId, ending: Ending) {
        if let Some(link) = self.transport.link_mut(id) {
            link.ending = Some(ending);
            self.endings.push_back(id);
        }
    }

    fn read_streams(&mut self, now: Instant, id: LinkId) -> Result<(), CloseCode> {
        while let Some(frame) = self.next_frame(id)? {
            self.read_frame(now, id, frame)?;
        }
        let Some(line) = self.confirmed_line(id) else {
            return Ok(());
        };
        let mut key = None;
        while let Some((owner, header, body)) = self.next_record(id, line)? {
            key = Some(owner);
            self.read_record(now, owner, line, header, body)?;
        }
        if let Some(key) = key {
            self.schedule_acknowledgement(now, key);
            self.refresh(now, key);
        }
        Ok(())
    }

    fn next_frame(&mut self, id: LinkId) -> Result<Option<Frame>, CloseCode> {
        let Some(link) = self.transport.link_mut(id) else {
            return Ok(None);
        };
        match link.stage {
            Stage::Greeted | Stage::Confirmed(_) => link.read_frame(),
            Stage::Handshaking | Stage::Waiting(_) | Stage::Closed => Ok(None),
        }
    }

    fn read_frame(&mut self, now: Instant, id: LinkId, frame: Frame) -> Result<(), CloseCode> {
        let Some(link) = self.transport.link(id) else {
            return Ok(());
        };
        let Some(key) = link.owner else {
            return Ok(());
        };
        match (&link.stage, frame) {
            (Stage::Greeted, Frame::Hello(hello)) => self.greeted(now, id, key, hello),
            (Stage::Confirmed(_), Frame::Ack(ack)) => {
                self.acknowledged(now, key, ack)?;
                self.refresh(now, key);
                Ok(())
            }
            (Stage::Greeted, Frame::Ack(_)) | (Stage::Confirmed(_), Frame::Hello(_)) => {
                Err(CloseCode::UnexpectedHello)
            }
            (Stage::Handshaking | Stage::Waiting(_) | Stage::Closed, _) => Ok(()),
        }
    }

    fn confirmed_line(&self, id: LinkId) -> Option<LineId> {
        match &self.transport.link(id)?.stage {
            Stage::Confirmed(hello) => Some(hello.mine.id),
            Stage::Handshaking | Stage::Greeted | Stage::Waiting(_) | Stage::Closed => None,
        }
    }

    fn next_record(
        &mut self,
        id: LinkId,
        line: LineId,
    ) -> Result<Option<(PeerKey, Header, Bytes)>, CloseCode> {
        let Some(key) = self.transport.link(id).and_then(|link| link.owner) else {
            return Ok(None);
        };
        if !self.peers.get(key).is_some_and(|peer| self.may_read(peer)) {
            self.hold_back(key);
            return Ok(None);
        }
        let Some(link) = self.transport.link_mut(id) else {
            return Ok(None);
        };
        let record = link.read_record(line)?;
        Ok(record.map(|(header, body)| (key, header, body)))
    }

    fn read_record(
        &mut self,
        now: Instant,
        key: PeerKey,
        line: LineId,
        header: Header,
        body: Bytes,
    ) -> Result<(), CloseCode> {
        let Some(peer) = self.peers.get_mut(key) else {
            return Ok(());
        };
        let new = peer.session.inbox.accept(line, &header, body)?;
        if new == 0 {
            return Ok(());
        }
        peer.last_used = now;
        peer.counts.messages_received += new;
        self.counters.messages_received += new;
        if std::mem::replace(&mut peer.readable, Announced::Yes) == Announced::No {
            self.events.push_back(Event::Readable { peer: peer.id });
        }
        self.count_queued(key);
        Ok(())
    }
}

/// What we call it when the other end breaks a rule.
const fn refusal(code: CloseCode) -> Reason {
    if code.is_violation() {
        return Reason::Violation(code.name());
    }
    if matches!(code, CloseCode::SealingMismatch) {
        return Reason::SealingMismatch;
    }
    Reason::VersionMismatch
}
