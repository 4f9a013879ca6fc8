//! Why a peer is not connected, in words.

use std::{fmt, net::SocketAddr, time::Duration};

use crate::{ConnectionStatus, Health, HealthReason, PeerError, PeerId, Reason};

/// The state of a peer at one moment, as [`Manager::explain`](crate::Manager::explain) returns it. It displays
/// as sentences, for logs and for people.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Explanation {
    /// The peer.
    pub peer: PeerId,
    /// The state of its connection.
    pub status: ConnectionStatus,
    /// What the connection does, or what the next one waits for.
    pub next_attempt: NextAttempt,
    /// How well it can be reached, and what made it so, if that is not well. `None` while it is
    /// healthy or not connected.
    pub ailment: Option<(Health, HealthReason)>,
    /// Why `send` would refuse a message at this moment, whatever its length.
    pub refuses: Option<PeerError>,
    /// Why the last dial or connection failed; `None` once one has proved stable.
    pub last_failure: Option<Reason>,
    /// Failures in a row since then. A peer that had no room has not failed.
    pub failures: u32,
    /// Addresses that are known for it.
    pub addresses: usize,
    /// Messages that were accepted for it, and that it is not known to have taken.
    pub queued_messages: u64,
    /// Their bytes, framing included.
    pub queued_bytes: usize,
    /// Bytes of its messages that our application has not taken.
    pub unread_bytes: usize,
    /// When the session expires if no connection comes before, from now; what is queued is reported
    /// as undelivered then. `None` while it is connected, or if there is nothing to give up.
    pub session_expires_in: Option<Duration>,
}

/// What a connection does, or what the next one waits for. Durations count from the moment of the
/// question.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum NextAttempt {
    /// There is one, with this smoothed round-trip time (RFC 9002 section 5.3).
    Connected {
        /// The round-trip time.
        rtt: Duration,
    },
    /// The peer has dialled us, and the two ends are getting to know each other.
    Arriving,
    /// We dial.
    Dialling {
        /// The address.
        address: SocketAddr,
        /// When the next address is tried, or the dial has failed, if there is no answer.
        gives_up_in: Duration,
    },
    /// The next dial waits for the end of the backoff.
    BackingOff {
        /// When it ends.
        dials_in: Duration,
    },
    /// The next dial waits for its turn.
    Waiting {
        /// Dials that come before it.
        ahead: usize,
        /// What the first dial of the queue waits for.
        waits_for: WaitingFor,
    },
    /// No connection is wanted: nothing waits at either end, and none was asked for. The next `send`
    /// or `connect` dials.
    Idle {
        /// The backoff that it has to wait for, all the same.
        not_before: Option<Duration>,
    },
    /// No connection is wanted at this end, and the peer cannot dial us: we dial after `reconnect_poll`, to
    /// fetch what waits for us there.
    ReconnectPoll {
        /// When.
        dials_in: Duration,
    },
    /// No automatic retry mends the last failure: one of the ends has to be changed, and then `send` or
    /// `connect` called.
    Barred,
    /// Nothing is dialled: there is no address, and the peer has to dial us.
    Unreachable,
}

/// What dials wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitingFor {
    /// A slot of `connections_max`.
    Slot,
    /// The dial rate, `dial_rate`.
    DialRate,
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let connected = match self.status {
            ConnectionStatus::Connected => "connected",
            ConnectionStatus::New
            | ConnectionStatus::Connecting
            | ConnectionStatus::Disconnected
            | ConnectionStatus::Failed => "not connected",
        };
        write!(f, "{} is {connected}: {}.", self.peer, self.next_attempt)?;
        if let Some((health, reason)) = &self.ailment {
            write!(f, " It is {health}: {reason}.")?;
        }
        if let Some(reason) = &self.last_failure {
            write!(f, " Last failure: {reason}")?;
            match self.failures {
                0 | 1 => write!(f, ".")?,
                count => write!(f, " ({count} failures in a row).")?,
            }
        }
        match (&self.refuses, &self.next_attempt) {
            // The next attempt has named it.
            (None, _) | (Some(PeerError::NoAddress(_)), NextAttempt::Unreachable) => {}
            (Some(error), _) => write!(f, " Messages are refused: {error}.")?,
        }
        if self.queued_messages > 0 {
            let (messages, bytes) = (self.queued_messages, self.queued_bytes);
            write!(f, " Queued: {messages} messages, {bytes} bytes")?;
            match self.session_expires_in {
                Some(after) => write!(f, "; the session expires in {}.", Seconds(after))?,
                None => write!(f, ".")?,
            }
        }
        match self.unread_bytes {
            0 => Ok(()),
            bytes => write!(f, " Unread: {bytes} bytes."),
        }
    }
}

