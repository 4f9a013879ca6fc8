//! Records on the wire: what was accepted is in them, it is not legible, and no nonce recurs.

use std::{collections::BTreeSet, ops::Range, time::Duration};

use quicpool_core::{Config, Flush, Sealing, driver::OpenBatch};

use super::wire::{Leaving, Stream};
use crate::swarm::marks::{Log, always, never, sometimes};

/// What all messages are filled up with; it is on the wire only if they are not sealed.
pub(in crate::swarm) const FILLING: u8 = 7;
/// A row of filling as long as this is no coincidence.
const FILLING_LEN: usize = 16;
/// The length of a record's header, in bytes.
const HEADER_LEN: usize = 16;
/// The kind of a headed record, and what its header has beside: its age.
const HEADED: u8 = 1;
const AGE_LEN: usize = 4;
/// The length of the tag behind a sealed record, in bytes.
const SEAL_LEN: usize = 16;
/// Bytes of a record's body that are looked at. That many agree by chance once in 2^96 pairs.
const SIGHT_LEN: usize = 12;

/// All messages that were accepted, and what is seen of them.
#[derive(Debug)]
pub(super) struct Records {
    /// By sender and receiver.
    lines: Vec<Vec<Line>>,
    /// The beginnings of all keystreams so far.
    keystreams: BTreeSet<[u8; SIGHT_LEN]>,
}

/// What one process has accepted for a peer.
#[derive(Debug, Default)]
struct Line {
    accepted: Vec<Accepted>,
    /// The number behind the last one that was written.
    written: u64,
    /// Numbers whose messages were withdrawn, have expired or are too long.
    left_out: BTreeSet<u64>,
}

#[derive(Debug)]
struct Accepted {
    at: Duration,
    /// How it begins in a body: with its length.
    framed: Vec<u8>,
    cost: usize,
}

/// A record whose first bytes have left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RecordStart {
    pub(super) to: usize,
    pub(super) first: u64,
    pub(super) count: u32,
    len: usize,
    kind: u8,
}

impl Line {
    /// Voids are written.
    fn notice_voids(&self, log: &mut Log, start: RecordStart) {
        let first = self.accepted.get(start.first as usize);
        let is_of_the_batch = |number: u64| {
            let other = self.accepted.get(number as usize);
            let is_together = other.zip(first).is_some_and(|(a, b)| a.at == b.at);
            is_together && !self.left_out.contains(&number)
        };
        let before = start.first.checked_sub(1).is_some_and(is_of_the_batch);
        let after = is_of_the_batch(start.next());
        sometimes!(log, before && after, "a void was written amid a batch");
        sometimes!(
            log,
            start.count > 1 && !before && !after,
            "a batch was written that has voids alone"
        );
    }
}

impl RecordStart {
    /// The number after its last one.
    pub(super) const fn next(self) -> u64 {
        self.first + self.count as u64
    }
}

impl Records {
    pub(super) fn new(nodes: usize) -> Self {
        let row = || (0..nodes).map(|_| Line::default()).collect();
        Self {
            lines: (0..nodes).map(|_| row()).collect(),
            keystreams: BTreeSet::new(),
        }
    }

    /// A new process counts from the start. The keystreams of the earlier one stay forbidden.
    pub(super) fn restart(&mut self, node: usize) {
        self.lines[node]
            .iter_mut()
            .for_each(|line| *line = Line::default());
    }

    /// A message was accepted; gives its number.
    pub(super) fn accept(&mut self, at: Duration, from: usize, to: usize, message: &[u8]) -> u64 {
        let line = &mut self.lines[from][to];
        let mut framed = length(message.len());
        framed.extend(message.iter().take(SIGHT_LEN));
        line.accepted.push(Accepted {
            at,
            framed,
            cost: OpenBatch::cost(message.len()),
        });
        line.accepted.len() as u64 - 1
    }

    /// A message is to be written on no connection.
    pub(super) fn leave_out(&mut self, log: &mut Log, from: usize, to: usize, number: u64) {
        let line = &mut self.lines[from][to];
        never!(
            log,
            number < line.written,
            LeftOut,
            "message {number} is withdrawn or expires, and {} are written",
            line.written
        );
        line.left_out.insert(number);
    }

    /// Whether messages were accepted together with these, and are not left out.
    pub(super) fn is_amid_others(&self, from: usize, to: usize, messages: &Range<u64>) -> bool {
        let line = &self.lines[from][to];
        let at = |number: u64| {
            line.accepted
                .get(number as usize)
                .map(|accepted| accepted.at)
        };
        let is_other = |number: u64| !line.left_out.contains(&number);
        let neighbours = [messages.start.checked_sub(1), Some(messages.end)];
        let mut neighbours = neighbours.into_iter().flatten();
        neighbours.any(|number| {
            is_other(number) && at(number).is_some_and(|it| Some(it) == at(messages.start))
        })
    }

