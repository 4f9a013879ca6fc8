//! Each rule of the seam fails, by its name, on an adapter that was broken on purpose.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "each place has a few of the flaws, and works as it should with all others"
)]

use std::{
    collections::BTreeSet,
    future::Future,
    io, mem,
    net::SocketAddr,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker, ready},
    thread::{self, ThreadId},
    time::{Duration, Instant, SystemTime},
};

use quicpool_async_std::SmolRuntime;
use quicpool_conformance::{
    Outcome,
    seam::{Rule, rules},
};
use quicpool_core::{Datagram, Transmit};
use quicpool_driver::runtime::{Runtime, Socket, SocketError, Task, Timer};

/// What is wrong with an adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    ClockGoesBack,
    NoRandomness,
    TasksAreDropped,
    BusyTasksComeFirst,
    PortIsIgnored,
    PortIsLeaked,
    ReceiveWakesNobody,
    ReceiveWakesTheFirst,
    DatagramsAreCut,
    SegmentsAreOne,
    /// It receives from the last destination alone, as a connected socket does.
    SocketIsConnected,
    /// What is read when its task is woken is gone if the task does not ask at once.
    ReceiveReadsAhead,
    /// Where it should be pending a second time it fails.
    WouldBlockIsAnError,
    OnlySegmentsAreSent,
    UnsetTimerElapses,
    TimerIsEarly,
    TimerOfThePastWaits,
    TimerCannotBeMoved,
    TimerIsUsedUp,
    TimerWakesNobody,
    TimerWakesTheFirst,
    /// It has its task poll it again and again until it elapses.
    TimerWakesAtOnce,
    /// No timer elapses that is set to more than this ahead.
    TimersAreShort,
    TimersAreFew,
    /// A task is not woken by the thread that the program runs on.
    WakesOfOthersAreLost,
    WakesWithinAPollAreLost,
    PanickedTasksAreKept,
}

/// The rule and the flaw that breaks it.
const BROKEN: [(&str, Flaw); 36] = [
    ("the_clock_goes_forward", Flaw::ClockGoesBack),
    ("randomness_differs", Flaw::NoRandomness),
    ("tasks_run", Flaw::TasksAreDropped),
    ("busy_tasks_starve_nobody", Flaw::BusyTasksComeFirst),
    ("a_bound_port_is_taken", Flaw::PortIsIgnored),
    ("a_dropped_socket_frees_its_port", Flaw::PortIsLeaked),
    ("a_datagram_wakes", Flaw::ReceiveWakesNobody),
    (
        "the_last_task_to_poll_a_socket_is_woken",
        Flaw::ReceiveWakesTheFirst,
    ),
    ("datagrams_stay_whole", Flaw::DatagramsAreCut),
    ("segments_arrive_one_by_one", Flaw::SegmentsAreOne),
    ("a_closed_port_ends_nothing", Flaw::SocketIsConnected),
    ("a_receive_given_up_loses_nothing", Flaw::ReceiveReadsAhead),
    ("an_unset_timer_waits", Flaw::UnsetTimerElapses),
    ("a_timer_wakes_in_time", Flaw::TimerIsEarly),
    (
        "a_time_that_has_passed_elapses_at_once",
        Flaw::TimerOfThePastWaits,
    ),
    ("a_timer_can_be_moved", Flaw::TimerCannotBeMoved),
    ("a_timer_can_be_used_again", Flaw::TimerIsUsedUp),
    (
        "the_last_task_to_poll_a_timer_is_woken",
        Flaw::TimerWakesTheFirst,
    ),
    ("thousands_of_timers_elapse", Flaw::TimersAreFew),
    ("an_order_wakes_the_loop", Flaw::WakesOfOthersAreLost),
    ("a_deadline_wakes_the_loop", Flaw::TimerWakesNobody),
    ("a_datagram_wakes_the_loop", Flaw::ReceiveWakesNobody),
    ("late_timers_lose_nothing", Flaw::TimersAreShort),
    ("early_timers_do_no_harm", Flaw::TimerOfThePastWaits),
    ("spurious_wakes_do_no_harm", Flaw::WouldBlockIsAnError),
    (
        "a_blocked_socket_loses_nothing",
        Flaw::WakesWithinAPollAreLost,
    ),
    ("refused_sends_lose_nothing", Flaw::TimerWakesNobody),
    ("failed_receives_lose_nothing", Flaw::TimerWakesNobody),
    ("a_stuck_socket_keeps_deadlines", Flaw::TimerWakesNobody),
    ("an_idle_loop_sleeps", Flaw::TimerWakesAtOnce),
    ("short_sends_lose_nothing", Flaw::OnlySegmentsAreSent),
    ("lost_segmentation_loses_nothing", Flaw::OnlySegmentsAreSent),
    ("calls_given_up_do_no_harm", Flaw::WakesOfOthersAreLost),
    ("a_dropped_manager_ends", Flaw::PortIsLeaked),
    (
        "a_broken_socket_ends_every_call",
        Flaw::WakesOfOthersAreLost,
    ),
    ("a_panic_ends_every_call", Flaw::PanickedTasksAreKept),
];

