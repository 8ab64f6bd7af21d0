//! The swarm in any order of events.
#![no_main]

use kraken_fuzz::swarm;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| swarm::check(data));
