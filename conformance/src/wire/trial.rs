//! One rule's trial of one program: what the rules have in common.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use quicpool_core::{PeerAddr, PeerId};

use super::{Failure, Identity, Program, Settings, dice::Dice, end::End};

/// Longer than anything takes that goes well: a silence, a backoff of the first failure and a handshake.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// How long to look out for a message that is one too many.
const AFTERMATH: Duration = Duration::from_millis(30);

/// The seed of everything random in a trial.
const SEED: u64 = 0x71_75_69_63;

/// A program, and what it is started with.
pub(super) struct Trial<'a> {
    pub(super) program: &'a mut dyn Program,
    pub(super) settings: Settings,
    pub(super) dice: Dice,
    /// Messages that have come while others were waited for.
    early: BTreeMap<PeerId, Vec<Vec<u8>>>,
}

impl<'a> Trial<'a> {
    pub(super) fn new(program: &'a mut dyn Program) -> Self {
        Self {
            program,
            settings: Settings::default(),
            dice: Dice::new(SEED),
            early: BTreeMap::new(),
        }
    }

    /// Starts the program under a fresh identity.
    pub(super) fn start(&mut self) -> Result<PeerAddr, Failure> {
        self.settings.identity = Identity::Fresh;
        self.program.start(&self.settings)
    }

    /// An end of the kit.
    pub(super) fn end(&mut self) -> Result<End, Failure> {
        End::fresh(&self.settings, self.dice.next())
    }

    /// Has the program send messages.
    pub(super) fn send(&mut self, to: PeerAddr, messages: &[Vec<u8>]) -> Result<(), Failure> {
        let send = |message: &Vec<u8>| self.program.send(to, message);
        messages.iter().try_for_each(send)
    }

    /// Waits until the program has received these messages of an end and no more of it.
    pub(super) fn receive(&mut self, from: &End, expected: &[Vec<u8>]) -> Result<(), Failure> {
        let peer = from.addr.id;
        let until = Instant::now() + PATIENCE;
        while self.count(peer) < expected.len() && self.receive_one(until)? {}
        while self.receive_one(Instant::now() + AFTERMATH)? {}
        let got = self.early.remove(&peer).unwrap_or_default();
        compare("the program received", expected, &got)
    }

    /// Receives one message if one comes in time.
    fn receive_one(&mut self, until: Instant) -> Result<bool, Failure> {
        let patience = until.saturating_duration_since(Instant::now());
        let Some((from, message)) = self.program.receive(patience)? else {
            return Ok(false);
        };
        self.early.entry(from).or_default().push(message);
        Ok(true)
    }

    fn count(&self, peer: PeerId) -> usize {
        self.early.get(&peer).map_or(0, Vec::len)
    }
}

/// Waits until an end has received these messages of the program and no more.
pub(super) fn arrive(end: &End, from: PeerId, expected: &[Vec<u8>]) -> Result<(), Failure> {
    end.wait(PATIENCE, |seen| seen.messages.len() >= expected.len());
    compare("the kit received", expected, &end.seen().of(from))
}

/// Messages of these lengths with different bytes.
pub(super) fn messages(dice: &mut Dice, lens: impl IntoIterator<Item = usize>) -> Vec<Vec<u8>> {
    lens.into_iter().map(|len| dice.bytes(len)).collect()
}

/// Names the first difference between what was sent and what came.
fn compare(who: &str, expected: &[Vec<u8>], got: &[Vec<u8>]) -> Result<(), Failure> {
    let of = expected.len();
    for (number, message) in expected.iter().enumerate() {
        let len = message.len();
        let wrong = match got.get(number) {
            Some(found) if found == message => continue,
            None => format!("only {number} of {of} messages"),
            Some(found) => match expected.iter().position(|message| message == found) {
                Some(other) if other < number => format!("message {other} of {of} twice"),
                Some(other) => format!("message {other} of {of} where {number} is due"),
                None => format!(
                    "{} bytes that are not message {number} of {of}, which has {len}",
                    found.len()
                ),
            },
        };
        return Err(Failure::Wrong(format!("{who} {wrong}")));
    }
    match got.len() - of {
        0 => Ok(()),
        more => Err(Failure::Wrong(format!(
            "{who} {more} more than {of} messages"
        ))),
    }
}
