//! Keys that stand in uber/kraken's files and configure what does not exist here.

use super::Kind::{Bool, Choice, Free};
use super::{Key, Table, key};

/// Logging. uber/kraken hands all of it to its logging library.
pub(super) static ZAP: Table = Table::shared(
    "Logging",
    &[
        key("level", Choice(&LEVELS), "What is logged: this and what is graver.").or("info"),
        key(
            "encoding",
            Choice(&["console", "json"]),
            "How a line of the log looks: text for people, or a JSON object.",
        )
        .or("console"),
        key("development", Bool, "Stack traces with warnings.").unused(),
        key("disableCaller", Bool, "Leave out where in the source a line comes from.").unused(),
        key("disableStacktrace", Bool, "Leave out stack traces.").unused(),
        key("sampling", Free, "Drop repeated lines.").unused(),
        key("encoderConfig", Free, "Names and formats of a line's fields.").unused(),
        key("outputPaths", Free, "Where the log goes; here always to standard error.").unused(),
        key("errorOutputPaths", Free, "Where errors of logging itself go.").unused(),
        key("initialFields", Free, "Fields of every line.").unused(),
    ],
);

/// Levels, the gravest last.
const LEVELS: [&str; 7] = ["debug", "info", "warn", "error", "dpanic", "panic", "fatal"];

pub(super) const NGINX: Key = key(
    "nginx",
    Free,
    "The web server in front of uber/kraken's daemons. Here a daemon listens on its port itself.",
)
.unused();

pub(super) const LISTENER: Key = key(
    "listener",
    Free,
    "The socket between nginx and the daemon. Here a daemon listens on its port itself.",
)
.unused();

pub(super) const REGISTRY: Key = key(
    "registry",
    Free,
    "The embedded docker/distribution: its version, log and socket. Here the registry is built in.",
)
.unused();
