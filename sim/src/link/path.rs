//! Paths as they are found in the world.

use std::time::Duration;

use super::{Burst, Delay, Faults, Order, Queue, Rate};

/// Both directions of a path.
///
/// The figures of the presets are round ones, within what is measured in such networks.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Path {
    /// From the user to the network.
    pub up: Faults,
    /// From the network to the user.
    pub down: Faults,
}

impl Path {
    /// The same in both directions.
    pub fn symmetric(faults: Faults) -> Self {
        Self {
            up: faults.clone(),
            down: faults,
        }
    }

    /// Different in each direction.
    #[doc(hidden)]
    pub fn new(up: Faults, down: Faults) -> Self {
        Self { up, down }
    }

    /// Ethernet in a building: 1 Gbit/s, 0.1 ms, no loss.
    pub fn lan() -> Self {
        Self::symmetric(Faults {
            delay: Delay::Constant(us(100)),
            rate: rate(125_000_000, 512 * 1_024),
            ..Faults::default()
        })
    }

    /// A telephone line with a deep buffer: 2 Mbit/s up, 16 Mbit/s down, 15 ms, PPPoE.
    pub fn dsl() -> Self {
        let line = Faults {
            // PPPoE takes 8 bytes of each frame.
            mtu: 1_464,
            loss: 0.000_1,
            delay: normal(15, 1),
            ..Faults::default()
        };
        Self {
            up: Faults {
                rate: rate(250_000, 64 * 1_024),
                ..line.clone()
            },
            down: Faults {
                rate: rate(2_000_000, 256 * 1_024),
                ..line
            },
        }
    }

    /// A telephone in good reception: 10 Mbit/s up, 40 Mbit/s down, 30 ms that waver, and little
    /// loss, as the radio repeats what it loses.
    pub fn lte() -> Self {
        let radio = Faults {
            mtu: 1_400,
            loss: 0.000_5,
            delay: normal(30, 8),
            ..Faults::default()
        };
        Self {
            up: Faults {
                rate: rate(1_250_000, 256 * 1_024),
                ..radio.clone()
            },
            down: Faults {
                rate: rate(5_000_000, 1_024 * 1_024),
                ..radio
            },
        }
    }

    /// A satellite in geostationary orbit: 300 ms each way, 5 Mbit/s up, 50 Mbit/s down, and rain.
    pub fn satellite() -> Self {
        let sky = Faults {
            mtu: 1_400,
            burst: burst(0.000_5, 0.1, 0.5),
            delay: normal(300, 5),
            ..Faults::default()
        };
        Self {
            up: Faults {
                rate: rate(625_000, 512 * 1_024),
                ..sky.clone()
            },
            down: Faults {
                rate: rate(6_250_000, 4_096 * 1_024),
                ..sky
            },
        }
    }

    /// Someone walks away from the router: 20 Mbit/s, delays that waver, fades that swallow ten
    /// datagrams in a row, and frames that overtake each other.
    pub fn wifi_fade() -> Self {
        Self::symmetric(Faults {
            loss: 0.005,
            burst: burst(0.005, 0.1, 0.8),
            rate: rate(2_500_000, 128 * 1_024),
            delay: normal(5, 4),
            reorder: 0.01,
            reorder_extra: Duration::from_millis(20),
            ..Faults::default()
        })
    }

    /// One hall: 10 Gbit/s, 50 µs, a short queue that marks congestion instead of losing (as DCTCP
    /// wants it).
    pub fn datacenter() -> Self {
        Self::symmetric(Faults {
            delay: Delay::Uniform {
                from: us(40),
                to: us(60),
            },
            order: Order::Kept,
            rate: Some(Rate {
                bytes_per_second: 1_250_000_000,
                queue: Queue::Bytes(256 * 1_024),
                mark_above: Some(64 * 1_024),
            }),
            ..Faults::default()
        })
    }
}

const fn us(count: u64) -> Duration {
    Duration::from_micros(count)
}

const fn normal(mean_ms: u64, deviation_ms: u64) -> Delay {
    Delay::Normal {
        mean: Duration::from_millis(mean_ms),
        deviation: Duration::from_millis(deviation_ms),
    }
}

const fn burst(to_bad: f64, to_good: f64, loss: f64) -> Option<Burst> {
    Some(Burst {
        to_bad,
        to_good,
        loss,
    })
}

const fn rate(bytes_per_second: u64, queue_bytes: u64) -> Option<Rate> {
    Some(Rate {
        bytes_per_second,
        queue: Queue::Bytes(queue_bytes),
        mark_above: None,
    })
}
