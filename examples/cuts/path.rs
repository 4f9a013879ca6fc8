//! A path between two ends that passes datagrams on, or nothing at all.

use std::{
    io,
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

/// The longest datagram there is.
const DATAGRAM_BYTES_MAX: usize = 65_535;

/// A path to one end, for one other end that begins. It lasts as long as the program.
pub(crate) struct Path {
    addr: SocketAddr,
    state: Arc<State>,
}

struct State {
    cut: AtomicBool,
    passed: AtomicU64,
    dropped: AtomicU64,
    /// Where the datagrams of the end that began last came from.
    from: Mutex<Option<SocketAddr>>,
}

/// Datagrams, in both directions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) dropped: u64,
}

impl Path {
    /// A path to this address.
    pub(crate) fn to(far: SocketAddr) -> io::Result<Self> {
        let near_side = UdpSocket::bind("127.0.0.1:0")?;
        let far_side = UdpSocket::bind("127.0.0.1:0")?;
        far_side.connect(far)?;
        let addr = near_side.local_addr()?;
        let state = Arc::new(State {
            cut: AtomicBool::new(false),
            passed: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            from: Mutex::new(None),
        });
        let (near, far) = (near_side.try_clone()?, far_side.try_clone()?);
        let there = Arc::clone(&state);
        thread::spawn(move || there.carry_there(&near, &far));
        let back = Arc::clone(&state);
        thread::spawn(move || back.carry_back(&far_side, &near_side));
        Ok(Self { addr, state })
    }

    /// Where the other end has to send.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Nothing passes from this moment on.
    pub(crate) fn cut(&self) {
        self.state.cut.store(true, Ordering::Relaxed);
    }

    /// Everything passes again.
    pub(crate) fn heal(&self) {
        self.state.cut.store(false, Ordering::Relaxed);
    }

    pub(crate) fn counts(&self) -> Counts {
        Counts {
            passed: self.state.passed.load(Ordering::Relaxed),
            dropped: self.state.dropped.load(Ordering::Relaxed),
        }
    }
}

impl State {
    fn carry_there(&self, near: &UdpSocket, far: &UdpSocket) {
        let mut datagram = [0; DATAGRAM_BYTES_MAX];
        loop {
            // An error is that of an earlier datagram that was refused (ICMP).
            let Ok((len, from)) = near.recv_from(&mut datagram) else {
                continue;
            };
            *self.from.lock().unwrap_or_else(PoisonError::into_inner) = Some(from);
            if self.passes() {
                let _ = far.send(&datagram[..len]);
            }
        }
    }

    fn carry_back(&self, far: &UdpSocket, near: &UdpSocket) {
        let mut datagram = [0; DATAGRAM_BYTES_MAX];
        loop {
            let Ok(len) = far.recv(&mut datagram) else {
                continue;
            };
            let from = *self.from.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(from) = from.filter(|_| self.passes()) {
                let _ = near.send_to(&datagram[..len], from);
            }
        }
    }

    /// Whether a datagram passes at this moment; counts it.
    fn passes(&self) -> bool {
        let cut = self.cut.load(Ordering::Relaxed);
        let count = if cut { &self.dropped } else { &self.passed };
        count.fetch_add(1, Ordering::Relaxed);
        !cut
    }
}
