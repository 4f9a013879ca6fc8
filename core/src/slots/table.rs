//! Decides which claim takes the slot of which holder.
//!
//! Everything that decides this is in this file: one table, a match without wildcard. It is printed to
//! `table.snapshot.txt`, so that a change of a decision is reviewed as a change of a line.

use std::fmt;

/// What a slot is claimed for. A claim is overdue once it has waited for `slot_wait`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claimant {
    /// A dial that the user asked for with `send` or `connect`.
    ForegroundDial,
    OverdueForegroundDial,
    /// A dial that the machine makes by itself.
    BackgroundDial,
    OverdueBackgroundDial,
    /// A peer that has dialled us and proved its identity.
    Arrival,
    /// Such a peer that the user has added or that messages are queued for.
    OverdueArrival,
    /// A stranger that has dialled us, while strangers hold their share of the slots.
    SurplusArrival,
}

/// What a slot is held for, in the order in which holders are asked to give way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Holder {
    /// A stranger whose greeting has not come in its time.
    SilentStranger,
    /// A connected stranger with nothing queued at either end.
    IdleStranger,
    /// A connected peer with nothing queued at either end.
    Idle,
    /// A dial of the machine.
    BackgroundDial,
    /// The same, after a dial to that peer has given way, and before one is confirmed or fails by itself.
    SparedBackgroundDial,
    /// A connected stranger whose minimum hold time is over.
    BusyStranger,
    /// A connected peer whose minimum hold time is over.
    Busy,
    /// A connected peer within its minimum hold time.
    NewlyBusy,
    /// A dial of the user.
    ForegroundDial,
    /// A peer that has dialled us, and is not confirmed.
    Arrival,
    /// A peer that the application has protected, whatever it is doing.
    Protected,
}

/// What a claim does to a holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The holder keeps its slot.
    Keeps,
    /// It keeps the slot until its minimum hold time is over.
    KeepsForNow,
    /// Its connections are closed, and its session stays.
    Evicted,
    /// Its dial is called off, and waits for another slot.
    CalledOff,
}

/// The table.
pub(crate) const fn outcome(claimant: Claimant, holder: Holder) -> Outcome {
    use Claimant as C;
    match holder {
        Holder::SilentStranger | Holder::IdleStranger => Outcome::Evicted,
        // Strangers that come in masses take turns among themselves.
        Holder::Idle => match claimant {
            C::ForegroundDial | C::OverdueForegroundDial => Outcome::Evicted,
            C::BackgroundDial | C::OverdueBackgroundDial => Outcome::Evicted,
            C::Arrival | C::OverdueArrival => Outcome::Evicted,
            C::SurplusArrival => Outcome::Keeps,
        },
        Holder::ForegroundDial | Holder::Arrival | Holder::Protected => Outcome::Keeps,
        // It may be in vain: it makes room for each dial of the user, and once for a peer that is there.
        Holder::BackgroundDial => match claimant {
            C::ForegroundDial | C::OverdueForegroundDial => Outcome::CalledOff,
            C::BackgroundDial | C::OverdueBackgroundDial => Outcome::Keeps,
            C::Arrival | C::OverdueArrival => Outcome::CalledOff,
            C::SurplusArrival => Outcome::Keeps,
        },
        Holder::SparedBackgroundDial => match claimant {
            C::ForegroundDial | C::OverdueForegroundDial => Outcome::CalledOff,
            C::BackgroundDial | C::OverdueBackgroundDial => Outcome::Keeps,
            C::Arrival | C::OverdueArrival | C::SurplusArrival => Outcome::Keeps,
        },
        // A busy peer gives way to claims that have waited, and not at once.
        Holder::BusyStranger | Holder::Busy => match claimant {
            C::ForegroundDial | C::BackgroundDial => Outcome::Keeps,
            C::Arrival | C::SurplusArrival => Outcome::Keeps,
            C::OverdueForegroundDial | C::OverdueBackgroundDial => Outcome::Evicted,
            C::OverdueArrival => Outcome::Evicted,
        },
        Holder::NewlyBusy => match claimant {
            C::ForegroundDial | C::BackgroundDial => Outcome::Keeps,
            C::Arrival | C::SurplusArrival => Outcome::Keeps,
            C::OverdueForegroundDial | C::OverdueBackgroundDial => Outcome::KeepsForNow,
            C::OverdueArrival => Outcome::KeepsForNow,
        },
    }
}

#[cfg(test)]
impl Claimant {
    pub(crate) const ALL: [Self; 7] = [
        Self::ForegroundDial,
        Self::OverdueForegroundDial,
        Self::BackgroundDial,
        Self::OverdueBackgroundDial,
        Self::Arrival,
        Self::OverdueArrival,
        Self::SurplusArrival,
    ];
}

#[cfg(test)]
impl Holder {
    pub(crate) const ALL: [Self; 11] = [
        Self::SilentStranger,
        Self::IdleStranger,
        Self::Idle,
        Self::BackgroundDial,
        Self::SparedBackgroundDial,
        Self::BusyStranger,
        Self::Busy,
        Self::NewlyBusy,
        Self::ForegroundDial,
        Self::Arrival,
        Self::Protected,
    ];
}

/// A line of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) claimant: Claimant,
    pub(crate) holder: Holder,
}

impl Row {
    pub(crate) const fn outcome(self) -> Outcome {
        outcome(self.claimant, self.holder)
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { claimant, holder } = self;
        write!(f, "{claimant:?} x {holder:?} = {:?}", self.outcome())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_table_is_as_reviewed() {
        let rows = Claimant::ALL
            .into_iter()
            .flat_map(|claimant| Holder::ALL.map(|holder| Row { claimant, holder }));
        let table: String = rows.map(|row| format!("{row}\n")).collect();
        assert_eq!(table, include_str!("table.snapshot.txt"), "{table}");
    }
}
