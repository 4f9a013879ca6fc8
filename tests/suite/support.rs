//! What the loopback tests share: managers on loopback, and a bound on every wait.
#![allow(dead_code, reason = "each test program uses a part")]

use std::{future::Future, net::UdpSocket, time::Duration};

use quicpool::{
    CloseError, Config, ConnectionManager, ConnectionStatus, Counters, Event, Events, Identity,
    Losses, PeerAddr, PeerId, SendError,
};

/// Longer than anything here takes, even on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A manager on a free port of loopback.
pub(crate) async fn manager(config: Config) -> ConnectionManager {
    ConnectionManager::bind(crate::Tested, "127.0.0.1:0", Identity::generate(), config)
        .await
        .expect("loopback can be bound")
}

/// Two managers with the default configuration.
pub(crate) async fn pair() -> (ConnectionManager, ConnectionManager) {
    (
        manager(Config::default()).await,
        manager(Config::default()).await,
    )
}

/// The smallest queues that are allowed, so that they are soon full.
pub(crate) fn small_queues() -> Config {
    let mut config = Config::default();
    config.message_bytes_max = 1_024;
    config.batch_bytes_max = 1_024;
    config.outbox_bytes_max = 8 * 1_024;
    config.inbox_bytes_max = 8 * 1_024;
    config
}

/// A future that must be ready before patience ends.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what)
        .await
        .expect("it takes too long")
}

/// Sends until the outbox is full, and returns how many messages went in. The reader may take some
/// on the way, so being full once is not enough: it must stay full.
pub(crate) async fn fill(from: &ConnectionManager, to: PeerId, message: &[u8]) -> usize {
    let mut count = 0;
    let mut refused = 0;
    while refused < 50 {
        match from.try_send(to, message) {
            Ok(_) => (count, refused) = (count + 1, 0),
            Err(SendError::Full) => {
                refused += 1;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            Err(error) => panic!("{error}"),
        }
    }
    count
}

/// Returns the losses that a close names: peers and numbers of messages.
pub(crate) fn lost(error: &CloseError) -> Vec<(PeerId, u64)> {
    let CloseError::Undelivered(report) = error else {
        panic!("{error}");
    };
    let of = |(peer, losses): &(PeerId, Losses)| (*peer, losses.messages());
    report.losses.iter().map(of).collect()
}

/// The next event that a test cares about.
pub(crate) async fn event_where(events: &mut Events, wanted: impl Fn(&Event) -> bool) -> Event {
    soon(async {
        loop {
            let event = events.next().await.expect("no event is missed");
            if wanted(&event) {
                return event;
            }
        }
    })
    .await
}

/// Waits until a peer's connection is in a state.
pub(crate) async fn status_is(events: &mut Events, id: PeerId, status: ConnectionStatus) {
    event_where(events, |event| {
        matches!(event, Event::StatusChanged { peer, to, .. } if *peer == id && *to == status)
    })
    .await;
}

/// Waits until a manager has counted so far.
pub(crate) async fn counts(
    manager: &ConnectionManager,
    counter: impl Fn(&Counters) -> u64,
    wanted: u64,
) {
    soon(async {
        loop {
            let metrics = manager.metrics().await.expect("it has not ended");
            if counter(&metrics.counters) >= wanted {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

/// An address where datagrams arrive and are not answered, as long as the socket lives.
pub(crate) fn black_hole() -> (UdpSocket, PeerAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback can be bound");
    let addr = socket.local_addr().expect("a bound socket has an address");
    (socket, PeerAddr::new(Identity::generate().peer_id(), addr))
}

/// Whether a future is still pending after everything else has had its turn for a while.
pub(crate) async fn is_pending<F: Future + Unpin>(future: F) -> bool {
    tokio::time::timeout(Duration::from_millis(50), future)
        .await
        .is_err()
}
