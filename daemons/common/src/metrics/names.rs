//! Every number that a daemon may tell, by name.

/// What kind of number it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, from 0 at the start of the process.
    Counter,
    /// As it stands.
    Gauge,
    /// How many observations were at most so large.
    Histogram,
}

/// A number with a name of its own; with labels, a family of them.
#[derive(Debug, PartialEq, Eq)]
pub struct Definition {
    /// Its name: `kraken_<thing>_<unit>`, with `_total` for a counter.
    pub name: &'static str,
    /// What kind of number it is.
    pub kind: Kind,
    /// Its labels beside `role`, in the order that values are given in.
    pub labels: &'static [&'static str],
    /// What it tells, in one sentence without a full stop.
    pub help: &'static str,
}

/// Numbers that the same roles tell.
#[derive(Debug)]
pub struct Group {
    /// What they are about.
    pub heading: &'static str,
    /// Who tells them.
    pub roles: &'static str,
    /// The numbers.
    pub definitions: &'static [&'static Definition],
}

macro_rules! groups {
    ($($heading:literal by $roles:literal {
        $($id:ident $kind:ident $name:literal [$($label:literal),*] $help:literal;)*
    })*) => {
        $($(
            #[doc = $help]
            pub static $id: Definition = Definition {
                name: $name,
                kind: Kind::$kind,
                labels: &[$($label),*],
                help: $help,
            };
        )*)*

        /// Every number there is.
        pub static GROUPS: &[Group] = &[$(Group {
            heading: $heading,
            roles: $roles,
            definitions: &[$(&$id),*],
        }),*];
    };
}

