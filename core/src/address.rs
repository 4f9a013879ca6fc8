//! One name for each address: IPv4-mapped IPv6 addresses (RFC 4291 section 2.5.5.2) are IPv4.
//!
//! A socket that is bound to `[::]` receives from `::ffff:192.0.2.1` what was sent from `192.0.2.1`.
//! QUIC takes them for two paths, so the machine knows the second one only.

use std::net::{IpAddr, SocketAddr};

/// The address as the machine knows it.
pub(crate) fn canonical(addr: SocketAddr) -> SocketAddr {
    match addr.ip().to_canonical() {
        // Of a true IPv6 address the scope and the flow label stay.
        IpAddr::V6(_) => addr,
        ip @ IpAddr::V4(_) => SocketAddr::new(ip, addr.port()),
    }
}

/// The address as a socket that is bound to `local` wants it.
pub(crate) fn mapped_for(local: SocketAddr, to: SocketAddr) -> SocketAddr {
    match (local, to) {
        (SocketAddr::V6(_), SocketAddr::V4(v4)) => {
            SocketAddr::new(v4.ip().to_ipv6_mapped().into(), v4.port())
        }
        (SocketAddr::V4(_) | SocketAddr::V6(_), _) => to,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddrV6;

    #[test]
    fn a_mapped_address_and_the_plain_one_are_one() {
        let plain: SocketAddr = ([192, 0, 2, 1], 4_433).into();
        let wide = SocketAddr::from(([0; 16], 4_433));
        let mapped = mapped_for(wide, plain);
        assert_eq!(mapped.to_string(), "[::ffff:192.0.2.1]:4433");
        assert_eq!(canonical(mapped), plain);
        assert_eq!(canonical(plain), plain);
        assert_eq!(mapped_for(plain, plain), plain);
    }

    #[test]
    fn the_scope_of_a_true_address_stays() {
        let ip = "fe80::1".parse().expect("an address");
        let local: SocketAddr = SocketAddrV6::new(ip, 4_433, 0, 2).into();
        assert_eq!(canonical(local), local);
        assert_eq!(mapped_for(local, local), local);
    }
}