impl fmt::Display for NextAttempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connected { rtt } => write!(f, "round-trip time {rtt:.1?}"),
            Self::Arriving => f.write_str("it dials us"),
            Self::Dialling {
                address,
                gives_up_in,
            } => write!(
                f,
                "dialling {address} for at most {} more",
                Seconds(*gives_up_in)
            ),
            Self::BackingOff { dials_in } => {
                write!(f, "next dial in {}", Seconds(*dials_in))
            }
            Self::Waiting { ahead, waits_for } => {
                write!(
                    f,
                    "the next dial waits for {waits_for}, behind {ahead} others"
                )
            }
            Self::Idle { not_before: None } => f.write_str("idle until the next send or connect"),
            Self::Idle {
                not_before: Some(after),
            } => write!(f, "idle; next dial not before {}", Seconds(*after)),
            Self::ReconnectPoll { dials_in } => write!(
                f,
                "it cannot dial us; next reconnect in {}",
                Seconds(*dials_in)
            ),
            Self::Barred => f.write_str(
                "no retry before the next send or connect: the last failure would repeat",
            ),
            Self::Unreachable => f.write_str("no address is known; it has to dial us"),
        }
    }
}

impl fmt::Display for WaitingFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Slot => "a slot of connections_max",
            Self::DialRate => "dial_rate",
        })
    }
}

/// A time as people read it in a log.
struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} s", self.0.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explanation(next_attempt: NextAttempt) -> Explanation {
        Explanation {
            peer: PeerId::from_bytes([7; 32]),
            status: ConnectionStatus::Failed,
            next_attempt,
            ailment: None,
            refuses: None,
            last_failure: None,
            failures: 0,
            addresses: 1,
            queued_messages: 0,
            queued_bytes: 0,
            unread_bytes: 0,
            session_expires_in: None,
        }
    }

    #[test]
    fn it_reads_as_sentences() {
        let peer = PeerId::from_bytes([7; 32]);
        let mut told = explanation(NextAttempt::BackingOff {
            dials_in: Duration::from_millis(2_449),
        });
        told.last_failure = Some(Reason::HandshakeTimeout);
        told.failures = 3;
        told.queued_messages = 12;
        told.queued_bytes = 3_400;
        told.session_expires_in = Some(Duration::from_secs(250));
        assert_eq!(
            told.to_string(),
            format!(
                "{peer} is not connected: next dial in 2.4 s. Last failure: no answer \
                 within handshake_timeout (3 failures in a row). Queued: 12 messages, 3400 bytes; \
                 the session expires in 250.0 s."
            )
        );
    }

    #[test]
    fn a_connection_that_ails_is_said_to() {
        let rtt = Duration::from_millis(480);
        let usual = Duration::from_millis(40);
        let mut told = explanation(NextAttempt::Connected { rtt });
        told.status = ConnectionStatus::Connected;
        told.ailment = Some((Health::Degraded, HealthReason::Slow { rtt, usual }));
        let said = told.to_string();
        let end = "is connected: round-trip time 480.0ms. It is degraded: a round trip takes \
                   480.0ms and used to take 40.0ms.";
        assert!(said.ends_with(end), "{said}");
    }

    #[test]
    fn what_is_wrong_is_said_once() {
        let mut told = explanation(NextAttempt::Unreachable);
        told.refuses = Some(PeerError::NoAddress(told.peer));
        let said = told.to_string();
        assert_eq!(said.matches("address").count(), 1, "{said}");
        told.refuses = Some(PeerError::Blocked(told.peer));
        assert!(told.to_string().contains("is blocked"), "{told}");
        // The address of a dial that runs was removed.
        told.next_attempt = NextAttempt::Dialling {
            address: ([192, 0, 2, 1], 4433).into(),
            gives_up_in: Duration::from_secs(5),
        };
        told.refuses = Some(PeerError::NoAddress(told.peer));
        assert!(told.to_string().contains("are refused"), "{told}");
    }
}
