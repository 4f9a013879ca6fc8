//! The inputs of an application, their times and their order.

use std::time::Duration;

use quicpool_core::{ConnectionStatus, Event, Message};
use quicpool_sim::{
    app::{App, Context, Fault, Host, Input, Options, Plan, Trouble, explore},
    ms, secs,
};

#[test]
fn timers_come_at_their_time_exactly() {
    let mut plan = Plan::calm(ms(7), secs(10));
    plan.faults = vec![fault(secs(3), secs(5), Trouble::Freeze { node: 1 })];
    explore_one(
        plan,
        |_| Diary::default(),
        |sim| {
            for place in 0..2 {
                sim.call(place, |_, cx| {
                    cx.set_timer("b", Duration::from_nanos(1_234_567_891));
                    cx.set_timer("a", Duration::from_nanos(1_234_567_891));
                    cx.set_timer("moved", secs(1));
                    cx.set_timer("moved", secs(4));
                    cx.set_timer("cancelled", secs(1));
                    cx.cancel_timer("cancelled");
                });
            }
            sim.advance(secs(20));
            let exact = Duration::from_nanos(1_234_567_891);
            let [first, second] = [0, 1].map(|place| sim.app(place).expect("it is up").timers());
            let early = [(exact, "b".to_owned()), (exact, "a".to_owned())];
            assert_eq!((&first[..2], &second[..2]), (&early[..], &early[..]));
            assert_eq!(first[2..], [(secs(4), "moved".to_owned())]);
            assert_eq!(
                second[2..],
                [(secs(5), "moved".to_owned())],
                "it was frozen"
            );
        },
    );
}

#[test]
fn timers_end_with_their_process() {
    let mut plan = Plan::calm(ms(7), secs(10));
    plan.faults = vec![fault(secs(3), secs(5), Trouble::Crash { node: 0 })];
    explore_one(
        plan,
        |host| Diary {
            life: host.life,
            ..Diary::default()
        },
        |sim| {
            sim.call(0, |_, cx| {
                cx.set_timer("while it is down", secs(4));
                cx.set_timer("when another is up", secs(8));
            });
            sim.advance(secs(4));
            assert!(sim.app(0).is_none());
            assert_eq!(sim.call(0, |_, _| ()), None);
            sim.advance(secs(20));
            let diary = sim.app(0).expect("it is up");
            assert_eq!((diary.life, diary.timers()), (1, vec![]));
            assert_eq!(diary.entries[0], (secs(5), Entry::Started));
        },
    );
}

#[test]
fn state_that_was_saved_survives_and_nothing_else_does() {
    let make = |host: &Host| Diary {
        life: host.saved.as_deref().map_or(0, |saved| saved[0].into()),
        ..Diary::default()
    };
    explore_one(Plan::calm(ms(7), secs(10)), make, |sim| {
        sim.call(0, |_, cx| {
            cx.save(vec![1]);
            cx.save(vec![7]);
        });
        assert_eq!(sim.saved(0), Some(&[7][..]));
        for place in 0..2 {
            sim.crash(place);
            sim.restart(place);
        }
        let lives: Vec<u32> = sim.apps().map(|diary| diary.life).collect();
        assert_eq!(lives, [7, 0]);
    });
}

#[test]
fn messages_sent_when_it_starts_are_delivered() {
    explore_one(Plan::calm(ms(40), secs(10)), greeter, |sim| {
        sim.advance(secs(5));
        for place in 0..2 {
            assert_eq!(sim.app(place).expect("it is up").messages(), ["one", "two"]);
        }
    });
}

#[test]
fn events_come_in_the_order_of_the_core() {
    explore_one(Plan::calm(ms(40), secs(10)), greeter, |sim| {
        sim.advance(secs(5));
        for place in 0..2 {
            let diary = sim.app(place).expect("it is up");
            let told = diary.events();
            let history = sim.net().history(sim.node(place)).iter();
            let core = history.filter(|(_, event)| !matches!(event, Event::Readable { .. }));
            let core: Vec<(Duration, Event)> = core.cloned().collect();
            assert_eq!(told, core);
            // No message comes before the connection.
            let connected = diary.position(is_connected).expect("they talk");
            let message = diary.position(|entry| matches!(entry, Entry::Message(_)));
            assert!(message.expect("they talk") > connected);
        }
    });
}

