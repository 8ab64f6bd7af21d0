//! Every bound of this crate, with its reason.

/// Longest request path taken, in bytes: a repository of 255, a sha512 digest of 135 and the fixed
/// words fit even with every byte percent-encoded.
pub const PATH_LEN_MAX: usize = 2048;

/// Longest query taken, in bytes: room for every tag of [`TAGS_PER_PUT_MAX`] at its longest.
pub const QUERY_LEN_MAX: usize = 8192;

/// Longest id of an upload session: a UUID in any notation, or a signed token, fits.
pub const UPLOAD_ID_LEN_MAX: usize = 128;

/// Most ranges answered in one multi-range request: zstd:chunked pulls of containers/image ask for
/// up to 1024 at once. More are answered with the whole blob.
pub const RANGES_MAX: usize = 1024;

/// Longest manifest taken, in bytes: the distribution-spec demands 4 MiB at least, and the
/// conformance suite pushes 3.9 MB.
pub const MANIFEST_BYTES_MAX: usize = 8 << 20;

/// Longest media type taken: RFC 6838 allows 127 characters on each side of the slash.
pub const MEDIA_TYPE_LEN_MAX: usize = 255;

/// Most tags one page of a tag list holds when the client names a page size: a page stays near a
/// megabyte.
pub const TAGS_PAGE_MAX: usize = 10_000;

/// Most tags given to a manifest in one PUT: the distribution-spec demands ten at least.
pub const TAGS_PER_PUT_MAX: usize = 32;
