//! Checks of whole managers on a runtime, with faults above it.

use std::{future::Future, thread, time::Duration};

use quicpool_core::{Config, ConnectionStatus, Event, Flush, Identity, PeerId};
use quicpool_driver::{CloseError, CloseReason, Closed, ConnectionManager, Peer, runtime::Runtime};

use super::{
    Checked, Fault, Faults, FaultyRuntime, Objection, Timing,
    basics::Busy,
    broken, ensure,
    wait::{sleep, within},
};

/// Longer than anything here takes, even on a busy machine. Only a rule that is broken waits for it.
const PATIENCE: Duration = Duration::from_secs(20);

/// Long enough for a loop to have done what there was, and to sleep.
const UNTIL_ASLEEP: Duration = Duration::from_millis(150);

const A_SECOND: Duration = Duration::from_secs(1);

/// Before a loop that sleeps has a deadline of its own: keep-alives come every five seconds.
const BEFORE_DEADLINES: Duration = Duration::from_secs(2);

/// Two connected managers, one of them with faults on demand.
struct Pair {
    faulty: ConnectionManager,
    faults: Faults,
    other: ConnectionManager,
    to_other: Peer,
    to_faulty: Peer,
}

async fn bind(runtime: impl Runtime, config: Config) -> Result<ConnectionManager, Objection> {
    let identity = Identity::generate();
    let bound = ConnectionManager::bind(runtime, "127.0.0.1:0", identity, config).await;
    bound.or_else(|error| broken(format!("a manager cannot be bound: {error}")))
}

/// What must become ready before patience ends.
async fn soon<T>(what: &str, future: impl Future<Output = T>) -> Result<T, Objection> {
    match within(PATIENCE, future).await {
        Some(outcome) => Ok(outcome),
        None => broken(format!("{what} never ends")),
    }
}

/// What must become ready, and well, before patience ends.
async fn well<T, E: std::fmt::Display>(
    what: &str,
    future: impl Future<Output = Result<T, E>>,
) -> Result<T, Objection> {
    let outcome = soon(what, future).await?;
    outcome.or_else(|error| broken(format!("{what} fails: {error}")))
}

impl Pair {
    async fn new<R: Runtime + Clone>(runtime: R, config: Config) -> Result<Self, Objection> {
        let above = FaultyRuntime::new(runtime.clone());
        let faults = above.faults().clone();
        let faulty = bind(above, config.clone()).await?;
        let other = bind(runtime, config).await?;
        let to_other = handle(&faulty, &other)?;
        let to_faulty = handle(&other, &faulty)?;
        well("connect", to_other.connect()).await?;
        Ok(Self {
            faulty,
            faults,
            other,
            to_other,
            to_faulty,
        })
    }

    /// Sends a message each way, so that what was broken is noticed.
    async fn exchange(&self, round: u8) -> Checked {
        self.there(&[round]).await?;
        self.back(&[round]).await
    }

    async fn there(&self, message: &[u8]) -> Checked {
        well("send", self.to_other.send(message)).await?;
        expect(&self.other, self.faulty.id(), message).await
    }

    async fn back(&self, message: &[u8]) -> Checked {
        well("send", self.to_faulty.send(message)).await?;
        expect(&self.faulty, self.other.id(), message).await
    }

    /// Sends enough to need several packets, both ways.
    async fn exchange_much(&self) -> Checked {
        const MESSAGES: u8 = 100;
        for number in 0..MESSAGES {
            well("send", self.to_other.send([number; 3_000])).await?;
            well("send", self.to_faulty.send([number; 3_000])).await?;
        }
        for number in 0..MESSAGES {
            expect(&self.other, self.faulty.id(), &[number; 3_000]).await?;
            expect(&self.faulty, self.other.id(), &[number; 3_000]).await?;
        }
        Ok(())
    }

    /// Waits until the loop has had no turn for a second, for a while: one that spins never has.
    async fn until_silent(&self) {
        for _ in 0..10 {
            let before = self.faults.receives_polled();
            sleep(A_SECOND).await;
            if self.faults.receives_polled() == before {
                return;
            }
        }
    }

    /// Ends both, without loss.
    async fn close(self) -> Checked {
        well("close", self.faulty.close()).await?;
        well("close", self.other.close()).await?;
        Ok(())
    }
}