/// Beside the table above: this rule is broken by the flaw of another.
const BUSY: (&str, Flaw) = ("busy_tasks_do_not_stop_messages", Flaw::BusyTasksComeFirst);

#[test]
fn each_rule_is_broken_by_an_adapter_that_is() {
    let tested: BTreeSet<_> = BROKEN
        .iter()
        .chain([&BUSY])
        .map(|(rule, _)| *rule)
        .collect();
    let all: BTreeSet<_> = rules::<Broken>().iter().map(|rule| rule.name).collect();
    assert_eq!(tested, all, "each rule needs an adapter that breaks it");

    // All at once: most of them wait until patience ends.
    let checks = BROKEN.into_iter().chain([BUSY]).map(|(name, flaw)| {
        let check = thread::spawn(move || {
            let rule = rule(name);
            smol::block_on(rule.check(Broken::new(flaw)))
        });
        (name, flaw, check)
    });
    let checks: Vec<_> = checks.collect();
    let kept: Vec<_> = checks
        .into_iter()
        .filter_map(|(name, flaw, check)| match check.join() {
            Ok(Outcome::Broken(why)) => {
                println!("{name} by {flaw:?}: {why}");
                None
            }
            other => Some((name, flaw, other)),
        })
        .collect();
    assert!(kept.is_empty(), "these went unnoticed: {kept:?}");
}

fn rule(name: &str) -> Rule<Broken> {
    let found = rules().into_iter().find(|rule| rule.name == name);
    found.expect("the rule exists")
}

/// smol, with a flaw.
#[derive(Debug, Clone)]
struct Broken {
    flaw: Flaw,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    timers: AtomicUsize,
    /// The thread of the check.
    of_program: ThreadId,
    /// When a task was polled last.
    polled: Mutex<Option<Instant>>,
    back: AtomicBool,
}

impl Broken {
    fn new(flaw: Flaw) -> Self {
        let shared = Shared {
            timers: AtomicUsize::new(0),
            of_program: thread::current().id(),
            polled: Mutex::new(None),
            back: AtomicBool::new(false),
        };
        let shared = Arc::new(shared);
        Self { flaw, shared }
    }
}

impl Shared {
    /// Whether a task was polled a moment ago: then sockets and timers do not get their turn.
    fn is_busy(&self) -> bool {
        const A_MOMENT: Duration = Duration::from_secs(1);
        let polled = *self.polled.lock().unwrap();
        polled.is_some_and(|at| at.elapsed() < A_MOMENT)
    }
}

impl Runtime for Broken {
    type Socket = BrokenSocket;
    type Timer = BrokenTimer;

    fn now(&self) -> Instant {
        let now = Runtime::now(&SmolRuntime);
        if self.flaw == Flaw::ClockGoesBack && self.shared.back.fetch_not(Ordering::AcqRel) {
            return now - Duration::from_secs(1);
        }
        now
    }

    fn wall_clock(&self) -> SystemTime {
        SmolRuntime.wall_clock()
    }

    fn fill_random(&self, bytes: &mut [u8]) -> io::Result<()> {
        match self.flaw {
            Flaw::NoRandomness => Ok(()),
            _ => SmolRuntime.fill_random(bytes),
        }
    }

    fn bind(&self, mut addr: SocketAddr) -> Result<BrokenSocket, SocketError> {
        if self.flaw == Flaw::PortIsIgnored {
            addr.set_port(0);
        }
        Ok(BrokenSocket {
            socket: Some(SmolRuntime.bind(addr)?),
            flaw: self.flaw,
            shared: Arc::clone(&self.shared),
            first: None,
            was_pending: false,
            woken: Arc::new(Woken::default()),
            destination: None,
        })
    }

