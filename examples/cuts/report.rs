//! The effects of the cuts, in words.

use std::{
    fmt,
    process::ExitCode,
    time::{Duration, Instant},
};

use crate::{
    ends::{Outcome, Said},
    path::Counts,
};

/// Begins the line of `pipe` about a lost connection.
const LOST: &str = "connection lost: ";

/// Begins the line of `pipe` about a new connection.
const AGAIN: &str = "connected again";

/// One cut.
pub(crate) struct Cut {
    percent: u64,
    lasted: Duration,
    /// From the end of the cut to the first byte that came out.
    flows: Duration,
    loss: Option<Loss>,
}

/// The connection has not survived it.
struct Loss {
    /// From the beginning of the cut.
    after: Duration,
    why: String,
    /// From the end of the cut until there was another one.
    again: Duration,
}

impl Cut {
    pub(crate) fn new(
        percent: u64,
        began: Instant,
        healed: Instant,
        flows: Duration,
        happened: Vec<Said>,
    ) -> Self {
        let lost = happened.iter().find(|said| said.line.starts_with(LOST));
        let again = happened.iter().rfind(|said| said.line.starts_with(AGAIN));
        let loss = lost.zip(again).map(|(lost, again)| Loss {
            after: lost.at - began,
            why: lost.line[LOST.len()..].to_owned(),
            again: again.at.saturating_duration_since(healed),
        });
        Self {
            percent,
            lasted: healed - began,
            flows,
            loss,
        }
    }
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lasted = self.lasted.as_secs_f64();
        write!(f, "{:>3} %: cut for {lasted:.1} s; ", self.percent)?;
        match &self.loss {
            None => f.write_str("the connection survived")?,
            Some(Loss { after, why, again }) => write!(
                f,
                "lost after {:.1} s ({why}), a new one {:.1} s after the cut",
                after.as_secs_f64(),
                again.as_secs_f64()
            )?,
        }
        write!(f, "; bytes {:.1} s after it", self.flows.as_secs_f64())
    }
}

/// All of it.
pub(crate) struct Summary {
    outcome: Outcome,
    counts: Counts,
    losses: usize,
    /// New connections that there have to be.
    losses_min: usize,
    survived: usize,
}

impl Summary {
    pub(crate) fn new(cuts: &[Cut], outcome: Outcome, counts: Counts, losses_min: usize) -> Self {
        let losses = cuts.iter().filter(|cut| cut.loss.is_some()).count();
        Self {
            outcome,
            counts,
            losses,
            losses_min,
            survived: cuts.len() - losses,
        }
    }

    /// Success only if all came out as it went in, over as many connections as it had to take.
    pub(crate) fn exit_code(&self) -> ExitCode {
        if self.outcome.fed == self.outcome.drained && self.losses >= self.losses_min {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Outcome {
            fed,
            drained,
            last_words,
        } = &self.outcome;
        writeln!(f, "in:  {} bytes, SHA-256 {}", fed.count, fed.sha256)?;
        writeln!(
            f,
            "out: {} bytes, SHA-256 {}",
            drained.count, drained.sha256
        )?;
        for said in last_words {
            writeln!(f, "pipe: {}", said.line)?;
        }
        let verdict = match fed == drained {
            true => "equal checksums",
            false => "THE CHECKSUMS DIFFER",
        };
        write!(
            f,
            "{verdict}; {} new connections, {} cuts survived; {} datagrams passed, {} did not",
            self.losses, self.survived, self.counts.passed, self.counts.dropped
        )
    }
}
