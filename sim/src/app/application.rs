//! Applications: inputs and time go in, actions come out.

use std::{cell::Cell, fmt, time::Duration};

use bytes::Bytes;
use quicpool_core::{Event, Message, PeerId, SendError};

use crate::dice::{Dice, Domain};

/// A pure application: all that it does follows from its inputs.
///
/// It has no clock, no socket, no thread and no randomness of its own. Time, randomness and the
/// names of its peers are in the [`Context`], and what it wants done it asks for there. So the same
/// inputs give the same actions, and a run that fails can be repeated. Hash maps that are iterated
/// break that, as their order differs from process to process: take `BTreeMap`.
///
/// `Debug` is asked for because a failure shows the state of every node.
///
/// ```
/// use bytes::Bytes;
/// use quicpool_core::{Message, PeerId};
/// use quicpool_sim::app::{Action, App, Context, Host, Input};
///
/// /// Answers each message with the same bytes.
/// #[derive(Debug)]
/// struct Echo;
///
/// impl App for Echo {
///     fn handle(&mut self, input: Input<'_>, cx: &mut Context<'_>) {
///         if let Input::Message(Message { from, payload, .. }) = input {
///             cx.send(*from, payload.clone());
///         }
///     }
/// }
///
/// // It can be tested alone, without a network.
/// let [me, peer] = [1, 2].map(|n| PeerId::from_bytes([n; 32]));
/// let host = Host::new(me, vec![peer]);
/// let mut cx = Context::new(&host, std::time::Duration::ZERO);
/// let payload = Bytes::from_static(b"ping");
/// Echo.handle(Input::Message(&Message::new(peer, payload.clone())), &mut cx);
/// assert_eq!(cx.actions(), [Action::Send { to: peer, payload }]);
/// ```
pub trait App: fmt::Debug + 'static {
    /// One thing has happened.
    ///
    /// The actions in `cx` are carried out at the same instant, in order, once this returns.
    fn handle(&mut self, input: Input<'_>, cx: &mut Context<'_>);
}

/// An input of an application.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Input<'a> {
    /// The process has begun. This comes first, and once in the life of an application.
    Started,
    /// A peer has sent a message. It is taken from quicpool with this.
    Message(&'a Message),
    /// A timer that was set under this name has come to its time.
    Timer(&'a str),
    /// The machine has refused an action, as `try_send` of a real manager does. Nothing has
    /// happened.
    ///
    /// After [`SendError::Full`] all later messages of the same call to the same peer are refused
    /// as well, so that none overtakes another, and [`Event::Writable`] follows when there is room
    /// for the first of them.
    Refused(&'a Action, &'a SendError),
    /// Any other event of quicpool: a peer's status has changed, messages are undelivered, a flush
    /// has ended, an outbox has room again. Events come in the order in which they were reported.
    Event(&'a Event),
}

/// An action of an application.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// See [`Context::send`].
    Send {
        /// The receiver.
        to: PeerId,
        /// The message.
        payload: Bytes,
    },
    /// See [`Context::send_express`].
    SendExpress {
        /// The receiver.
        to: PeerId,
        /// The message.
        payload: Bytes,
    },
    /// See [`Context::connect`].
    Connect(PeerId),
    /// See [`Context::disconnect`].
    Disconnect(PeerId),
    /// See [`Context::flush`].
    Flush {
        /// The receiver.
        peer: PeerId,
        /// Names the flush in [`Event::Flushed`].
        token: u64,
    },
    /// See [`Context::set_timer`].
    SetTimer {
        /// Its name.
        name: String,
        /// How long from now.
        after: Duration,
    },
    /// See [`Context::cancel_timer`].
    CancelTimer(String),
    /// See [`Context::save`].
    Save(Bytes),
}

impl Action {
    /// The receiver of a message, and its length.
    pub(super) fn message(&self) -> Option<(PeerId, usize)> {
        match self {
            Self::Send { to, payload } | Self::SendExpress { to, payload } => {
                Some((*to, payload.len()))
            }
            Self::Connect(_)
            | Self::Disconnect(_)
            | Self::Flush { .. }
            | Self::SetTimer { .. }
            | Self::CancelTimer(_)
            | Self::Save(_) => None,
        }
    }
}

/// Limit of actions of one call: an application that exceeds it does not stop.
const ACTIONS_MAX: usize = 1_000_000;

/// The present of an application, and the way out for all that it wants.
#[derive(Debug)]
#[non_exhaustive]
pub struct Context<'a> {
    /// The node that the application runs on, with its peers and its random numbers.
    pub host: &'a Host,
    /// How long the simulation has lasted, to the nanosecond.
    ///
    /// An application that reckons with `Instant` keeps one for the beginning, and adds this.
    pub now: Duration,
    actions: Vec<Action>,
}