    fn timer(&self) -> io::Result<BrokenTimer> {
        /// Timers that an adapter of few may have.
        const FEW: usize = 1_000;
        let nth = self.shared.timers.fetch_add(1, Ordering::AcqRel);
        Ok(BrokenTimer {
            timer: Box::pin(Runtime::timer(&SmolRuntime)?),
            flaw: self.flaw,
            shared: Arc::clone(&self.shared),
            state: match self.flaw {
                Flaw::TimersAreFew if nth > FEW => State::Dead,
                _ => State::Unset,
            },
            first: None,
        })
    }

    fn spawn(&self, task: Task) {
        if self.flaw == Flaw::TasksAreDropped {
            return;
        }
        let task = BrokenTask {
            task: Some(task),
            flaw: self.flaw,
            shared: Arc::clone(&self.shared),
            waker: None,
        };
        Runtime::spawn(&SmolRuntime, Box::pin(task));
    }
}

/// When a waker was used, as seen by a socket.
#[derive(Debug, Default)]
struct Woken {
    at: Mutex<Option<Instant>>,
    task: Mutex<Option<Waker>>,
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        *self.at.lock().unwrap() = Some(Instant::now());
        if let Some(task) = self.task.lock().unwrap().take() {
            task.wake();
        }
    }
}

struct BrokenSocket {
    socket: Option<<SmolRuntime as Runtime>::Socket>,
    flaw: Flaw,
    shared: Arc<Shared>,
    first: Option<Waker>,
    was_pending: bool,
    woken: Arc<Woken>,
    destination: Option<SocketAddr>,
}

impl Drop for BrokenSocket {
    fn drop(&mut self) {
        if self.flaw == Flaw::PortIsLeaked {
            mem::forget(self.socket.take());
        }
    }
}

impl BrokenSocket {
    fn inner(&mut self) -> &mut <SmolRuntime as Runtime>::Socket {
        self.socket.as_mut().expect("it is there until the drop")
    }
}

impl Socket for BrokenSocket {
    fn local_addr(&self) -> SocketAddr {
        self.socket.as_ref().expect("it is there").local_addr()
    }

    fn segments_max(&self) -> usize {
        self.socket.as_ref().expect("it is there").segments_max()
    }

    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        transmit: &Transmit,
        bytes: &[u8],
    ) -> Poll<io::Result<()>> {
        self.destination = Some(transmit.destination);
        let mut transmit = transmit.clone();
        match self.flaw {
            Flaw::SegmentsAreOne => transmit.segment_size = None,
            Flaw::OnlySegmentsAreSent if transmit.segment_size.is_none() => {
                return Poll::Ready(Ok(()));
            }
            _ => {}
        }
        self.inner().poll_send(cx, &transmit, bytes)
    }

    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        mut take: impl FnMut(Datagram),
    ) -> Poll<io::Result<usize>> {
        if self.flaw == Flaw::BusyTasksComeFirst && self.shared.is_busy() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let waker = match self.flaw {
            Flaw::ReceiveWakesNobody => Waker::noop().clone(),
            Flaw::ReceiveWakesTheFirst => self.first.get_or_insert(cx.waker().clone()).clone(),
            Flaw::ReceiveReadsAhead => {
                *self.woken.task.lock().unwrap() = Some(cx.waker().clone());
                Waker::from(Arc::clone(&self.woken))
            }
            _ => cx.waker().clone(),
        };
        let mut cx = Context::from_waker(&waker);
        let (flaw, destination) = (self.flaw, self.destination);
        let mut foreign = 0;
        let polled = self.inner().poll_receive(&mut cx, |mut datagram| {
            match flaw {
                Flaw::DatagramsAreCut => datagram.payload.truncate(9_000),
                Flaw::SocketIsConnected
                    if destination.is_some_and(|known| known != datagram.remote) =>
                {
                    foreign += 1;
                    return;
                }
                _ => {}
            }
            take(datagram);
        });
        if flaw == Flaw::WouldBlockIsAnError && polled.is_pending() {
            if mem::replace(&mut self.was_pending, true) {
                return Poll::Ready(Err(io::ErrorKind::WouldBlock.into()));
            }
            return Poll::Pending;
        }
        self.was_pending = false;
        let woken = self.woken.at.lock().unwrap().take();
        let is_late = woken.is_some_and(|at| at.elapsed() > Duration::from_millis(3));
        let count = ready!(polled)?;
        if is_late || (foreign > 0 && foreign == count) {
            // It is gone.
            return Poll::Pending;
        }
        Poll::Ready(Ok(count - foreign))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Unset,
    Set,
    Dead,
}

