//! The rule that ships, and rules that do not work: the check has to distinguish them.

use super::world::{End, World};
use crate::peer::{LinkId, chooser::Candidate, links::Links};

/// The rule that decides which connection stays, and when to dial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// The real thing.
    Shipped,
    /// The dial of the smaller id stays: both ends close the other one.
    SmallDialWins,
    /// The smaller id closes the connection that was confirmed later.
    LaterIsClosed,
    /// Of connections with different diallers neither end closes one.
    NobodyCloses,
    /// Both ends close the connection that was confirmed earlier.
    BothClose,
    /// Of two dials by one process the smaller number stays.
    SmallerNumberStays,
    /// An end dials though it has a connection.
    DialsThoughLive,
    /// A process that started later takes the place of an earlier one though it may be dead.
    LaterIsBelieved,
    /// An end with a live connection takes `Forgotten` or `IdentityInUse` on another one for outdated.
    ForgottenIsIgnored,
}

impl Rule {
    /// Those that do not work.
    pub(super) const WRONG: [Self; 8] = [
        Self::SmallDialWins,
        Self::LaterIsClosed,
        Self::NobodyCloses,
        Self::BothClose,
        Self::SmallerNumberStays,
        Self::DialsThoughLive,
        Self::LaterIsBelieved,
        Self::ForgottenIsIgnored,
    ];

    pub(super) fn may_dial(self, links: &Links) -> bool {
        if self == Self::DialsThoughLive {
            return links.running().is_none() && !links.has_arrivals();
        }
        links.may_dial()
    }

    /// A connection is confirmed at an end: which one to close. The rules that do not work are made
    /// of the one that does.
    pub(super) fn confirm(
        self,
        world: &mut World,
        end: End,
        candidate: Candidate,
    ) -> Option<LinkId> {
        let closes = |world: &mut World| confirm_as(End::Small, world, end, candidate);
        let leaves = |world: &mut World| confirm_as(End::Great, world, end, candidate);
        match self {
            Self::Shipped
            | Self::DialsThoughLive
            | Self::LaterIsBelieved
            | Self::ForgottenIsIgnored => confirm_as(end, world, end, candidate),
            Self::NobodyCloses => leaves(world),
            Self::BothClose => closes(world),
            Self::LaterIsClosed => leaves(world).or_else(|| {
                let rivals = world.party(end).links.confirmed().count() > 1;
                (end == End::Small && rivals).then_some(candidate.link)
            }),
            Self::SmallDialWins => leaves(world).or_else(|| {
                let mut confirmed = world.party(end).links.confirmed();
                let of_small = |link: &LinkId| world.connection(*link).dialler == End::Small;
                let great = confirmed.find(|link| !of_small(link));
                let rivals = world
                    .party(end)
                    .links
                    .confirmed()
                    .any(|link| of_small(&link));
                great.filter(|_| rivals)
            }),
            Self::SmallerNumberStays => {
                let dialler = world.connection(candidate.link).dialler;
                let smaller = |link| {
                    let rival = world.connection(link);
                    rival.dialler == dialler && rival.dial < candidate.dial
                };
                let loses = world.party(end).links.confirmed().any(smaller);
                match loses {
                    true => Some(candidate.link),
                    false => confirm_as(end, world, end, candidate),
                }
            }
        }
    }
}

/// The real rule, with an end in the part of the smaller or the greater id.
fn confirm_as(part: End, world: &mut World, end: End, candidate: Candidate) -> Option<LinkId> {
    let links = &mut world.party_mut(end).links;
    links.confirm(part.id(), part.other().id(), candidate)
}