fn handle(of: &ConnectionManager, to: &ConnectionManager) -> Result<Peer, Objection> {
    of.peer(to.peer_addr())
        .or_else(|error| broken(error.to_string()))
}

async fn expect(at: &ConnectionManager, from: PeerId, message: &[u8]) -> Checked {
    let received = well("recv", at.recv()).await?;
    ensure(received.from == from && received.payload == message, || {
        "another message was received".into()
    })
}

pub(super) async fn an_order_wakes_the_loop<R: Runtime + Clone>(runtime: R) -> Checked {
    let pair = Pair::new(runtime, Config::default()).await?;
    for round in 0..5 {
        sleep(UNTIL_ASLEEP).await;
        let to_other = pair.to_other.clone();
        let sender = thread::spawn(move || to_other.try_send([round]));
        let sent = sender.join().expect("nothing in it panics");
        sent.or_else(|error| broken(error.to_string()))?;
        expect(&pair.other, pair.faulty.id(), &[round]).await?;
    }
    pair.close().await
}

pub(super) async fn a_deadline_wakes_the_loop<R: Runtime + Clone>(runtime: R) -> Checked {
    let mut config = Config::default();
    // A lone message leaves when its batch is due, and nothing else wakes the loop for it.
    config.flush = Flush::Fixed;
    let pair = Pair::new(runtime, config).await?;
    for round in 0..3 {
        sleep(UNTIL_ASLEEP).await;
        at_once(pair.there(&[round])).await?;
    }
    pair.close().await
}

pub(super) async fn a_datagram_wakes_the_loop<R: Runtime + Clone>(runtime: R) -> Checked {
    let pair = Pair::new(runtime, Config::default()).await?;
    // A loop that datagrams do not wake is awake for a while: what it sends is repeated, as the
    // answers are not seen in time.
    pair.until_silent().await;
    for round in 0..3 {
        at_once(pair.back(&[round])).await?;
        sleep(UNTIL_ASLEEP).await;
    }
    pair.close().await
}

/// What a loop does because it was woken, and not because it is awake for another reason.
async fn at_once(exchange: impl Future<Output = Checked>) -> Checked {
    match within(BEFORE_DEADLINES, exchange).await {
        Some(checked) => checked,
        None => broken("the message waits for a later deadline of the loop"),
    }
}

async fn with_timing<R: Runtime + Clone>(runtime: R, timing: Timing) -> Checked {
    let mut config = Config::default();
    config.flush = Flush::Fixed;
    let pair = Pair::new(runtime, config).await?;
    pair.faults.set_timing(timing);
    for round in 0..5 {
        sleep(UNTIL_ASLEEP).await;
        at_once(pair.exchange(round)).await?;
    }
    pair.close().await
}

pub(super) async fn late_timers_lose_nothing<R: Runtime + Clone>(runtime: R) -> Checked {
    with_timing(runtime, Timing::Late(Duration::from_millis(100))).await
}

pub(super) async fn early_timers_do_no_harm<R: Runtime + Clone>(runtime: R) -> Checked {
    with_timing(runtime, Timing::Early(Duration::from_millis(60))).await
}

pub(super) async fn spurious_wakes_do_no_harm<R: Runtime + Clone>(runtime: R) -> Checked {
    let pair = Pair::new(runtime, Config::default()).await?;
    for round in 0..100 {
        pair.faults.wake_for_nothing();
        pair.exchange(round).await?;
        pair.faults.wake_for_nothing();
    }
    sleep(UNTIL_ASLEEP).await;
    pair.faults.wake_for_nothing();
    pair.exchange(0).await?;
    pair.close().await
}

pub(super) async fn a_blocked_socket_loses_nothing<R: Runtime + Clone>(runtime: R) -> Checked {
    let pair = Pair::new(runtime, Config::default()).await?;
    pair.faults.on_send([Fault::Blocked; 200]);
    pair.faults.on_receive([Fault::Blocked; 200]);
    pair.exchange_much().await?;
    used_up(&pair).await?;
    pair.close().await
}

/// Lets messages pass until every fault has happened.
async fn used_up(pair: &Pair) -> Checked {
    for round in 0..200 {
        if pair.faults.left() == 0 {
            return Ok(());
        }
        pair.exchange(round).await?;
    }
    broken(format!(
        "{} faults have not happened: the socket is not used",
        pair.faults.left()
    ))
}

