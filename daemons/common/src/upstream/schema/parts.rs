//! Parts that several roles have.

use super::Kind::{Bool, Choice, Duration, Float, Host, Integer, List, Map, Path, Size, Text};
use super::accepted::{NGINX, ZAP};
use super::{Key, Kind, Table, key, table};

pub(super) const EXTENDS: Key = key(
    "extends",
    Path,
    "A file to read first; this one is laid over it. Relative to the directory of this file.",
);

pub(super) const ZAP_KEY: Key = table("zap", &ZAP, "What is logged, and how.");

pub(super) const METRICS_KEY: Key =
    table("metrics", &METRICS, "Where metrics are sent. `/metrics` serves them in any case.");

pub(super) const NGINX_KEY: Key = NGINX;

pub(super) const TLS_KEY: Key =
    table("tls", &TLS, "Encryption. Without this section it is on, as in uber/kraken.");

pub(super) const NETWORK_EVENT_KEY: Key =
    table("network_event", &NETWORK_EVENT, "A log of what happens between peers.");

pub(super) const PEER_ID_KEY: Key = key(
    "peer_id_factory",
    Choice(&["random", "addr_hash"]),
    "Where the peer id comes from: drawn at each start, or made of address and port.",
)
.or("addr_hash");

pub(super) const SCHEDULER_KEY: Key =
    table("scheduler", &SCHEDULER, "The exchange of pieces between peers.");

/// Hosts of another daemon, or of one's own cluster.
pub(in crate::upstream) static HOSTS: Table = Table::shared(
    "Hosts",
    &[
        key(
            "dns",
            Host,
            "A name that resolves to all the hosts, with the port they all have. Resolved again \
             every `ttl`.",
        ),
        key(
            "static",
            List(&Host),
            "The hosts, one by one. An IPv6 address stands in brackets: `[fd00::1]:15002`.",
        ),
        key("ttl", Duration, "How long what `dns` resolved to is believed.").or("5s"),
    ],
)
.only_one_of(&["dns", "static"]);

/// Hosts that are asked from time to time whether they are well.
pub(super) static ACTIVE: Table = Table::shared(
    "Hosts with active health checks",
    &[
        table("hosts", &HOSTS, "Where they are."),
        table("healthcheck", &ACTIVE_CHECK, "How they are watched."),
    ],
);

static ACTIVE_CHECK: Table = Table::of(&[
    table("filter", &HEALTH_FILTER, "When a host counts as ill."),
    table("monitor", &HEALTH_MONITOR, "How often hosts are asked."),
    key("disabled", Bool, "Take every host for well.").or("false"),
]);

/// When a host counts as ill, as requests to its `/health` show.
pub(super) static HEALTH_FILTER: Table = Table::shared(
    "Health filter",
    &[
        key("fails", Integer, "Failed checks in a row that make a host ill.").or("3"),
        key("passes", Integer, "Passed checks in a row that make it well again.").or("2"),
        key("timeout", Duration, "How long an answer may take.").or("3s"),
    ],
);

static HEALTH_MONITOR: Table =
    Table::of(&[key("interval", Duration, "The time between two checks.").or("10s")]);

/// Hosts of which requests show whether they are well.
pub(super) static PASSIVE: Table = Table::shared(
    "Hosts with passive health checks",
    &[
        table("hosts", &HOSTS, "Where they are."),
        table("healthcheck", &PASSIVE_CHECK, "When a host counts as ill."),
    ],
);

/// As [`PASSIVE`], and the digest says which host is asked first.
pub(super) static PASSIVE_RING: Table = Table::of(&[
    table("hosts", &HOSTS, "Where they are."),
    table("healthcheck", &PASSIVE_CHECK, "When a host counts as ill."),
    table("hashring", &RING_OF_OTHERS, "Which host a blob belongs to."),
]);

/// As [`RING`], of hosts of which this daemon is none.
static RING_OF_OTHERS: Table = Table::of(&[
    key("max_replica", Integer, "How many hosts a blob belongs to.").or("3"),
    key(
        "refresh_interval",
        Duration,
        "How often hosts are looked up, if that is less often than `ttl`.",
    )
    .or("10s"),
    key("membership_wait_timeout", Duration, "Nothing; this daemon is no member.").unused(),
    key("membership_wait_interval", Duration, "Nothing; this daemon is no member.").unused(),
]);

