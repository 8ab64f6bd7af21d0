//! A configuration: YAML of any kind, read as any role's.
#![no_main]

use kraken_fuzz::config;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| config::check(data));
