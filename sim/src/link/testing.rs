//! A bench on which the tests of the stages try one alone.

use std::time::Duration;

use bytes::BytesMut;
use quicpool_core::EcnCodepoint;

use super::{
    Faults,
    stage::{Context, Counted, LinkDice, Parcel, Stage},
};
use crate::dice::Dice;

pub(super) struct Bench {
    pub(super) stage: Counted,
    pub(super) faults: Faults,
    pub(super) now: Duration,
    pub(super) is_cut: bool,
    pub(super) clogged_until: Duration,
    pub(super) ecn: Option<EcnCodepoint>,
    offered: u64,
    left: Vec<Parcel>,
}

impl Bench {
    pub(super) fn new(stage: impl Stage + 'static, faults: Faults) -> Self {
        Self {
            stage: Counted::new(stage),
            faults,
            now: Duration::ZERO,
            is_cut: false,
            clogged_until: Duration::ZERO,
            ecn: None,
            offered: 0,
            left: Vec::new(),
        }
    }

    /// Offers the next datagram.
    pub(super) fn offer(&mut self, bytes: &[u8]) {
        let parcel = parcel(self.offered, self.ecn, bytes);
        self.offered += 1;
        let context = context(&self.faults, self.now, self.is_cut, self.clogged_until);
        let (verdict, parcel) = self.stage.enter(&context, parcel);
        if let Some(parcel) = parcel {
            let copies = verdict.copies(&parcel);
            self.left.push(parcel);
            self.left.extend(copies);
        }
    }

    /// Offers a datagram that was the n-th on its link, and returns whether it passes.
    pub(super) fn offer_as(&mut self, n: u64, bytes: &[u8]) -> bool {
        self.offered = n;
        self.offer(bytes);
        !self.take().is_empty()
    }

    /// Those that have left at once.
    pub(super) fn take(&mut self) -> Vec<Parcel> {
        std::mem::take(&mut self.left)
    }

    /// Lets time pass until nothing is held; returns what leaves, and when.
    pub(super) fn run(&mut self) -> Vec<(Duration, Parcel)> {
        std::iter::from_fn(|| self.step(Duration::MAX)).collect()
    }

    /// Lets time pass until something leaves, but not beyond `end`.
    pub(super) fn step(&mut self, end: Duration) -> Option<(Duration, Parcel)> {
        let context = context(&self.faults, self.now, self.is_cut, self.clogged_until);
        let at = self.stage.due(&context).filter(|at| *at <= end)?;
        self.now = self.now.max(at);
        let context = Context {
            now: self.now,
            ..context
        };
        let parcel = self.stage.release(&context);
        Some((self.now, parcel.expect("what is due leaves")))
    }
}

fn context(faults: &Faults, now: Duration, is_cut: bool, clogged_until: Duration) -> Context<'_> {
    let dice = LinkDice {
        dice: Dice::new(1),
        entity: 0,
    };
    Context {
        now,
        faults,
        dice,
        is_cut,
        clogged_until,
    }
}

pub(super) fn parcel(n: u64, ecn: Option<EcnCodepoint>, bytes: &[u8]) -> Parcel {
    Parcel {
        number: n * Parcel::NUMBERS,
        source: ([10, 0, 0, 1], 1).into(),
        destination: ([10, 0, 0, 2], 2).into(),
        ecn,
        payload: BytesMut::from(bytes),
    }
}

/// What must hold for every stage.
pub(super) mod check {
    use proptest::{collection::vec, prelude::*, test_runner::TestCaseError};

    use super::*;
    use crate::ms;

    /// What is done to a stage.
    #[derive(Debug, Clone)]
    pub(in crate::link) enum Step {
        Offer { first_byte: u8, length: usize },
        Wait { ms: u64 },
        Cut { is_cut: bool },
        Clog { ms: u64 },
    }

    pub(in crate::link) fn steps() -> impl Strategy<Value = Vec<Step>> {
        let offer = (any::<u8>(), 0..120usize)
            .prop_map(|(first_byte, length)| Step::Offer { first_byte, length });
        let step = prop_oneof![
            6 => offer,
            2 => (0..40u64).prop_map(|ms| Step::Wait { ms }),
            1 => any::<bool>().prop_map(|is_cut| Step::Cut { is_cut }),
            1 => (0..60u64).prop_map(|ms| Step::Clog { ms }),
        ];
        vec(step, 0..150)
    }

    /// A datagram that begins with a version, so that it can be of any kind.
    pub(in crate::link) fn datagram(first_byte: u8, length: usize) -> Vec<u8> {
        let mut datagram = vec![1; length];
        if let Some(first) = datagram.first_mut() {
            *first = first_byte;
        }
        datagram
    }

    /// A stage counts all that came, and what it counts is what was seen to come and go.
    pub(in crate::link) fn conserves(
        stage: impl Stage + 'static,
        faults: Faults,
        steps: Vec<Step>,
    ) -> Result<(), TestCaseError> {
        let mut bench = Bench::new(stage, faults);
        let (mut entered, mut left) = (0, 0);
        for step in steps {
            match step {
                Step::Offer { first_byte, length } => {
                    entered += 1;
                    bench.offer(&datagram(first_byte, length));
                    left += bench.take().len() as u64;
                }
                Step::Wait { ms: time } => {
                    let end = bench.now + ms(time);
                    while bench.step(end).is_some() {
                        left += 1;
                    }
                    bench.now = end;
                }
                Step::Cut { is_cut } => bench.is_cut = is_cut,
                Step::Clog { ms: time } => bench.clogged_until = bench.now + ms(time),
            }
            let counts = bench.stage.counts();
            prop_assert_eq!((counts.entered, counts.left), (entered, left));
            let gone = counts.left + counts.dropped + counts.held;
            prop_assert_eq!(counts.entered + counts.copied, gone);
        }
        left += bench.run().len() as u64;
        let counts = bench.stage.counts();
        prop_assert_eq!((counts.held, counts.left), (0, left));
        Ok(())
    }
}
