//! Variable-length integers (RFC 9000 section 16).

/// The largest value that a varint can hold.
pub(crate) const MAX: u64 = (1 << 62) - 1;

/// How many bytes `value` takes.
pub(crate) const fn len(value: u64) -> usize {
    match value {
        0..=0x3f => 1,
        0x40..=0x3fff => 2,
        0x4000..=0x3fff_ffff => 4,
        _ => 8,
    }
}

/// Appends `value`, which must not exceed [`MAX`].
pub(crate) fn put(out: &mut Vec<u8>, value: u64) {
    debug_assert!(value <= MAX, "a varint holds 62 bits");
    match len(value) {
        1 => out.push(value as u8),
        2 => out.extend_from_slice(&(value as u16 | 0x4000).to_be_bytes()),
        4 => out.extend_from_slice(&(value as u32 | 0x8000_0000).to_be_bytes()),
        _ => out.extend_from_slice(&(value | 0xc000_0000_0000_0000).to_be_bytes()),
    }
}

/// Reads a varint from the front: its value and how many bytes it took.
/// `None` if the bytes end before it does.
pub(crate) fn get(bytes: &[u8]) -> Option<(u64, usize)> {
    let first = *bytes.first()?;
    let length = 1 << (first >> 6);
    let rest = bytes.get(1..length)?;
    let value = rest.iter().fold(u64::from(first & 0x3f), |value, byte| {
        value << 8 | u64::from(*byte)
    });
    Some((value, length))
}

/// Takes a varint from the front of `bytes`. `None`, and no change, if they end before it does.
pub(crate) fn take(bytes: &mut &[u8]) -> Option<u64> {
    let (value, length) = get(bytes)?;
    *bytes = &bytes[length..];
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn examples_of_the_rfc_are_read() {
        let eight = [0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c];
        assert_eq!(get(&eight), Some((151_288_809_941_952_652, 8)));
        assert_eq!(get(&[0x9d, 0x7f, 0x3e, 0x7d]), Some((494_878_333, 4)));
        assert_eq!(get(&[0x7b, 0xbd]), Some((15_293, 2)));
        assert_eq!(get(&[0x25]), Some((37, 1)));
        assert_eq!(get(&[0x40, 0x25]), Some((37, 2)));
    }

    proptest! {
        #[test]
        fn what_is_put_is_got(value in 0..=MAX, cut in 0usize..8) {
            let mut bytes = Vec::new();
            put(&mut bytes, value);
            prop_assert_eq!(bytes.len(), len(value));
            prop_assert_eq!(get(&bytes), Some((value, bytes.len())));
            if cut < bytes.len() {
                prop_assert_eq!(get(&bytes[..cut]), None);
            }
        }
    }
}
