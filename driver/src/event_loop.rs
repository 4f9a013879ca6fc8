//! The one event loop of a manager.
//!
//! Each turn takes in orders, datagrams and deadlines, lets the machine act, and passes on its events,
//! transmits and messages. Every step has a budget: when one was used up the loop lets the runtime's other
//! tasks run before the next turn. When there is nothing left it sleeps until a datagram, a deadline, or a ring
//! of the handle's doorbell.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use quicpool_core::{Action, Manager, Transmit};
use tracing::{debug, error};

use crate::{
    error::CloseReason,
    runtime::{Runtime, Socket, Timer},
    shared::{Demand, End, Shared},
    socket_errors::{concerns_destination, passes},
    switchboard::{Rest, Switchboard},
};

/// Datagrams taken in before the machine may answer them. The last burst may go beyond.
const DATAGRAMS_PER_TURN: usize = 256;

/// Datagrams taken in while a connection has brought more than its turns had room for. What it brings is laid by
/// or dropped then, which costs little, and those of others must not wait in the socket behind it.
const DATAGRAMS_PER_BUSY_TURN: usize = 1_024;

/// Bytes sent in one turn: half a millisecond or so of encryption.
const TRANSMIT_BYTES_PER_TURN: usize = 512 * 1024;

/// Events and transmits in one turn.
const ACTIONS_PER_TURN: usize = 1_024;

/// Receive errors in a row after which the socket is left alone for a while. ICMP messages come
/// one at a time; a system without memory fails until it has some.
const RECEIVE_ERRORS_MAX: u32 = 32;

/// For how long.
const RECEIVE_PAUSE: Duration = Duration::from_millis(1);

/// How often a machine is served whose transmit waits for the socket. Until it is drained it is due
/// at every moment, which hides its deadlines; they are served this much late at most.
const BLOCKED_PERIOD: Duration = Duration::from_millis(20);

/// How long the last packets may wait for the socket after the machine has ended.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(1);

/// The task of a manager.
pub struct EventLoop<R: Runtime> {
    runtime: Arc<R>,
    /// `None` once it has ended: the port is free before the end is reported.
    socket: Option<R::Socket>,
    timer: Pin<Box<R::Timer>>,
    /// What the timer is set to. It may be earlier than the deadline: moving it back each time an
    /// acknowledgement moves a deadline costs more than waking up in vain once.
    timer_at: Option<Instant>,
    board: Switchboard,
    shared: Arc<Shared>,
    /// The bytes of the transmit that is sent or that waits.
    buffer: Vec<u8>,
    /// A transmit that the socket had no room for.
    waiting: Option<Transmit>,
    receive_errors: u32,
    receive_pause: Option<Instant>,
    /// When to give up on the last packets, once the machine has ended.
    goodbye_until: Option<Instant>,
    /// Set while a turn is taken: still set when the loop is dropped, it shows that the turn panicked. Whether
    /// the thread is unwinding does not, as some executors drop a task only afterwards.
    in_turn: bool,
}

/// What a turn has come to.
enum Turn {
    /// There is more to do at once.
    Again,
    /// There is nothing to do until the task is woken.
    Sleep,
    /// There is nothing to do ever again.
    Over(End),
}

impl<R: Runtime> EventLoop<R> {
    pub(crate) fn new(
        runtime: Arc<R>,
        socket: R::Socket,
        timer: R::Timer,
        core: Manager,
        shared: Arc<Shared>,
    ) -> Self {
        let mut board = Switchboard::new(core, Arc::clone(&shared));
        board.set_segments_max(socket.segments_max());
        Self {
            runtime,
            socket: Some(socket),
            timer: Box::pin(timer),
            timer_at: None,
            board,
            shared,
            buffer: Vec::new(),
            waiting: None,
            receive_errors: 0,
            receive_pause: None,
            goodbye_until: None,
            in_turn: false,
        }
    }

    /// Returns the machine: for auditors of simulations, which poll the loop by themselves.
    pub const fn machine(&self) -> &Manager {
        self.board.machine()
    }

    fn turn(&mut self, cx: &mut Context<'_>) -> io::Result<Turn> {
        let now = self.runtime.now();
        let demand = self.board.demanded();
        if demand == Demand::Abandon {
            let undelivered = self.board.undelivered(now);
            return Ok(Turn::Over(End {
                reason: CloseReason::Abandoned,
                undelivered,
                losses: Vec::new(),
            }));
        }
        self.board.take_metrics_requests();
        self.board.take_taken(now, demand);
        self.board.obey(now, demand);
        let orders = self.board.take_orders(now);
        let datagrams = self.receive(cx, now)?;

        let now = self.runtime.now();
        self.board.pass_deadline(now);
        let actions = self.act(cx, now)?;
        let messages = self.board.hand_out(now);
        self.board.hand_out_datagrams(now);
        self.board.lend(now);
        self.board.answer_metrics(now);
        self.board.release_inbox();
        if let Some(end) = self.farewell(now, actions) {
            return Ok(Turn::Over(end));
        }
        let steps = [orders, datagrams, actions.rest, messages];
        if steps.contains(&Rest::More) || self.board.has_more_input() {
            return Ok(Turn::Again);
        }
        Ok(self.sleep(cx, now))
    }

