//! Trails, by which two runs are compared: every datagram that has left a node.

use std::{fmt, net::SocketAddr, time::Duration};

use super::{Net, NodeId};

/// How many datagrams before a difference are shown.
const SHOWN: usize = 20;

/// A datagram that has left a node, without its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// When it left.
    pub at: Duration,
    /// Its sender.
    pub from: NodeId,
    /// To where.
    pub to: SocketAddr,
    /// Bytes of its payload.
    pub len: usize,
    /// The hash of the run up to this datagram and with its bytes.
    pub hash: u128,
}

/// All datagrams of a run, in the order in which they left.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trail {
    sent: Vec<Sent>,
}

/// Where two trails part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// How many datagrams agree.
    pub agree: usize,
    /// The last of those.
    pub before: Vec<Sent>,
    /// The next datagram of one run; `None` if there was none.
    pub once: Option<Sent>,
    /// The next datagram of the other run.
    pub again: Option<Sent>,
}

impl Trail {
    /// The datagrams, in order.
    pub fn sent(&self) -> &[Sent] {
        &self.sent
    }

    /// Where another run has gone another way, if it has.
    pub fn first_difference(&self, again: &Self) -> Option<Difference> {
        let mut pairs = self.sent.iter().zip(&again.sent);
        let agree = pairs.position(|(once, again)| once != again);
        let agree = agree.unwrap_or(self.sent.len().min(again.sent.len()));
        let (once, again) = (self.sent.get(agree), again.sent.get(agree));
        if once.is_none() && again.is_none() {
            return None;
        }
        Some(Difference {
            agree,
            before: self.sent[agree.saturating_sub(SHOWN)..agree].to_vec(),
            once: once.copied(),
            again: again.copied(),
        })
    }
}

impl Net {
    /// Keeps the trail of this run from now on, some 100 bytes for each datagram.
    #[doc(hidden)]
    pub fn keep_trail(&mut self) {
        self.trail.get_or_insert_default();
    }

    /// The trail since it was asked to be kept; empty if it was not.
    #[doc(hidden)]
    pub fn take_trail(&mut self) -> Trail {
        self.trail.take().unwrap_or_default()
    }

    /// A datagram has left, and the hash of the run covers it.
    pub(super) fn leave_trail(&mut self, from: NodeId, to: SocketAddr, len: usize) {
        if let Some(trail) = &mut self.trail {
            trail.sent.push(Sent {
                at: self.clock.now(),
                from,
                to,
                len,
                hash: self.trace,
            });
        }
    }
}

impl fmt::Display for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            at,
            from,
            to,
            len,
            hash,
        } = self;
        // The upper half of the hash tells two of them apart well enough.
        write!(
            f,
            "{:.9} s  {from} -> {to}  {len} bytes  {:016x}",
            at.as_secs_f64(),
            hash >> 64
        )
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} datagrams agree, the last of them:", self.agree)?;
        for sent in &self.before {
            writeln!(f, "         {sent}")?;
        }
        for (run, sent) in [("once ", &self.once), ("again", &self.again)] {
            match sent {
                Some(sent) => writeln!(f, "  {run}: {sent}")?,
                None => writeln!(f, "  {run}: nothing more")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trail(hashes: &[u128]) -> Trail {
        let sent = |hash| Sent {
            at: Duration::from_millis(5),
            from: NodeId(0),
            to: NodeId(1).addr(),
            len: 1_200,
            hash,
        };
        Trail {
            sent: hashes.iter().copied().map(sent).collect(),
        }
    }

    #[test]
    fn the_first_difference_is_found() {
        let hashes: Vec<u128> = (0..100).collect();
        let once = trail(&hashes);
        assert_eq!(once.first_difference(&once), None);
        let mut other = hashes.clone();
        other[60] = 7;
        let difference = once.first_difference(&trail(&other)).expect("it differs");
        assert_eq!((difference.agree, difference.before.len()), (60, SHOWN));
        assert_eq!(difference.once.map(|sent| sent.hash), Some(60));
        assert_eq!(difference.again.map(|sent| sent.hash), Some(7));
    }

    #[test]
    fn an_early_end_is_a_difference() {
        let (long, short) = (trail(&[1, 2, 3]), trail(&[1, 2]));
        let difference = long.first_difference(&short).expect("it differs");
        assert_eq!((difference.agree, difference.again), (2, None));
        assert!(difference.to_string().contains("again: nothing more"));
        assert!(short.first_difference(&long).is_some());
    }
}
