//! Explores every order in which a sender and a receiver can meet the limits that ship.
//!
//! A state is one connection: records of any lengths from a few, written in any pieces, with acknowledgements on
//! their way, an inbox of any small size, an application that takes at any time, and other inboxes that fill and
//! empty in between. Checked in each state: the sender never exceeds a limit, the inbox never holds more than its
//! size and one record, and there is a way to go on. At each end: everything has arrived.

use std::collections::{BTreeSet, VecDeque};

use super::{Ahead, CloseCode, Grants, Limits, Room};

/// The length of a header, in bytes.
const HEADER: u64 = 2;

/// A world: what is fixed for a search.
#[derive(Debug, Clone)]
struct Setting {
    /// Bytes of the bodies of records, in the order in which they are written.
    bodies: Vec<u64>,
    /// Bytes that the inbox holds, one record apart.
    inbox_max: u64,
    passage_ahead: u64,
    rule: Rule,
}

/// The rule that ships, or one that is wrong on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    Ships,
    /// Limits go only with acknowledgements that leave for another reason.
    NeverDue,
    /// Passage is raised when a record is whole.
    PassageByRecord,
    /// Credit follows what the sender has written and not what was read.
    CreditIsRelative,
}

/// One state.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct State {
    // The sender
    limits: Limits,
    written: u64,
    // On the way
    bytes: u64,
    acks: VecDeque<Limits>,
    // The receiver
    grants: Grants,
    /// Bytes of the record that has begun, its header included.
    begun: u64,
    /// Records that have arrived.
    arrived: usize,
    /// Records that the application has taken.
    taken: usize,
    /// Taken and not acknowledged: an acknowledgement leaves for that.
    is_unreported: bool,
    /// Whether other inboxes are full.
    is_held_back: bool,
}

impl Setting {
    fn start(&self) -> State {
        let inbox = usize::try_from(self.inbox_max).expect("few");
        let ahead = usize::try_from(self.passage_ahead).expect("few");
        let mut state = State {
            limits: Limits::default(),
            written: 0,
            bytes: 0,
            acks: VecDeque::new(),
            grants: Grants::new(Ahead {
                passage: ahead,
                credit: usize::try_from(self.first_credit()).expect("few"),
                credit_max: inbox,
            }),
            begun: 0,
            arrived: 0,
            taken: 0,
            is_unreported: false,
            is_held_back: false,
        };
        let wanted = self.wanted(&state);
        state.grants.raise(self.room(&state), wanted);
        state.acks.push_back(state.grants.tell());
        state
    }

    fn total(&self) -> u64 {
        self.bodies.iter().map(|body| HEADER + body).sum()
    }

    fn held(&self, state: &State) -> u64 {
        self.bodies[state.taken..state.arrived].iter().sum()
    }

    /// As `Budget::inbox_room` has it: a first credit is always reserved.
    fn room(&self, state: &State) -> Option<Room> {
        let held = self.held(state);
        let reserved = self.first_credit().saturating_sub(held);
        let budget = match state.is_held_back {
            true => reserved,
            false => reserved.max(self.total()),
        };
        let inbox = self.inbox_max.saturating_sub(held).min(budget);
        let few = |bytes| usize::try_from(bytes).expect("few");
        (inbox > 0).then(|| Room {
            inbox: few(inbox),
            budget: few(budget),
        })
    }

    const fn first_credit(&self) -> u64 {
        self.inbox_max.div_ceil(4)
    }

    fn wanted(&self, state: &State) -> usize {
        let body = self.bodies.get(state.arrived).copied().unwrap_or(0);
        let whole = match state.begun < HEADER {
            true => HEADER,
            false => HEADER + body,
        };
        usize::try_from(whole - state.begun).expect("few")
    }

    /// The states that follow.
    fn next(&self, state: &State) -> Result<Vec<State>, String> {
        let mut next = Vec::new();
        let mut add = |change: &dyn Fn(&mut State) -> Result<(), String>| -> Result<(), String> {
            let mut other = state.clone();
            change(&mut other)?;
            next.push(other);
            Ok(())
        };
        let allowed = state.limits.bytes().min(self.total());
        if state.written < allowed {
            // As much as the limits let, or a single byte.
            for written in [allowed, state.written + 1] {
                add(&|state| {
                    state.bytes += written - state.written;
                    state.written = written;
                    Ok(())
                })?;
            }
        }
        if state.bytes > 0 {
            for bytes in [state.bytes, 1] {
                add(&|state| self.read(state, bytes))?;
            }
        }
        if !state.acks.is_empty() {
            add(&|state| {
                let limits = state.acks.pop_front().unwrap_or_default();
                state.limits.raise(limits);
                if self.rule == Rule::CreditIsRelative {
                    state.limits.credit = state.written + limits.credit - state.grants.read;
                }
                Ok(())
            })?;
        }
        if state.taken < state.arrived {
            add(&|state| {
                state.taken += 1;
                state.is_unreported = true;
                self.grant(state);
                Ok(())
            })?;
        }
        if state.is_unreported {
            add(&|state| {
                let wanted = self.wanted(state);
                state.grants.raise(self.room(state), wanted);
                self.tell(state);
                Ok(())
            })?;
        }
        add(&|state| {
            state.is_held_back = !state.is_held_back;
            self.grant(state);
            Ok(())
        })?;
        Ok(next)
    }