    /// The number after the last message that a node has written, for each other node.
    pub(super) fn written(&self, from: usize) -> Vec<u64> {
        self.lines[from].iter().map(|line| line.written).collect()
    }

    /// Nothing that is sealed is legible.
    pub(super) fn look(log: &mut Log, config: &Config, leaving: &Leaving<'_>) {
        never!(
            log,
            is_sealed(config) && has_filling(leaving.payload),
            NothingInClear,
            "it sends a message that can be read"
        );
    }

    /// Reads new data of a stream.
    pub(super) fn read(
        &mut self,
        log: &mut Log,
        config: &Config,
        leaving: &Leaving<'_>,
        stream: &mut Stream,
        mut data: &[u8],
        starts: &mut Vec<RecordStart>,
    ) {
        while !data.is_empty() {
            if stream.rest == 0 {
                let missing = header_len(&stream.header) - stream.header.len();
                stream.header.extend(take(&mut data, missing));
                if stream.header.len() < header_len(&stream.header) {
                    continue;
                }
                let start = decode(leaving.to, &stream.header);
                let seal = if is_sealed(config) { SEAL_LEN } else { 0 };
                stream.rest = start.len + seal;
                stream.body.clear();
                self.start(log, config, leaving, start);
                starts.push(start);
            }
            let body = take(&mut data, stream.rest);
            stream.rest -= body.len();
            let missing = 2 * SIGHT_LEN - stream.body.len();
            stream.body.extend(body.iter().take(missing));
            if stream.rest == 0 {
                let header = std::mem::take(&mut stream.header);
                let start = decode(leaving.to, &header);
                self.compare(log, config, leaving.from, start, &stream.body);
            }
        }
    }

    fn start(&mut self, log: &mut Log, config: &Config, leaving: &Leaving<'_>, start: RecordStart) {
        let at = log.at;
        let RecordStart { len, count, .. } = start;
        let line = &mut self.lines[leaving.from][start.to];
        let is_headed = start.kind == HEADED;
        let is_a_batch = count as usize <= config.batch_messages_max
            && (len <= config.batch_bytes_max || count == 1);
        let fits = (is_a_batch || is_headed) && len <= leaving.accepts;
        always!(
            log,
            fits && count > 0 && start.next() <= line.accepted.len() as u64,
            RecordsAddUp,
            "it sends {start:?}, and has accepted {}",
            line.accepted.len()
        );
        let is_known = start.first < line.written;
        sometimes!(
            log,
            is_known,
            "a record was sent again on another connection"
        );
        let voids = line.left_out.range(start.first..start.next()).count();
        let expected = if is_headed { count as usize } else { 0 };
        always!(
            log,
            voids == expected,
            LeftOut,
            "it sends {start:?}, of which {voids} are withdrawn, have expired or are too long"
        );
        if is_headed {
            line.notice_voids(log, start);
            line.written = line.written.max(start.next());
            return;
        }
        let next = line.accepted.get(start.next() as usize);
        let is_full = count as usize == config.batch_messages_max;
        let is_long = next.is_some_and(|next| len + next.cost > config.batch_bytes_max);
        sometimes!(log, is_full, "a batch left full");
        sometimes!(
            log,
            is_long && !is_full,
            "a batch left because the next message did not fit"
        );
        if let Some(first) = line.accepted.get(start.first as usize) {
            // What was accepted at once is one batch, but for the sender's own limits.
            let is_cut = !is_full
                && !is_long
                && next
                    .is_some_and(|next| len + next.cost > leaving.accepts && next.at == first.at);
            sometimes!(log, is_cut, "a batch was cut to what its receiver accepts");
            let is_due = at == first.at + config.batch_delay_max;
            sometimes!(
                log,
                is_due && config.flush == Flush::Fixed,
                "a batch left after its delay"
            );
            sometimes!(log, at == first.at, "a batch left at once");
        }
        line.written = line.written.max(start.next());
    }