/// Errors about a destination, or a moment, and not about the socket.
#[cfg(unix)]
const PASSING: [i32; 9] = [
    libc::ECONNREFUSED,
    libc::ECONNRESET,
    libc::EHOSTUNREACH,
    libc::ENETUNREACH,
    libc::ENETDOWN,
    libc::ENOBUFS,
    libc::ENOMEM,
    libc::EPERM,
    libc::EMSGSIZE,
];

/// Elsewhere codes differ; these are of Windows: connection reset, connection refused.
#[cfg(not(unix))]
const PASSING: [i32; 2] = [10_054, 10_061];

pub(super) async fn refused_sends_lose_nothing<R: Runtime + Clone>(runtime: R) -> Checked {
    let pair = Pair::new(runtime, Config::default()).await?;
    for (round, code) in (0..).zip(PASSING) {
        // One only: each costs the packets that it hits, and their repetition takes time.
        pair.faults.on_send([Fault::Error(code)]);
        pair.exchange(round).await?;
    }
    used_up(&pair).await?;
    let errors = pair.faulty.socket_metrics().send_errors;
    ensure(errors == PASSING.len() as u64, || {
        format!(
            "{} sends were refused, and {errors} were counted",
            PASSING.len()
        )
    })?;
    pair.close().await
}

pub(super) async fn failed_receives_lose_nothing<R: Runtime + Clone>(runtime: R) -> Checked {
    let pair = Pair::new(runtime, Config::default()).await?;
    for (round, code) in (0..).zip(PASSING) {
        sleep(UNTIL_ASLEEP).await;
        pair.faults.on_receive([Fault::Error(code); 40]);
        pair.back(&[round]).await?;
    }
    used_up(&pair).await?;
    let errors = pair.faulty.socket_metrics().receive_errors;
    ensure(errors == 40 * PASSING.len() as u64, || {
        format!(
            "{} receives failed, and {errors} were counted",
            40 * PASSING.len()
        )
    })?;
    pair.close().await
}

pub(super) async fn a_stuck_socket_keeps_deadlines<R: Runtime + Clone>(runtime: R) -> Checked {
    let mut config = Config::default();
    config.close_timeout = Duration::from_millis(500);
    let pair = Pair::new(runtime, config).await?;
    // For a while messages are late, and none is lost.
    pair.faults.block_sends();
    well("send", pair.to_other.send("late")).await?;
    sleep(UNTIL_ASLEEP).await;
    pair.faults.free_sends();
    expect(&pair.other, pair.faulty.id(), b"late").await?;

    pair.faults.block_sends();
    well("send", pair.to_other.send("never")).await?;
    sleep(UNTIL_ASLEEP).await;
    let Some(closed) = within(BEFORE_DEADLINES, pair.faulty.close()).await else {
        return broken("close waits longer than close_timeout");
    };
    let Err(CloseError::Undelivered(report)) = closed else {
        return broken(format!("close reports no loss: {closed:?}"));
    };
    let undelivered = report.undelivered();
    ensure(undelivered == 1, || {
        format!("{undelivered} messages are reported, of one")
    })
}

pub(super) async fn an_idle_loop_sleeps<R: Runtime + Clone>(runtime: R) -> Checked {
    /// Turns of a loop with nothing to do: for numbers, a keep-alive, and what is left of before.
    const TURNS_MAX: u64 = 50;
    let pair = Pair::new(runtime, Config::default()).await?;
    pair.exchange(0).await?;
    pair.until_silent().await;
    let before = pair.faults.receives_polled();
    sleep(A_SECOND).await;
    let turns = pair.faults.receives_polled() - before;
    ensure(turns <= TURNS_MAX, || {
        format!("it has {turns} turns in a second")
    })?;
    pair.close().await
}

pub(super) async fn short_sends_lose_nothing<R: Runtime + Clone>(runtime: R) -> Checked {
    let pair = Pair::new(runtime, Config::default()).await?;
    for round in 0..5 {
        // Some of them carry several datagrams.
        pair.faults.on_send([Fault::Short; 10]);
        pair.exchange_much().await?;
        pair.exchange(round).await?;
    }
    used_up(&pair).await?;
    pair.close().await
}

pub(super) async fn lost_segmentation_loses_nothing<R: Runtime + Clone>(runtime: R) -> Checked {
    let pair = Pair::new(runtime, Config::default()).await?;
    pair.exchange_much().await?;
    pair.faults.refuse_segments();
    pair.exchange_much().await?;
    pair.close().await
}

