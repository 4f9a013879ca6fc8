//! The report that the node prints.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use quicpool::{Event, Events, EventsError, Message, PeerId};
use serde_json::{Value, json};

/// Prints one line.
pub(crate) fn print(line: &Value) {
    println!("{line}");
}

/// Messages received of one peer.
#[derive(Default)]
struct FromPeer {
    messages: u64,
    bytes: usize,
    /// Messages whose first 8 bytes are not their number.
    misordered: u64,
}

/// Messages received of all peers.
#[derive(Default)]
pub(crate) struct Received {
    peers: Mutex<BTreeMap<PeerId, FromPeer>>,
}

impl Received {
    /// Counts a message, and checks its number.
    pub(crate) fn count(&self, message: &Message) {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let peer = peers.entry(message.from).or_default();
        if message.payload.get(..8) != Some(&peer.messages.to_be_bytes()) {
            peer.misordered += 1;
        }
        peer.messages += 1;
        peer.bytes += message.payload.len();
    }

    /// Prints how much was received of each peer.
    pub(crate) fn print(&self) {
        let peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let peers: BTreeMap<String, Value> = peers
            .iter()
            .map(|(id, peer)| {
                let FromPeer {
                    messages,
                    bytes,
                    misordered,
                } = peer;
                let counts =
                    json!({ "messages": messages, "bytes": bytes, "misordered": misordered });
                (id.to_string(), counts)
            })
            .collect();
        print(&json!({ "event": "counts", "peers": peers }));
    }
}

/// Prints events until the manager has ended.
pub(crate) async fn print_events(mut events: Events) {
    loop {
        match events.next().await {
            Ok(event) => {
                if let Some(line) = line_of(&event) {
                    print(&line);
                }
            }
            Err(EventsError::Missed(missed)) => {
                print(&json!({ "event": "missed", "count": missed }))
            }
            Err(_) => return,
        }
    }
}

/// The line for an event, if the trials look at it.
fn line_of(event: &Event) -> Option<Value> {
    let mut line = match event {
        Event::StatusChanged {
            from, to, reason, ..
        } => json!({
            "event": "status",
            "from": format!("{from:?}"),
            "to": format!("{to:?}"),
            "reason": format!("{reason:?}"),
        }),
        Event::Undelivered {
            messages, reason, ..
        } => json!({
            "event": "undelivered",
            "first": messages.start,
            "end": messages.end,
            "reason": format!("{reason:?}"),
        }),
        Event::PeerRestarted {
            resent,
            undelivered,
            ..
        } => json!({ "event": "restarted", "resent": resent, "undelivered": undelivered }),
        Event::Stalled { .. } => json!({ "event": "stalled" }),
        Event::IdentityInUse { .. } => json!({ "event": "identity_in_use" }),
        Event::HealthChanged { .. }
        | Event::Readable { .. }
        | Event::Writable { .. }
        | Event::Flushed { .. }
        | Event::DatagramsReadable { .. }
        | Event::DatagramLimit { .. }
        | Event::Closed { .. }
        | _ => return None,
    };
    line["peer"] = json!(event.peer()?.to_string());
    Some(line)
}