    /// Takes in datagrams until there are none or the budget is used up.
    fn receive(&mut self, cx: &mut Context<'_>, now: Instant) -> io::Result<Rest> {
        if self.receive_pause.is_some_and(|until| now < until) {
            return Ok(Rest::Nothing);
        }
        self.receive_pause = None;
        let max = match self.board.has_more_input() {
            true => DATAGRAMS_PER_BUSY_TURN,
            false => DATAGRAMS_PER_TURN,
        };
        let mut count = 0;
        while count < max {
            match self.receive_some(cx) {
                // A call without a datagram counts, so that a socket that returns neither datagrams nor
                // `Pending` does not keep the loop here.
                Poll::Ready(Ok(some)) => count += some.max(1),
                Poll::Pending => return Ok(Rest::Nothing),
                Poll::Ready(Err(error)) if passes(&error) => {
                    self.shared.socket.receive_errors.add(1);
                    self.receive_errors += 1;
                    if self.receive_errors >= RECEIVE_ERRORS_MAX {
                        self.receive_errors = 0;
                        self.receive_pause = Some(now + RECEIVE_PAUSE);
                        return Ok(Rest::Nothing);
                    }
                }
                Poll::Ready(Err(error)) => return Err(error),
            }
        }
        Ok(Rest::More)
    }

    /// Passes to the machine what one call of the socket brings.
    fn receive_some(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Self {
            runtime,
            socket,
            board,
            ..
        } = self;
        // The clock is read once for all of them, and after they have arrived.
        let mut arrived = None;
        let mut empty = 0;
        let count = ready!(running(socket).poll_receive(cx, |datagram| {
            if datagram.payload.is_empty() {
                empty += 1;
            } else {
                let now = *arrived.get_or_insert_with(|| runtime.now());
                board.handle_datagram(now, datagram);
            }
        }))?;
        self.receive_errors = 0;
        let meter = &self.shared.socket;
        meter.datagrams_received.add(count as u64);
        meter.datagrams_empty.add(empty);
        Poll::Ready(Ok(count))
    }

    /// Lets the machine act: all its events first, then its transmits while the socket takes them.
    fn act(&mut self, cx: &mut Context<'_>, now: Instant) -> io::Result<Acted> {
        if !self.send_waiting(cx)? {
            // Events are passed on all the same.
            self.board.pass_events(now);
            self.board.answer_done(now);
            return Ok(Acted::BLOCKED);
        }
        let mut bytes = 0;
        for _ in 0..ACTIONS_PER_TURN {
            match self.board.poll_action(now, &mut self.buffer) {
                None => {
                    self.board.answer_done(now);
                    return Ok(Acted::ALL);
                }
                Some(Action::Notify(event)) => self.board.notify(now, event),
                Some(Action::Transmit(transmit)) => {
                    // Events come before transmits: those of every order have passed.
                    self.board.answer_done(now);
                    bytes += transmit.size;
                    self.waiting = Some(transmit);
                    if !self.send_waiting(cx)? {
                        return Ok(Acted::BLOCKED);
                    }
                    if bytes >= TRANSMIT_BYTES_PER_TURN {
                        break;
                    }
                }
            }
        }
        Ok(Acted::SOME)
    }

    /// Sends the transmit that waits, if one does. False if it still does.
    fn send_waiting(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        let Some(transmit) = &self.waiting else {
            return Ok(true);
        };
        let socket = running(&mut self.socket);
        match socket.poll_send(cx, transmit, &self.buffer) {
            Poll::Ready(Ok(())) => self.shared.socket.sends.add(1),
            Poll::Pending => {
                self.shared.socket.send_waits.add(1);
                return Ok(false);
            }
            Poll::Ready(Err(error)) if concerns_destination(&error) => {
                let destination = transmit.destination;
                debug!(%destination, %error, "the system refused a transmit");
                self.shared.socket.send_errors.add(1);
                self.board.set_segments_max(socket.segments_max());
            }
            Poll::Ready(Err(error)) => return Err(error),
        }
        self.waiting = None;
        Ok(true)
    }

