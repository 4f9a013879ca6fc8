//! Sends packets of a pool from many source addresses at an even rate.

use std::{
    mem,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket},
    os::fd::AsRawFd,
    ptr,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::raw::{socket, source};

/// Distinct packets of a pool.
pub const POOL_LEN: usize = 8_192;

/// Source addresses, none of which an honest peer has.
const SOURCES: u32 = 10_000;

/// Packets of one call.
const BATCH_LEN: usize = 32;

/// The shortest sleep that is worth its wake-up.
const NAP: Duration = Duration::from_micros(100);

/// Seconds that the gun may catch up, since it shares its core. What is later is left out, so that no burst
/// is longer.
const BACKLOG_SECONDS: f64 = 0.02;

/// Bytes of a control message with a source address: `CMSG_SPACE(sizeof(in_pktinfo))`.
const CONTROL_LEN: usize = 32;

/// A socket that sends from addresses that are not its own.
pub struct Gun {
    socket: UdpSocket,
    pool: Vec<Vec<u8>>,
    sources: Vec<Ipv4Addr>,
    random: u64,
}

/// A control message, aligned as the system wants it.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; CONTROL_LEN]);

impl Gun {
    pub fn new(pool: Vec<Vec<u8>>) -> Result<Self> {
        let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        Ok(Self {
            // Answers are of no use to it.
            socket: socket(any, 0)?,
            pool,
            // A prime apart, so that they lie in many networks.
            sources: (0..SOURCES).map(|number| source(number * 1_613)).collect(),
            random: 0x9e37_79b9_7f4a_7c15,
        })
    }

    /// Sends at this rate for as long as `goes_on` holds. Returns how many packets have left.
    pub fn fire(&mut self, to: SocketAddrV4, rate: f64, goes_on: impl Fn() -> bool) -> Result<u64> {
        wake_exactly();
        let begun = Instant::now();
        let (mut due_before, mut sent) = (0.0, 0);
        while goes_on() {
            let due = begun.elapsed().as_secs_f64() * rate;
            due_before = f64::max(due_before, due - rate * BACKLOG_SECONDS);
            let batch = ((due - due_before) as usize).min(BATCH_LEN);
            // A call for few packets costs as much as one for many.
            if batch < BATCH_LEN / 4 {
                std::thread::sleep(NAP);
                continue;
            }
            sent += self.send(to, batch)?;
            due_before += batch as f64;
        }
        Ok(sent)
    }

    /// Sends so many packets in one call; how many of them have left.
    fn send(&mut self, to: SocketAddrV4, count: usize) -> Result<u64> {
        let mut name = address(to);
        let mut controls = [Control([0; CONTROL_LEN]); BATCH_LEN];
        // SAFETY: all zeroes are a valid `iovec` and a valid `mmsghdr`: null pointers and no length.
        let mut parts: [libc::iovec; BATCH_LEN] = unsafe { mem::zeroed() };
        // SAFETY: as above.
        let mut messages: [libc::mmsghdr; BATCH_LEN] = unsafe { mem::zeroed() };
        for at in 0..count {
            let packet = self.draw() as usize % self.pool.len();
            let from = self.draw() as usize % self.sources.len();
            let packet = &self.pool[packet];
            controls[at] = control(self.sources[from]);
            parts[at].iov_base = packet.as_ptr().cast_mut().cast();
            parts[at].iov_len = packet.len();
            let header = &mut messages[at].msg_hdr;
            header.msg_name = ptr::from_mut(&mut name).cast();
            header.msg_namelen = mem::size_of_val(&name) as libc::socklen_t;
            header.msg_iov = &raw mut parts[at];
            header.msg_iovlen = 1;
            header.msg_control = controls[at].0.as_mut_ptr().cast();
            header.msg_controllen = CONTROL_LEN as _;
        }
        let fd = self.socket.as_raw_fd();
        // SAFETY: `messages` has at least `count` headers, and what they point to lives until the call ends.
        let sent = unsafe { libc::sendmmsg(fd, messages.as_mut_ptr(), count as u32, 0) };
        if sent >= 0 {
            return Ok(sent as u64);
        }
        let error = std::io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::EAGAIN | libc::ENOBUFS | libc::EINTR | libc::ECONNREFUSED) => Ok(0),
            _ => Err(error).context("cannot send from a source address"),
        }
    }

    /// The next number of a xorshift generator.
    fn draw(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }
}

/// An address as the system writes it.
fn address(addr: SocketAddrV4) -> libc::sockaddr_in {
    // SAFETY: all zeroes are a valid `sockaddr_in`.
    let mut name: libc::sockaddr_in = unsafe { mem::zeroed() };
    name.sin_family = libc::AF_INET as libc::sa_family_t;
    name.sin_port = addr.port().to_be();
    name.sin_addr.s_addr = u32::from_ne_bytes(addr.ip().octets());
    name
}

/// The control message that sets a source address: `IP_PKTINFO` with `ipi_spec_dst`.
fn control(from: Ipv4Addr) -> Control {
    const HEADER_LEN: usize = mem::size_of::<libc::cmsghdr>();
    const INFO_LEN: usize = mem::size_of::<libc::in_pktinfo>();
    let mut bytes = [0; CONTROL_LEN];
    bytes[..8].copy_from_slice(&(HEADER_LEN + INFO_LEN).to_ne_bytes());
    bytes[8..12].copy_from_slice(&libc::IPPROTO_IP.to_ne_bytes());
    bytes[12..16].copy_from_slice(&libc::IP_PKTINFO.to_ne_bytes());
    // Behind the index of an interface, which may be any.
    bytes[HEADER_LEN + 4..HEADER_LEN + 8].copy_from_slice(&from.octets());
    Control(bytes)
}

/// Lets this thread wake up when it asks to, and not up to 50 µs later.
fn wake_exactly() {
    // SAFETY: the call has no pointers; it changes this thread's timer slack alone.
    unsafe {
        libc::prctl(libc::PR_SET_TIMERSLACK, 1);
    }
}

/// An address of IPv4.
pub fn v4(addr: SocketAddr) -> Result<SocketAddrV4> {
    match addr {
        SocketAddr::V4(addr) => Ok(addr),
        SocketAddr::V6(_) => bail!("the address is not of IPv4"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{cell::Cell, collections::BTreeSet};

    #[test]
    fn packets_leave_from_many_addresses_at_the_rate() {
        let sink = UdpSocket::bind("127.0.0.1:0").expect("loopback");
        sink.set_nonblocking(true).expect("a socket");
        let to = v4(sink.local_addr().expect("bound")).expect("IPv4");
        let pool = vec![vec![1; 100], vec![2; 100]];
        let mut gun = Gun::new(pool).expect("a socket");
        let (sources, begun) = (Cell::new(BTreeSet::new()), Instant::now());
        let mut buffer = [0; 200];
        let sent = gun.fire(to, 5_000.0, || {
            let buffer = &mut { buffer };
            while let Ok((length, from)) = sink.recv_from(buffer) {
                assert_eq!(length, 100);
                let mut seen = sources.take();
                seen.insert(from.ip());
                sources.set(seen);
            }
            begun.elapsed() < Duration::from_millis(400)
        });
        buffer.fill(0);
        let sent = sent.expect("it sends");
        assert!((1_000..=2_100).contains(&sent), "{sent} packets");
        let sources = sources.take();
        assert!(sources.len() > 500, "{} addresses", sources.len());
        assert!(!sources.contains(&Ipv4Addr::LOCALHOST.into()));
    }
}
