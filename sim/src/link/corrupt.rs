//! Damages datagrams.

use bytes::BytesMut;

use super::stage::{Context, Parcel, Stage, Verdict};
use crate::dice::Domain;

#[derive(Debug)]
pub(super) struct Corrupt;

impl Stage for Corrupt {
    fn name(&self) -> &'static str {
        "corrupt"
    }

    fn judge(&mut self, context: &Context<'_>, parcel: &mut Parcel) -> Verdict {
        if !context.happens(Domain::Corrupt, parcel, context.faults.corrupt) {
            return Verdict::Pass;
        }
        let roll = context.dice.roll(Domain::CorruptHow, parcel.number);
        corrupt(&mut parcel.payload, roll);
        Verdict::Touched
    }
}

/// Cuts one in four short, and flips a bit of the others.
fn corrupt(payload: &mut BytesMut, roll: u64) {
    if payload.is_empty() {
        return;
    }
    let at = (roll >> 8) as usize % payload.len();
    match roll % 4 {
        0 => payload.truncate(at),
        _ => payload[at] ^= 1 << (roll >> 2 & 7),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        Faults,
        link::testing::{Bench, check},
    };

    #[test]
    fn damaged_datagrams_differ_and_never_grow() {
        let mut bench = Bench::new(Corrupt, faults(1.0));
        let (mut cut, mut flipped) = (0, 0);
        for _ in 0..1_000 {
            bench.offer(&[7; 100]);
            let payload = bench.take().remove(0).payload;
            assert_ne!(payload, [7; 100][..]);
            match payload.len() {
                100 => flipped += 1,
                0..100 => cut += 1,
                length => panic!("grown to {length}"),
            }
        }
        assert!(cut > 150 && flipped > 600, "{cut} cut, {flipped} flipped");
    }

    #[test]
    fn an_empty_datagram_has_nothing_to_damage() {
        let mut bench = Bench::new(Corrupt, faults(1.0));
        bench.offer(b"");
        assert!(bench.take()[0].payload.is_empty());
    }

    proptest! {
        #[test]
        fn no_datagram_goes_missing(probability in 0.0..1.0, steps in check::steps()) {
            check::conserves(Corrupt, faults(probability), steps)?;
        }
    }

    fn faults(corrupt: f64) -> Faults {
        Faults {
            corrupt,
            ..Faults::default()
        }
    }
}