    /// How it ended, once the machine has ended and its last packets are sent.
    fn farewell(&mut self, now: Instant, acted: Acted) -> Option<End> {
        let closed = self.board.closed()?.clone();
        let until = *self.goodbye_until.get_or_insert(now + GOODBYE_TIMEOUT);
        if acted.drained == Drained::No && now < until {
            return None;
        }
        self.board.warn_of_unsent(closed.undelivered);
        let reason = match self.shared.demanded() {
            Demand::Run | Demand::Close => CloseReason::Closed,
            Demand::Abort => CloseReason::Dropped,
            Demand::Abandon => CloseReason::Abandoned,
        };
        Some(End { reason, ..closed })
    }

    /// Sets the timer, unless a deadline has come already.
    fn sleep(&mut self, cx: &mut Context<'_>, now: Instant) -> Turn {
        let core_deadline = match self.waiting {
            None => self.board.core_deadline(),
            Some(_) => Some(now + BLOCKED_PERIOD),
        };
        let deadlines = [
            core_deadline,
            self.board.own_deadline(),
            self.receive_pause,
            self.goodbye_until,
        ];
        let Some(deadline) = deadlines.into_iter().flatten().min() else {
            return Turn::Sleep;
        };
        if deadline <= now {
            return Turn::Again;
        }
        if self.timer_at.is_none_or(|at| deadline < at) {
            self.timer.as_mut().set(deadline);
            self.timer_at = Some(deadline);
        }
        match self.timer.as_mut().poll_elapsed(cx) {
            Poll::Pending => Turn::Sleep,
            Poll::Ready(()) => {
                self.timer_at = None;
                Turn::Again
            }
        }
    }

    /// The socket has failed: what was accepted cannot be delivered.
    fn fail(&mut self, error: io::Error) -> End {
        let now = self.runtime.now();
        let error = Arc::new(error);
        let reason = CloseReason::Socket(Arc::clone(&error));
        // Before anything is refused: callers on other threads ask why at once.
        self.shared.fail(reason.clone());
        let undelivered = self.board.give_up(now);
        error!(%error, undelivered, "the socket has failed");
        End {
            reason,
            undelivered,
            losses: Vec::new(),
        }
    }

    fn end(&mut self, end: End) {
        self.socket = None;
        self.shared.end(end);
    }
}

/// The socket of a loop that has not ended.
fn running<S>(socket: &mut Option<S>) -> &mut S {
    socket
        .as_mut()
        .expect("invariant: a running loop has its socket")
}

/// What came of letting the machine act.
#[derive(Debug, Clone, Copy)]
struct Acted {
    rest: Rest,
    drained: Drained,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Drained {
    Yes,
    No,
}

impl Acted {
    /// The machine has no more actions.
    const ALL: Self = Self {
        rest: Rest::Nothing,
        drained: Drained::Yes,
    };
    /// The budget is used up.
    const SOME: Self = Self {
        rest: Rest::More,
        drained: Drained::No,
    };
    /// The socket has no room, and wakes the task once it has some.
    const BLOCKED: Self = Self {
        rest: Rest::Nothing,
        drained: Drained::No,
    };
}

/// Its timer has a place of its own, and nothing else in it is ever pinned.
impl<R: Runtime> Unpin for EventLoop<R> {}

impl<R: Runtime> Future for EventLoop<R> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        this.shared.bell.answer(cx.waker());
        this.in_turn = true;
        let turn = match this.turn(cx) {
            Ok(turn) => turn,
            Err(error) => Turn::Over(this.fail(error)),
        };
        this.in_turn = false;
        match turn {
            Turn::Again => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Turn::Sleep => Poll::Pending,
            Turn::Over(end) => {
                this.end(end);
                Poll::Ready(())
            }
        }
    }
}

impl<R: Runtime> Drop for EventLoop<R> {
    /// A runtime that stops drops its tasks: calls that wait in another one end.
    fn drop(&mut self) {
        if self.shared.has_ended() {
            return;
        }
        if self.in_turn {
            // The machine may be in any state.
            let (reason, undelivered) = (CloseReason::Panicked, 0);
            return self.end(End {
                reason,
                undelivered,
                losses: Vec::new(),
            });
        }
        self.shared.fail(CloseReason::RuntimeStopped);
        let now = self.runtime.now();
        // A panic that leaves a destructor while another unwinds aborts the process.
        let given_up = catch_unwind(AssertUnwindSafe(|| self.board.give_up(now)));
        let (reason, undelivered) = match given_up {
            Ok(undelivered) => (CloseReason::RuntimeStopped, undelivered),
            Err(_) => (CloseReason::Panicked, 0),
        };
        self.end(End {
            reason,
            undelivered,
            losses: Vec::new(),
        });
    }
}
