//! Randomness by counter: each decision is a function of its name, not of those made before it.
//!
//! So a message more or a fault less leaves all other decisions of a run where they were, and a
//! failing run can be made smaller without becoming another run.

use crate::hash::Hasher;

/// The purpose of a draw. Two domains never share a draw.
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Domain {
    Identity,
    MachineSeed,
    Incarnation,
    Sessions,
    Loss,
    Duplicate,
    Reorder,
    ReorderBy,
    Corrupt,
    CorruptHow,
    DuplicateCount,
    BurstTurn,
    BurstLoss,
    Delay,
    Tie,
    Scenario,
    Junk,
    Plan,
    App,
    Test,
}

/// All draws of one seed.
///
/// The seed is hashed before it is combined with any name: 128 bits that differ between any two seeds in
/// both lanes of the [`Hasher`]. Each step of that is a bijection, so no two seeds share a draw of 128 bits,
/// whatever its name, and two domains of a seed share none of one entity and number.
#[derive(Debug, Clone, Copy)]
pub struct Dice {
    key: u128,
}

impl Dice {
    /// The draws of a seed.
    pub const fn new(seed: u64) -> Self {
        let key = Hasher::new(0).word(seed).finish();
        Self { key }
    }

    /// The `n`-th draw that an entity makes in a domain.
    pub fn roll(self, domain: Domain, entity: u64, n: u64) -> u64 {
        self.draw(domain, entity, n).finish() as u64
    }

    /// Bytes of a draw.
    pub fn bytes<const N: usize>(self, domain: Domain, entity: u64, n: u64) -> [u8; N] {
        self.draw(domain, entity, n).array()
    }

    /// A draw from 0 up to, but not including, 1.
    pub fn fraction(self, domain: Domain, entity: u64, n: u64) -> f64 {
        // The upper 53 bits are what a double holds exactly.
        (self.roll(domain, entity, n) >> 11) as f64 / (1u64 << 53) as f64
    }

    fn draw(self, domain: Domain, entity: u64, n: u64) -> Hasher {
        let hash = Hasher::new(self.key).word(domain as u64);
        hash.word(entity).word(n)
    }
}

/// Numbers drawn one after the other by one entity in one domain.
#[derive(Debug, Clone)]
pub struct Draw {
    dice: Dice,
    domain: Domain,
    entity: u64,
    drawn: u64,
}

impl Draw {
    /// The draws of a seed under this name.
    pub const fn new(seed: u64, domain: Domain, entity: u64) -> Self {
        Self {
            dice: Dice::new(seed),
            domain,
            entity,
            drawn: 0,
        }
    }

    /// A number from 0 up to, but not including, `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.drawn += 1;
        self.dice.roll(self.domain, self.entity, self.drawn) % bound
    }

    /// A number from the least to the most, both included.
    pub fn between(&mut self, (least, most): (u64, u64)) -> u64 {
        least + self.below(most - least + 1)
    }

    /// A whole number of hundredths.
    pub fn percent(&mut self, range: (u64, u64)) -> f64 {
        self.between(range) as f64 / 100.0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const DOMAINS: [Domain; 20] = [
        Domain::Identity,
        Domain::MachineSeed,
        Domain::Incarnation,
        Domain::Sessions,
        Domain::Loss,
        Domain::Duplicate,
        Domain::Reorder,
        Domain::ReorderBy,
        Domain::Corrupt,
        Domain::CorruptHow,
        Domain::DuplicateCount,
        Domain::BurstTurn,
        Domain::BurstLoss,
        Domain::Delay,
        Domain::Tie,
        Domain::Scenario,
        Domain::Junk,
        Domain::Plan,
        Domain::App,
        Domain::Test,
    ];

    #[test]
    fn neighbours_agree_in_no_draw() {
        let mut draws = BTreeSet::new();
        for seed in 0..64 {
            let dice = Dice::new(seed);
            for domain in DOMAINS {
                for (entity, n) in (0..4).flat_map(|entity| (0..4).map(move |n| (entity, n))) {
                    let is_new = draws.insert(dice.roll(domain, entity, n));
                    assert!(is_new, "seed {seed}, {domain:?}, entity {entity}, draw {n}");
                }
            }
        }
        assert_eq!(draws.len(), 64 * 16 * (Domain::Test as usize + 1));
    }

    #[test]
    fn a_draw_depends_on_its_name_alone() {
        let dice = Dice::new(1);
        let draw = dice.roll(Domain::Loss, 2, 3);
        assert_eq!(draw, Dice::new(1).roll(Domain::Loss, 2, 3));
        assert_ne!(draw, Dice::new(2).roll(Domain::Loss, 2, 3));
        assert_ne!(draw, dice.roll(Domain::Duplicate, 2, 3));
        assert_ne!(draw, dice.roll(Domain::Loss, 3, 3));
        assert_ne!(draw, dice.roll(Domain::Loss, 2, 4));
    }

    #[test]
    fn things_happen_as_often_as_they_should() {
        let dice = Dice::new(9);
        for (probability, range) in [(0.0, 0..1), (0.02, 1_850..2_150), (1.0, 100_000..100_001)] {
            let happened = |n: &u64| dice.fraction(Domain::Loss, 0, *n) < probability;
            let count = (0..100_000).filter(happened).count();
            assert!(range.contains(&count), "{count} times at {probability}");
        }
    }
}
