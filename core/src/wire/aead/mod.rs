//! ChaCha20-Poly1305 (RFC 8439) of this build, behind one type.
//!
//! The implementation is that of the TLS provider: aws-lc-rs, else ring. A build without a provider
//! uses the crate `chacha20poly1305`, which takes two to seven times as long in a default x86-64 build.
//! All of them write the same bytes, and each compares tags in constant time by itself.

#[cfg(feature = "aws-lc-rs")]
pub(crate) mod aws_lc_rs;
#[cfg(any(test, not(any(feature = "ring", feature = "aws-lc-rs"))))]
pub(crate) mod portable;
#[cfg(all(feature = "ring", any(test, not(feature = "aws-lc-rs"))))]
pub(crate) mod ring;
#[cfg(test)]
mod tests;

#[cfg(feature = "aws-lc-rs")]
pub(crate) use self::aws_lc_rs::AwsLcRs as Chosen;
#[cfg(not(any(feature = "ring", feature = "aws-lc-rs")))]
pub(crate) use self::portable::Portable as Chosen;
#[cfg(all(feature = "ring", not(feature = "aws-lc-rs")))]
pub(crate) use self::ring::Ring as Chosen;

use zeroize::Zeroizing;

/// The length of a key, in bytes.
pub(crate) const KEY_LEN: usize = 32;

/// The length of a nonce, in bytes.
pub(crate) const NONCE_LEN: usize = 12;

/// The length of the tag that follows a sealed body, in bytes.
pub(crate) const TAG_LEN: usize = 16;

/// Bytes of stack that are overwritten after each call with a key. A test measures how deep the
/// calls reach, the TLS exporter's among them.
pub(crate) const SCRUBBED_LEN: usize = 4 * 1024;

/// A body was not sealed with this key for this nonce and associated data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Forged;

/// An implementation of ChaCha20-Poly1305 that holds one key.
///
/// Dropping it erases the key, and moving it leaves no copy behind. What its calls leave on the
/// stack is for [`AeadKey`] to erase.
pub(crate) trait Cipher: Sized {
    /// Takes the key over.
    fn new(key: Box<Zeroizing<[u8; KEY_LEN]>>) -> Self;

    /// Encrypts `body` in place and returns its tag.
    fn seal(&self, nonce: [u8; NONCE_LEN], associated: &[u8], body: &mut [u8]) -> [u8; TAG_LEN];

    /// Decrypts `body` in place. After an error its content is unspecified.
    fn open(
        &self,
        nonce: [u8; NONCE_LEN],
        associated: &[u8],
        body: &mut [u8],
        tag: [u8; TAG_LEN],
    ) -> Result<(), Forged>;
}

/// A key that leaves memory with its owner. Neither printed nor cloned.
pub(crate) struct AeadKey<C = Chosen>(C);

impl<C: Cipher> AeadKey<C> {
    /// Makes the key that `fill` writes into the place it is given.
    pub(crate) fn derive<E>(fill: impl FnOnce(&mut [u8]) -> Result<(), E>) -> Result<Self, E> {
        let mut place = Box::<Zeroizing<[u8; KEY_LEN]>>::default();
        let cipher = scrubbed(|| fill(&mut place[..]).map(|()| C::new(place)))?;
        Ok(Self(cipher))
    }

    /// Encrypts `body` in place and returns its tag.
    ///
    /// A pair of key and nonce must not seal twice.
    pub(crate) fn seal(
        &self,
        nonce: [u8; NONCE_LEN],
        associated: &[u8],
        body: &mut [u8],
    ) -> [u8; TAG_LEN] {
        scrubbed(|| self.0.seal(nonce, associated, body))
    }

    /// Decrypts `body` in place.
    ///
    /// # Errors
    ///
    /// [`Forged`] if the tag does not fit. The content of `body` is unspecified then.
    pub(crate) fn open(
        &self,
        nonce: [u8; NONCE_LEN],
        associated: &[u8],
        body: &mut [u8],
        tag: [u8; TAG_LEN],
    ) -> Result<(), Forged> {
        scrubbed(|| self.0.open(nonce, associated, body, tag))
    }
}

/// Runs `work` and overwrites the stack that it has used: ciphers and the TLS exporter erase their
/// state at best, and not the places that it was moved from.
pub(crate) fn scrubbed<T>(work: impl FnOnce() -> T) -> T {
    let result = in_own_frame(work);
    scrub_stack();
    result
}

/// Runs `work` below the caller's frame: inlined, it would use places that the scrub cannot reach.
#[inline(never)]
fn in_own_frame<T>(work: impl FnOnce() -> T) -> T {
    work()
}

/// Overwrites the stack below the caller.
#[inline(never)]
fn scrub_stack() {
    let mut stack = [0u8; SCRUBBED_LEN];
    std::hint::black_box(&mut stack);
}
