//! The rules of the [`Runtime`] seam.
//!
//! An adapter shows in one line that it keeps them, with a test for each rule:
//!
//! ```
//! use quicpool_async_std::SmolRuntime;
//!
//! quicpool_conformance::seam_tests!(SmolRuntime, smol::block_on);
//! # fn main() {}
//! ```
//!
//! The second argument runs a check in the context of the runtime. [`check`] does all of it without
//! a test harness, and returns a [`Report`].
//!
//! The first rules are of the runtime alone: what its sockets, timers, tasks and clock do. Waiting in
//! them leans on nothing that is checked: a thread of its own measures time. The others are of
//! whole managers on that runtime, with faults that [`FaultyRuntime`] injects above the adapter.

mod basics;
mod faulty;
mod managers;
mod sockets;
mod timers;
mod wait;

use std::{future::Future, pin::Pin};

use quicpool_driver::runtime::Runtime;

pub use self::faulty::{Fault, Faults, FaultyRuntime, FaultySocket, FaultyTimer, Timing};
use crate::{Line, Outcome, Report};

/// A check under way.
pub type Checking = Pin<Box<dyn Future<Output = Outcome>>>;

/// A rule for runtimes of type `R`.
#[derive(Debug, Clone, Copy)]
pub struct Rule<R> {
    /// Its name.
    pub name: &'static str,
    /// What must hold.
    pub must: &'static str,
    check: fn(R) -> Checking,
}

impl<R> Rule<R> {
    /// Checks the rule. To be awaited in the context of the runtime.
    pub fn check(&self, runtime: R) -> Checking {
        (self.check)(runtime)
    }
}

/// Checks every rule, each in a context of its own that `block_on` makes.
pub fn check<R: Runtime + Clone>(
    name: &str,
    runtime: &R,
    block_on: impl Fn(Checking) -> Outcome,
) -> Report {
    let line = |rule: Rule<R>| {
        let outcome = block_on(rule.check(runtime.clone()));
        Line::new(rule.name, rule.must, outcome)
    };
    Report::new(name, rules().into_iter().map(line).collect())
}

/// Checks the rule with this name; for [`seam_tests!`](crate::seam_tests).
///
/// # Panics
///
/// Panics with the rule's name if it is broken.
pub fn assert_held<R: Runtime + Clone>(
    name: &str,
    runtime: R,
    block_on: impl FnOnce(Checking) -> Outcome,
) {
    let rule = rules::<R>().into_iter().find(|rule| rule.name == name);
    let rule = rule.expect("invariant: the macro and the list have the same names");
    match block_on(rule.check(runtime)) {
        Outcome::Held => {}
        Outcome::NotApplicable(why) => println!("{name} does not apply: {why}"),
        Outcome::Broken(why) => panic!("{name} is broken: {} But: {why}", rule.must),
    }
}

/// The result of a check that was not interrupted.
type Checked = Result<(), Objection>;

/// Why a rule is not held.
#[derive(Debug)]
enum Objection {
    Broken(String),
    NotApplicable(String),
}

fn broken<T>(why: impl Into<String>) -> Result<T, Objection> {
    Err(Objection::Broken(why.into()))
}

fn ensure(holds: bool, why: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { broken(why()) }
}

impl From<Checked> for Outcome {
    fn from(checked: Checked) -> Self {
        match checked {
            Ok(()) => Self::Held,
            Err(Objection::Broken(why)) => Self::Broken(why),
            Err(Objection::NotApplicable(why)) => Self::NotApplicable(why),
        }
    }
}

