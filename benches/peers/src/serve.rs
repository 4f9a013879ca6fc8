//! The receiving side: counts what comes, or sends it back.

use anyhow::{Context, Result};
use quicpool::Sealing;
use tokio::io::AsyncReadExt;

use crate::{
    child::{self, Outcome},
    cpu, drive,
    message::{Tally, is_end},
    options::Workload,
    over_quicpool, over_quinn,
    transport::{Contender, Listener, Rx, Tx},
};

/// Runs until the parent has gone.
pub async fn run(contender: Contender, workload: Workload) -> Result<()> {
    let served = async {
        match contender {
            Contender::Sealed => serve(over_quicpool::listen(Sealing::On).await?, workload).await,
            Contender::Unsealed => {
                serve(over_quicpool::listen(Sealing::Off).await?, workload).await
            }
            Contender::Framed => serve(over_quinn::listen(1)?, workload).await,
            Contender::Batched => serve(over_quinn::listen(drive::BATCH_MESSAGES)?, workload).await,
        }
    };
    tokio::select! {
        outcome = served => outcome,
        () = parent_has_gone() => Ok(()),
    }
}

/// Waits for the end of the standard input, which the parent holds open while it lives.
async fn parent_has_gone() {
    let mut stdin = tokio::io::stdin();
    let mut buffer = [0; 64];
    while stdin.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
}

async fn serve<L: Listener>(listener: L, workload: Workload) -> Result<()> {
    println!("{}", child::hello(&listener.address()));
    let (tx, rx) = listener.accept().await?;
    let before = cpu::used();
    // On the runtime's own threads, as the sender is.
    let work = match workload {
        Workload::Small | Workload::Large | Workload::Huge => tokio::spawn(count(tx, rx)),
        Workload::Echo => tokio::spawn(echo(tx, rx)),
    };
    let (tally, _open) = work.await.context("the receiver has failed")??;
    let cpu = cpu::used() - before;
    println!("{}", Outcome { tally, cpu }.line());
    // What was sent last may not have arrived; the parent says when it has all it needs.
    std::future::pending().await
}

async fn count<T: Tx, R: Rx>(tx: T, mut rx: R) -> Result<(Tally, (T, R))> {
    let mut tally = Tally::default();
    let mut ended = false;
    while !ended {
        rx.receive(|message| match is_end(message) {
            true => ended = true,
            false => tally.add(message),
        })
        .await?;
    }
    Ok((tally, (tx, rx)))
}

async fn echo<T: Tx, R: Rx>(mut tx: T, mut rx: R) -> Result<(Tally, (T, R))> {
    let mut tally = Tally::default();
    let mut ended = false;
    let mut received = Vec::new();
    while !ended {
        rx.receive(|message| received.push(message.to_vec()))
            .await?;
        for message in received.drain(..) {
            match is_end(&message) {
                true => ended = true,
                false => tally.add(&message),
            }
            tx.send(&message).await?;
        }
    }
    Ok((tally, (tx, rx)))
}
