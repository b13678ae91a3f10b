//! Whether the kernel could encrypt TLS records (kTLS). Nothing uses it: ARCHITECTURE has the
//! reasons. The log says what is there, for those who measure.

use std::fs;

use tracing::info;

/// The protocols that a TCP socket can pass its data through, such as `espintcp mptcp tls`.
const PROTOCOLS: &str = "/proc/sys/net/ipv4/tcp_available_ulp";

/// Logs where TLS records are encrypted.
pub(crate) fn report() {
    let protocols = fs::read_to_string(PROTOCOLS).unwrap_or_default();
    let kernel = if has_tls(&protocols) { "has it" } else { "does not have it, or not loaded" };
    info!("TLS records are encrypted by the hub; kernel TLS is not used (the kernel {kernel})");
}

fn has_tls(protocols: &str) -> bool {
    protocols.split_ascii_whitespace().any(|name| name == "tls")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_tls_is_found_among_the_protocols_by_its_whole_name() {
        assert!(has_tls("espintcp mptcp tls\n"));
        assert!(!has_tls("mptcp\n"));
        assert!(!has_tls("tlsx mptls\n"));
        assert!(!has_tls(""), "no file");
    }
}