/// Makes the list of rules and the macro with a test for each. `$d` is a dollar sign.
macro_rules! declare {
    ($d:tt $($(#[doc = $must:literal])+ $module:ident::$name:ident,)+) => {
        /// All rules, those of the runtime alone first.
        pub fn rules<R: Runtime + Clone>() -> Vec<Rule<R>> {
            vec![$(Rule {
                name: stringify!($name),
                must: concat!($($must),+).trim_ascii_start(),
                check: |runtime| Box::pin(async { $module::$name(runtime).await.into() }),
            }),+]
        }

        /// Makes a test of each rule for a runtime: see [`seam`](crate::seam).
        #[macro_export]
        macro_rules! seam_tests {
            ($d runtime:expr, $d block_on:expr) => {
                $(
                    #[test]
                    fn $name() {
                        $d crate::seam::assert_held(stringify!($name), $d runtime, $d block_on);
                    }
                )+
            };
        }
    };
}

declare! { $
    /// The clock never goes back, and timers run by it.
    basics::the_clock_goes_forward,
    /// Randomness fills all that it is given, and differs each time.
    basics::randomness_differs,
    /// A task that is spawned runs to its end, woken from any thread.
    basics::tasks_run,
    /// Tasks that are always ready keep neither timers nor datagrams from others.
    basics::busy_tasks_starve_nobody,

    /// A socket names the port that it was given, and no other socket gets the same one.
    sockets::a_bound_port_is_taken,
    /// A socket that is dropped frees its port.
    sockets::a_dropped_socket_frees_its_port,
    /// A pending receive is woken by a datagram.
    sockets::a_datagram_wakes,
    /// The task that polled a socket last is the one that is woken.
    sockets::the_last_task_to_poll_a_socket_is_woken,
    /// Datagrams of every size arrive whole, with the address of their sender.
    sockets::datagrams_stay_whole,
    /// A transmit of several datagrams arrives as several datagrams.
    sockets::segments_arrive_one_by_one,
    /// A destination that refuses datagrams does not end a socket.
    sockets::a_closed_port_ends_nothing,
    /// A receive that was given up takes nothing with it.
    sockets::a_receive_given_up_loses_nothing,

    /// A timer that is not set does not elapse.
    timers::an_unset_timer_waits,
    /// A timer wakes its task, soon after its time and never before.
    timers::a_timer_wakes_in_time,
    /// A timer whose time has passed elapses at once.
    timers::a_time_that_has_passed_elapses_at_once,
    /// A timer that is set again while it is awaited elapses at its new time, sooner or later.
    timers::a_timer_can_be_moved,
    /// A timer that has elapsed can be set again.
    timers::a_timer_can_be_used_again,
    /// The task that polled a timer last is the one that is woken.
    timers::the_last_task_to_poll_a_timer_is_woken,
    /// Thousands of timers at once all elapse in time.
    timers::thousands_of_timers_elapse,

    /// An order of another thread wakes a loop that sleeps.
    managers::an_order_wakes_the_loop,
    /// A deadline wakes a loop that sleeps.
    managers::a_deadline_wakes_the_loop,
    /// A datagram wakes a loop that sleeps.
    managers::a_datagram_wakes_the_loop,
    /// Timers that elapse late delay messages, and lose none.
    managers::late_timers_lose_nothing,
    /// Timers that elapse early do no harm.
    managers::early_timers_do_no_harm,
    /// Wake-ups without a reason do no harm.
    managers::spurious_wakes_do_no_harm,
    /// A socket that would block delays messages, and loses none.
    managers::a_blocked_socket_loses_nothing,
    /// A socket without room for long keeps neither deadlines nor `close` from their time.
    managers::a_stuck_socket_keeps_deadlines,
    /// Sends that the system refuses for a reason that passes lose no message.
    managers::refused_sends_lose_nothing,
    /// Receives that fail for a reason that passes lose no message.
    managers::failed_receives_lose_nothing,
    /// Sends that carry less than they report lose no message.
    managers::short_sends_lose_nothing,
    /// A socket that stops splitting transmits into datagrams loses no message.
    managers::lost_segmentation_loses_nothing,
    /// Calls that are given up leave nothing behind that others stumble over.
    managers::calls_given_up_do_no_harm,
    /// A manager that is dropped without `close` ends, and its peer learns it.
    managers::a_dropped_manager_ends,
    /// A socket that fails for good ends every pending call with its error.
    managers::a_broken_socket_ends_every_call,
    /// A loop that panics ends every pending call.
    managers::a_panic_ends_every_call,
    /// A loop without anything to do sleeps.
    managers::an_idle_loop_sleeps,
    /// Tasks that are always ready do not keep messages from passing.
    managers::busy_tasks_do_not_stop_messages,
}