static PASSIVE_CHECK: Table = Table::shared(
    "Passive health check",
    &[
        key("fails", Integer, "Requests that must fail within `fail_timeout` to make a host ill.")
            .or("3"),
        key("fail_timeout", Duration, "How long failures count, and how long a host stays ill.")
            .or("5m"),
    ],
);

/// Which hosts a blob belongs to.
pub(super) static RING: Table = Table::shared(
    "Hash ring",
    &[
        key("max_replica", Integer, "How many hosts a blob belongs to.").or("3"),
        key("refresh_interval", Duration, "How often hosts and their health are looked up.")
            .or("10s"),
        key(
            "membership_wait_timeout",
            Duration,
            "How long a start waits until the host list names this daemon.",
        )
        .or("1m"),
        key("membership_wait_interval", Duration, "The time between two looks while it waits.")
            .or("500ms"),
    ],
);

/// When files are removed.
pub(super) static CLEANUP: Table = Table::shared(
    "Cleanup",
    &[
        key("disabled", Bool, "Remove nothing.").or("false"),
        key("interval", Duration, "The time between two runs.").or("30m"),
        key("tti", Duration, "Remove what nobody used for so long; what is open is in use, such as what is seeded \
             (until `scheduler.seeder_tti`).").or("6h"),
        key("ttl", Duration, "Remove what was written longer ago, used or not; 0 is never.").or("0"),
        key(
            "aggressive_threshold",
            Integer,
            "From how many per cent of a full disk the two keys below hold; 0 is never. The disk is \
             the one of the store, not `/`.",
        )
        .or("0"),
        key("aggressive_ttL", Duration, "The `ttl` while the disk is that full.").or("1h"),
        key(
            "aggressive_lower_threshold",
            Integer,
            "For complete blobs, in place of `aggressive_ttL`: down to how many per cent of a full \
             disk the least recently used are removed; 0 is no such bound.",
        )
        .or("0"),
    ],
);

pub(super) const UPLOAD_CLEANUP: Key = table(
    "upload_cleanup",
    &CLEANUP,
    "When uploads that were given up are removed, if that is before an hour without a write.",
);

pub(super) const CACHE_CLEANUP: Key = table(
    "cache_cleanup",
    &CLEANUP,
    "When blobs that nobody uses are removed. Those not written back stay.",
);

pub(super) const CAPACITY_BYTES: Key = key(
    "capacity_bytes",
    Size,
    "Most bytes on the disk; blobs that were not used for longest make room. Without it, as many \
     as fit.",
)
.ours();

pub(super) const READ_PART_SIZE: Key =
    key("read_part_size", Size, "Most bytes of one read from a file.").unused();

pub(super) const WRITE_PART_SIZE: Key =
    key("write_part_size", Size, "Most bytes of one write to a file.").unused();

/// Blobs by digest, as origin and proxy keep them.
pub(super) static CASTORE: Table = Table::shared(
    "Blob store",
    &[
        key("upload_dir", Path, "Uploads under way; emptied at each start."),
        key("cache_dir", Path, "Complete blobs. On the same file system as `upload_dir`."),
        CAPACITY_BYTES,
        UPLOAD_CLEANUP,
        CACHE_CLEANUP,
        key(
            "volumes",
            List(&Kind::Table(&VOLUME)),
            "Further disks, over which blobs are spread by symbolic links.",
        )
        .later(),
        key("capacity", Integer, "Most blobs of which the state is kept in memory.").unused(),
        READ_PART_SIZE,
        WRITE_PART_SIZE,
        key("skip_hash_verification", Bool, "Take blobs unverified. Here they never are.").unused(),
        table(
            "memory_cache",
            &MEMORY_CACHE,
            "Blobs in memory until they are on the disk. Here the system's page cache does that.",
        )
        .unused(),
    ],
);

static VOLUME: Table = Table::of(&[
    key("location", Path, "The directory."),
    key("weight", Integer, "How much of all is put there, relative to the other volumes."),
]);

static MEMORY_CACHE: Table = Table::of(&[
    key("enabled", Bool, "Whether there is one.").unused(),
    key("max_size", Size, "Its size.").unused(),
    key("drain_workers", Integer, "How many blobs are written to the disk at once.").unused(),
    key("drain_max_retries", Integer, "How often that is tried again.").unused(),
    key("ttl", Duration, "How long a blob stays.").unused(),
    key("ttl_interval", Duration, "How often that is looked at.").unused(),
]);