    fn tell(&self, state: &mut State) {
        let limits = state.grants.tell();
        state.acks.push_back(limits);
        state.is_unreported = false;
    }

    fn grant(&self, state: &mut State) {
        let wanted = self.wanted(state);
        let before = state.grants.granted.passage;
        state.grants.raise(self.room(state), wanted);
        if self.rule == Rule::PassageByRecord && state.begun > 0 {
            state.grants.granted.passage = before;
        }
        if self.rule != Rule::NeverDue && state.grants.are_due(self.wanted(state)) {
            self.tell(state);
        }
    }

    fn read(&self, state: &mut State, mut bytes: u64) -> Result<(), String> {
        state.bytes -= bytes;
        while bytes > 0 {
            let part = bytes.min(self.wanted(state) as u64);
            let read = state.grants.read(usize::try_from(part).expect("few"));
            read.map_err(|code| format!("an honest sender is closed with {code:?}"))?;
            state.begun += part;
            bytes -= part;
            if state.begun == HEADER + self.bodies[state.arrived] {
                state.begun = 0;
                state.arrived += 1;
                state.is_unreported = true;
            }
        }
        let most = self.bodies.iter().max().copied().unwrap_or(0);
        let held = self.held(state) + state.begun;
        if held > self.inbox_max + HEADER + most {
            return Err(format!("the inbox holds {held} bytes"));
        }
        self.grant(state);
        Ok(())
    }

    /// Whether everything has arrived and was taken.
    fn is_done(&self, state: &State) -> bool {
        state.taken == self.bodies.len()
    }

    /// Lets everything happen that can happen by itself, while other inboxes leave room.
    fn can_end(&self, state: &State) -> Result<bool, String> {
        let mut state = state.clone();
        if state.is_held_back {
            state.is_held_back = false;
            self.grant(&mut state);
        }
        for _ in 0..1_000 {
            if self.is_done(&state) {
                return Ok(true);
            }
            let before = state.clone();
            // Each kind of step in turn, but never the last one, which holds back.
            let steps = self.next(&state)?;
            if steps.len() < 2 {
                return Ok(false);
            }
            state = steps[0].clone();
            if state == before {
                return Ok(false);
            }
        }
        Ok(false)
    }
}

/// Explores all states. Returns how many there are.
fn explore(setting: &Setting) -> Result<usize, String> {
    let start = setting.start();
    let mut seen = BTreeSet::from([start.clone()]);
    let mut queue = VecDeque::from([start]);
    while let Some(state) = queue.pop_front() {
        if !setting.can_end(&state)? {
            return Err(format!("stuck: {state:?}"));
        }
        for next in setting.next(&state)? {
            // An acknowledgement that repeats the last one adds nothing.
            if next.acks.len() <= 3 && seen.insert(next.clone()) {
                queue.push_back(next);
            }
        }
    }
    Ok(seen.len())
}

fn settings(rule: Rule) -> Vec<Setting> {
    let mut settings = Vec::new();
    for bodies in [vec![5, 1, 3], vec![1, 7], vec![9, 2]] {
        for inbox_max in [1, 3, 8] {
            for passage_ahead in [1, 20] {
                settings.push(Setting {
                    bodies: bodies.clone(),
                    inbox_max,
                    passage_ahead,
                    rule,
                });
            }
        }
    }
    settings
}

#[test]
fn no_limit_is_exceeded_and_nothing_is_stuck_in_any_order() {
    let mut states = 0;
    for setting in settings(Rule::Ships) {
        match explore(&setting) {
            Ok(explored) => states += explored,
            Err(error) => panic!("{setting:?}: {error}"),
        }
    }
    println!(
        "{states} states in {} settings",
        settings(Rule::Ships).len()
    );
    assert!(states > 10_000, "{states}");
}

#[test]
fn wrong_rules_are_found() {
    for rule in [
        Rule::NeverDue,
        Rule::PassageByRecord,
        Rule::CreditIsRelative,
    ] {
        let found = settings(rule)
            .iter()
            .any(|setting| explore(setting).is_err());
        assert!(found, "{rule:?}");
    }
}

#[test]
fn bytes_beyond_either_limit_are_a_violation() {
    for (credit, passage) in [(10, 20), (20, 10)] {
        let mut grants = Grants::new(Ahead {
            passage,
            credit,
            credit_max: credit,
        });
        let room = Room {
            inbox: 100,
            budget: 100,
        };
        grants.raise(Some(room), 0);
        let early = grants.clone().read(1);
        assert_eq!(early, Err(CloseCode::OverCredit), "it was not written yet");
        let limits = grants.tell();
        assert_eq!(limits.bytes(), 10);
        assert_eq!(grants.read(10), Ok(()));
        assert_eq!(grants.read(1), Err(CloseCode::OverCredit));
    }
}
