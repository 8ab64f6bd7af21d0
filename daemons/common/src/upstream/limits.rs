//! Every bound on a configuration, with its reason.

/// Longest file in bytes: the largest known ones, with a thousand remotes, have some 100 KiB.
pub const FILE_BYTES_MAX: u64 = 4 << 20;

/// Most keys and values of one file, copies made by aliases counted: a bomb of anchors ends here,
/// a file of 1 MiB does not.
pub const NODES_MAX: usize = 200_000;

/// Most bytes of text in one file's values, copies made by aliases counted.
pub const TEXT_BYTES_MAX: usize = 8 << 20;

/// Longest key in bytes: with every byte escaped it still is one that YAML reads without a `?`,
/// which are those of at most 1024 characters.
pub const KEY_BYTES_MAX: usize = 250;

/// How deep lists and maps may nest: uber/kraken's own reach seven.
pub const DEPTH_MAX: usize = 64;

/// Most files of one `extends` chain: people use three.
pub const FILES_MAX: usize = 16;

/// Most problems that are listed; nobody reads more.
pub const PROBLEMS_MAX: usize = 200;

/// Longest regular expression in bytes: a list of some hundred repositories fits.
pub const REGEX_BYTES_MAX: usize = 16 * 1024;

/// Largest compiled regular expression in bytes, so that `(\w{1000}){1000}` is refused instead of
/// compiled.
pub const REGEX_COMPILED_BYTES_MAX: usize = 4 << 20;

/// Longest key that is compared with others to find what was meant.
pub const NEAREST_KEY_LEN_MAX: usize = 64;

/// Longest part of a value that a message repeats, in characters.
pub const QUOTE_CHARS_MAX: usize = 60;
