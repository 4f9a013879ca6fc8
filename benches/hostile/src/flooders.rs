//! Two attackers that no TLS stops: one with many source addresses, and one with one that is real.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::{
    child::{Orders, reply},
    gun::{Gun, POOL_LEN, v4},
    raw::{
        initials::Initials,
        is_loopback, socket,
        tls::{Twist, identity},
    },
};

/// The one real address of [`half_open`].
const REAL: Ipv4Addr = Ipv4Addr::new(127, 77, 77, 77);

/// A flood goes on for so long at most, if the parent does not end it.
const FLOOD_TIME_MAX: Duration = Duration::from_secs(120);

/// Runs until the parent has gone. It knows `fire ADDRESS RATE`, and answers `cease` with what it has sent.
pub async fn spoofed() -> Result<()> {
    // What a packet says of the server is nothing: it may go to any.
    let server = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    let mut initials = Initials::new(identity(Twist::default())?);
    let pool = (0..POOL_LEN).map(|_| initials.make(server));
    let mut gun = Some(Gun::new(pool.collect::<Result<_>>()?)?);
    reply(&json!({ "pool": POOL_LEN }));

    let mut firing: Option<Firing> = None;
    let mut orders = Orders::new();
    while let Some(order) = orders.next().await {
        let words: Vec<&str> = order.split(' ').collect();
        match (words.as_slice(), gun.take(), firing.take()) {
            (["fire", to, rate], Some(gun), _) => {
                let to: SocketAddr = to.parse().context("an address")?;
                firing = Some(Firing::begin(gun, to, rate.parse().context("a rate")?)?);
            }
            (_, _, Some(shooting)) => gun = Some(shooting.cease()?),
            (_, idle, None) => gun = idle,
        }
    }
    Ok(())
}

/// A flood that goes on.
struct Firing {
    begun: Instant,
    goes_on: Arc<AtomicBool>,
    thread: JoinHandle<Result<(Gun, u64)>>,
}

impl Firing {
    fn begin(mut gun: Gun, to: SocketAddr, rate: f64) -> Result<Self> {
        ensure!(is_loopback(to), "only loopback is attacked");
        let to = v4(to)?;
        let begun = Instant::now();
        let goes_on = Arc::new(AtomicBool::new(true));
        let is_wanted = goes_on.clone();
        let thread = thread::spawn(move || {
            let goes_on = || is_wanted.load(Ordering::Relaxed) && begun.elapsed() < FLOOD_TIME_MAX;
            let sent = gun.fire(to, rate, goes_on)?;
            Ok((gun, sent))
        });
        Ok(Self {
            begun,
            goes_on,
            thread,
        })
    }

    /// Ends it, and replies with what was sent.
    fn cease(self) -> Result<Gun> {
        self.goes_on.store(false, Ordering::Relaxed);
        let joined = self.thread.join();
        let joined = joined.map_err(|_| anyhow::anyhow!("the flood has panicked"))?;
        let (gun, sent) = joined?;
        let millis = u64::try_from(self.begun.elapsed().as_millis())?;
        reply(&json!({ "sent": sent, "ms": millis }));
        Ok(gun)
    }
}

/// Begins handshakes from one real address at a rate, and goes on with none; where the server answers
/// with Retry, it repeats the token as long as it is good. Runs until the parent has gone, and answers lines
/// with what it has sent.
pub async fn half_open(server: SocketAddr, rate: f64) -> Result<()> {
    ensure!(is_loopback(server), "only loopback is attacked");
    let counts = Arc::new([const { AtomicU64::new(0) }; 2]);
    let counted = counts.clone();
    let mut initials = Initials::new(identity(Twist::default())?);
    reply(&json!({}));
    thread::spawn(move || {
        if let Err(error) = begin_handshakes(&mut initials, server, rate, &counted) {
            eprintln!("hostile: half-open handshakes: {error:#}");
            std::process::exit(1);
        }
    });
    let mut orders = Orders::new();
    while orders.next().await.is_some() {
        let [sent, retries] = [0, 1].map(|at: usize| counts[at].load(Ordering::Relaxed));
        reply(&json!({ "sent": sent, "retries": retries }));
    }
    Ok(())
}

fn begin_handshakes(
    initials: &mut Initials,
    server: SocketAddr,
    rate: f64,
    [sent, retries]: &[AtomicU64; 2],
) -> Result<()> {
    const SOCKET_BUFFER_BYTES: usize = 1 << 20;
    const DATAGRAM_LEN: usize = 65_536;
    let socket = socket(SocketAddr::from((REAL, 0)), SOCKET_BUFFER_BYTES)?;
    let mut buffer = vec![0; DATAGRAM_LEN];
    let begun = Instant::now();
    for number in 0u64.. {
        let due = begun + Duration::from_secs_f64(number as f64 / rate);
        thread::sleep(due.saturating_duration_since(Instant::now()));
        while let Ok((length, _)) = socket.recv_from(&mut buffer) {
            if initials.take_token(&buffer[..length]) {
                retries.fetch_add(1, Ordering::Relaxed);
            }
        }
        let packet = initials.make(server)?;
        if socket.send_to(&packet, server).is_ok() {
            sent.fetch_add(1, Ordering::Relaxed);
        }
    }
    Ok(())
}
