//! Both cryptographies of the simulator: what their sessions do under quinn-proto, that they repeat,
//! and that they lead to the same events.

mod agreement;
mod both;
mod checksum;
mod flights;
mod pair;
mod sessions;
mod tls;
