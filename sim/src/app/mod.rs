//! Your own application on simulated nodes, in every kind of trouble.
//!
//! An [`App`] is pure: each call has an [`Input`], and its actions go to the [`Context`].
//! [`check`] runs it on some nodes for many seeds. Each seed draws its own faults
//! (half of the [families](Family), at random times), and after the storm everything is mended.
//! Properties hold [always](Sim::always), or [eventually](Sim::eventually) after the storm.
//!
//! ```
//! use quicpool_core::Message;
//! use quicpool_sim::{app::{App, Context, Input, Options, check}, ms, secs};
//!
//! /// Knows the greatest number that anyone has ever named.
//! #[derive(Debug)]
//! struct Greatest(u64);
//!
//! impl App for Greatest {
//!     fn handle(&mut self, input: Input<'_>, cx: &mut Context<'_>) {
//!         match input {
//!             Input::Message(Message { payload, .. }) => {
//!                 let number = payload[..].try_into().map(u64::from_be_bytes);
//!                 self.0 = self.0.max(number.unwrap_or(0));
//!             }
//!             Input::Started | Input::Timer("gossip") => {
//!                 for peer in &cx.host.peers {
//!                     cx.send(*peer, self.0.to_be_bytes().to_vec());
//!                 }
//!                 cx.set_timer("gossip", ms(500));
//!             }
//!             _ => {}
//!         }
//!     }
//! }
//!
//! // The body of a test:
//! let options = Options::nodes(3).seeds(0..4);
//! check("the_greatest_is_known", options, |host| Greatest(host.place as u64), |sim| {
//!     sim.always("none is invented", |sim| sim.apps().all(|app| app.0 < 3));
//!     sim.eventually("all know it", secs(60), |sim| sim.apps().all(|app| app.0 == 2));
//! });
//! ```
//!
//! # A failure
//!
//! names the property that did not hold, the seed, the simulated time, the faults that were on, and
//! the state of the nodes. So does a panic of the application or of the test. It ends with two
//! commands: one runs the seed again, and the other the file that the run was written to.
//!
//! ```text
//! registers_agree: "all agree on the last write" does not hold
//!   seed    12
//!   time    90.000000000 s of simulated time, after the storm, which ended at 30s
//!   what    it has not come to hold within 60s after 30s
//!   faults  0 on, 25 over
//!           crash of node 0 from 18725ms until 26527ms: over
//!           ...
//!   node 0  Register { stamp: 9, value: 29 }
//!           PeerId(qp18auyvsyk..), Connected to node 1, Connected to node 2
//!           ...
//!   again   SIM_SEED=12 cargo test -p shop registers_agree
//!   again   SIM_REPRO=$PWD/target/sim/registers_agree-12.json cargo test -p shop registers_agree
//! ```
//!
//! # The environment
//!
//! | variable | example | what it does |
//! |---|---|---|
//! | `SIM_SEED` | `17` | runs one seed |
//! | `SIM_SEEDS` | `5000`, `100..200` | runs so many seeds from 0 on, or these |
//! | `SIM_TIME` | `90s`, `500ms` | how long the storm lasts, in simulated time |
//! | `SIM_REPRO` | a path | plays the run in that file: its faults are in it as data, so it stays the same when this crate comes to draw others |
//!
//! An invalid value is an error that names the allowed values.
//!
//! # Determinism
//!
//! The same seed gives the same run, to the last byte, as long as the application and the test are
//! pure. Messages and events come in the order in which quicpool reports them. Timers come at their
//! time exactly, and never after a crash of their process. Events of one instant come in a fixed
//! order, or one that the seed draws.
//!
//! # Speed
//!
//! A dependency that is not optimised makes runs ten times slower. Put this in `Cargo.toml`:
//!
//! ```toml
//! [profile.dev.package."*"]
//! opt-level = 2
//! ```
//!
//! # More control
//!
//! [`Options::plan`] brings faults of your own, and [`Sim::net_mut`] is the network below. For
//! machines without applications, see [`Net`](crate::Net).

mod application;
mod drive;
mod environment;
mod explore;
mod failure;
mod options;
mod plan;
mod repro;
mod run;
mod sim;
mod storm;
mod timers;
mod track;

pub use application::{Action, App, Context, Host, Input};
pub use environment::EnvironmentError;
pub use explore::{Explored, explore};
pub use failure::Failure;
pub use options::Options;
pub use plan::{Family, Fault, Plan, Trouble};
pub use run::check;
pub use sim::Sim;
