//! A scenario of a simulation: YAML of any kind.
#![no_main]

use kraken_fuzz::scenario;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| scenario::check(data));