/// Encryption.
pub(super) static TLS: Table = Table::shared(
    "TLS",
    &[
        key("name", Text, "The name that all certificates of the cluster bear.").later(),
        key("cas", List(&Kind::Table(&SECRET_FILE)), "Authorities that are trusted.").later(),
        table("server", &TLS_PAIR, "What clients of this daemon see."),
        table("client", &TLS_PAIR, "What this daemon shows to others."),
    ],
);

static TLS_PAIR: Table = Table::of(&[
    key(
        "disabled",
        Bool,
        "Speak plain HTTP. Until TLS is built, a daemon starts only with `true`.",
    )
    .or("false"),
    table("cert", &SECRET_FILE, "The certificate.").later(),
    table("key", &SECRET_FILE, "Its key.").later(),
    table("passphrase", &SECRET_FILE, "What the key is encrypted with.").later(),
]);

static SECRET_FILE: Table = Table::of(&[key("path", Path, "The file.").later()]);

/// Where metrics are sent.
static METRICS: Table = Table::shared(
    "Metrics",
    &[
        key("backend", Choice(&["disabled", "statsd", "m3"]), "Who is sent metrics.")
            .or("disabled")
            .later(),
        table("statsd", &STATSD, "A statsd server.").later(),
        table("m3", &M3, "An M3 server.").unused(),
    ],
);

static STATSD: Table = Table::of(&[
    key("host_port", Host, "Where it is.").later(),
    key("prefix", Text, "What every name begins with.").later(),
]);

static M3: Table = Table::of(&[
    key("host_port", Text, "Where it is.").unused(),
    key("service", Text, "What the daemon is called there.").unused(),
    key("env", Text, "The environment.").unused(),
]);

static NETWORK_EVENT: Table = Table::shared(
    "Network events",
    &[
        key("enabled", Bool, "Whether it is written.").or("false").later(),
        key("log_path", Path, "The file.").later(),
    ],
);

/// How fast bytes may come and go.
pub(super) static BANDWIDTH: Table = Table::shared(
    "Bandwidth",
    &[
        key("enable", Bool, "Whether there is a limit.").or("false"),
        key("egress_bits_per_sec", Integer, "Most bits sent a second."),
        key("ingress_bits_per_sec", Integer, "Most bits received a second."),
        key("token_size", Integer, "How many bits are accounted at once.").unused(),
    ],
);

/// The exchange of pieces. What is not limited by a key here is limited by the swarm itself.
static SCHEDULER: Table = Table::shared(
    "Scheduler",
    &[
        key("seeder_tti", Duration, "A complete torrent nobody asks for is dropped after so long.")
            .or("5m"),
        key("leecher_tti", Duration, "A torrent that gets no piece is given up after so long.")
            .or("5m"),
        key("conn_tti", Duration, "A connection without pieces is closed after so long.").or("30s"),
        key("seed", Bool, "Whether peers may have pieces from here.").or("true").ours(),
        key("conn_ttl", Duration, "A connection is closed after so long, used or not.").unused(),
        key("preemption_interval", Duration, "How often connections are looked at.").unused(),
        key("emit_stats_interval", Duration, "How often gauges are sent.").unused(),
        key("disable_preemption", Bool, "Never close idle connections.").unused(),
        key("probe_timeout", Duration, "How long the check for readiness may take.").unused(),
        table("connstate", &CONN_STATE, "Which connections there are."),
        table("conn", &CONN, "What a connection may do."),
        table("dispatch", &DISPATCH, "Which pieces are asked of whom."),
        table("torrentlog", &LOG, "A log of torrents. Here they are in the daemon's log.").unused(),
        LOG_KEY,
    ],
);

static CONN_STATE: Table = Table::of(&[
    key(
        "max_open_conn",
        Integer,
        "Most connections of a torrent (10 in uber/kraken), of which an agent dials up to 8 and an \
         origin none. Without it an agent accepts up to 24, an origin up to 100.",
    ),
    key("max_mutual_conn", Integer, "Most peers in common with a peer that is dialled.").unused(),
    key(
        "disable_blacklist",
        Bool,
        "Keep the pause before a peer that could not be reached is dialled again at 100 ms.",
    )
    .or("false"),
    key("blacklist_duration", Duration, "The longest pause before such a peer is dialled again.")
        .or("30s"),
]);

