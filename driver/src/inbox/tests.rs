//! An inbox from which a test takes.

use std::{
    ops::Range,
    pin::Pin,
    task::{Context, Waker},
};

use quicpool_core::MessageKey;

use super::*;

const A: PeerId = PeerId::from_bytes([1; 32]);
const B: PeerId = PeerId::from_bytes([2; 32]);

/// Messages of peers, those of each with numbers from 0.
fn messages(from: &[PeerId], len: usize) -> Vec<Message> {
    let number = |place: usize| {
        from[..place]
            .iter()
            .filter(|of| **of == from[place])
            .count()
    };
    (0..from.len())
        .map(|place| Message::with_key(key(from[place], number(place)), vec![0; len].into()))
        .collect()
}

fn key(from: PeerId, number: usize) -> MessageKey {
    let mut bytes = [0; MessageKey::LEN];
    bytes[..PeerId::LEN].copy_from_slice(from.as_bytes());
    bytes[MessageKey::LEN - 8..].copy_from_slice(&(number as u64).to_be_bytes());
    MessageKey::from_bytes(bytes)
}

/// Messages of a peer that were taken one after the other.
fn run(from: PeerId, numbers: Range<usize>) -> TakenMessages {
    let mut run = TakenMessages::new(key(from, numbers.start));
    for number in numbers.skip(1) {
        assert!(run.add(key(from, number)));
    }
    run
}

fn hold(inbox: &Inbox) -> OnHold {
    match inbox.pop_held() {
        Popped::Taken { value, .. } => value,
        other @ (Popped::Empty | Popped::Ended) => panic!("{other:?}"),
    }
}

fn collected(inbox: &Inbox) -> Vec<TakenMessages> {
    let mut taken = Vec::new();
    let _ = inbox.collect(&mut taken);
    taken
}

fn pop(inbox: &Inbox) -> (PeerId, Wake) {
    match inbox.pop() {
        Popped::Taken { value, wake } => (value.from, wake),
        other @ (Popped::Empty | Popped::Ended) => panic!("{other:?}"),
    }
}

#[test]
fn taking_a_few_wakes_nobody() {
    let inbox = Inbox::new(1 << 20);
    inbox.push(&mut messages(&[A, A, B, B], 1));
    assert!(!inbox.has_taken());
    assert_eq!(pop(&inbox), (A, Wake::No));
    assert_eq!(pop(&inbox), (A, Wake::No));
    assert_eq!(pop(&inbox), (B, Wake::No));
    assert!(inbox.has_taken());
    let mut taken = Vec::new();
    assert_eq!(inbox.collect(&mut taken), Left::Some);
    assert_eq!(taken, [run(A, 0..2), run(B, 0..1)]);
    assert!(!inbox.has_taken());
    assert_eq!(pop(&inbox), (B, Wake::No));
    taken.clear();
    assert_eq!(inbox.collect(&mut taken), Left::Nothing);
}

#[test]
fn a_loop_that_looked_in_vain_is_woken_once() {
    let inbox = Inbox::new(1 << 20);
    inbox.push(&mut messages(&[A, A, A], 1));
    assert!(inbox.wake_when_taken());
    assert_eq!(pop(&inbox), (A, Wake::Yes));
    assert_eq!(pop(&inbox), (A, Wake::No), "the loop is on its way");
    assert!(!inbox.wake_when_taken(), "it has to collect first");
}

#[test]
fn much_that_was_taken_wakes_the_loop() {
    let inbox = Inbox::new(4 * 100);
    inbox.push(&mut messages(&[A; 9], 50));
    assert_eq!(pop(&inbox), (A, Wake::No));
    assert_eq!(pop(&inbox), (A, Wake::Yes), "100 bytes are a quarter");
    assert_eq!(pop(&inbox), (A, Wake::No), "the loop is on its way");
}

#[test]
fn many_are_taken_at_once() {
    let inbox = Inbox::new(1 << 20);
    let mut out = Vec::new();
    assert!(matches!(inbox.pop_many(9, &mut out), Popped::Empty));
    inbox.push(&mut messages(&[A, B, B], 1));
    assert!(matches!(
        inbox.pop_many(2, &mut out),
        Popped::Taken { value: 2, .. }
    ));
    assert!(matches!(
        inbox.pop_many(9, &mut out),
        Popped::Taken { value: 1, .. }
    ));
    assert_eq!(out.len(), 3);
}

#[test]
fn a_forgotten_peer_leaves_nothing_behind() {
    let inbox = Inbox::new(1 << 20);
    inbox.push(&mut messages(&[A, B, A], 1));
    assert_eq!(pop(&inbox).0, A);
    let mut taken = Vec::new();
    assert_eq!(inbox.forget(A, &mut taken), Left::Some);
    assert_eq!(taken, [run(A, 0..1)]);
    assert_eq!(pop(&inbox).0, B);
    assert!(matches!(inbox.pop(), Popped::Empty));
}

