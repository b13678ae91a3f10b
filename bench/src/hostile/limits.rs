//! The limits of the hub that is attacked, and the memory that it may take by them.

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// Files that the hub may have open: fewer than attackers and honest clients want together.
pub(super) const DESCRIPTORS: u64 = 4096;

const SEGMENT: u64 = 16 * MIB;
const EVENT: u64 = 64 * KIB;
const SUBSCRIBERS: u64 = 1500;
const COMPLEX_PATTERNS: u64 = 200;

/// Of an address: honest clients keep to it.
const SUBSCRIBERS_OF_ADDRESS: u64 = 50;

/// What is not set, by its default.
const BODIES: u64 = 64 * MIB;
const WAITING: u64 = 64 * MIB;
const RING: u64 = 64 * MIB;
const HEADER: u64 = 16 * KIB;
const READERS: u64 = 4;
const REPLAYS: u64 = 64;

/// Connections over HTTP/2 that attackers have at a time, and some that are about to be closed.
const OVER_HTTP_2: u64 = 32;

/// The options that set them.
pub(super) fn options() -> Vec<String> {
    vec![
        format!("--segment-bytes={SEGMENT}B"),
        format!("--event-bytes={EVENT}B"),
        format!("--subscribers={SUBSCRIBERS}"),
        format!("--subscribers-per-address={SUBSCRIBERS_OF_ADDRESS}"),
        format!("--complex-patterns={COMPLEX_PATTERNS}"),
    ]
}

/// What the table "Memory" in docs/OPERATIONS.md says, and what it comes to. There is no history in memory here, and no TLS.
const TABLE: [(&str, u64); 12] = [
    ("48 MiB", 48 * MIB),
    ("`--body-bytes-in-flight`", BODIES),
    ("`--waiting-bytes` + 32 MiB + `--body-bytes-in-flight`", WAITING + 32 * MIB + BODIES),
    ("3 × `--ring-bytes`", 3 * RING),
    ("3 × `--history-bytes`", 0),
    ("6 × `--segment-bytes`", 6 * SEGMENT),
    ("32 MiB + (`--readers` + 1) × `--segment-bytes`", 32 * MIB + (READERS + 1) * SEGMENT),
    (
        "`--subscribers` × (72 KiB + `--event-bytes`), of which one that takes what it is sent has 8 KiB",
        SUBSCRIBERS * (72 * KIB + EVENT),
    ),
    (
        "(`--replays` + `--readers`) × (128 KiB + 2 × `--event-bytes`)",
        (REPLAYS + READERS) * (128 * KIB + 2 * EVENT),
    ),
    ("`--complex-patterns` × 2 MiB", COMPLEX_PATTERNS * 2 * MIB),
    ("48 KiB + `--header-bytes` each; 48 KiB more with TLS", DESCRIPTORS * (48 * KIB + HEADER)),
    ("1 MiB more each", OVER_HTTP_2 * MIB),
];

/// Bytes that the hub may take.
pub(super) fn memory() -> u64 {
    TABLE.iter().map(|(_, bytes)| bytes).sum()
}

#[cfg(test)]
mod tests {
    use super::TABLE;

    #[test]
    fn the_memory_that_is_allowed_is_that_of_the_docs() {
        let page = include_str!("../../../docs/OPERATIONS.md");
        let (_, section) = page.split_once("## Memory\n").unwrap();
        let (section, _) = section.split_once("\n## ").unwrap();
        let rows = section.lines().filter(|line| line.starts_with("| ")).skip(2);
        let told: Vec<_> = rows.filter_map(|row| row.trim_end_matches(" |").rsplit(" | ").next()).collect();
        assert_eq!(told, TABLE.map(|(told, _)| told));
    }
}
