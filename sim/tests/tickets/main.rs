//! Coming back by a ticket: who it is for, what is checked all the same, and what it costs.

mod comebacks;
mod cost;
mod heap;
