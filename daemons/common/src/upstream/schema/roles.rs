//! What each role's configuration holds.

use super::Kind::{
    Bool, Choice, Cidr, Duration, Free, Host, Integer, List, Map, Path, Regex, Size, Text,
};
use super::accepted::{LISTENER, REGISTRY};
use super::backends::{AUTH_KEY, BACKEND_MANAGER_KEY, BACKENDS_KEY};
use super::parts::{
    ACTIVE, CACHE_CLEANUP, CAPACITY_BYTES, CASTORE, CLEANUP, EXTENDS, HEALTH_FILTER, HOSTS,
    LOCALDB, METAINFOGEN, METRICS_KEY, NETWORK_EVENT_KEY, NGINX_KEY, PASSIVE, PASSIVE_RING,
    PEER_ID_KEY, READ_PART_SIZE, RETRY, RING, SCHEDULER_KEY, TLS_KEY, WRITE_PART_SIZE, ZAP_KEY,
};
use super::{Kind, Table, key, table};

pub(super) static AGENT: Table = Table::of(&[
    EXTENDS,
    table("tracker", &PASSIVE_RING, "The trackers."),
    table("build_index", &PASSIVE, "The build-indexes, which know the tags."),
    table("store", &AGENT_STORE, "Blobs on the disk."),
    key(
        "allowed_cidrs",
        List(&Cidr),
        "From where images may be pulled; others get 403. An empty list allows nobody.",
    )
    .or("[127.0.0.1, '::1']"),
    key("registry_backup", Host, "Another registry, for what this agent cannot serve.").later(),
    PEER_ID_KEY,
    SCHEDULER_KEY,
    table("container_runtime", &RUNTIME, "Runtimes that preload images on request.").later(),
    table("docker_daemon", &DOCKER, "The older name of `container_runtime.docker`.").later(),
    TLS_KEY,
    ZAP_KEY,
    METRICS_KEY,
    NETWORK_EVENT_KEY,
    table("agentserver", &AGENT_SERVER, "The port for other programs than runtimes.").unused(),
    REGISTRY,
    NGINX_KEY,
]);

static AGENT_STORE: Table = Table::of(&[
    key("download_dir", Path, "Blobs that are arriving."),
    key("cache_dir", Path, "Complete blobs. On the same file system as `download_dir`."),
    CAPACITY_BYTES,
    table("download_cleanup", &CLEANUP, "When downloads that stand still are removed."),
    CACHE_CLEANUP,
    READ_PART_SIZE,
    WRITE_PART_SIZE,
]);

static AGENT_SERVER: Table =
    Table::of(&[
        key("readiness_cache_ttl", Duration, "Nothing; uber/kraken never reads it.").unused()
    ]);

static RUNTIME: Table = Table::of(&[
    table("docker", &DOCKER, "Docker.").later(),
    table("containerd", &CONTAINERD, "Containerd.").later(),
]);

static DOCKER: Table = Table::of(&[
    key("docker_host", Text, "Where it is.").or("unix:///var/run/docker.sock").later(),
    key("docker_scheme", Text, "How it is spoken to.").or("http").later(),
    key("docker_version", Text, "The version of its interface.").or("'1.21'").later(),
]);

static CONTAINERD: Table =
    Table::of(&[key("address", Path, "Its socket.").or("/run/containerd/containerd.sock").later()]);

pub(super) static ORIGIN: Table = Table::of(&[
    EXTENDS,
    table("cluster", &HOSTS, "All origins, this one among them."),
    table("hashring", &RING, "Which origins a blob belongs to."),
    table("healthcheck", &HEALTH_FILTER, "When another origin counts as ill."),
    table("castore", &CASTORE, "Blobs on the disk."),
    BACKENDS_KEY,
    AUTH_KEY,
    table("writeback", &RETRY, "The way of pushed blobs to their backend."),
    table("blobserver", &BLOB_SERVER, "The port that other daemons use."),
    table("blobrefresh", &BLOB_REFRESH, "The way of blobs from their backend."),
    table("metainfogen", &METAINFOGEN, "How blobs are cut into pieces."),
    PEER_ID_KEY,
    SCHEDULER_KEY,
    TLS_KEY,
    ZAP_KEY,
    METRICS_KEY,
    NETWORK_EVENT_KEY,
    table("localdb", &LOCALDB, "Tasks that outlive the process.").unused(),
    key("verbose", Bool, "Nothing; uber/kraken never reads it.").unused(),
    BACKEND_MANAGER_KEY,
    NGINX_KEY,
]);