struct BrokenTimer {
    timer: Pin<Box<<SmolRuntime as Runtime>::Timer>>,
    flaw: Flaw,
    shared: Arc<Shared>,
    state: State,
    first: Option<Waker>,
}

impl Timer for BrokenTimer {
    fn set(mut self: Pin<&mut Self>, mut at: Instant) {
        let now = Runtime::now(&SmolRuntime);
        match (self.flaw, self.state) {
            (_, State::Dead) | (Flaw::TimerCannotBeMoved, State::Set) => return,
            (Flaw::TimerIsEarly, _) => at -= Duration::from_millis(3),
            (Flaw::TimerOfThePastWaits, _) if at <= now => self.state = State::Dead,
            (Flaw::TimersAreShort, _) if at > now + Duration::from_millis(90) => return,
            _ => {}
        }
        if self.state == State::Unset {
            self.state = State::Set;
        }
        self.timer.as_mut().set(at);
    }

    fn poll_elapsed(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.flaw == Flaw::BusyTasksComeFirst && self.shared.is_busy() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        match (self.flaw, self.state) {
            (_, State::Dead) => return Poll::Pending,
            (Flaw::UnsetTimerElapses, State::Unset) => return Poll::Ready(()),
            _ => {}
        }
        let waker = match self.flaw {
            Flaw::TimerWakesNobody => Waker::noop().clone(),
            Flaw::TimerWakesAtOnce => {
                cx.waker().wake_by_ref();
                cx.waker().clone()
            }
            Flaw::TimerWakesTheFirst => self.first.get_or_insert(cx.waker().clone()).clone(),
            _ => cx.waker().clone(),
        };
        ready!(
            self.timer
                .as_mut()
                .poll_elapsed(&mut Context::from_waker(&waker))
        );
        self.state = match self.flaw {
            Flaw::TimerIsUsedUp => State::Dead,
            _ => State::Unset,
        };
        Poll::Ready(())
    }
}

/// A task on an executor with a flaw.
struct BrokenTask {
    task: Option<Task>,
    flaw: Flaw,
    shared: Arc<Shared>,
    /// One for all polls: sockets wake the task for each waker that they have not seen before.
    waker: Option<Arc<BrokenWaker>>,
}

/// The waker of such a task.
struct BrokenWaker {
    task: Waker,
    of_program: ThreadId,
    flaw: Flaw,
    polling: AtomicBool,
}

impl Wake for BrokenWaker {
    fn wake(self: Arc<Self>) {
        match self.flaw {
            Flaw::WakesOfOthersAreLost if thread::current().id() == self.of_program => {}
            // The sender of the check of orders is a thread without a name.
            Flaw::WakesOfOthersAreLost if thread::current().name().is_none() => {}
            Flaw::WakesWithinAPollAreLost if self.polling.load(Ordering::Acquire) => {}
            _ => self.task.wake_by_ref(),
        }
    }
}

impl Future for BrokenTask {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let (of_program, flaw) = (self.shared.of_program, self.flaw);
        let known = self.waker.take();
        let known = known.filter(|known| known.task.will_wake(cx.waker()));
        let broken = known.unwrap_or_else(|| {
            Arc::new(BrokenWaker {
                task: cx.waker().clone(),
                of_program,
                flaw,
                polling: AtomicBool::new(true),
            })
        });
        broken.polling.store(true, Ordering::Release);
        self.waker = Some(Arc::clone(&broken));
        let waker = Waker::from(Arc::clone(&broken));
        let Some(task) = &mut self.task else {
            return Poll::Pending;
        };
        let mut cx = Context::from_waker(&waker);
        let polled = catch_unwind(AssertUnwindSafe(|| task.as_mut().poll(&mut cx)));
        broken.polling.store(false, Ordering::Release);
        if self.flaw == Flaw::BusyTasksComeFirst {
            *self.shared.polled.lock().unwrap() = Some(Instant::now());
        }
        match polled {
            Ok(polled) => polled,
            Err(_) if self.flaw == Flaw::PanickedTasksAreKept => {
                mem::forget(self.task.take());
                Poll::Pending
            }
            Err(panic) => resume_unwind(panic),
        }
    }
}