pub(super) async fn calls_given_up_do_no_harm<R: Runtime + Clone>(runtime: R) -> Checked {
    let pair = Pair::new(runtime, Config::default()).await?;
    for round in 0..50_u8 {
        // Receives that are given up before, while and after a message comes.
        let patience = Duration::from_micros(u64::from(round) * 20);
        let given_up = within(patience, pair.other.recv());
        let sending = pair.to_other.send([round]);
        let taken = given_up.await;
        well("send", sending).await?;
        ensure(taken.is_none(), || {
            "a message came before it was sent".into()
        })?;
        let early = within(patience, pair.other.recv()).await;
        match early {
            Some(Ok(message)) => ensure(message.payload == [round][..], || {
                "a message is lost with a receive that was given up".into()
            })?,
            Some(Err(error)) => return broken(error.to_string()),
            None => expect(&pair.other, pair.faulty.id(), &[round]).await?,
        }
        drop(within(Duration::ZERO, pair.to_other.flush()).await);
        drop(within(Duration::ZERO, pair.to_other.explain()).await);
    }
    pair.exchange(0).await?;
    pair.close().await
}

pub(super) async fn a_dropped_manager_ends<R: Runtime + Clone>(runtime: R) -> Checked {
    let pair = Pair::new(runtime.clone(), Config::default()).await?;
    let (id, addr) = (pair.faulty.id(), pair.faulty.local_addr());
    let (_, mut events) = pair.other.subscribe();
    drop(pair.faulty);
    soon("the peer's connection", async {
        loop {
            match events.next().await {
                Ok(Event::StatusChanged { peer, to, .. })
                    if peer == id && to == ConnectionStatus::Disconnected =>
                {
                    return Ok(());
                }
                Ok(_) => {}
                Err(error) => return broken(error.to_string()),
            }
        }
    })
    .await??;
    soon("the port's use", async {
        while runtime.bind(addr).is_err() {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await?;
    let refused = pair.to_other.try_send("too late");
    ensure(refused.is_err(), || {
        "a message is accepted after the end".into()
    })
}

/// Lets every kind of call wait while `fault` happens, and checks how they end.
async fn ends_every_call<R: Runtime + Clone>(
    runtime: R,
    fault: impl FnOnce(&Faults),
    is_right: impl Fn(&CloseReason) -> bool,
) -> Checked {
    let pair = Pair::new(runtime, Config::default()).await?;
    // The peer takes nothing, so a flush has to wait.
    well("send", pair.to_other.send("unread")).await?;
    let (received, flushed) = (pair.faulty.recv(), pair.to_other.flush());
    let (receiving, flushing) = (std::pin::pin!(received), std::pin::pin!(flushed));
    sleep(UNTIL_ASLEEP).await;
    fault(&pair.faults);
    pair.faults.wake_for_nothing();
    let error = soon("recv", receiving).await?.err();
    let Some(Closed { reason }) = error else {
        return broken("recv returns a message that was not sent");
    };
    ensure(is_right(&reason), || format!("the reason is: {reason}"))?;
    let flushed = soon("flush", flushing).await?;
    ensure(flushed.is_err(), || {
        "a flush succeeds in spite of it".into()
    })?;
    let closed = soon("close", pair.faulty.close()).await?;
    ensure(closed.is_err(), || "a close succeeds in spite of it".into())
}

pub(super) async fn a_broken_socket_ends_every_call<R: Runtime + Clone>(runtime: R) -> Checked {
    // EBADF: the descriptor is no socket.
    const BROKEN: i32 = 9;
    ends_every_call(
        runtime,
        |faults| faults.break_socket(BROKEN),
        |reason| matches!(reason, CloseReason::Socket(error) if error.raw_os_error() == Some(BROKEN)),
    )
    .await
}

pub(super) async fn a_panic_ends_every_call<R: Runtime + Clone>(runtime: R) -> Checked {
    ends_every_call(runtime, Faults::panic, |reason| {
        matches!(reason, CloseReason::Panicked)
    })
    .await
}

pub(super) async fn busy_tasks_do_not_stop_messages<R: Runtime + Clone>(runtime: R) -> Checked {
    let pair = Pair::new(runtime.clone(), Config::default()).await?;
    let busy = Busy::spawn(&runtime);
    for round in 0..10 {
        pair.exchange(round).await?;
    }
    drop(busy);
    pair.close().await
}
