//! Failures that users of other connection pools have met, each as a picture: what goes wrong, and
//! what does not happen. Numbers 1 to 10, 13, 16, 19 and 22 are with the other whole machines, in
//! `machine`; 18 and 25 need real sockets.

mod background_dials;
mod batching;
mod comebacks;
mod lulls;
mod storms_of_dials;
mod ties;
mod traces_of_failure;
mod unread;
