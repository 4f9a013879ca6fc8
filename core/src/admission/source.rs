//! The source that limits count by.

use std::net::IpAddr;

/// An IPv4 address, or the /64 of an IPv6 address: what one host has to itself (RFC 6177). Addresses within it
/// cost its owner nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Source(u64, Family);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Family {
    V4,
    V6,
}

impl From<IpAddr> for Source {
    fn from(addr: IpAddr) -> Self {
        match addr.to_canonical() {
            IpAddr::V4(addr) => Self(u64::from(addr.to_bits()), Family::V4),
            IpAddr::V6(addr) => Self((addr.to_bits() >> 64) as u64, Family::V6),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        text.parse::<IpAddr>().expect("an address").into()
    }

    #[test]
    fn a_host_is_one_source_however_many_addresses_it_has() {
        assert_ne!(source("192.0.2.1"), source("192.0.2.2"));
        assert_eq!(source("2001:db8:0:1::5"), source("2001:db8:0:1:ffff::9"));
        assert_ne!(source("2001:db8:0:1::5"), source("2001:db8:0:2::5"));
        assert_eq!(source("::ffff:192.0.2.1"), source("192.0.2.1"));
        assert_ne!(source("0.0.0.0"), source("::"));
    }
}
