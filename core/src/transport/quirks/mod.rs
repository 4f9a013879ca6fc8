//! Lists the workarounds for quinn-proto, and when each may be removed.
//!
//! Each entry was checked against quinn-proto 0.11.19. Its test in `tests` drives bare quinn-proto, two
//! endpoints without a link of ours, and fails when the workaround is needless, or when what it relies on
//! has changed: read the entry then, and remove or mend what it names.
//!
//! - **close** (`window`). A CONNECTION_CLOSE waits while the congestion window is full, which is for
//!   ever. Upstream: quinn-rs/quinn#2785, mended by #2787 on main. Remove when a release has #2787: all
//!   calls of [`window::lift`] but that of a probe.
//! - **probe** (`window`). A PING waits while the congestion window is full, and no call sends one loss
//!   probe at once. Nor is shown which packets were acknowledged, so
//!   [`window::answered`] reads it in the congestion controller, of which a connection shows a copy only.
//!   No upstream issue found; #2581 asked for related figures in `PathStats` and was closed. Remove when a
//!   connection can be asked for a loss probe, and shows when the latest acknowledged packet was sent.
//! - **bytes in flight** (`window`). `PathStats` has no bytes in flight, which are memory here. Upstream:
//!   #2581, closed. Remove when the figure is shown, or when memory of QUIC is estimated by a constant.
//! - **datagrams first** (`order`). Datagrams go before all streams. Upstream: #1773 (as intended). Remove
//!   when an order is offered.
//! - **what is in a packet** (`order`, and the backlog of a link). No call returns the frames of a packet,
//!   so they are derived from `frame_tx`; whether datagrams wait is derived from `send_buffer_space`. No
//!   upstream issue found. Remove with the entry above, or when a transmit names its frames.
//! - **dropped in silence** (`order`). Datagrams that have become too long for the path are dropped without
//!   an event, unless a sender was blocked (#2456, #2462). Remove when each drop is counted.
//! - **abandon** (`ends`). No call ends a connection without a CONNECTION_CLOSE, so its clock is set
//!   ahead by a day. No upstream issue found. Remove when there is such a call.
//! - **past deadlines** (`deadlines`). After `handle_timeout(now)` `poll_timeout` may return a time that
//!   is not later than `now`: that of a loss probe counts from the packet, not from the probe before. No
//!   upstream issue found. Remove when `handle_timeout` serves all deadlines until `now`.
//! - **drained** (`Transport::poll_event`). The event that a connection has drained may come before the one
//!   with the cause of its loss, and an endpoint that has taken it gives the index to another connection at
//!   once. Upstream: #1018 and #1495 are about the same order. Remove when the endpoint events of a connection
//!   wait for its own events.
//! - **loss timer after a failed path validation** (`Cargo.toml`, profile of quinn-proto). The timer of the
//!   path that is given up stays armed, which a debug assertion takes for a bug. Upstream: #2658, mended by
//!   #2660, in no release. Without the assertion the timer fires for nothing. No test, as upstream has none:
//!   the test of the version fails with each new one. Remove when a release has #2660: the profile.
//! - **a limit that stays raised** (`Allowance`). A window that is lowered leaves the limit of MAX_DATA where it is, and
//!   what is read next raises it by so much less. Upstream: as intended (#1611). Raised and lowered at once
//!   it sets the limit, for which there is no call. Remove when there is one.

mod deadlines;
mod ends;
mod order;
#[cfg(all(test, any(feature = "ring", feature = "aws-lc-rs")))]
mod tests;
pub(super) mod window;

pub(super) use deadlines::{PastDeadlines, later_than};
pub(super) use ends::abandon;
pub(super) use order::Order;