#[test]
fn each_message_wakes_somebody_else() {
    let inbox = Inbox::new(1 << 20);
    let mut waiting: Vec<_> = (0..3).map(|_| inbox.listen()).collect();
    inbox.push(&mut messages(&[A], 1));
    inbox.push(&mut messages(&[B], 1));
    let awake = |listener: &mut EventListener| {
        let mut cx = Context::from_waker(Waker::noop());
        Pin::new(listener).poll(&mut cx).is_ready()
    };
    assert_eq!(
        waiting.iter_mut().map(awake).collect::<Vec<_>>(),
        [true, true, false]
    );
}

#[test]
fn a_queue_that_is_held_keeps_its_messages() {
    let inbox = Inbox::new(1 << 20);
    inbox.push(&mut messages(&[A, B], 1));
    assert_eq!(pop(&inbox).0, A);
    let mut taken = Vec::new();
    assert_eq!(inbox.hold(&mut taken), Left::Some);
    assert_eq!(taken, [run(A, 0..1)]);
    assert!(matches!(inbox.pop(), Popped::Empty));
    inbox.push(&mut messages(&[A], 1));
    let mut waiting = inbox.listen();
    inbox.release();
    let mut cx = Context::from_waker(Waker::noop());
    assert!(Pin::new(&mut waiting).poll(&mut cx).is_ready());
    assert_eq!(
        (pop(&inbox).0, pop(&inbox).0),
        (A, B),
        "peers take turns of bytes"
    );
}

#[test]
fn an_ended_queue_hands_out_nothing() {
    let inbox = Inbox::new(1 << 20);
    inbox.push(&mut messages(&[A], 1));
    inbox.end();
    assert!(matches!(inbox.pop(), Popped::Ended));
    inbox.push(&mut messages(&[A], 1));
    assert!(matches!(inbox.pop(), Popped::Ended));
}

#[test]
fn what_is_held_counts_once_it_is_done() {
    let inbox = Inbox::new(1 << 20);
    inbox.push(&mut messages(&[A; 5], 1));
    let first = hold(&inbox);
    assert_eq!(collected(&inbox), [], "held");
    assert_eq!((pop(&inbox).0, pop(&inbox).0), (A, A));
    let fourth = hold(&inbox);
    assert_eq!(pop(&inbox).0, A);
    // The two that are held are in none of the runs.
    assert_eq!(collected(&inbox), [run(A, 1..3), run(A, 4..5)]);
    assert!(!inbox.has_taken());
    let _ = inbox.done(&fourth);
    assert!(inbox.has_taken());
    let _ = inbox.done(&first);
    assert_eq!(collected(&inbox), [run(A, 3..4), run(A, 0..1)]);
}

#[test]
fn a_loop_that_looked_in_vain_is_woken_by_what_is_done() {
    let inbox = Inbox::new(1 << 20);
    inbox.push(&mut messages(&[A, A], 1));
    let (first, second) = (hold(&inbox), hold(&inbox));
    let mut taken = Vec::new();
    assert_eq!(inbox.collect(&mut taken), Left::Some, "two are held");
    assert!(inbox.wake_when_taken());
    assert_eq!(inbox.done(&second), Wake::Yes);
    assert_eq!(inbox.done(&first), Wake::No, "the loop is on its way");
    assert_eq!(inbox.collect(&mut taken), Left::Nothing);
}

#[test]
fn a_held_message_that_is_dropped_comes_again_before_the_others() {
    let inbox = Inbox::new(1 << 20);
    inbox.push(&mut messages(&[A, A, A], 1));
    let (first, second) = (hold(&inbox), hold(&inbox));
    assert!(!first.is_again);
    let mut waiting = inbox.listen();
    inbox.put_back(second);
    inbox.put_back(first);
    let mut cx = Context::from_waker(Waker::noop());
    assert!(Pin::new(&mut waiting).poll(&mut cx).is_ready());

    let first = hold(&inbox);
    assert_eq!(first.message.key(), Some(key(A, 0)));
    assert!(first.is_again);
    // One that was held can be taken without, and is no successor of what was taken before it.
    assert_eq!((pop(&inbox).0, pop(&inbox).0), (A, A));
    let _ = inbox.done(&first);
    assert_eq!(
        collected(&inbox),
        [run(A, 1..2), run(A, 2..3), run(A, 0..1)]
    );
}

#[test]
fn what_is_held_of_a_forgotten_peer_is_neither_counted_nor_handed_out() {
    let inbox = Inbox::new(1 << 20);
    inbox.push(&mut messages(&[A, A, B], 1));
    let held = [hold(&inbox), hold(&inbox)];
    let mut taken = Vec::new();
    let _ = inbox.forget(A, &mut taken);
    let [first, second] = held;
    let _ = inbox.done(&first);
    inbox.put_back(second);
    assert_eq!(pop(&inbox).0, B);
    assert_eq!(collected(&inbox), [run(B, 0..1)]);
    assert!(matches!(inbox.pop(), Popped::Empty));
}
