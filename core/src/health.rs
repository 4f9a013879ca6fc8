//! How well a peer can be reached, in the words of the public face.

use std::{fmt, time::Duration};

/// How well a connected peer can be reached.
///
/// It is judged from what is measured anyway: the smoothed round-trip time, packets that were lost, and how
/// long nothing was heard, or acknowledged. Whatever becomes of it, messages are neither dropped nor held back:
/// an application may use it to choose another peer, or to warn.
///
/// While there is no connection there is no health. Each connection begins as `Healthy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Health {
    /// Nothing is wrong.
    Healthy,
    /// It answers, and worse than it used to.
    ///
    /// Twice in a row the round-trip time was above twice the usual one and 100 ms, or more than 5 % of
    /// packets were lost; or it was `Unresponsive` a short time ago. A queue that our own messages
    /// fill counts, too: they take that long.
    ///
    /// It ends when everything was well for a third of
    /// [`liveness_timeout`](crate::Config::liveness_timeout), which is 5 s; with each relapse for twice
    /// as long, up to sixteen times. Well is what keeps a distance from those bounds: three
    /// quarters of that round-trip time, and half of that loss.
    Degraded,
    /// Nothing was heard for half of [`liveness_timeout`](crate::Config::liveness_timeout), which is
    /// 7.5 s, although a peer that lives is heard every 5 s. On paths with a round-trip time of
    /// more than a sixth of a keep-alive it is longer: three round trips beyond a keep-alive,
    /// and five sixths of `liveness_timeout` at most.
    ///
    /// Or it is heard and hears nothing: nothing that was sent to it was acknowledged for two thirds of
    /// `liveness_timeout`, although it was asked for an answer.
    ///
    /// A peer with two connections, as after both have dialled, is judged by both of them.
    ///
    /// Either it answers again, or the connection is lost when `liveness_timeout` is over. What we
    /// cannot hear because our own process stood still does not count.
    Unresponsive,
}

/// Why a peer's health has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum HealthReason {
    /// The round-trip time has grown.
    Slow {
        /// The smoothed round-trip time (RFC 9002 section 5.3).
        rtt: Duration,
        /// The usual one: the least of this connection. It follows a lasting change within some ten
        /// minutes (forty times `liveness_timeout`), after which that is usual.
        usual: Duration,
    },
    /// Packets that we sent were lost, or came so late that they were taken for lost.
    Lossy {
        /// How many.
        lost: u64,
        /// Of how many that were sent in the same time.
        sent: u64,
    },
    /// Nothing was heard.
    Silent {
        /// For how long.
        silence: Duration,
    },
    /// The peer is heard, and acknowledges nothing: it does not hear us.
    Unacknowledged {
        /// For how long.
        time: Duration,
    },
    /// The peer is heard again.
    Heard,
    /// Everything was well for long enough.
    Recovered,
    /// Another connection has taken the place of the one that was judged.
    NewConnection,
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Unresponsive => "unresponsive",
        })
    }
}

impl fmt::Display for HealthReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Slow { rtt, usual } => {
                write!(
                    f,
                    "a round trip takes {rtt:.1?} and used to take {usual:.1?}"
                )
            }
            Self::Lossy { lost, sent } => write!(f, "{lost} of {sent} packets were lost"),
            Self::Silent { silence } => {
                write!(f, "nothing was heard for {:.1} s", silence.as_secs_f64())
            }
            Self::Unacknowledged { time } => write!(
                f,
                "it is heard and has acknowledged nothing for {:.1} s",
                time.as_secs_f64()
            ),
            Self::Heard => f.write_str("it is heard again after a silence"),
            Self::Recovered => f.write_str("everything was well for a while"),
            Self::NewConnection => f.write_str("there is another connection"),
        }
    }
}