groups! {
    "The process" by "every role" {
        BUILD_INFO Gauge "kraken_build_info" ["version"]
            "Always 1; the label says which version runs";
        METRICS_COMPLETE Gauge "kraken_metrics_complete" []
            "1 if the role told all of its numbers in time, 0 if only those of HTTP and the process are here";
        PROCESS_START_TIME_SECONDS Gauge "kraken_process_start_time_seconds" []
            "When the process started, in seconds since 1970";
        PROCESS_CPU_SECONDS Counter "kraken_process_cpu_seconds_total" []
            "Time on the processors, of user and system together";
        PROCESS_RESIDENT_MEMORY_BYTES Gauge "kraken_process_resident_memory_bytes" []
            "Memory in use";
        PROCESS_THREADS Gauge "kraken_process_threads" []
            "Threads";
        PROCESS_OPEN_FDS Gauge "kraken_process_open_fds" []
            "Open files and sockets";
        PROCESS_MAX_FDS Gauge "kraken_process_max_fds" []
            "How many files and sockets may be open";
    }
    "HTTP" by "every role" {
        HTTP_REQUESTS Counter "kraken_http_requests_total" ["method", "route", "status"]
            "Requests whose answer has ended; status 499 where the client left before there was one";
        HTTP_REQUEST_DURATION_SECONDS Histogram "kraken_http_request_duration_seconds" ["method", "route"]
            "From the head of a request to the end of its answer, bodies included";
        HTTP_RESPONSE_BYTES Counter "kraken_http_response_bytes_total" ["route"]
            "Bytes of bodies answered with";
        HTTP_REQUESTS_IN_FLIGHT Gauge "kraken_http_requests_in_flight" []
            "Requests whose answer has not ended";
        HTTP_CONNECTIONS Gauge "kraken_http_connections" []
            "Connections of clients, idle ones included";
    }
    "The swarm" by "agents and origins" {
        NODE_RECEIVED_BYTES Counter "kraken_node_received_bytes_total" ["source"]
            "Bytes of pieces received, good and bad; source is origin or peer";
        NODE_SENT_BYTES Counter "kraken_node_sent_bytes_total" []
            "Bytes of pieces sent to peers";
        NODE_STORED_PIECES Counter "kraken_node_stored_pieces_total" ["source"]
            "Pieces received, checked and stored; source is origin or peer";
        NODE_SENT_PIECES Counter "kraken_node_sent_pieces_total" []
            "Pieces sent to peers";
        NODE_DUPLICATE_PIECES Counter "kraken_node_duplicate_pieces_total" []
            "Pieces received that were here already or being written: bandwidth wasted";
        NODE_CORRUPT_PIECES Counter "kraken_node_corrupt_pieces_total" []
            "Pieces received whose sums did not match";
        NODE_REQUEST_TIMEOUTS Counter "kraken_node_request_timeouts_total" []
            "Requests for a piece given up because nothing came";
        NODE_ANNOUNCES Counter "kraken_node_announces_total" []
            "Announces to trackers";
        NODE_FAILED_ANNOUNCES Counter "kraken_node_failed_announces_total" []
            "Announces that no tracker answered";
        NODE_DIALS Counter "kraken_node_dials_total" []
            "Connections to peers begun";
        NODE_ACCEPTED_CONNECTIONS Counter "kraken_node_accepted_connections_total" []
            "Connections of peers whose handshake was accepted";
        NODE_REFUSED_CONNECTIONS Counter "kraken_node_refused_connections_total" []
            "Connections of peers whose handshake was refused or never came";
        NODE_VIOLATIONS Counter "kraken_node_violations_total" []
            "Connections ended because the peer broke the protocol or lied";
        NODE_BANNED_PEERS Counter "kraken_node_banned_peers_total" []
            "Peers banned from a torrent";
        NODE_COMPLETED_DOWNLOADS Counter "kraken_node_completed_downloads_total" []
            "Downloads whose blob was verified and committed";
        NODE_COMPLETED_DOWNLOAD_BYTES Counter "kraken_node_completed_download_bytes_total" []
            "The lengths of the blobs of completed downloads";
        NODE_COMPLETED_DOWNLOAD_SECONDS Counter "kraken_node_completed_download_seconds_total" []
            "The durations of completed downloads, from the first who waited";
        NODE_DOWNLOAD_PART_SECONDS Counter "kraken_node_download_part_seconds_total" ["end", "part"]
            "Where the time of downloads went that ended so (complete, failed, left): metainfo, tracker, peers, first_piece, pieces, verification; beside that stalled and disk";
        NODE_FAILED_DOWNLOADS Counter "kraken_node_failed_downloads_total" []
            "Downloads given up while somebody waited";
        NODE_LEFT_DOWNLOADS Counter "kraken_node_left_downloads_total" []
            "Downloads of which nobody wanted any more before all was here, such as those of ranges";
        NODE_MISMATCHED_BLOBS Counter "kraken_node_mismatched_blobs_total" []
            "Blobs thrown away and fetched again because they did not match their digest";
        NODE_CONNECTIONS Gauge "kraken_node_connections" []
            "Connections with peers";
        NODE_TORRENTS Gauge "kraken_node_torrents" []
            "Blobs that the node downloads or sends at the moment";
        NODE_DOWNLOADS Gauge "kraken_node_downloads" []
            "Downloads that somebody waits for";
    }
    "The store" by "agents, origins and proxies" {
        STORE_USED_BYTES Gauge "kraken_store_used_bytes" []
            "Bytes of blobs on the disk: complete, arriving and being uploaded";
        STORE_CAPACITY_BYTES Gauge "kraken_store_capacity_bytes" []
            "The most they may be; absent where there is no ceiling";
        STORE_BLOBS Gauge "kraken_store_blobs" ["state"]
            "Blobs on the disk; state is complete or arriving";
        STORE_EVICTED_BLOBS Counter "kraken_store_evicted_blobs_total" []
            "Blobs removed to make room";
        STORE_EVICTED_BYTES Counter "kraken_store_evicted_bytes_total" []
            "Their bytes";
    }
    "The backend" by "origins" {
        WRITE_BACK_QUEUED_BLOBS Gauge "kraken_write_back_queued_blobs" []
            "Blobs that the backend does not have yet, those being written included";
        WRITE_BACK_RUNNING_BLOBS Gauge "kraken_write_back_running_blobs" []
            "Blobs being written to the backend";
        WRITE_BACK_OLDEST_SECONDS Gauge "kraken_write_back_oldest_seconds" []
            "How long the oldest of them has waited in this process, 0 if there is none";
        WRITE_BACK_ATTEMPTS Counter "kraken_write_back_attempts_total" ["result"]
            "Tries to write a blob to the backend; result is written, gone or failed";
        BACKEND_FETCHES_RUNNING Gauge "kraken_backend_fetches_running" []
            "Blobs being fetched from the backend";
        BACKEND_FETCHES Counter "kraken_backend_fetches_total" ["result"]
            "Fetches from the backend that have ended; result is fetched or failed";
        BACKEND_FETCHED_BYTES Counter "kraken_backend_fetched_bytes_total" []
            "Bytes of blobs fetched from the backend";
    }
    "Peers" by "trackers" {
        TRACKER_PEERS Gauge "kraken_tracker_peers" []
            "Pairs of blob and peer remembered, some of them perhaps expired";
        TRACKER_TORRENTS Gauge "kraken_tracker_torrents" []
            "Blobs of which a peer is remembered";
        TRACKER_ANNOUNCES Counter "kraken_tracker_announces_total" ["peer"]
            "Announces answered; peer is complete or incomplete";
        TRACKER_HANDED_OUT_PEERS Counter "kraken_tracker_handed_out_peers_total" []
            "Peers handed out, origins included";
        TRACKER_EMPTY_HANDOUTS Counter "kraken_tracker_empty_handouts_total" []
            "Announces of incomplete peers that were told of nobody";
    }
    "Tags" by "build-indexes" {
        BUILD_INDEX_JOURNAL_TAGS Gauge "kraken_build_index_journal_tags" []
            "Tags put that the backend does not have yet";
    }
    "Uploads" by "proxies" {
        PROXY_UPLOAD_SESSIONS Gauge "kraken_proxy_upload_sessions" []
            "Uploads begun and neither finished nor given up";
    }
}

/// The tables of `docs/OPERATIONS.md`.
pub fn tables_markdown() -> String {
    let mut text = String::new();
    for group in GROUPS {
        text += &format!("\n### {}\n\nTold by {}.\n\n", group.heading, group.roles);
        text += "| name | kind | labels | meaning |\n| --- | --- | --- | --- |\n";
        for Definition { name, kind, labels, help } in group.definitions {
            let kind = format!("{kind:?}").to_lowercase();
            let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
            text += &format!("| `{name}` | {kind} | {} | {help}. |\n", labels.join(", "));
        }
    }
    text
}
