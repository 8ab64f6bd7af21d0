//! Backends that wrap another one: retry, a deadline on silence, a bandwidth limit.
//!
//! Order matters: [`Retry`] goes outside [`Silence`], so that a silent attempt is tried again;
//! [`Throttle`] goes outside both, or its waits would count as silence.

mod retry;
mod silence;
mod throttle;

pub use retry::{Retry, RetryConfig};
pub use silence::Silence;
pub use throttle::{Throttle, ThrottleConfig};
