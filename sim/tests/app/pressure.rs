//! An application that sends more than there is room for gets a refusal, and `Writable` once there is room.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use quicpool_core::{Config, Event, Message, PeerError, PeerId, SendError};
use quicpool_sim::{
    app::{Action, App, Context, Input, Options, explore},
    ms, secs,
};

/// Messages that each end sends at once, of lengths that vary: many times the outbox.
const MESSAGES: u32 = 1_000;

#[test]
fn what_is_refused_can_be_sent_later_and_nothing_is_overtaken() {
    let mut config = Config::default();
    config.message_bytes_max = 2_000;
    config.batch_bytes_max = 2_048;
    config.outbox_bytes_max = 16 * 1_024;
    config.inbox_bytes_max = 16 * 1_024;
    let options = Options::nodes(2).config(config).seeds(0..12);
    let options = options.without([quicpool_sim::app::Family::Crash]);
    let explored = explore(
        "pressure",
        &options,
        |_| Flood::default(),
        |sim| {
            sim.eventually("all is received", secs(300), |sim| {
                sim.apps().all(|flood| flood.received == MESSAGES)
            });
            for place in 0..2 {
                let flood = sim.app(place).expect("it is up");
                assert!(flood.refused > 0 && flood.told_of_room > 0, "{flood:?}");
            }
        },
    );
    explored.unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn what_cannot_be_done_is_refused_with_the_reason() {
    let options = Options::nodes(2).seeds(0..1).only([]);
    let explored = explore(
        "refusals",
        &options,
        |_| Flood::idle(),
        |sim| {
            let stranger = PeerId::from_bytes([9; 32]);
            sim.call(0, |_, cx| {
                cx.send(stranger, "hello");
                cx.connect(stranger);
                cx.flush(stranger, 1);
                cx.send(cx.host.id, "me");
            });
            let flood = sim.app(0).expect("it is up");
            let unknown = || SendError::Peer(PeerError::UnknownPeer(stranger));
            let own = SendError::Peer(PeerError::OwnId(sim.id(0)));
            assert_eq!(flood.errors, [unknown(), unknown(), unknown(), own]);
        },
    );
    explored.unwrap_or_else(|failure| panic!("{failure}"));
}

/// Sends numbered messages, and keeps what is refused until there is room.
#[derive(Debug, Default)]
struct Flood {
    is_idle: bool,
    waiting: BTreeMap<PeerId, VecDeque<Bytes>>,
    refused: u64,
    told_of_room: u64,
    received: u32,
    errors: Vec<SendError>,
}

impl Flood {
    fn idle() -> Self {
        Self {
            is_idle: true,
            ..Self::default()
        }
    }
}

impl App for Flood {
    fn handle(&mut self, input: Input<'_>, cx: &mut Context<'_>) {
        match input {
            Input::Started if !self.is_idle => {
                for peer in &cx.host.peers {
                    (0..MESSAGES).for_each(|n| cx.send(*peer, message(n)));
                }
            }
            Input::Refused(Action::Send { to, payload }, SendError::Full) => {
                self.refused += 1;
                self.waiting
                    .entry(*to)
                    .or_default()
                    .push_back(payload.clone());
            }
            Input::Refused(_, SendError::Peer(PeerError::CircuitOpen { .. })) => {
                panic!("nobody sends to a peer that cannot be reached");
            }
            Input::Refused(_, error) => self.errors.push(error.clone()),
            Input::Event(Event::Writable { peer }) => {
                self.told_of_room += 1;
                for payload in self.waiting.remove(peer).unwrap_or_default() {
                    cx.send(*peer, payload);
                }
            }
            Input::Message(Message { payload, .. }) => {
                assert_eq!(
                    payload[..4],
                    self.received.to_be_bytes(),
                    "one was overtaken"
                );
                self.received += 1;
            }
            _ => {}
        }
    }
}

/// Long ones and short ones.
fn message(n: u32) -> Vec<u8> {
    let mut message = n.to_be_bytes().to_vec();
    message.resize(4 + (n as usize * 37) % 1_000, 0);
    message
}

#[test]
fn room_is_announced_at_the_moment_when_it_is_there() {
    let options = Options::nodes(2).seeds(0..1).only([]);
    let explored = explore(
        "room",
        &options,
        |_| Flood::default(),
        |sim| {
            sim.advance(ms(1));
            assert_eq!(
                sim.app(0).expect("it is up").refused,
                0,
                "4 MiB hold all of it"
            );
        },
    );
    explored.unwrap_or_else(|failure| panic!("{failure}"));
}
