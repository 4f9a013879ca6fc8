//! One connection per pair, whatever happens in whatever order: every interleaving of two ends with
//! up to two faults, with the code that ships at both: [`rules`](super::rules), and the
//! [`Links`](crate::peer::links::Links) and [`Processes`](crate::peer::processes::Processes) that it decides by.
//!
//! Whatever is on its way may arrive next, in any order between connections; within one, a close
//! overtakes the rest. Time does not pass: each dial may come at once or late. `at` is an end as the rules
//! see it.

mod at;
mod fault;
mod rule;
mod search;
mod step;
mod tell;
mod world;

use self::{
    fault::{Clock, Fault},
    rule::Rule,
    search::{Disagreement, Report, explore},
    step::{Packet, Step},
    world::{Demand, End, World},
};
use crate::{peer::LinkId, wire::code::CloseCode};

/// The most dials after the last of 0, 1, 2 faults. Each end begins one when nothing is there. A fault may end
/// what both have and what they have just begun; and an end that learns late that the other has gone on as
/// another process, or with another session, begins once more.
const DIALS_MAX: [u8; 3] = [2, 5, 7];

#[test]
fn every_interleaving_with_two_faults_ends_with_one_connection() {
    let report = explore_all(Rule::Shipped, 2).unwrap_or_else(|found| panic!("\n{found}"));
    println!(
        "one connection per pair: {} states with up to 2 faults, {} ends, 0 disagreements; at most \
         {:?} dials after the last of 0, 1, 2 faults",
        report.states, report.ends, report.dials
    );
    assert_eq!(report.dials, DIALS_MAX);
    assert!(
        report.states > 1_000_000 && report.ends > 1_000,
        "{report:?}"
    );
}

/// Failure 23. Both dial, and the smaller id has just closed the connection that loses: then the one
/// that stays dies, in whichever way.
#[test]
fn a_winner_that_dies_at_once_strands_nobody() {
    let (loser, winner) = (LinkId::new(0, 0), LinkId::new(1, 0));
    let mut tie = World::new([Demand::Waiting; 2]);
    let mut take = |step| {
        tie.apply(Rule::Shipped, step);
        let _ = tie.make_canonical();
    };
    End::BOTH.into_iter().for_each(|end| take(Step::Dial(end)));
    for (link, dialler) in [(loser, End::Small), (winner, End::Great)] {
        for end in [dialler.other(), dialler, dialler.other()] {
            take(Step::Arrives(link, end, Packet::Flight));
        }
        take(Step::Arrives(link, End::Small, Packet::Hello));
    }
    assert_eq!(tie.party(End::Small).links.live(), Some(winner));
    let closed = tie.connection(loser).underway(End::Great).close;
    assert_eq!(closed, Some(CloseCode::Replaced));

    let mut deaths = vec![Fault::Drop(winner)];
    for end in End::BOTH {
        let restarts = [Clock::Later, Clock::Earlier].map(|clock| Fault::Restart(end, clock));
        deaths.extend(restarts);
        deaths.extend([
            Fault::Break(winner, end),
            Fault::Evict(end),
            Fault::Disconnect(end),
        ]);
    }
    for death in deaths {
        let mut dead = tie.clone();
        dead.apply(Rule::Shipped, Step::Fault(death));
        let _ = dead.make_canonical();
        let report = explore(Rule::Shipped, &[dead], &DIALS_MAX[..=1]);
        let report = report.unwrap_or_else(|found| panic!("\n{found}"));
        assert!(report.states > 50 && report.ends > 0, "{report:?}");
    }
}

/// The check can fail: it finds a short way to trouble with each of the rules that do not work.
#[test]
fn rules_that_do_not_work_are_found_out() {
    for rule in Rule::WRONG {
        let found = (0..DIALS_MAX.len()).find_map(|faults| explore_all(rule, faults).err());
        let found = found.unwrap_or_else(|| panic!("{rule:?} works"));
        println!("{rule:?}:\n{found}\n");
    }
}

fn explore_all(rule: Rule, faults: usize) -> Result<Report, Box<Disagreement>> {
    use Demand::{None, Waiting};
    let starts = [[Waiting, Waiting], [Waiting, None], [None, Waiting]].map(World::new);
    explore(rule, &starts, &DIALS_MAX[..=faults])
}
