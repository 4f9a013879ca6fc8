//! Parameters: keys with values, ascending, so that a reader can skip those that it does not know.
//!
//! The value of an even key is one varint, that of an odd key is a row of bytes with its length before it.

use super::{code::CloseCode, varint};

/// The value of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    /// Of an even key.
    Number(u64),
    /// Of an odd key.
    Bytes(&'a [u8]),
}

/// Reads parameters one by one.
#[derive(Debug)]
pub(crate) struct Parameters<'a> {
    rest: &'a [u8],
    /// The least key that may follow.
    least: u64,
    malformed: CloseCode,
}

impl<'a> Parameters<'a> {
    /// Reads `bytes` to their end. Another form than that of parameters is `malformed`.
    pub(crate) const fn new(bytes: &'a [u8], malformed: CloseCode) -> Self {
        Self {
            rest: bytes,
            least: 0,
            malformed,
        }
    }

    /// Returns the next key with its value, and `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<(u64, Value<'a>)>, CloseCode> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let read = self.read().ok_or(self.malformed)?;
        Ok(Some(read))
    }

    fn read(&mut self) -> Option<(u64, Value<'a>)> {
        let key = varint::take(&mut self.rest)?;
        if key < self.least {
            return None;
        }
        self.least = key + 1;
        let number = varint::take(&mut self.rest)?;
        if key.is_multiple_of(2) {
            return Some((key, Value::Number(number)));
        }
        let (value, rest) = self.rest.split_at_checked(usize::try_from(number).ok()?)?;
        self.rest = rest;
        Some((key, Value::Bytes(value)))
    }
}

/// Appends the parameter of an even key.
pub(crate) fn put_number(out: &mut Vec<u8>, key: u64, value: u64) {
    debug_assert!(key.is_multiple_of(2), "an even key has a number");
    varint::put(out, key);
    varint::put(out, value.min(varint::MAX));
}

/// Appends the parameter of an odd key.
pub(crate) fn put_bytes(out: &mut Vec<u8>, key: u64, value: &[u8]) {
    debug_assert!(!key.is_multiple_of(2), "an odd key has bytes");
    varint::put(out, key);
    varint::put(out, value.len() as u64);
    out.extend_from_slice(value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(bytes: &[u8]) -> Result<Vec<(u64, Value<'_>)>, CloseCode> {
        let mut parameters = Parameters::new(bytes, CloseCode::MalformedFrame);
        let mut all = Vec::new();
        while let Some(one) = parameters.next()? {
            all.push(one);
        }
        Ok(all)
    }

    #[test]
    fn keys_ascend_and_appear_once() {
        let mut bytes = Vec::new();
        put_number(&mut bytes, 2, 7);
        put_bytes(&mut bytes, 5, b"five");
        let expected = vec![(2, Value::Number(7)), (5, Value::Bytes(b"five"))];
        assert_eq!(read(&bytes), Ok(expected));
        for key in [2, 4] {
            let mut bytes = bytes.clone();
            put_number(&mut bytes, key, 0);
            assert_eq!(read(&bytes), Err(CloseCode::MalformedFrame), "{key}");
        }
    }

    #[test]
    fn a_part_of_a_parameter_is_refused() {
        let mut bytes = Vec::new();
        put_bytes(&mut bytes, 5, b"five");
        for end in 1..bytes.len() {
            assert_eq!(read(&bytes[..end]), Err(CloseCode::MalformedFrame), "{end}");
        }
    }

    proptest! {
        #[test]
        fn noise_never_panics(noise in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = read(&noise);
        }
    }
}
