//! The sending side, which measures.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hdrhistogram::Histogram;
use quicpool::Sealing;
use tokio::{runtime::Handle, time::timeout};

use crate::{
    child::{Child, Outcome},
    cpu,
    message::{Maker, Tally, is_end, number_of},
    options::Workload,
    over_quicpool, over_quinn,
    report::Figure,
    transport::{Contender, Rx, Tx},
};

/// Messages in one write of the contender that batches by hand.
pub const BATCH_MESSAGES: usize = 128;

/// Messages between two looks at the clock.
const BURST: u64 = 1_024;

/// Time between two messages of the echo.
const PERIOD: Duration = Duration::from_millis(1);

/// From the start of the echo to its first message.
const LEAD: Duration = Duration::from_millis(20);

/// Time that a run may take beyond what it should.
const PATIENCE: Duration = Duration::from_secs(30);

/// Lets a contender work for a time, and says what came of it.
pub async fn run(contender: Contender, workload: Workload, time: Duration) -> Result<Figure> {
    let (child, address) = Child::start(contender, workload).await?;
    let work = connect_and_drive(contender, workload, time, child, &address);
    timeout(time + PATIENCE, work)
        .await
        .context("it takes too long")?
}

async fn connect_and_drive(
    contender: Contender,
    workload: Workload,
    time: Duration,
    child: Child,
    address: &str,
) -> Result<Figure> {
    match contender {
        Contender::Sealed => {
            let link = over_quicpool::dial(address, Sealing::On).await?;
            drive(link, workload, time, child).await
        }
        Contender::Unsealed => {
            let link = over_quicpool::dial(address, Sealing::Off).await?;
            drive(link, workload, time, child).await
        }
        Contender::Framed => {
            let link = over_quinn::dial(address, 1).await?;
            drive(link, workload, time, child).await
        }
        Contender::Batched => {
            let link = over_quinn::dial(address, BATCH_MESSAGES).await?;
            drive(link, workload, time, child).await
        }
    }
}

async fn drive<T: Tx, R: Rx>(
    link: (T, R),
    workload: Workload,
    time: Duration,
    child: Child,
) -> Result<Figure> {
    match workload {
        Workload::Small | Workload::Large | Workload::Huge => {
            one_way(link, workload, time, child).await
        }
        Workload::Echo => echo(link, workload, time, child).await,
    }
}

async fn one_way<T: Tx, R: Rx>(
    (tx, rx): (T, R),
    workload: Workload,
    time: Duration,
    mut child: Child,
) -> Result<Figure> {
    let (cpu_before, started) = (cpu::used(), Instant::now());
    // On the runtime's own threads: the main one is none of them.
    let sender = tokio::spawn(flood(tx, workload.message_len(), time));
    let (sent, tx) = sender.await.context("the sender has failed")??;
    let outcome = child.outcome().await?;
    let elapsed = started.elapsed();
    let cpu_sender = cpu::used() - cpu_before;
    check(sent, &outcome)?;
    child.end().await?;
    drop((tx, rx));
    Ok(Figure::OneWay {
        messages: sent.count,
        elapsed,
        cpu_sender,
        cpu_receiver: outcome.cpu,
    })
}

/// Sends messages as fast as they go, and one that says that there are no more.
async fn flood<T: Tx>(mut tx: T, len: usize, time: Duration) -> Result<(Tally, T)> {
    let mut maker = Maker::new(len);
    let mut tally = Tally::default();
    let until = Instant::now() + time;
    while Instant::now() < until {
        for _ in 0..BURST {
            let message = maker.number(tally.count);
            tally.add(message);
            tx.send(message).await?;
        }
    }
    tx.send(maker.end()).await?;
    tx.flush().await?;
    Ok((tally, tx))
}

fn check(sent: Tally, outcome: &Outcome) -> Result<()> {
    let received = outcome.tally;
    ensure!(
        received == sent,
        "what was received is not what was sent: {received:?}, {sent:?}"
    );
    Ok(())
}

async fn echo<T: Tx, R: Rx>(
    (tx, rx): (T, R),
    workload: Workload,
    time: Duration,
    mut child: Child,
) -> Result<Figure> {
    let messages = u64::try_from(time.as_micros() / PERIOD.as_micros())?;
    let len = workload.message_len();
    let cpu_before = cpu::used();
    let start = Instant::now() + LEAD;
    let receiver = tokio::spawn(collect(rx, start));
    let sent = schedule(tx, len, start, messages).await?;
    let (latencies, returned, rx) = receiver.await.context("the receiver has failed")??;
    let outcome = child.outcome().await?;
    let cpu_sender = cpu::used() - cpu_before;
    check(sent.0, &outcome)?;
    ensure!(returned == sent.0, "what came back is not what was sent");
    child.end().await?;
    drop((sent, rx));
    Ok(Figure::Echo {
        p50: quantile(&latencies, 0.5),
        p99: quantile(&latencies, 0.99),
        cpu_sender,
        cpu_receiver: outcome.cpu,
    })
}

/// Sends each message at its time, however long the ones before it take to return.
///
/// On a thread of its own, since the timers of tokio are exact to a millisecond only.
async fn schedule<T: Tx>(
    mut tx: T,
    len: usize,
    start: Instant,
    messages: u64,
) -> Result<(Tally, T)> {
    let runtime = Handle::current();
    let send_all = move || {
        cpu::wake_exactly();
        let mut maker = Maker::new(len);
        let mut tally = Tally::default();
        let mut due = start;
        while tally.count < messages {
            cpu::sleep_until(due);
            let message = maker.number(tally.count);
            tally.add(message);
            runtime.block_on(tx.send(message))?;
            due += PERIOD;
        }
        runtime.block_on(tx.send(maker.end()))?;
        Ok((tally, tx))
    };
    tokio::task::spawn_blocking(send_all)
        .await
        .context("the sender has failed")?
}

/// Receives what returns, and records how long that took from the time it should have been sent.
async fn collect<R: Rx>(mut rx: R, start: Instant) -> Result<(Histogram<u64>, Tally, R)> {
    let longest = u64::try_from(PATIENCE.as_nanos())?;
    let mut latencies = Histogram::<u64>::new_with_bounds(1, longest, 3)
        .context("invariant: such a histogram can be")?;
    let mut tally = Tally::default();
    let mut ended = false;
    while !ended {
        rx.receive(|message| {
            if is_end(message) {
                ended = true;
                return;
            }
            tally.add(message);
            let number = u32::try_from(number_of(message).unwrap_or_default()).unwrap_or(u32::MAX);
            let latency = (start + PERIOD * number).elapsed();
            latencies.saturating_record(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
        })
        .await?;
    }
    Ok((latencies, tally, rx))
}

fn quantile(latencies: &Histogram<u64>, quantile: f64) -> Duration {
    Duration::from_nanos(latencies.value_at_quantile(quantile))
}
