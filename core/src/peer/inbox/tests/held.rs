//! Messages that are taken in any order, over sessions that end.

use std::collections::BTreeMap;

use super::*;

#[derive(Debug, Clone)]
enum Held {
    /// Messages come, and voids after them.
    Accept(usize, usize),
    Read(usize),
    /// Takes what was read, from this place on.
    Take(usize, usize),
    /// The session ends, and the peer goes on with the same half or another one.
    End {
        same_half: bool,
    },
}

fn held() -> impl Strategy<Value = Held> {
    prop_oneof![
        4 => (0usize..4, 0usize..3).prop_map(|(messages, voids)| Held::Accept(messages, voids)),
        5 => (1usize..5).prop_map(Held::Read),
        6 => (0usize..8, 1usize..4).prop_map(|(from, count)| Held::Take(from, count)),
        1 => any::<bool>().prop_map(|same_half| Held::End { same_half }),
    ]
}

/// What should be known of an inbox: entries of the present line in order.
struct Model {
    inbox: Inbox,
    half: u8,
    /// What each message of it consists of.
    session: u8,
    /// For each number of the half, whether it is a void.
    sent: Vec<bool>,
    /// For each number of the present line, whether it is a void or was taken.
    entries: Vec<bool>,
    /// The number of the first of them.
    first: u64,
    /// What was read and not taken, with its place in all that was ever read.
    read: Vec<(usize, MessageKey)>,
    read_ever: usize,
    /// How many copies of each were read and not taken: in earlier sessions, and in this one.
    untaken: BTreeMap<MessageKey, [u64; 2]>,
}

impl Model {
    fn new() -> Self {
        let mut model = Self {
            inbox: Inbox::new(1 << 20),
            half: 0,
            session: 0,
            sent: Vec::new(),
            entries: Vec::new(),
            first: 0,
            read: Vec::new(),
            read_ever: 0,
            untaken: BTreeMap::new(),
        };
        model.greet();
        model
    }

    fn greet(&mut self) {
        self.inbox.greeted(&Half {
            id: HalfId([self.half; 16]),
            first: self.first,
            held: 0,
        });
    }

    fn next(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    /// The number up to which all are taken.
    fn taken(&self) -> u64 {
        let taken = self.entries.iter().take_while(|is_taken| **is_taken);
        self.first + taken.count() as u64
    }

    /// The peer sends what it has sent of the half in an earlier session, and then something new.
    fn accept(&mut self, messages: usize, voids: usize) {
        let next = usize::try_from(self.next()).expect("few");
        let new = [vec![false; messages], vec![true; voids]].concat();
        self.sent.extend(new.iter().skip(self.sent.len() - next));
        for place in next..next + new.len() {
            self.accept_entry(self.sent[place]);
        }
    }

    fn accept_entry(&mut self, is_void: bool) {
        let number = self.next();
        if is_void {
            // A line is known from its first record on, of which this is a part.
            self.inbox.line.get_or_insert(Progress {
                received: number,
                taken: number,
            });
            self.inbox.accept_voids(number, 1).expect("few");
        } else {
            let half = HalfId([self.half; 16]);
            let header = Header::plain(2, 1, number);
            let body = vec![1, self.session].into();
            assert_eq!(self.inbox.accept(half, &header, body), Ok(1));
        }
        self.entries.push(is_void);
    }

    fn take(&mut self, from: usize, count: usize) {
        let from = from.min(self.read.len());
        let to = self.read.len().min(from + count);
        let read: Vec<(usize, MessageKey)> = self.read.drain(from..to).collect();
        let mut runs: Vec<TakenMessages> = Vec::new();
        let (mut copies, mut next) = (0, None);
        for (place, key) in read {
            let is_next = next.replace(place + 1) == Some(place);
            if !runs.last_mut().is_some_and(|run| is_next && run.add(key)) {
                runs.push(TakenMessages::new(key));
            }
            let copies_of = self.untaken.entry(key).or_default();
            match *copies_of {
                [0, 0] => continue,
                [0, _] => {
                    copies_of[1] -= 1;
                    let number = key.number().get() - self.first;
                    self.entries[usize::try_from(number).expect("few")] = true;
                }
                [_, _] => copies_of[0] -= 1,
            }
            copies += 1;
        }
        let marked = runs.iter();
        let marked = marked.map(|run| self.inbox.mark_taken(run.half(), &run.numbers()));
        assert_eq!(marked.sum::<u64>(), copies);
    }

    fn run(&mut self, step: &Held) {
        match *step {
            Held::Accept(messages, voids) => self.accept(messages, voids),
            Held::Read(max) => {
                let mut out = Vec::new();
                self.inbox.read(FROM, max, &mut out);
                for message in &out {
                    let key = message.key().expect("messages have one");
                    let is_present = usize::from(message.payload[0] == self.session);
                    self.untaken.entry(key).or_default()[is_present] += 1;
                    self.read.push((self.read_ever, key));
                    self.read_ever += 1;
                }
            }
            Held::Take(from, count) => self.take(from, count),
            Held::End { same_half } => {
                self.first = self.taken();
                self.entries.clear();
                for copies in self.untaken.values_mut() {
                    *copies = [copies[0] + copies[1], 0];
                }
                self.inbox.end();
                self.session += 1;
                if !same_half {
                    self.half += 1;
                    self.sent
                        .truncate(usize::try_from(self.first).expect("few"));
                }
                self.greet();
            }
        }
        if let Some(known) = self.inbox.known() {
            assert_eq!(known.taken, self.taken());
            assert_eq!(known.received, self.next());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]
    #[test]
    fn the_peer_learns_up_to_where_all_are_taken(steps in prop::collection::vec(held(), 0..80)) {
        let mut model = Model::new();
        steps.iter().for_each(|step| model.run(step));
        model.run(&Held::Read(usize::MAX));
        model.run(&Held::Take(0, usize::MAX));
        prop_assert_eq!(model.taken(), model.next());
        prop_assert_eq!((model.inbox.bytes(), model.inbox.held()), (0, 0));
        prop_assert_eq!(model.inbox.content().records_memory, 0);
        model.inbox.rest();
        prop_assert_eq!(model.inbox.memory(), 0);
    }
}
