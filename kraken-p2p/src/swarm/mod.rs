//! The swarm: one synchronous state machine that decides whom to talk to, what to ask of whom and
//! what to send next.
//!
//! It reads no clock, opens no socket and spawns nothing. The methods of [`Swarm`] sort into
//! getters; `handle_*` (events in); commands of the application; and `poll_*` (outputs). After any
//! call the driver takes outputs with `poll_output` until there are none, and calls
//! `handle_timeout` once the time of `poll_timeout` has come.

mod io;

pub use io::{
    Announced, CloseReason, ConnId, DemandId, Output, PieceOutcome, Refused, Sums, TorrentSpec,
};
