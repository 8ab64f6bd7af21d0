//! What the example programs share, and the README's example as code that is compiled.
//!
//! [`readme`] is the README's example word for word; a test holds the two together. The programs
//! are in `src/bin`.

mod local_tracker;
pub mod readme;

pub use local_tracker::LocalTracker;
