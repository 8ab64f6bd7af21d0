//! Every bound of the origin, with its reason.

use std::time::Duration;

/// Bytes of an upload gathered before they are written to disk at once: small writes cost twice,
/// and a thousand uploads that each hold a mebibyte are a gibibyte.
pub(crate) const WRITE_LEN: usize = 1 << 20;

/// An upload that nobody has touched for so long is dropped when the next one begins: a sender
/// gives up a chunk long before, and what it leaves takes room from blobs.
pub(crate) const UPLOAD_IDLE_MAX: Duration = Duration::from_secs(3600);

/// Most bytes of a refused body that are still read, and thrown away: a sender that meets a closed
/// connection while it writes never reads why. Two chunks of an uber/kraken client.
pub(crate) const REFUSED_LEN_MAX: u64 = 64 << 20;

/// Longest body of a duplicate commit, in bytes: `{"Delay":<ns>}` and what later versions may add.
pub(crate) const DUPLICATE_BODY_MAX: usize = 4096;

/// The shortest pause between two looks at the ring: none would ask the other origins without end.
pub(crate) const REFRESH_PAUSE_MIN: Duration = Duration::from_millis(10);

/// The shortest pause between two looks for this origin in the ring, so that they end up nowhere
/// near a load for a name server.
pub(crate) const WAIT_PAUSE_MIN: Duration = Duration::from_millis(10);

/// The pause before sidecars that could not be read are tried again: a disk that fails for a moment
/// must not leave a blob to the next start, and one that stays unreadable must not fill the log.
pub(crate) const RELOAD_PAUSE: Duration = Duration::from_secs(60);

/// Most fetches from the backend under way at once; more wait until one of them has ended. Each
/// holds a file, a connection and a chunk of the blob.
pub(crate) const FETCHES_MAX: usize = 64;

/// How long who asks waits for what the backend says of a blob, before it is told to ask again.
pub(crate) const PROVISIONAL_WAIT_MAX: Duration = Duration::from_secs(10);

/// An owner that brings nothing for so long is asked whether it still does: a piece of most
/// backends takes less.
pub(crate) const STALL_AFTER: Duration = Duration::from_secs(5);

/// How often in a row an owner that brings nothing may say that it still does: a piece of a slow
/// backend takes its time.
pub(crate) const STALLS_MAX: u32 = 24;

/// The pause before an owner that gave no answer is asked once more whether it still brings a blob.
pub(crate) const ASK_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// How often an owner whose bytes make another blob is asked what it makes of that: it has the same
/// bytes to hash, and began to sooner.
pub(crate) const VERDICT_LOOKS: u32 = 10;

/// Ranges of one blob that are fetched before their turn at once, each over a connection of its
/// own.
pub(crate) const RANGES_AT_ONCE_MAX: usize = 4;

/// What comes this many bytes later by itself is not fetched before its turn.
pub(crate) const SOON_BYTES: u64 = 8 << 20;

/// Most of a range that is, at once: who waits asks for more of it as this comes, and one that has
/// gone away leaves no more than this behind.
pub(crate) const BEFORE_ITS_TURN_MAX: u64 = 16 << 20;

/// Bytes that are here already, and come again amid the rest, pass by unused up to so many; a
/// longer stretch is left out by asking the backend anew for what is behind it, which costs a round
/// trip and what is on its way.
pub(crate) const PASS_BY_MAX: u64 = 8 << 20;

/// How often it is looked whether pieces have come that others write.
pub(crate) const OTHERS_LOOK_EVERY: Duration = Duration::from_millis(100);

/// How often an owner that brings a blob asks the ones before it whether they do so too: one that
/// gave no answer in time may have been busy only.
pub(crate) const ELSEWHERE_LOOK_EVERY: Duration = Duration::from_secs(2);

/// How often in a row a backend may break off without a piece before the fetch has failed.
pub(crate) const PULL_ATTEMPTS_MAX: u32 = 4;

/// The pause before the second time; twice as long before the third.
pub(crate) const PULL_PAUSE: Duration = Duration::from_millis(500);

/// How often a blob is brought from the beginning because another object took its place at the
/// backend meanwhile.
pub(crate) const OBJECTS_MAX: u32 = 4;

/// How long other owners have to get a blob from the swarm, before it is copied to them: this, and
/// what it takes at so many bytes a second.
pub(crate) const REPLICA_WAIT: Duration = Duration::from_secs(5);

/// See [`REPLICA_WAIT`]: slower ones are helped with a copy.
pub(crate) const REPLICA_BYTES_PER_SEC: u64 = 20_000_000;

/// How often it is looked whether they have it.
pub(crate) const REPLICA_LOOK_EVERY: Duration = Duration::from_millis(250);

/// How long a failed fetch is remembered and told to those who poll: longer than the longest pause
/// of a client that polls (5 s), so that all of them learn of it.
pub(crate) const FAILURE_TTL: Duration = Duration::from_secs(15);

/// How long what another owner has found is: those who poll this one learn of it, and owners that
/// hear of it one from the other forget it soon after the one that found it.
pub(crate) const HEARD_FAILURE_TTL: Duration = Duration::from_secs(6);

/// Most failures remembered, each a digest, a namespace and a line; the oldest go first.
pub(crate) const FAILURES_MAX: usize = 1024;
