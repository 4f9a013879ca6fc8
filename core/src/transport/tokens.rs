//! Tokens of NEW_TOKEN frames (RFC 9000 section 8.1.3): with one a dial passes the gate and needs no Retry.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use quinn_proto::{TokenLog, TokenReuseError, TokenStore};

use crate::{
    Config,
    recent::{Memory, Store},
};

/// How long a token of ours is good. A peer that stays away for longer needs a Retry under load.
pub(super) const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// Tokens of ours whose use is remembered.
const USED_MAX: usize = 16 * 1024;

/// The longest token of another end that is kept, in bytes: ours have 60 or so.
const TOKEN_BYTES_MAX: usize = 256;

/// The part of `memory_max` that each of both stores may take.
const MEMORY_PART: usize = 256;

/// The last token that each server has given us, by its server name.
pub(super) struct OurTokens(Store<String, Vec<u8>>);

/// Tokens that others have used at this end, by a part of their nonces. One that was forgotten for newer ones may be
/// used again, from its address alone, and within its lifetime.
pub(super) struct UsedTokens(Store<u64, ()>);

impl OurTokens {
    /// Room for as many as may be connected at a time.
    pub(super) fn new(config: &Config) -> Self {
        let bytes_max = config.memory_max / MEMORY_PART;
        Self(Store::new(config.connections_max, bytes_max))
    }

    /// Bytes of memory.
    pub(super) fn memory(&self) -> usize {
        self.0.memory()
    }
}

impl TokenStore for OurTokens {
    fn insert(&self, server_name: &str, token: Bytes) {
        if token.len() <= TOKEN_BYTES_MAX {
            let name = server_name.to_owned();
            let token = token.to_vec();
            self.0
                .change(|recent| recent.update(name, |kept| *kept = token));
        }
    }

    /// Each token is used once: two uses would show that both came from one client.
    fn take(&self, server_name: &str) -> Option<Bytes> {
        let token = self.0.change(|recent| recent.remove(server_name))?;
        Some(token.into())
    }
}

impl UsedTokens {
    pub(super) fn new(config: &Config) -> Self {
        Self(Store::new(USED_MAX, config.memory_max / MEMORY_PART))
    }

    /// Bytes of memory.
    pub(super) fn memory(&self) -> usize {
        self.0.memory()
    }
}

impl TokenLog for UsedTokens {
    fn check_and_insert(
        &self,
        nonce: u128,
        _: SystemTime,
        _: Duration,
    ) -> Result<(), TokenReuseError> {
        let nonce = nonce as u64;
        self.0.change(|recent| {
            if recent.get(&nonce).is_some() {
                return Err(TokenReuseError);
            }
            recent.update(nonce, |()| ());
            Ok(())
        })
    }
}

impl Memory for u64 {
    fn memory(&self) -> usize {
        0
    }
}

impl Memory for () {
    fn memory(&self) -> usize {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_used_once_at_each_end() {
        let config = Config::default();
        let (ours, used) = (OurTokens::new(&config), UsedTokens::new(&config));
        ours.insert("bob", Bytes::from_static(b"old"));
        ours.insert("bob", Bytes::from_static(b"new"));
        assert_eq!(ours.take("bob"), Some(Bytes::from_static(b"new")));
        assert_eq!(ours.take("bob"), None);
        let use_it = |nonce| used.check_and_insert(nonce, SystemTime::UNIX_EPOCH, LIFETIME);
        assert!(use_it(7).is_ok());
        assert!(use_it(7).is_err());
        assert!(use_it(8).is_ok());
    }

    #[test]
    fn tokens_are_bounded_in_length_and_number() {
        let config = Config {
            memory_max: 1 << 20,
            ..Config::default()
        };
        let (ours, used) = (OurTokens::new(&config), UsedTokens::new(&config));
        ours.insert("long", Bytes::from(vec![0; TOKEN_BYTES_MAX + 1]));
        assert_eq!(ours.take("long"), None);
        for number in 0..2_000u32 {
            ours.insert(&format!("server {number}"), Bytes::from(vec![0; 200]));
            let used = used.check_and_insert(number.into(), SystemTime::UNIX_EPOCH, LIFETIME);
            assert!(used.is_ok());
        }
        assert!(ours.memory() <= 4_096 && used.memory() <= 4_096);
        assert!(ours.memory() > 2_048 && used.memory() > 2_048);
    }
}
