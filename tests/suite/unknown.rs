//! Peers that are not known: views return `None`, and verbs the error `UnknownPeer`.

use quicpool::{
    ConfirmError, ConnectError, Error, FlushError, Identity, PeerAddr, PeerError, PeerId, Rejected,
    SendDatagramError, SendError,
};

use crate::support::{manager, soon};

#[tokio::test]
async fn verbs_name_a_peer_that_the_handle_does_not_know() {
    let alice = manager(quicpool::Config::default()).await;
    let id = Identity::generate().peer_id();
    let address = PeerAddr::new(id, ([192, 0, 2, 1], 4433).into());
    let outcomes: [(&str, Result<(), Error>); 9] = [
        (
            "remove_address",
            alice.remove_address(address).map_err(Error::from),
        ),
        (
            "send",
            alice.send(id, "").await.map(drop).map_err(Error::from),
        ),
        (
            "send_express",
            alice
                .send_express(id, "")
                .await
                .map(drop)
                .map_err(Error::from),
        ),
        (
            "try_send",
            alice.try_send(id, "").map(drop).map_err(Error::from),
        ),
        ("connect", alice.connect(id).await.map_err(Error::from)),
        ("flush", alice.flush(id).await.map_err(Error::from)),
        (
            "disconnect",
            alice.disconnect(id).await.map_err(Error::from),
        ),
        ("forget", alice.forget(id).await.map_err(Error::from)),
        ("unblock", alice.unblock(id).await.map_err(Error::from)),
    ];
    for (verb, outcome) in outcomes {
        assert_eq!(unknown(outcome), id, "{verb}");
    }
    assert_eq!(alice.status(id), None);
    assert_eq!(soon(alice.peer_metrics(id)).await.unwrap(), None);
}

#[tokio::test]
async fn verbs_of_a_handle_name_a_peer_that_the_machine_does_not_know() {
    let alice = manager(quicpool::Config::default()).await;
    let id = Identity::generate().peer_id();
    let peer = alice.peer(id).unwrap();
    soon(peer.forget()).await.unwrap();
    let outcomes: [(&str, Result<(), Error>); 13] = [
        (
            "send",
            soon(peer.send("")).await.map(drop).map_err(Error::from),
        ),
        (
            "send_express",
            soon(peer.send_express(""))
                .await
                .map(drop)
                .map_err(Error::from),
        ),
        ("try_send", peer.try_send("").map(drop).map_err(Error::from)),
        (
            "send_confirmed",
            soon(peer.send_confirmed("")).await.map_err(Error::from),
        ),
        (
            "writable",
            soon(peer.writable(1)).await.map_err(Error::from),
        ),
        ("send_datagram", peer.send_datagram("").map_err(Error::from)),
        ("connect", soon(peer.connect()).await.map_err(Error::from)),
        ("flush", soon(peer.flush()).await.map_err(Error::from)),
        (
            "disconnect",
            soon(peer.disconnect()).await.map_err(Error::from),
        ),
        ("forget", soon(peer.forget()).await.map_err(Error::from)),
        ("unblock", soon(peer.unblock()).await.map_err(Error::from)),
        ("protect", soon(peer.protect()).await.map_err(Error::from)),
        (
            "unprotect",
            soon(peer.unprotect()).await.map_err(Error::from),
        ),
    ];
    for (verb, outcome) in outcomes {
        assert_eq!(unknown(outcome), id, "{verb}");
    }
    assert_eq!(soon(peer.metrics()).await.unwrap(), None);
    assert!(soon(peer.explain()).await.unwrap().is_none());
    assert_eq!((peer.status(), alice.status(id)), (None, None));
    assert_eq!((peer.health(), peer.datagram_bytes_max()), (None, None));
    assert!(alice.subscribe().0.is_empty());

    soon(peer.block()).await.unwrap();
    assert!(
        soon(peer.metrics()).await.unwrap().is_some(),
        "block makes it known"
    );
}

/// The peer that is not known.
fn unknown(outcome: Result<(), Error>) -> PeerId {
    let error = outcome.expect_err("the peer is not known");
    let (Error::Rejected(Rejected::Peer(PeerError::UnknownPeer(id)))
    | Error::Send(SendError::Peer(PeerError::UnknownPeer(id)))
    | Error::SendDatagram(SendDatagramError::Peer(PeerError::UnknownPeer(id)))
    | Error::Connect(ConnectError::Peer(PeerError::UnknownPeer(id)))
    | Error::Flush(FlushError::Peer(PeerError::UnknownPeer(id)))
    | Error::Confirm(ConfirmError::Send(SendError::Peer(PeerError::UnknownPeer(id))))) = error
    else {
        panic!("{error}");
    };
    id
}
