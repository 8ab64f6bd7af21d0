//! Where blobs and tags are kept for good.

use super::Kind::{Bool, Choice, Duration, Host, Integer, List, Map, Path, Regex, Size, Text};
use super::parts::{BACKOFF, BANDWIDTH, LOG_KEY, TLS};
use super::{Key, Kind, Table, key, table};

pub(super) const BACKENDS_KEY: Key = key(
    "backends",
    List(&ONE_BACKEND),
    "Where blobs or tags are kept for good: the first entry whose `namespace` matches.",
);

pub(super) const BACKEND_MANAGER_KEY: Key =
    table("backend_manager", &MANAGER, "What is logged of them.").unused();

pub(super) const AUTH_KEY: Key =
    table("auth", &AUTH, "Credentials of backends; best in the file that `--secrets` names.");

static MANAGER: Table = Table::of(&[LOG_KEY]);

static ONE_BACKEND: Kind = Kind::Table(&BACKEND);

static BACKEND: Table = Table::shared(
    "Backends",
    &[
        key(
            "namespace",
            Regex,
            "Which namespaces it is for; it matches anywhere in the name. `__noop__` always goes \
             to a backend that keeps nothing.",
        ),
        table("backend", &TYPES, "Of which type it is: one key, with the settings of that type."),
        table("bandwidth", &BANDWIDTH, "How fast it may be."),
        key("must_ready", Bool, "Whether the daemon is unready while it does not answer.")
            .or("false"),
    ],
);

/// One of these.
static TYPES: Table = Table::shared(
    "Backend types",
    &[
        table("local", &LOCAL, "A directory of this machine, laid out as docker's registry does.")
            .ours(),
        table("testfs", &TESTFS, "uber/kraken's file server for tests."),
        table("s3", &S3, "Amazon S3, and what speaks its protocol.").later(),
        table("gcs", &GCS, "Google Cloud Storage.").later(),
        table("hdfs", &HDFS, "Hadoop's file system, by WebHDFS.").later(),
        table("http", &HTTP, "Any web server, for reading.").later(),
        table("registry_blob", &REGISTRY, "Blobs of another registry, for reading.").later(),
        table("registry_tag", &REGISTRY, "Tags of another registry, for reading.").later(),
        table("sql", &SQL, "Tags in a database.").later(),
        table("shadow", &SHADOW, "Two backends, written to alike and compared.").later(),
    ],
)
.only_one_of(&[
    "local",
    "testfs",
    "s3",
    "gcs",
    "hdfs",
    "http",
    "registry_blob",
    "registry_tag",
    "sql",
    "shadow",
]);

const NAME_PATH: Key = key(
    "name_path",
    Choice(&["identity", "sharded_docker_blob", "docker_tag"]),
    "How names become paths: as they are, as docker's registry lays out blobs, or tags.",
);

const USERNAME: Key = key("username", Text, "Which credentials of `auth` are used.");

const ROOT_DIRECTORY: Key = key("root_directory", Path, "The directory that everything is below.");

static LOCAL: Table =
    Table::of(&[key("root_directory", Path, "The directory that everything is below.").ours()]);

static TESTFS: Table = Table::of(&[
    key("addr", Host, "Where it is."),
    key("root", Path, "The directory that everything is below."),
    NAME_PATH,
]);

static S3: Table = Table::of(&[
    USERNAME,
    key("region", Text, "The region of the bucket."),
    key("bucket", Text, "The bucket."),
    key("endpoint", Text, "A server other than Amazon's."),
    key("disable_ssl", Bool, "Speak plain HTTP to it.").or("false"),
    key("force_path_style", Bool, "Put the bucket into the path, not into the host.").or("false"),
    ROOT_DIRECTORY,
    key("upload_part_size", Size, "Bytes of one part of an upload.").or("64MB"),
    key("download_part_size", Size, "Bytes of one part of a download.").or("64MB"),
    key("upload_concurrency", Integer, "Parts that are sent at once.").or("10"),
    key("download_concurrency", Integer, "Parts that are fetched at once.").or("10"),
    key("list_max_keys", Integer, "Most names of one page of a listing.").or("250"),
    key("buffer_guard", Size, "Most bytes of a download into memory.").unused(),
    NAME_PATH,
]);

