//! X25519 (RFC 7748) with ephemeral keys from the seed: ring's own draws from the system.

use rustls::{
    Error, NamedGroup, PeerMisbehaved,
    crypto::{ActiveKeyExchange, SharedSecret, SupportedKxGroup},
};
use x25519_dalek::{PublicKey, StaticSecret};

use super::draws;

/// The group, whose keys are drawn from the session that rustls works for.
#[derive(Debug)]
pub(super) struct SeededX25519;

impl SupportedKxGroup for SeededX25519 {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        let mut key = [0; 32];
        draws::fill(&mut key);
        let secret = StaticSecret::from(key);
        let public = PublicKey::from(&secret);
        Ok(Box::new(Exchange { secret, public }))
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}

/// An exchange of which this end's half is made.
struct Exchange {
    secret: StaticSecret,
    public: PublicKey,
}

impl ActiveKeyExchange for Exchange {
    fn complete(self: Box<Self>, peer: &[u8]) -> Result<SharedSecret, Error> {
        let invalid = || Error::from(PeerMisbehaved::InvalidKeyShare);
        let peer: [u8; 32] = peer.try_into().map_err(|_| invalid())?;
        let shared = self.secret.diffie_hellman(&PublicKey::from(peer));
        // RFC 8446 section 7.4.2: the all-zero value is refused.
        if !shared.was_contributory() {
            return Err(invalid());
        }
        Ok(SharedSecret::from(&shared.as_bytes()[..]))
    }

    fn pub_key(&self) -> &[u8] {
        self.public.as_bytes()
    }

    fn group(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}

#[cfg(test)]
mod tests {
    use super::{super::draws::Draws, *};

    fn exchange(key: u128) -> Box<dyn ActiveKeyExchange> {
        let exchange = Draws::new(key).during(|| SeededX25519.start());
        exchange.expect("a seed never runs dry")
    }

    #[test]
    fn two_ends_agree_and_the_keys_are_those_of_the_seed() {
        let [one, two] = [exchange(1), exchange(2)];
        let (public, peer) = (one.pub_key().to_vec(), two.pub_key().to_vec());
        assert_eq!(public, exchange(1).pub_key());
        assert_ne!(public, peer);
        let [ours, theirs] = [one.complete(&peer), two.complete(&public)];
        let [ours, theirs] = [ours, theirs].map(|shared| shared.expect("the key is valid"));
        assert_eq!(ours.secret_bytes(), theirs.secret_bytes());
    }

    #[test]
    fn it_agrees_with_the_exchange_of_production() {
        let groups = quicpool_core::TlsSources::system().kx_groups;
        let group = groups
            .iter()
            .find(|group| group.name() == NamedGroup::X25519);
        let theirs = group.expect("every build has it").start();
        let (ours, theirs) = (exchange(1), theirs.expect("the system gives randomness"));
        let (public, peer) = (ours.pub_key().to_vec(), theirs.pub_key().to_vec());
        let [ours, theirs] = [ours.complete(&peer), theirs.complete(&public)];
        let [ours, theirs] = [ours, theirs].map(|shared| shared.expect("the key is valid"));
        assert_eq!(ours.secret_bytes(), theirs.secret_bytes());
    }

    #[test]
    fn a_key_share_that_is_none_is_refused() {
        for share in [vec![], vec![9; 31], vec![9; 33], vec![0; 32]] {
            let error = exchange(1).complete(&share).err();
            assert_eq!(error, Some(PeerMisbehaved::InvalidKeyShare.into()));
        }
    }
}
