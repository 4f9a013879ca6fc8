//! Whether a scenario can be played. It may have been written by hand.

use std::{collections::BTreeSet, fmt, ops::RangeInclusive, time::Duration};

use quicpool_core::ConfigError;
use quicpool_sim::OutOfRange;

use super::{
    Condition, LinkProfile, Operation, Scenario, Step, Withdrawal, limits::MESSAGE_BYTES_MAX,
    stranger::STRANGERS_MAX,
};
use crate::{Delay, duration::text, secs};

const NODES: RangeInclusive<usize> = 2..=64;
const STEPS: RangeInclusive<usize> = 0..=10_000;
/// Messages of one step.
const MESSAGES: RangeInclusive<usize> = 0..=10_000;
const MESSAGE_BYTES: RangeInclusive<usize> = 0..=MESSAGE_BYTES_MAX;
const PROBABILITY: RangeInclusive<f64> = 0.0..=1.0;
/// Pauses, and faults that last.
const TIME: RangeInclusive<Duration> = secs(0)..=secs(3_600);
/// How far a clock can be ahead: a year.
const AHEAD: RangeInclusive<Duration> = secs(0)..=secs(31_536_000);
/// Lifetimes of messages: some are longer than any session lasts.
const LIFETIME: RangeInclusive<Duration> = secs(0)..=secs(36_000);
const DELAY: RangeInclusive<Duration> = secs(0)..=secs(10);

/// A scenario cannot be played.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ScenarioError {
    /// Its limits are no configuration.
    #[error("limits: {0}")]
    Limits(#[from] ConfigError),
    /// Something is not as it may be.
    #[error("{field} is {value}, allowed is {allowed}")]
    Field {
        /// Where it is.
        field: String,
        /// The value.
        value: String,
        /// The allowed values.
        allowed: String,
    },
}

impl Scenario {
    /// Checks that every node there is talk of exists, and every number is in its range.
    ///
    /// # Errors
    ///
    /// The first that is not.
    ///
    /// ```
    /// use quicpool_lab::swarm::{Operation, Scenario};
    ///
    /// let mut scenario = Scenario::draw(7);
    /// assert!(scenario.check().is_ok());
    ///
    /// scenario.steps[0].operation = Operation::Connect(0, 64);
    /// let error = scenario.check().unwrap_err().to_string();
    /// assert!(error.starts_with("a node in steps[0].operation is 64, allowed is 0..="), "{error}");
    /// ```
    pub fn check(&self) -> Result<(), ScenarioError> {
        within("nodes", self.nodes, NODES)?;
        for node in &self.hidden {
            self.check_node("hidden", *node)?;
        }
        distinct("hidden", &self.hidden)?;
        for node in &self.driven {
            self.check_node("driven", *node)?;
        }
        distinct("driven", &self.driven)?;
        self.check_limits()?;
        check_links(self.links)?;
        within("the length of steps", self.steps.len(), STEPS)?;
        for (n, step) in self.steps.iter().enumerate() {
            self.check_step(&format!("steps[{n}]"), step)?;
        }
        within(
            "the length of strangers",
            self.strangers.len(),
            0..=STRANGERS_MAX,
        )?;
        for stranger in &self.strangers {
            self.check_node("strangers", stranger.dials)?;
        }
        self.check_outsiders()
    }

    fn check_limits(&self) -> Result<(), ScenarioError> {
        self.limits.config().check()?;
        for (n, own) in self.own_limits.iter().enumerate() {
            self.check_node(&format!("own_limits[{n}]"), own.node)?;
            self.limits_of(own.node).config().check()?;
        }
        let nodes: Vec<usize> = self.own_limits.iter().map(|own| own.node).collect();
        distinct("own_limits", &nodes)
    }

    fn check_step(&self, at: &str, step: &Step) -> Result<(), ScenarioError> {
        let field = format!("{at}.operation");
        let nodes = step.operation.nodes();
        for node in &nodes {
            self.check_node(&field, *node)?;
        }
        if let [a, b] = nodes[..] {
            distinct(&field, &[a, b])?;
        }
        check_operation(&field, &step.operation)?;
        time(&format!("{at}.pause"), step.pause, TIME)
    }

    fn check_node(&self, field: &str, node: usize) -> Result<(), ScenarioError> {
        within(&format!("a node in {field}"), node, 0..=self.nodes - 1)
    }

