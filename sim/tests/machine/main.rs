//! Whole machines in virtual time: their lifecycle, their limits, and failures that do not happen
//! to them.

mod attacks;
mod backpressure;
mod breaker;
mod budget;
mod credit;
mod cuts;
mod datagrams;
mod failures;
mod failures_ends;
mod failures_states;
mod fairness;
mod health;
mod incarnations;
mod last_words;
mod lifecycle_batches;
mod lifecycle_dials;
mod lifecycle_flush;
mod lifecycle_peers;
mod lifecycle_pool;
mod lifecycle_sessions;
mod lifecycle_turns;
mod limits;
mod standstill;
mod strangers;
mod support;
mod told;
mod twins;
mod visits;
mod voids;
mod ways_to_end;