static CONN: Table = Table::of(&[
    key("handshake_timeout", Duration, "How long each half of a handshake may take.").or("5s"),
    key("sender_buffer_size", Integer, "Messages that may wait to be sent.").unused(),
    key("receiver_buffer_size", Integer, "Messages that may wait to be handled.").unused(),
    table("bandwidth", &CONN_BANDWIDTH, "How fast all connections together may be."),
]);

static CONN_BANDWIDTH: Table = Table::of(&[
    key("enable", Bool, "Whether there is a limit.").or("false"),
    key("egress_bits_per_sec", Integer, "Most bits sent a second.").or("1677721600"),
    key("ingress_bits_per_sec", Integer, "Most bits received a second.").or("2516582400"),
    key("token_size", Integer, "How many bits are accounted at once.").unused(),
]);

static DISPATCH: Table = Table::of(&[
    key("piece_request_min_timeout", Duration, "A request is given up after so long…").or("4s"),
    key("piece_request_timeout_per_mb", Duration, "…or so long a MiB of piece, if that is longer.")
        .or("4s"),
    key(
        "piece_request_policy",
        Choice(&["default", "rarest_first"]),
        "Which pieces are asked for first. Here always the rarest, and what a reader waits for.",
    )
    .unused(),
    key("pipeline_limit", Integer, "Most requests open with an agent of uber/kraken's.").or("3"),
    key("origin_pipeline_limit", Integer, "Most requests open with an origin of uber/kraken's.")
        .or("5"),
    key("endgame_threshold", Integer, "How many pieces before the end some are asked twice.")
        .unused(),
    key("disable_endgame", Bool, "Ask for no piece twice.").unused(),
]);

pub(super) const LOG_KEY: Key =
    table("log", &LOG, "A log of its own. Here it is in the daemon's log.").unused();

static LOG: Table = Table::of(&[
    key("level", Text, "What is logged.").unused(),
    key("disable", Bool, "Log nothing.").unused(),
    key("service_name", Text, "A field of every line.").unused(),
    key("path", Path, "The file.").unused(),
    key("encoding", Text, "How a line looks.").unused(),
    key("timeEncoder", Text, "How a time looks.").unused(),
]);

/// Pauses between tries.
pub(super) static BACKOFF: Table = Table::shared(
    "Back-off",
    &[
        key("enabled", Bool, "Whether there are tries after the first.").or("false"),
        key("initial_interval", Duration, "The first pause.").or("2s"),
        key("randomization_factor", Float, "How much chance varies a pause, as a part of it.")
            .or("0.05"),
        key("multiplier", Float, "By what a pause is longer than the one before.").or("2"),
        key("max_interval", Duration, "The longest pause.").or("30s"),
        key("max_retries", Integer, "How many tries come after the first.").or("5"),
    ],
);

/// Work that is tried until it succeeds, across restarts.
pub(super) static RETRY: Table = Table::shared(
    "Persisted retry",
    &[
        key(
            "retry_interval",
            Duration,
            "The longest pause before what failed is tried again; pauses double from 250 ms on.",
        )
        .or("30s"),
        key(
            "poll_retries_interval",
            Duration,
            "The longest pause between two tries while the other side is away, if that is shorter.",
        )
        .or("15s"),
        key("num_incoming_workers", Integer, "How many tries run at once.").or("4"),
        key("num_retry_workers", Integer, "How many more run at once where not all are for one.")
            .or("2"),
        key("incoming_buffer", Integer, "First tries that may wait.").unused(),
        key("retry_buffer", Integer, "Further tries that may wait.").unused(),
        key("max_task_throughput", Duration, "The pause of a worker after each try.").unused(),
        table("sync_retry_backoff", &BACKOFF, "Pauses between tries while somebody waits.")
            .unused(),
        key("workqueue_metrics_emit_interval", Duration, "How often gauges are sent.").unused(),
        key("testing", Bool, "For uber/kraken's own tests.").unused(),
    ],
);

/// Tasks that outlive the process.
pub(super) static LOCALDB: Table = Table::shared(
    "Local database",
    &[key(
        "source",
        Path,
        "uber/kraken's SQLite file. Here the tasks are in a journal beside the blobs.",
    )
    .unused()],
);

/// Piece lengths by blob size.
pub(super) static METAINFOGEN: Table = Table::of(&[key(
    "piece_lengths",
    Map(&Size, &Size),
    "Piece length by blob size: the entry with the largest size that is not above the blob's. \
     Without it 1 MiB below 1 GiB, 4 MiB below 16 GiB, 16 MiB above.",
)]);
