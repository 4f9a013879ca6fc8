//! Passes events to subscribers.

use std::{collections::VecDeque, sync::Arc};

use parking_lot::Mutex;
use quicpool_core::{ConnectionStatus, Event, PeerId};

use crate::{
    error::{Closed, EventsError},
    shared::Shared,
};

/// Events that wait for one subscriber. Beyond it the oldest are dropped and counted.
const EVENTS_MAX: usize = 4_096;

/// Everything that happens after a snapshot was taken, in order.
///
/// [`ConnectionManager::subscribe`](crate::ConnectionManager::subscribe) makes one. It holds up to 4,096
/// events; a slower subscriber gets the number of events that it has missed.
#[derive(Debug)]
pub struct Events {
    subscription: Arc<Subscription>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Subscription {
    waiting: Mutex<Waiting>,
    arrived: event_listener::Event,
}

#[derive(Debug, Default)]
struct Waiting {
    events: VecDeque<Event>,
    missed: u64,
    ended: Option<Closed>,
}

impl Events {
    /// Waits for the next event.
    ///
    /// Cancel safe: an event is taken only if it is returned.
    ///
    /// # Errors
    ///
    /// [`EventsError::Missed`] counts the events that were dropped, once; the next call goes on.
    /// [`EventsError::Closed`] comes after the last event.
    pub async fn next(&mut self) -> Result<Event, EventsError> {
        loop {
            if let Some(outcome) = self.try_next() {
                return outcome;
            }
            let arrived = self.subscription.arrived.listen();
            if let Some(outcome) = self.try_next() {
                return outcome;
            }
            arrived.await;
        }
    }

    /// The next event, if there is one already.
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next).
    pub fn try_next(&mut self) -> Option<Result<Event, EventsError>> {
        let mut waiting = self.subscription.waiting.lock();
        let missed = std::mem::take(&mut waiting.missed);
        if missed > 0 {
            return Some(Err(EventsError::Missed(missed)));
        }
        if let Some(event) = waiting.events.pop_front() {
            return Some(Ok(event));
        }
        let ended = waiting.ended.clone()?;
        Some(Err(EventsError::Closed(ended)))
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.shared.hub.leave(&self.subscription);
    }
}

/// The subscribers, and the lock under which events are published: statuses change together with their events.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    subscribers: Mutex<Subscribers>,
}

#[derive(Debug, Default)]
struct Subscribers {
    all: Vec<Arc<Subscription>>,
    ended: Option<Closed>,
}

impl Hub {
    /// Applies what an event changes, and passes it to every subscriber.
    pub(crate) fn publish(&self, event: &Event, apply: impl FnOnce()) {
        let subscribers = self.subscribers.lock();
        apply();
        for subscription in &subscribers.all {
            subscription.tell(event);
        }
    }

    /// A snapshot, and everything that follows it.
    pub(crate) fn subscribe(
        shared: &Arc<Shared>,
        snapshot: impl FnOnce() -> Vec<(PeerId, ConnectionStatus)>,
    ) -> (Vec<(PeerId, ConnectionStatus)>, Events) {
        let subscription = Arc::new(Subscription::default());
        let mut subscribers = shared.hub.subscribers.lock();
        let statuses = snapshot();
        subscription.waiting.lock().ended = subscribers.ended.clone();
        subscribers.all.push(Arc::clone(&subscription));
        drop(subscribers);
        let events = Events {
            subscription,
            shared: Arc::clone(shared),
        };
        (statuses, events)
    }

    /// Applies what the end changes, and ends every subscription.
    pub(crate) fn end(&self, closed: &Closed, apply: impl FnOnce()) {
        let mut subscribers = self.subscribers.lock();
        apply();
        subscribers.ended = Some(closed.clone());
        for subscription in &subscribers.all {
            subscription.waiting.lock().ended = Some(closed.clone());
            subscription.arrived.notify(usize::MAX);
        }
    }

    fn leave(&self, leaver: &Arc<Subscription>) {
        let mut subscribers = self.subscribers.lock();
        subscribers
            .all
            .retain(|subscription| !Arc::ptr_eq(subscription, leaver));
    }
}

impl Subscription {
    fn tell(&self, event: &Event) {
        let mut waiting = self.waiting.lock();
        if waiting.events.len() == EVENTS_MAX {
            waiting.events.pop_front();
            waiting.missed += 1;
        }
        waiting.events.push_back(event.clone());
        drop(waiting);
        self.arrived.notify(1);
    }
}

#[cfg(test)]
mod tests {
    use quicpool_core::{Config, PeerAddr};

    use super::*;
    use crate::{clock::Clock, error::CloseReason, shared::End};

    const ID: PeerId = PeerId::from_bytes([7; 32]);

    fn shared() -> Arc<Shared> {
        let local = PeerAddr::new(ID, ([127, 0, 0, 1], 1).into());
        Arc::new(Shared::new(local, &Config::default(), Clock::stopped()))
    }

    fn subscribe(shared: &Arc<Shared>) -> Events {
        Hub::subscribe(shared, Vec::new).1
    }

    fn publish(shared: &Shared) {
        shared.hub.publish(&Event::Stalled { peer: ID }, || {});
    }

    #[test]
    fn a_slow_subscriber_learns_how_much_it_has_missed() {
        let shared = shared();
        let mut events = subscribe(&shared);
        for _ in 0..EVENTS_MAX + 3 {
            publish(&shared);
        }
        assert!(matches!(
            events.try_next(),
            Some(Err(EventsError::Missed(3)))
        ));
        for _ in 0..EVENTS_MAX {
            assert!(matches!(events.try_next(), Some(Ok(_))));
        }
        assert!(events.try_next().is_none());
    }

    #[test]
    fn what_was_told_is_heard_before_the_end() {
        let shared = shared();
        let mut early = subscribe(&shared);
        publish(&shared);
        shared.end(End {
            reason: CloseReason::Closed,
            undelivered: 0,
            losses: Vec::new(),
        });
        let mut late = subscribe(&shared);
        assert!(matches!(early.try_next(), Some(Ok(_))));
        for events in [&mut early, &mut late] {
            assert!(matches!(
                events.try_next(),
                Some(Err(EventsError::Closed(_)))
            ));
        }
    }

    #[test]
    fn a_dropped_subscription_is_left() {
        let shared = shared();
        drop(subscribe(&shared));
        assert!(shared.hub.subscribers.lock().all.is_empty());
    }
}