    /// Compares the body of a record with what was accepted. Sealing adds a keystream to it
    /// (RFC 8439, section 2.4), which is a function of key and nonce: neither pair may recur.
    fn compare(
        &mut self,
        log: &mut Log,
        config: &Config,
        from: usize,
        start: RecordStart,
        body: &[u8],
    ) {
        let line = &self.lines[from][start.to];
        let plain = line.accepted.get(start.first as usize);
        let plain = plain.filter(|_| start.kind != HEADED);
        let Some(plain) = plain.filter(|plain| plain.framed.len() >= SIGHT_LEN) else {
            return;
        };
        let mut keystream = [0; SIGHT_LEN];
        let pairs = body.iter().zip(&plain.framed);
        for (out, (sealed, plain)) in keystream.iter_mut().zip(pairs) {
            *out = sealed ^ plain;
        }
        let is_plain = keystream == [0; SIGHT_LEN];
        if !is_sealed(config) {
            always!(
                log,
                is_plain,
                RecordsAddUp,
                "it sends {start:?} with other bytes than were accepted"
            );
            return;
        }
        always!(
            log,
            !is_plain,
            NothingInClear,
            "it sends {start:?} without sealing it"
        );
        always!(
            log,
            self.keystreams.insert(keystream),
            NonceUsedOnce,
            "it sends {start:?} with a key and a nonce that were used before"
        );
    }
}

/// The longest body of a record that a configuration accepts: a full batch, or one largest message.
pub(super) fn body_max(config: &Config) -> usize {
    let message = OpenBatch::cost(config.message_bytes_max);
    config.batch_bytes_max.max(message)
}

fn is_sealed(config: &Config) -> bool {
    config.sealing == Sealing::On
}

/// Whether there is a long row of filling. Each row has a byte at a place that is looked at first.
fn has_filling(bytes: &[u8]) -> bool {
    let step = FILLING_LEN;
    let is_filling = |byte: &&u8| **byte == FILLING;
    (step - 1..bytes.len())
        .step_by(step)
        .filter(|at| bytes[*at] == FILLING)
        .any(|at| {
            let before = bytes[..at].iter().rev().take_while(is_filling).count();
            let after = bytes[at..].iter().take_while(is_filling).count();
            before + after >= step
        })
}

fn take<'a>(data: &mut &'a [u8], max: usize) -> &'a [u8] {
    let (taken, rest) = data.split_at(max.min(data.len()));
    *data = rest;
    taken
}

/// The length of a header of which some bytes are there: that of a headed record has its age, too.
fn header_len(header: &[u8]) -> usize {
    match header.get(4) {
        Some(&HEADED) => HEADER_LEN + AGE_LEN,
        Some(_) | None => HEADER_LEN,
    }
}

fn decode(to: usize, header: &[u8]) -> RecordStart {
    let whole = header.first_chunk::<HEADER_LEN>();
    let [a, b, c, d, kind, f, g, h, first @ ..] = *whole.expect("invariant: it is whole");
    RecordStart {
        to,
        kind,
        len: u32::from_be_bytes([a, b, c, d]) as usize,
        count: u32::from_be_bytes([0, f, g, h]),
        first: u64::from_be_bytes(first),
    }
}

