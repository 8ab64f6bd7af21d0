//! Frames of the peer wire, as a stream and as fields added to a handshake that is valid.
#![no_main]

use kraken_fuzz::frame;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| frame::check(data));