static GCS: Table = Table::of(&[
    USERNAME,
    key("location", Text, "Where the bucket is."),
    key("bucket", Text, "The bucket."),
    ROOT_DIRECTORY,
    key("upload_part_size", Size, "Bytes of one part of an upload.").or("64MB"),
    key("list_max_keys", Integer, "Most names of one page of a listing.").or("250"),
    key("buffer_guard", Size, "Most bytes of a download into memory.").unused(),
    NAME_PATH,
]);

static HDFS: Table = Table::of(&[
    key("namenodes", List(&Text), "The name nodes, as `host:port`."),
    key("username", Text, "Who asks."),
    key("root_directory", Path, "The directory that everything is below.")
        .or("/infra/dockerRegistry/"),
    key("list_concurrency", Integer, "Directories that are listed at once.").or("16"),
    NAME_PATH,
    key("upload_directory", Path, "Where uploads under way are, below `root_directory`.")
        .or("_uploads"),
    table("webhdfs", &WEBHDFS, "How the server is spoken to.").unused(),
]);

static WEBHDFS: Table = Table::of(&[
    key("buffer_size", Size, "Bytes that the server sends at once.").unused(),
    key("buffer_guard", Size, "Most bytes of an upload in memory.").unused(),
]);

static HTTP: Table = Table::of(&[
    key("upload_url", Text, "Nothing; uber/kraken does not upload either.").unused(),
    key("download_url", Text, "Where a blob is; `%s` is its digest in hex."),
    key("download_timeout", Duration, "How long a download may take.").or("180s"),
    table("download_backoff", &BACKOFF, "Pauses between tries."),
]);

static REGISTRY: Table = Table::of(&[
    key("address", Text, "The registry, as `host` or `host:port`."),
    key("timeout", Duration, "How long an answer may take.").or("60s"),
    table("security", &SECURITY, "Who asks, and how."),
]);

static SECURITY: Table = Table::of(&[
    table("tls", &TLS, "Encryption. `client.disabled` turns off credentials too."),
    table("basic", &BASIC, "Credentials."),
    key("credsStore", Text, "A helper that knows the credentials; `ecr-login` is built in."),
    key("enableHTTPFallback", Bool, "Try plain HTTP when HTTPS fails.").or("false"),
]);

static BASIC: Table = Table::of(&[
    key("username", Text, "The user."),
    key("password", Text, "The password.").secret(),
    key("auth", Text, "User and password in one, in base64.").secret(),
    key("email", Text, "Nothing any more.").unused(),
    key("serveraddress", Text, "The registry that they are for."),
    key("identitytoken", Text, "A token to get others with.").secret(),
    key("registrytoken", Text, "A token for the registry.").secret(),
]);

static SQL: Table = Table::of(&[
    key("dialect", Text, "Which database it is: `mysql` or `sqlite3`."),
    key("connection_string", Text, "Where it is.").secret(),
    USERNAME,
    key("debug_logging", Bool, "Log every statement.").unused(),
]);

static SHADOW: Table = Table::of(&[
    table("active_backend", &TYPES, "The one that is read."),
    table("shadow_backend", &TYPES, "The one that is compared."),
]);

static AUTH: Table = Table::shared(
    "Credentials",
    &[
        key("s3", Map(&Text, &Kind::Table(&S3_AUTH)), "By `username` of the backend.").later(),
        key("gcs", Map(&Text, &Kind::Table(&GCS_AUTH)), "By `username` of the backend.").later(),
        key("sql", Map(&Text, &Kind::Table(&SQL_AUTH)), "By `username` of the backend.").later(),
    ],
);

static S3_AUTH: Table = Table::of(&[table("s3", &S3_KEYS, "The credentials.")]);

static S3_KEYS: Table = Table::of(&[
    key("aws_access_key_id", Text, "The key's id.").secret(),
    key("aws_secret_access_key", Text, "The key.").secret(),
    key("aws_session_token", Text, "A token of limited life.").secret(),
]);

static GCS_AUTH: Table = Table::of(&[table("gcs", &GCS_KEYS, "The credentials.")]);

static GCS_KEYS: Table =
    Table::of(&[key("access_blob", Text, "A service account's key, as JSON.").secret()]);

static SQL_AUTH: Table = Table::of(&[table("sql", &SQL_KEYS, "The credentials.")]);

static SQL_KEYS: Table = Table::of(&[
    key("user", Text, "The user.").secret(),
    key("password", Text, "The password.").secret(),
]);
