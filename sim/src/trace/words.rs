//! Events and verbs of nodes, in words.

use std::time::Duration;

use quicpool_core::{Event, Undeliverable};

use super::{Moment, What};

impl What {
    /// Its name, for counting and filtering.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Crashed => "crashed",
            Self::Sent { .. } => "send",
            Self::Took { .. } => "receive",
            Self::Asked(verb) | Self::Refused { verb, .. } => verb,
            Self::Event(event) => event_name(event),
        }
    }
}

impl Moment {
    /// Describes what happened, in a sentence without its subject.
    pub(super) fn words(&self) -> String {
        let peer = |preposition: &str| match self.about {
            Some(node) => format!("{preposition}{node}"),
            None => String::new(),
        };
        match &self.what {
            What::Started => "starts".to_owned(),
            What::Crashed => "crashes".to_owned(),
            What::Sent { messages, bytes } => {
                format!("sends {}{}", amount(*messages, *bytes), peer(" to "))
            }
            What::Took { messages, bytes } => {
                format!("takes {}{}", amount(*messages, *bytes), peer(" from "))
            }
            What::Asked("introduce") => format!("is told where{} is", peer(" ")),
            What::Asked(verb) => format!("asks to {verb}{}", peer(" ")),
            What::Refused { verb, why } => format!("asks to {verb}{}: {why}", peer(" ")),
            What::Event(event) => self.event_words(event),
        }
    }

    fn event_words(&self, event: &Event) -> String {
        let peer = self
            .about
            .map_or_else(|| "a stranger".to_owned(), |node| node.to_string());
        match event {
            Event::StatusChanged {
                from, to, reason, ..
            } => format!("sees {peer}: {from:?} → {to:?}, {reason}"),
            Event::HealthChanged {
                from, to, reason, ..
            } => format!("finds {peer} {to}, and no longer {from}: {reason}"),
            Event::Readable { .. } => format!("messages of {peer} wait"),
            Event::Writable { .. } => format!("there is room for messages to {peer}"),
            Event::Flushed { token, result, .. } => match result {
                Ok(()) => format!("{peer} has taken all before flush {token}"),
                Err(why) => format!("flush {token} to {peer} has failed: {why}"),
            },
            Event::Undelivered {
                messages, reason, ..
            } => undelivered(
                &peer,
                messages.end - messages.start,
                messages.start,
                *reason,
            ),
            Event::PeerRestarted {
                resent,
                undelivered,
                ..
            } => format!("{peer} has restarted: {resent} sent again, {undelivered} undelivered"),
            Event::Stalled { .. } => format!("{peer} takes nothing"),
            Event::DatagramsReadable { .. } => format!("datagrams of {peer} wait"),
            Event::DatagramLimit { max, .. } => match max {
                Some(max) => format!("datagrams to {peer} may have {max} B"),
                None => format!("no datagrams to {peer}"),
            },
            Event::IdentityInUse { .. } => {
                format!("{peer} knows another process with our identity")
            }
            Event::Closed { undelivered, .. } => format!("closed, {undelivered} undelivered"),
            other => format!("{other:?}"),
        }
    }
}

fn event_name(event: &Event) -> &'static str {
    match event {
        Event::StatusChanged { .. } => "StatusChanged",
        Event::HealthChanged { .. } => "HealthChanged",
        Event::Readable { .. } => "Readable",
        Event::Writable { .. } => "Writable",
        Event::Flushed { .. } => "Flushed",
        Event::Undelivered { .. } => "Undelivered",
        Event::PeerRestarted { .. } => "PeerRestarted",
        Event::Stalled { .. } => "Stalled",
        Event::DatagramsReadable { .. } => "DatagramsReadable",
        Event::DatagramLimit { .. } => "DatagramLimit",
        Event::IdentityInUse { .. } => "IdentityInUse",
        Event::Closed { .. } => "Closed",
        _ => "Event",
    }
}

fn undelivered(peer: &str, count: u64, first: u64, reason: Undeliverable) -> String {
    let messages = match count {
        1 => format!("message {first}"),
        count => format!("messages {first}–{}", first + count.saturating_sub(1)),
    };
    format!("{messages} to {peer} undelivered: {reason}")
}

fn amount(messages: u64, bytes: u64) -> String {
    match messages {
        1 => format!("a message of {bytes} B"),
        messages => format!("{messages} messages of {bytes} B"),
    }
}

/// A time in seconds, as exactly as a picture needs it.
pub(super) fn seconds(time: Duration) -> String {
    format!("{}.{:06}", time.as_secs(), time.subsec_micros())
}
