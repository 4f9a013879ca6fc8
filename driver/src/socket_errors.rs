//! Errors of a socket: which ones the event loop survives.

use std::io;

/// Whether an error is not the socket's own: others caused it (ICMP), or it will pass.
pub(crate) fn passes(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::ConnectionRefused
            | Kind::ConnectionReset
            | Kind::ConnectionAborted
            | Kind::HostUnreachable
            | Kind::NetworkUnreachable
            | Kind::NetworkDown
            | Kind::PermissionDenied
            | Kind::AddrNotAvailable
            | Kind::TimedOut
            | Kind::Interrupted
            | Kind::OutOfMemory
    ) || passing_code(error.raw_os_error())
}

/// Whether an error of a send concerns what was sent or its destination, and not the socket.
pub(crate) fn concerns_destination(error: &io::Error) -> bool {
    passes(error)
        || error.kind() == io::ErrorKind::InvalidInput
        || destination_code(error.raw_os_error())
}

#[cfg(unix)]
fn passing_code(code: Option<i32>) -> bool {
    matches!(
        code,
        Some(libc::ENOBUFS | libc::ENOMEM | libc::EMSGSIZE | libc::EPROTO | libc::EHOSTDOWN)
    )
}

#[cfg(unix)]
fn destination_code(code: Option<i32>) -> bool {
    // EIO is what a network card without segmentation offload gives; quinn-udp stops asking it.
    matches!(
        code,
        Some(libc::EAFNOSUPPORT | libc::EINVAL | libc::EIO | libc::EDESTADDRREQ | libc::ENOTSUP)
    )
}

#[cfg(not(unix))]
fn passing_code(_: Option<i32>) -> bool {
    false
}

/// Elsewhere the codes are not known one by one, and a socket that has failed fails to receive too.
#[cfg(not(unix))]
fn destination_code(_: Option<i32>) -> bool {
    true
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;

    #[test]
    fn failure_18_errors_caused_by_others_pass() {
        for code in [
            libc::ECONNREFUSED,
            libc::ECONNRESET,
            libc::EHOSTUNREACH,
            libc::ENETUNREACH,
            libc::ENETDOWN,
            libc::ENOBUFS,
            libc::ENOMEM,
            libc::EPERM,
            libc::EACCES,
            libc::EMSGSIZE,
            libc::EADDRNOTAVAIL,
        ] {
            let error = io::Error::from_raw_os_error(code);
            assert!(passes(&error), "{error}");
            assert!(concerns_destination(&error), "{error}");
        }
    }

    #[test]
    fn a_destination_that_cannot_be_is_not_the_sockets_fault() {
        for code in [libc::EAFNOSUPPORT, libc::EINVAL, libc::EIO] {
            let error = io::Error::from_raw_os_error(code);
            assert!(concerns_destination(&error), "{error}");
        }
    }

    #[test]
    fn failure_25_a_broken_socket_does_not_pass() {
        for code in [libc::EBADF, libc::ENOTSOCK, libc::EFAULT, libc::ENOTCONN] {
            let error = io::Error::from_raw_os_error(code);
            assert!(!passes(&error), "{error}");
            assert!(!concerns_destination(&error), "{error}");
        }
    }
}
