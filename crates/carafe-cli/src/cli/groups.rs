//! The groups of a hub's options, in the help and in the configuration file.

/// Options with a heading.
pub(crate) struct Group {
    pub(crate) heading: &'static str,
    /// The long names of the options.
    pub(crate) options: &'static [&'static str],
}

/// Each option of `carafe serve` that a file may set is in one group.
pub(crate) const GROUPS: [Group; 9] = [
    Group {
        heading: "Listening",
        options: &[
            "listen",
            "unix-mode",
            "base-path",
            "tls-cert",
            "tls-key",
            "hsts",
            "metrics-listen",
            "drain-timeout",
            "shutdown-delay",
        ],
    },
    Group {
        heading: "Log and history",
        options: &[
            "log",
            "history-bytes",
            "history-events",
            "history-age",
            "retain",
            "key-window",
            "compact",
            "erase-within",
            "segment-bytes",
        ],
    },
    Group {
        heading: "Cluster",
        options: &[
            "cluster",
            "cluster-credentials-file",
            "cluster-ca",
            "cluster-cert",
            "cluster-key",
            "cluster-away",
            "remembered-keys",
        ],
    },
    Group {
        heading: "Access",
        options: &[
            "anonymous",
            "secret-file",
            "keys",
            "issuer",
            "audience",
            "cookie",
            "token-in-query",
            "token-life",
        ],
    },
    Group {
        heading: "Limits",
        options: &[
            "event-bytes",
            "batch-bytes",
            "body-bytes-in-flight",
            "body-timeout",
            "waiting-bytes",
            "publish-rate",
            "publish-burst",
            "subscribers",
            "subscribers-per-address",
            "connections-per-address",
            "matchers",
            "complex-patterns",
            "complex-patterns-per-client",
            "pattern-tests",
            "ended-topics",
            "revocations",
            "erasures",
            "replays",
            "replays-per-client",
            "latest-events",
            "snapshot-bytes",
            "header-bytes",
            "header-timeout",
            "write-timeout",
        ],
    },
    Group {
        heading: "Proxies and origins",
        options: &["allow-origin", "trusted-proxies", "proxy-header", "public-url"],
    },
    Group { heading: "Mercure", options: &["mercure", "mercure-subscriptions", "mercure-max-age"] },
    Group {
        heading: "Performance",
        options: &[
            "heartbeat",
            "heartbeat-range",
            "retry",
            "event-retry",
            "ring-bytes",
            "shards",
            "readers",
            "send-buffer",
            "catch-up-bytes",
        ],
    },
    Group { heading: "Logging", options: &["log-format"] },
];

/// The options of a hub that `-h` shows, in few words; `--help` shows all.
pub(super) const SHORT: &[(&str, &str)] = &[
    ("listen", "Address to listen on [default: 127.0.0.1:3000]"),
    ("log", "Where events are stored: disk:PATH or memory:"),
    ("history-bytes", "Maximum size of the history"),
    ("history-age", "Maximum age of events"),
    ("anonymous", "What clients without a token may do"),
    ("secret-file", "File with the secret that verifies tokens"),
    ("keys", "TOML file with the keys that verify tokens"),
    ("tls-cert", "PEM file with the certificate chain"),
    ("tls-key", "PEM file with the key of the certificate"),
    ("allow-origin", "Origin whose pages may use the hub"),
    ("metrics-listen", "Address of the metrics for Prometheus"),
    ("config", "TOML file with options"),
    ("check", "Check settings, keys and log, and exit"),
];

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn each_option_of_a_file_is_in_one_group() {
        let command = Cli::command();
        let listed: Vec<_> = GROUPS.iter().flat_map(|group| group.options).copied().collect();
        for sub in ["dev", "serve"] {
            let options = command.find_subcommand(sub).unwrap().get_arguments();
            for arg in options.filter(|arg| arg.get_env().is_some()) {
                let name = arg.get_long().unwrap();
                let count = listed.iter().filter(|listed| **listed == name).count();
                assert!(name == "config" || count == 1, "list {name} once in cli/groups.rs");
            }
        }
    }
}
