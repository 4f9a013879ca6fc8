//! Bad input against a whole machine: it is refused with the right code and counted, other peers
//! are not disturbed, and nothing is left of it.

mod bytes;
mod claims;
mod conduct;
mod datagrams;
mod fair;
mod flood;
mod frames;
mod hoards;
mod liars;
mod nat;
mod noise;
mod older;
mod paths;
mod prices;
mod raw;
mod records;
mod scene;
mod sealed;
mod session;
mod strangers;
mod written;