impl<'a> Context<'a> {
    /// A context that belongs to no simulation: for tests of an application alone.
    #[must_use]
    pub const fn new(host: &'a Host, now: Duration) -> Self {
        Self {
            host,
            now,
            actions: Vec::new(),
        }
    }

    /// Sends a message, and dials if there is no connection. See [`quicpool_core::Manager::send`].
    pub fn send(&mut self, to: PeerId, payload: impl Into<Bytes>) {
        let payload = payload.into();
        self.want(Action::Send { to, payload });
    }

    /// Sends a message that does not wait for company.
    pub fn send_express(&mut self, to: PeerId, payload: impl Into<Bytes>) {
        let payload = payload.into();
        self.want(Action::SendExpress { to, payload });
    }

    /// Asks for a connection. Its success or failure is an [`Event::StatusChanged`].
    pub fn connect(&mut self, peer: PeerId) {
        self.want(Action::Connect(peer));
    }

    /// Ends the session with a peer.
    pub fn disconnect(&mut self, peer: PeerId) {
        self.want(Action::Disconnect(peer));
    }

    /// Asks for [`Event::Flushed`] with this token once the peer's application has taken all that
    /// was sent to it before.
    pub fn flush(&mut self, peer: PeerId, token: u64) {
        self.want(Action::Flush { peer, token });
    }

    /// Asks for [`Input::Timer`] with this name after a time, exactly. A timer that was set under
    /// the same name before is replaced. Timers end with their process.
    pub fn set_timer(&mut self, name: impl Into<String>, after: Duration) {
        let name = name.into();
        self.want(Action::SetTimer { name, after });
    }

    /// Unsets a timer, if it is set.
    pub fn cancel_timer(&mut self, name: impl Into<String>) {
        self.want(Action::CancelTimer(name.into()));
    }

    /// Writes state that survives a crash, in place of what was written before: what a real process
    /// has in a file, and `fsync`s before it goes on. The next process finds it in
    /// [`Host::saved`].
    ///
    /// It is atomic, and durable before any message of the same call is sent, as a vote or a log
    /// entry has to be.
    pub fn save(&mut self, state: impl Into<Bytes>) {
        self.want(Action::Save(state.into()));
    }

    fn want(&mut self, action: Action) {
        assert!(
            self.actions.len() < ACTIONS_MAX,
            "one call asks for more than {ACTIONS_MAX} actions"
        );
        self.actions.push(action);
    }

    /// The actions so far.
    #[must_use]
    pub fn actions(&self) -> &[Action] {
        &self.actions
    }

    pub(super) fn into_actions(self) -> Vec<Action> {
        self.actions
    }
}

/// The node of an application: its identity, its peers and its saved state.
///
/// ```
/// use quicpool_core::PeerId;
/// use quicpool_sim::app::Host;
///
/// let mut host = Host::new(PeerId::from_bytes([1; 32]), vec![]);
/// host.saved = Some(vec![7].into());
/// let votes = host.saved.as_ref().map_or(0, |saved| saved[0]);
/// assert_eq!((votes, host.life), (7, 0));
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Host {
    /// The node's identity, the same in all its lives.
    pub id: PeerId,
    /// Its place among the nodes, from 0. A test may give each place another role.
    pub place: usize,
    /// All other nodes, in the order of their places. Their addresses are known.
    pub peers: Vec<PeerId>,
    /// How often the node's process has been started before.
    pub life: u32,
    /// The state that an earlier process has [saved](Context::save) last.
    pub saved: Option<Bytes>,
    pub(super) dice: Dice,
    pub(super) drawn: Cell<u64>,
}

impl Host {
    /// A node that belongs to no simulation, at place 0 and in its first life: for tests of an
    /// application alone.
    #[must_use]
    pub const fn new(id: PeerId, peers: Vec<PeerId>) -> Self {
        Self {
            id,
            place: 0,
            peers,
            life: 0,
            saved: None,
            dice: Dice::new(0),
            drawn: Cell::new(0),
        }
    }

    /// Its process is started again: other random numbers, the same saved state.
    pub(super) fn begin_next_life(&mut self) {
        self.life += 1;
        self.drawn = Cell::new(0);
    }

    /// The next of a row of random numbers, which follows from the seed, the place and the life.
    #[must_use]
    pub fn random(&self) -> u64 {
        let n = self.drawn.get();
        self.drawn.set(n + 1);
        let entity = (self.place as u64) << 32 | u64::from(self.life);
        self.dice.roll(Domain::App, entity, n)
    }
}