#[test]
fn flushes_and_ends_are_told() {
    explore_one(
        Plan::calm(ms(40), secs(10)),
        |_| Diary::default(),
        |sim| {
            sim.call(0, |_, cx| {
                let peer = cx.host.peers[0];
                cx.connect(peer);
                cx.send_express(peer, "hello");
                cx.flush(peer, 5);
            });
            sim.advance(secs(2));
            sim.call(0, |_, cx| cx.disconnect(cx.host.peers[0]));
            sim.advance(secs(2));
            let diary = sim.app(0).expect("it is up");
            let is_flushed = |entry: &Entry| {
                matches!(
                    entry,
                    Entry::Event(Event::Flushed {
                        token: 5,
                        result: Ok(()),
                        ..
                    })
                )
            };
            let is_over = |entry: &Entry| is_status(entry, ConnectionStatus::Disconnected);
            let flushed = diary.position(is_flushed).expect("it was flushed");
            assert!(diary.position(is_over).expect("it is over") > flushed);
        },
    );
}

#[test]
fn random_numbers_follow_from_the_seed_and_the_life() {
    explore_one(
        Plan::calm(ms(40), secs(10)),
        |_| Diary::default(),
        |sim| {
            let draw = |_: &mut Diary, cx: &mut Context<'_>| [cx.host.random(), cx.host.random()];
            let first = sim.call(0, draw).expect("it is up");
            sim.crash(0);
            sim.restart(0);
            let second = sim.call(0, draw).expect("it is up");
            let other = sim.call(1, draw).expect("it is up");
            let mut all = [first, second, other, [sim.random(), sim.random()]].concat();
            all.sort_unstable();
            all.dedup();
            assert_eq!(all.len(), 8);
        },
    );
}

/// Writes down all its inputs.
#[derive(Debug, Default)]
struct Diary {
    life: u32,
    greets: Option<()>,
    entries: Vec<(Duration, Entry)>,
}

#[derive(Debug, Clone, PartialEq)]
enum Entry {
    Started,
    Message(String),
    Timer(String),
    Event(Event),
    Other,
}

impl App for Diary {
    fn handle(&mut self, input: Input<'_>, cx: &mut Context<'_>) {
        let entry = match input {
            Input::Started => Entry::Started,
            Input::Message(Message { payload, .. }) => {
                Entry::Message(String::from_utf8_lossy(payload).into_owned())
            }
            Input::Timer(name) => Entry::Timer(name.to_owned()),
            Input::Event(event) => Entry::Event(event.clone()),
            _ => Entry::Other,
        };
        if entry == Entry::Started && self.greets.is_some() {
            for peer in &cx.host.peers {
                cx.send(*peer, "one");
                cx.send(*peer, "two");
            }
        }
        self.entries.push((cx.now, entry));
    }
}

impl Diary {
    fn timers(&self) -> Vec<(Duration, String)> {
        let timer = |(at, entry): &(Duration, Entry)| match entry {
            Entry::Timer(name) => Some((*at, name.clone())),
            _ => None,
        };
        self.entries.iter().filter_map(timer).collect()
    }

    fn messages(&self) -> Vec<&str> {
        let message = |(_, entry): &'_ (Duration, Entry)| matches!(entry, Entry::Message(_));
        let messages = self.entries.iter().filter(|entry| message(entry));
        messages
            .map(|(_, entry)| match entry {
                Entry::Message(text) => text.as_str(),
                _ => "",
            })
            .collect()
    }

    fn events(&self) -> Vec<(Duration, Event)> {
        let event = |(at, entry): &(Duration, Entry)| match entry {
            Entry::Event(event) => Some((*at, event.clone())),
            _ => None,
        };
        self.entries.iter().filter_map(event).collect()
    }

    fn position(&self, is: impl Fn(&Entry) -> bool) -> Option<usize> {
        self.entries.iter().position(|(_, entry)| is(entry))
    }
}

fn is_connected(entry: &Entry) -> bool {
    is_status(entry, ConnectionStatus::Connected)
}

fn is_status(entry: &Entry, status: ConnectionStatus) -> bool {
    matches!(entry, Entry::Event(Event::StatusChanged { to, .. }) if *to == status)
}

fn greeter(_: &Host) -> Diary {
    Diary {
        greets: Some(()),
        ..Diary::default()
    }
}

fn fault(from: Duration, until: Duration, what: Trouble) -> Fault {
    Fault { from, until, what }
}

fn explore_one(
    plan: Plan,
    make: impl Fn(&Host) -> Diary + 'static,
    body: impl Fn(&mut quicpool_sim::app::Sim<Diary>),
) {
    let options = Options::nodes(2).seeds(3..4).plan(plan);
    let explored = explore("diary", &options, make, body);
    explored.unwrap_or_else(|failure| panic!("{failure}"));
}
