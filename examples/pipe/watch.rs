//! Watches the connection while bytes move.

use std::{
    cell::Cell,
    error::Error,
    time::{Duration, Instant},
};

use indicatif::ProgressBar;
use quicpool::{ConnectionStatus, Event, Events, EventsError, PeerId, Reason};
use tokio::time::timeout_at;

/// How long a lost connection may take to come back.
const PATIENCE: Duration = Duration::from_secs(60);

/// Returns why the transfer cannot go on: the other end has left, is gone, has restarted or has not got
/// all. A connection that is lost may come back by itself in time; both are printed.
pub(crate) async fn watch(
    mut events: Events,
    other: &Cell<Option<PeerId>>,
    progress: &ProgressBar,
) -> Box<dyn Error> {
    // Since when it is lost. Its dials make events too, and none of them buys it time.
    let mut lost_since = None;
    loop {
        let until = lost_since.unwrap_or_else(Instant::now) + PATIENCE;
        let Ok(event) = timeout_at(until.into(), events.next()).await else {
            if lost_since.is_some() {
                return "the other end is gone".into();
            }
            continue;
        };
        match event {
            Ok(Event::StatusChanged {
                peer,
                from,
                to,
                reason,
            }) if other.get() == Some(peer) => {
                if reason == Reason::Goodbye {
                    return format!("the other end has left: {reason}").into();
                }
                if from == ConnectionStatus::Connected {
                    tell(progress, &format!("connection lost: {reason}"));
                    lost_since = Some(Instant::now());
                }
                if to == ConnectionStatus::Connected
                    && let Some(since) = lost_since.take()
                {
                    let seconds = since.elapsed().as_secs_f64();
                    tell(progress, &format!("connected again after {seconds:.3} s"));
                }
            }
            Ok(Event::Undelivered { peer, reason, .. }) if other.get() == Some(peer) => {
                return format!("the other end has not got all of it: {reason}").into();
            }
            Ok(Event::PeerRestarted { peer, .. }) if other.get() == Some(peer) => {
                return "the other end has restarted".into();
            }
            Ok(_) | Err(EventsError::Missed(_)) => {}
            Err(error) => return error.into(),
        }
    }
}

/// Prints a line about the connection.
fn tell(progress: &ProgressBar, what: &str) {
    progress.suspend(|| eprintln!("{what}"));
}