static BLOB_SERVER: Table = Table::of(&[
    LISTENER,
    key(
        "duplicate_write_back_stagger",
        Duration,
        "How much later each further owner of a blob writes it back too, should the first fail.",
    )
    .or("30m"),
]);

static BLOB_REFRESH: Table = Table::of(&[key(
    "size_limit",
    Size,
    "Larger blobs are not fetched from the backend; 0 is no limit.",
)
.or("0")]);

pub(super) static TRACKER: Table = Table::of(&[
    EXTENDS,
    table("origin", &ACTIVE, "The origins."),
    table("trackerserver", &TRACKER_SERVER, "The port that agents use."),
    table("peerhandoutpolicy", &HANDOUT, "In which order peers are handed out."),
    table("peerstore", &PEER_STORE, "What is remembered of peers."),
    table("originstore", &ORIGIN_STORE, "How long what origins say is believed."),
    TLS_KEY,
    ZAP_KEY,
    METRICS_KEY,
    key("logging", Free, "Nothing; uber/kraken never reads it.").unused(),
    NGINX_KEY,
]);

static TRACKER_SERVER: Table = Table::of(&[
    key("announce_limit", Integer, "Most peers in one answer, up to 1000.").or("50"),
    key("announce_interval", Duration, "How long a peer waits between two announces.").or("3s"),
    key("get_metainfo_limit", Duration, "Nothing; uber/kraken never reads it.").unused(),
    LISTENER,
]);

static HANDOUT: Table = Table::of(&[
    key(
        "priority",
        Choice(&["completeness", "default"]),
        "`completeness` hands out complete peers, then origins, then others; `default` mixes them.",
    )
    .or("completeness"),
    key(
        "zone_bridges",
        Integer,
        "Of a zone (`--zone`) without origins only so many agents get blobs from outside, the others from them; 0: zones make no difference. 4 are a good number.",
    )
    .or("0")
    .ours(),
]);

static PEER_STORE: Table = Table::of(&[
    table("local", &LOCAL_PEERS, "Peers in memory."),
    table("redis", &REDIS_PEERS, "Peers in a Redis that several trackers share.").later(),
]);

static LOCAL_PEERS: Table =
    Table::of(&[
        key("ttl", Duration, "How long a peer that announces no more is remembered.").or("5h")
    ]);

static REDIS_PEERS: Table = Table::of(&[
    key("enabled", Bool, "Whether it is used; `addr` alone does nothing.").or("false").later(),
    key("addr", Text, "Where it is.").later(),
    key("dial_timeout", Duration, "How long a connection may take.").or("5s").later(),
    key("read_timeout", Duration, "How long an answer may take.").or("30s").later(),
    key("write_timeout", Duration, "How long a request may take.").or("30s").later(),
    key("peer_set_window_size", Duration, "How long peers are gathered under one key.")
        .or("1h")
        .later(),
    key("max_peer_set_windows", Integer, "How many such keys are read.").or("5").later(),
    key("max_idle_conns", Integer, "Connections that are kept unused.").or("10").later(),
    key("max_active_conns", Integer, "Most connections.").or("500").later(),
    key("idle_conn_timeout", Duration, "How long an unused one is kept.").or("60s").later(),
]);

static ORIGIN_STORE: Table = Table::of(&[
    key("locations_ttl", Duration, "Which origins own a blob.").or("10s"),
    key("locations_error_ttl", Duration, "That no origin would say so.").or("1s"),
    key("origin_context_ttl", Duration, "Where an origin accepts peers.").or("10s"),
    key(
        "origin_unavailable_ttl",
        Duration,
        "That an origin did not say so; forgotten when it answers.",
    )
    .or("1m"),
]);

