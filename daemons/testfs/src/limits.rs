//! Every bound of this crate, with its reason.

/// Longest name of a file, in bytes: the system takes 4096 for a whole path, and the root needs
/// some of that.
pub(crate) const NAME_LEN_MAX: usize = 2048;

/// Longest component of a name, in bytes: what Linux's file systems take.
pub(crate) const COMPONENT_LEN_MAX: usize = 255;

/// Most paths one listing holds: it is made in memory, and a test has thousands of files.
pub(crate) const LISTED_MAX: usize = 100_000;

/// Longest upload, in bytes: none but what the disk holds, since it is streamed there.
pub(crate) const UPLOAD_LEN_MAX: u64 = u64::MAX;

/// Most bytes of a refused upload that are still read, and thrown away: a sender that meets a
/// closed connection while it writes never reads why.
pub(crate) const REFUSED_LEN_MAX: u64 = 64 << 20;
