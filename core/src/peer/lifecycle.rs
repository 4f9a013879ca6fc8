//! The states of a peer's connection, and the only moves between them.
//!
//! Everything that changes a status is in this file: one table, a match without wildcard.

use crate::ConnectionStatus::{self, Connected, Connecting, Disconnected, Failed, New};

/// What can happen to a peer's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// A dial of ours begins, or the peer has proved its identity in a handshake of its own.
    Begun,
    /// A connection is confirmed by both ends.
    Confirmed,
    /// The last attempt has failed, and no other is under way.
    AttemptFailed,
    /// The last attempt is no longer wanted.
    CalledOff,
    /// The last connection was closed as intended, by either end.
    Closed,
    /// The last connection was lost to an error.
    Lost,
}

/// What a cause does to a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Move {
    /// The state becomes this one.
    To(ConnectionStatus),
    /// The state is as it should be.
    Stay,
    /// The cause cannot occur in this state: a bug of ours.
    Impossible,
}

/// The table.
pub(crate) const fn next(state: ConnectionStatus, cause: Cause) -> Move {
    match (state, cause) {
        (New | Disconnected | Failed, Cause::Begun) => Move::To(Connecting),
        (Connecting | Connected, Cause::Begun) => Move::Stay,

        (Connecting, Cause::Confirmed) => Move::To(Connected),
        (Connected, Cause::Confirmed) => Move::Stay,
        (New | Disconnected | Failed, Cause::Confirmed) => Move::Impossible,

        (Connecting, Cause::AttemptFailed) => Move::To(Failed),
        // An own dial that fails while an inbound connection lives changes nothing.
        (Connected, Cause::AttemptFailed) => Move::Stay,
        (New | Disconnected | Failed, Cause::AttemptFailed) => Move::Impossible,

        (Connecting, Cause::CalledOff) => Move::To(Disconnected),
        (Connected, Cause::CalledOff) => Move::Stay,
        (New | Disconnected | Failed, Cause::CalledOff) => Move::Impossible,

        (Connected, Cause::Closed) => Move::To(Disconnected),
        (Connected, Cause::Lost) => Move::To(Failed),
        (New | Connecting | Disconnected | Failed, Cause::Closed | Cause::Lost) => Move::Impossible,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATES: [ConnectionStatus; 5] = [New, Connecting, Connected, Disconnected, Failed];
    const CAUSES: [Cause; 6] = [
        Cause::Begun,
        Cause::Confirmed,
        Cause::AttemptFailed,
        Cause::CalledOff,
        Cause::Closed,
        Cause::Lost,
    ];

    fn table() -> String {
        let mut table = String::new();
        for state in STATES {
            for cause in CAUSES {
                let outcome = match next(state, cause) {
                    Move::To(to) => format!("{to:?}"),
                    Move::Stay => "stays".to_owned(),
                    Move::Impossible => "impossible".to_owned(),
                };
                table += &format!("{state:?} + {cause:?} = {outcome}\n");
            }
        }
        table
    }

    fn diagram() -> String {
        let mut diagram = "```mermaid\nstateDiagram-v2\n    [*] --> New\n".to_owned();
        for state in STATES {
            for cause in CAUSES {
                if let Move::To(to) = next(state, cause) {
                    diagram += &format!("    {state:?} --> {to:?}: {cause:?}\n");
                }
            }
        }
        diagram + "```\n"
    }

    #[test]
    fn the_whole_table_is_as_reviewed() {
        assert_eq!(table(), include_str!("lifecycle.snapshot.txt"));
    }

    #[test]
    fn the_diagram_in_the_architecture_is_generated_from_the_table() {
        let architecture = include_str!("../../../ARCHITECTURE.md");
        assert!(
            architecture.contains(&diagram()),
            "ARCHITECTURE.md should contain:\n{}",
            diagram()
        );
    }

    #[test]
    fn edges_of_the_specification_are_there() {
        for (from, to) in [
            (New, Connecting),
            (Connecting, Connected),
            (Connected, Disconnected),
            (Connected, Failed),
            (Disconnected, Connecting),
        ] {
            assert!(
                CAUSES
                    .iter()
                    .any(|cause| next(from, *cause) == Move::To(to)),
                "{from:?} -> {to:?}"
            );
        }
    }
}
