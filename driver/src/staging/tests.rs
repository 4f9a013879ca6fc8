//! What is staged, lent and listed.

use quicpool_core::Config;

use super::*;

const ID: PeerId = PeerId::from_bytes([7; 32]);

fn peer(credit: usize) -> PeerShared {
    PeerShared::new(ID, BatchLimits::of(&Config::default()), credit, Ok(()))
}

fn taken(peer: &PeerShared) -> Taken {
    let mut taken = Taken::new(BatchLimits::of(&Config::default()));
    peer.take(&mut taken);
    taken
}

fn stage(peer: &PeerShared, message: &[u8]) -> Result<(), Refused> {
    let (outcome, _) = peer.stage(&Clock::stopped(), message, Urgency::Batched);
    outcome.map(drop)
}

#[test]
fn credit_is_used_up_and_lent_again() {
    let peer = peer(2 * OpenBatch::cost(10));
    assert_eq!(stage(&peer, &[0; 10]), Ok(()));
    assert_eq!(stage(&peer, &[0; 10]), Ok(()));
    assert_eq!(stage(&peer, &[0; 10]), Err(Refused::Full));
    assert_eq!(stage(&peer, &[]), Err(Refused::Full));
    assert_eq!(taken(&peer).open.messages(), 2);
    assert_eq!(
        peer.lend(5, Ok(())),
        Some(OpenBatch::cost(10)),
        "the most demanding waits"
    );
    assert_eq!(peer.lend(OpenBatch::cost(10), Ok(())), None);
    assert_eq!(stage(&peer, &[0; 10]), Ok(()));
}

#[test]
fn what_is_staged_is_not_lent_twice() {
    let peer = peer(100);
    assert_eq!(stage(&peer, &[0; 49]), Ok(()));
    assert_eq!(stage(&peer, &[0; 60]), Err(Refused::Full));
    assert_eq!(peer.lend(100, Ok(())), Some(50 + 61));
    assert_eq!(stage(&peer, &[0; 49]), Ok(()));
    assert_eq!(stage(&peer, &[]), Err(Refused::Full));
}

#[test]
fn a_peer_is_listed_once_until_it_is_looked_at() {
    let peer = peer(100);
    assert_eq!(
        peer.stage(&Clock::stopped(), b"1", Urgency::Batched).1,
        Listing::Needed
    );
    assert_eq!(
        peer.stage(&Clock::stopped(), b"2", Urgency::Batched).1,
        Listing::Done
    );
    drop(taken(&peer));
    assert_eq!(
        peer.stage(&Clock::stopped(), b"3", Urgency::Batched).1,
        Listing::Needed
    );
}

#[test]
fn an_order_keeps_its_place_between_messages() {
    let peer = peer(100);
    assert_eq!(stage(&peer, b"before"), Ok(()));
    let (responder, _reply) = crate::reply::channel();
    assert_eq!(
        peer.post(Order::Disconnect(responder)).ok(),
        Some(Listing::Done)
    );
    assert_eq!(stage(&peer, b"after"), Ok(()));
    let taken = taken(&peer);
    assert!(matches!(
        &taken.earlier[..],
        [Entry::Messages(before), Entry::Order(Order::Disconnect(_))] if before.messages() == 1
    ));
    assert_eq!(taken.open.messages(), 1);
}

#[test]
fn messages_are_numbered_in_their_order() {
    let peer = peer(100);
    let stage = || peer.stage(&Clock::stopped(), b"x", Urgency::Batched).0;
    assert_eq!((stage(), stage()), (Ok(0.into()), Ok(1.into())));
    assert_eq!(taken(&peer).first, 0);
    assert_eq!(stage(), Ok(2.into()));
    assert_eq!(taken(&peer).first, 2);
    assert_eq!(taken(&peer).first, 3, "of the next one");
}

#[test]
fn an_address_on_its_way_lets_messages_pass() {
    let peer = PeerShared::new(
        ID,
        BatchLimits::of(&Config::default()),
        100,
        Err(PeerError::UnknownPeer(ID)),
    );
    assert_eq!(
        stage(&peer, b"lost"),
        Err(Refused::Peer(PeerError::UnknownPeer(ID)))
    );
    let address = ([127, 0, 0, 1], 1).into();
    assert!(peer.post(Order::AddAddress(address)).is_ok());
    assert_eq!(stage(&peer, b"found"), Ok(()));
}

#[test]
fn an_address_is_added_again_only_if_it_may_be_forgotten() {
    let peer = peer(100);
    let address = ([127, 0, 0, 1], 1).into();
    let orders = |peer: &PeerShared| taken(peer).earlier.len();
    for _ in 0..3 {
        assert!(peer.post(Order::AddAddress(address)).is_ok());
    }
    assert_eq!(orders(&peer), 1);
    assert!(peer.post(Order::RemoveAddress(address)).is_ok());
    assert!(peer.post(Order::AddAddress(address)).is_ok());
    assert_eq!(orders(&peer), 2);
    peer.refuse(PeerError::TooManyPeers { max: 1 });
    assert!(peer.post(Order::AddAddress(address)).is_ok());
    assert_eq!(orders(&peer), 1);
}

#[test]
fn a_refused_peer_stays_refused_until_it_is_known() {
    let peer = peer(100);
    peer.refuse(PeerError::TooManyPeers { max: 1 });
    assert_eq!(peer.lend(100, Err(PeerError::UnknownPeer(ID))), None);
    assert_eq!(
        stage(&peer, b""),
        Err(Refused::Peer(PeerError::TooManyPeers { max: 1 }))
    );
    assert_eq!(peer.lend(100, Ok(())), None);
    assert_eq!(stage(&peer, b"it has dialled us"), Ok(()));
}

#[test]
fn a_sealed_peer_accepts_nothing_and_loses_nothing() {
    let peer = peer(100);
    assert_eq!(stage(&peer, b"tail"), Ok(()));
    let mut taken = Taken::new(BatchLimits::of(&Config::default()));
    peer.seal(&mut taken);
    assert_eq!(taken.open.messages(), 1);
    peer.lend(100, Ok(()));
    assert_eq!(stage(&peer, b""), Err(Refused::Peer(PeerError::Closed)));
    let (responder, _reply) = crate::reply::channel();
    assert!(peer.post(Order::Disconnect(responder)).is_err());
}

/// What the handle keeps for a peer that is only known, beside the machine's part.
#[test]
fn a_peer_with_nothing_staged_takes_less_than_a_quarter_of_a_kibibyte() {
    let bytes = size_of::<PeerShared>();
    assert!(bytes <= 232, "{bytes}");
}
