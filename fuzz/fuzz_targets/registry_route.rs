//! The registry's routes: any method, path and query.
#![no_main]

use kraken_fuzz::registry_route;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| registry_route::check(data));