    fn check_outsiders(&self) -> Result<(), ScenarioError> {
        for (n, outsider) in self.outsiders.iter().enumerate() {
            let field = format!("outsiders[{n}]");
            self.check_node(&field, outsider.node)?;
            if let Condition::Lossy(probability) = outsider.condition {
                within(&field, probability, PROBABILITY)?;
            }
        }
        let nodes: Vec<usize> = self.outsiders.iter().map(|o| o.node).collect();
        distinct("outsiders", &nodes)?;
        // Between fewer than two nothing is to converge.
        within("the length of outsiders", nodes.len(), 0..=self.nodes - 2)
    }
}

fn check_links(links: LinkProfile) -> Result<(), ScenarioError> {
    let LinkProfile::Delay(delay) = links else {
        return Ok(());
    };
    match delay {
        Delay::Constant(delay) => time("links", delay, DELAY),
        Delay::Uniform { from, to } => {
            time("links.to", to, DELAY)?;
            time("links.from", from, Duration::ZERO..=to)
        }
        Delay::Normal { mean, deviation } => {
            time("links.mean", mean, DELAY)?;
            time("links.deviation", deviation, DELAY)
        }
    }
}

fn check_operation(field: &str, operation: &Operation) -> Result<(), ScenarioError> {
    match operation {
        Operation::Send { lengths, .. }
        | Operation::SendConfirmed { lengths, .. }
        | Operation::SendDatagrams { lengths, .. } => check_lengths(field, lengths),
        Operation::SendUntil {
            lengths, lifetime, ..
        } => {
            check_lengths(field, lengths)?;
            time(field, *lifetime, LIFETIME)
        }
        Operation::Withdraw(Withdrawal {
            lengths,
            behind,
            count,
            ..
        }) => {
            check_lengths(field, lengths)?;
            within(&format!("behind in {field}"), *behind, MESSAGES)?;
            within(&format!("count in {field}"), *count, MESSAGES)
        }
        Operation::Link { fault, .. } => fault
            .check()
            .map_err(|OutOfRange { value, allowed }| error(field, value, allowed)),
        Operation::Clog { time: lasts, .. }
        | Operation::Freeze { time: lasts, .. }
        | Operation::BlockSocket { time: lasts, .. } => time(field, *lasts, TIME),
        Operation::StepClock { ahead, .. } => time(field, *ahead, AHEAD),
        Operation::Close { last_words, .. } => {
            within(&format!("last_words in {field}"), *last_words, MESSAGES)
        }
        Operation::ReadUpTo { messages, .. } => {
            within(&format!("messages in {field}"), *messages, MESSAGES)
        }
        Operation::Connect(..)
        | Operation::ConnectBoth(..)
        | Operation::Flush(..)
        | Operation::LeaveFlush(..)
        | Operation::Abort(_)
        | Operation::Disconnect(..)
        | Operation::Cut(..)
        | Operation::CutOneWay(..)
        | Operation::Heal
        | Operation::Rebind(_)
        | Operation::Move(_)
        | Operation::Crash(_)
        | Operation::Restart(_)
        | Operation::PauseReader(_)
        | Operation::ResumeReader(_) => Ok(()),
    }
}

fn check_lengths(field: &str, lengths: &[usize]) -> Result<(), ScenarioError> {
    let count = format!("the length of lengths in {field}");
    within(&count, lengths.len(), MESSAGES)?;
    let mut lengths = lengths.iter();
    lengths.try_for_each(|len| within(&format!("a length in {field}"), *len, MESSAGE_BYTES))
}

fn within<T: PartialOrd + fmt::Debug>(
    field: &str,
    value: T,
    allowed: RangeInclusive<T>,
) -> Result<(), ScenarioError> {
    match allowed.contains(&value) {
        true => Ok(()),
        false => Err(error(field, format!("{value:?}"), format!("{allowed:?}"))),
    }
}

fn time(
    field: &str,
    value: Duration,
    allowed: RangeInclusive<Duration>,
) -> Result<(), ScenarioError> {
    let range = format!("{}..={}", text(*allowed.start()), text(*allowed.end()));
    match allowed.contains(&value) {
        true => Ok(()),
        false => Err(error(&format!("a time in {field}"), text(value), range)),
    }
}

fn distinct(field: &str, nodes: &[usize]) -> Result<(), ScenarioError> {
    let mut seen = BTreeSet::new();
    match nodes.iter().find(|node| !seen.insert(**node)) {
        None => Ok(()),
        Some(node) => {
            let field = format!("a node in {field}");
            Err(error(&field, format!("{node} twice"), "another".to_owned()))
        }
    }
}

fn error(field: &str, value: String, allowed: String) -> ScenarioError {
    ScenarioError::Field {
        field: field.to_owned(),
        value,
        allowed,
    }
}