pub(super) static BUILD_INDEX: Table = Table::of(&[
    EXTENDS,
    table("cluster", &ACTIVE, "All build-indexes, this one among them."),
    table("origin", &ACTIVE, "The origins."),
    table("store", &TAG_FILES, "Tags on the disk."),
    table("tag_store", &TAG_STORE, "When a put is answered."),
    key(
        "tag_types",
        List(&Kind::Table(&TAG_TYPE)),
        "What tags name: the first entry whose `namespace` matches. At least one is needed.",
    ),
    BACKENDS_KEY,
    AUTH_KEY,
    table("writeback", &RETRY, "The way of tags to their backend."),
    key(
        "remotes",
        Map(&Host, &List(&Regex)),
        "Build-indexes of other clusters, each with the tags that are copied there.",
    )
    .later(),
    table("tag_replication", &RETRY, "The way of tags to `remotes`.").later(),
    table("tagserver", &TAG_SERVER, "The port that other daemons use."),
    TLS_KEY,
    ZAP_KEY,
    METRICS_KEY,
    table("localdb", &LOCALDB, "Tasks that outlive the process.").unused(),
    BACKEND_MANAGER_KEY,
    NGINX_KEY,
]);

static TAG_FILES: Table = Table::of(&[
    key("upload_dir", Path, "Files that are being written. Here they are below `cache_dir`.")
        .unused(),
    key("cache_dir", Path, "Tags that the backend does not have yet, and copies of those it has."),
    table("upload_cleanup", &CLEANUP, "Nothing; no uploads stay.").unused(),
    table("cache_cleanup", &CLEANUP, "When copies of tags that nobody uses are removed.").later(),
    READ_PART_SIZE,
    WRITE_PART_SIZE,
]);

static TAG_STORE: Table = Table::of(&[key(
    "write_through",
    Bool,
    "Answer a put only when the backend has the tag, not when the own disk has it.",
)
.or("false")]);

static TAG_TYPE: Table = Table::of(&[
    key("namespace", Regex, "Which tags it is for; it matches anywhere in `repository:tag`."),
    key(
        "type",
        Choice(&["docker", "default"]),
        "`docker`: a manifest, with all that it refers to. `default`: a blob.",
    )
    .or("docker"),
    key("root", Text, "Nothing; uber/kraken never reads it.").unused(),
]);

static TAG_SERVER: Table = Table::of(&[
    LISTENER,
    key(
        "duplicate_replicate_stagger",
        Duration,
        "How much later each further build-index copies a tag to `remotes` too.",
    )
    .or("20m")
    .later(),
    key(
        "duplicate_put_stagger",
        Duration,
        "How much later each further build-index of uber/kraken's writes a tag back too, should \
         the first fail. One of this program does so at once.",
    )
    .or("20m"),
    key("cache", Free, "Nothing; uber/kraken never reads it.").unused(),
]);

pub(super) static PROXY: Table = Table::of(&[
    EXTENDS,
    table("origin", &ACTIVE, "The origins."),
    table("build_index", &ACTIVE, "The build-indexes."),
    table("castore", &CASTORE, "Uploads on the disk."),
    table("server", &PROXY_SERVER, "The port for requests to prefetch images."),
    TLS_KEY,
    ZAP_KEY,
    METRICS_KEY,
    table("registryoverride", &OVERRIDE, "The socket of the catalogue.").unused(),
    REGISTRY,
    NGINX_KEY,
]);

static PROXY_SERVER: Table = Table::of(&[
    LISTENER,
    key("prefetch_min_blob_size", Size, "Smaller blobs are not prefetched.").or("0").later(),
    key("prefetch_max_blob_size", Size, "Larger blobs are not prefetched.").or("50GB").later(),
]);

static OVERRIDE: Table = Table::of(&[LISTENER]);