/// A length as it precedes a message (RFC 9000, section 16).
fn length(len: usize) -> Vec<u8> {
    let len = len as u32;
    match len {
        0..=0x3f => vec![len as u8],
        0x40..=0x3fff => (len as u16 | 0x4000).to_be_bytes().to_vec(),
        _ => (len | 0x8000_0000).to_be_bytes().to_vec(),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::swarm::Property::{self, LeftOut, NonceUsedOnce, NothingInClear, RecordsAddUp};

    const MESSAGE: [u8; 40] = [FILLING; 40];
    /// More than any record here has.
    const ACCEPTS: usize = 1_024;

    #[test]
    fn a_keystream_that_comes_again_is_noticed() {
        let mut scene = Scene::new(Sealing::On);
        assert_eq!(scene.send(0, |body| mask(body, 1)), []);
        assert_eq!(scene.send(1, |body| mask(body, 2)), []);
        assert_eq!(scene.send(1, |body| mask(body, 3)), [], "sent again");
        assert_eq!(scene.send(2, |body| mask(body, 1)), [NonceUsedOnce]);
    }

    #[test]
    fn a_record_that_is_not_sealed_is_noticed() {
        let mut scene = Scene::new(Sealing::On);
        assert_eq!(scene.send(0, |_| ()), [NothingInClear]);
        let mut scene = Scene::new(Sealing::Off);
        assert_eq!(scene.send(0, |_| ()), []);
        assert_eq!(scene.send(1, |body| mask(body, 1)), [RecordsAddUp]);
    }

    #[test]
    fn a_record_of_what_was_never_accepted_is_noticed() {
        let mut scene = Scene::new(Sealing::Off);
        assert_eq!(scene.send(3, |_| ()), [RecordsAddUp]);
    }

    #[test]
    fn a_record_that_is_longer_than_its_receiver_accepts_is_noticed() {
        let mut scene = Scene::new(Sealing::Off);
        scene.accepts = 1 + MESSAGE.len();
        assert_eq!(scene.send(0, |_| ()), []);
        scene.accepts -= 1;
        assert_eq!(scene.send(1, |_| ()), [RecordsAddUp]);
    }

    #[test]
    fn what_is_left_out_and_written_all_the_same_is_noticed() {
        let mut scene = Scene::new(Sealing::Off);
        assert_eq!(scene.send(0, |_| ()), []);
        scene.records.leave_out(&mut scene.log, 0, 1, 1);
        assert_eq!(scene.log.broken(), []);
        assert_eq!(scene.send(1, |_| ()), [LeftOut]);
        scene.records.leave_out(&mut scene.log, 0, 1, 0);
        assert_eq!(scene.log.broken(), [LeftOut], "it was written before");
    }

    #[test]
    fn a_void_in_place_of_a_message_is_noticed() {
        let void = |scene: &mut Scene, first| {
            let start = RecordStart {
                kind: HEADED,
                len: 3,
                ..start(first, 1)
            };
            let (log, config) = (&mut scene.log, &scene.config);
            scene.records.start(log, config, &leaving(&[]), start);
            log.broken()
        };
        let mut scene = Scene::new(Sealing::Off);
        scene.records.leave_out(&mut scene.log, 0, 1, 1);
        assert_eq!(void(&mut scene, 0), [LeftOut]);
        assert_eq!(void(&mut scene, 1), []);
        let marks = scene.log.marks();
        assert_eq!(marks["a void was written amid a batch"], 1);
        assert_eq!(marks["a batch was written that has voids alone"], 0);
    }

    #[test]
    fn a_row_of_filling_is_found_wherever_it_is() {
        let mut log = Log::new();
        for at in 0..40 {
            let mut payload = [1; 64];
            payload[at..at + FILLING_LEN].fill(FILLING);
            let leaving = leaving(&payload);
            let mut config = Config::default();
            Records::look(&mut log, &config, &leaving);
            assert_eq!(log.broken(), [NothingInClear]);
            config.sealing = Sealing::Off;
            Records::look(&mut log, &config, &leaving);
            payload[at + 3] = 0;
            let config = Config::default();
            Records::look(&mut log, &config, &self::leaving(&payload));
            assert_eq!(log.broken(), []);
        }
    }

    /// The beginning of a record.
    pub(in crate::swarm::audit) fn start(first: u64, count: u32) -> RecordStart {
        RecordStart {
            kind: 0,
            to: 1,
            first,
            count,
            len: 100,
        }
    }

    struct Scene {
        log: Log,
        config: Config,
        records: Records,
        stream: Stream,
        accepts: usize,
    }

    impl Scene {
        /// Three messages are accepted.
        fn new(sealing: Sealing) -> Self {
            let mut config = Config::default();
            config.sealing = sealing;
            let mut records = Records::new(2);
            for number in 0..3 {
                let accepted = records.accept(Duration::ZERO, 0, 1, &MESSAGE);
                assert_eq!(accepted, number);
            }
            Self {
                log: Log::new(),
                config,
                records,
                stream: Stream::default(),
                accepts: ACCEPTS,
            }
        }

        /// Sends one of them, and gives what is wrong with it.
        fn send(&mut self, first: u64, change: impl Fn(&mut [u8])) -> Vec<Property> {
            let mut body = [&length(MESSAGE.len())[..], &MESSAGE].concat();
            let mut record = (body.len() as u32).to_be_bytes().to_vec();
            record.extend(1u32.to_be_bytes());
            record.extend(first.to_be_bytes());
            change(&mut body);
            record.extend(body);
            if is_sealed(&self.config) {
                record.extend([0; SEAL_LEN]);
            }
            let mut starts = Vec::new();
            let leaving = Leaving {
                accepts: self.accepts,
                ..leaving(&[])
            };
            // In pieces, as packets have it.
            for data in record.chunks(10) {
                self.records.read(
                    &mut self.log,
                    &self.config,
                    &leaving,
                    &mut self.stream,
                    data,
                    &mut starts,
                );
            }
            assert_eq!(starts.len(), 1);
            self.log.broken()
        }
    }

    fn mask(body: &mut [u8], key: u8) {
        body.iter_mut().for_each(|byte| *byte ^= key);
    }

    fn leaving(payload: &[u8]) -> Leaving<'_> {
        Leaving {
            from: 0,
            to: 1,
            destination: ([10, 0, 0, 1], 1).into(),
            payload,
            accepts: ACCEPTS,
        }
    }
}
