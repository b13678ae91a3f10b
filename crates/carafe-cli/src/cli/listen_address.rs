//! Where a hub listens: `--listen` and `--metrics-listen`.

use std::fmt;
use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::str::FromStr;

/// A place to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ListenAddress {
    /// A name or an address, without the brackets of IPv6, and a port. Without a host: all
    /// addresses of the machine.
    Tcp { host: String, port: u16 },
    /// A file.
    Unix(PathBuf),
    /// A socket that the service manager has opened, by its descriptor; all of them without one.
    Passed(Option<u32>),
}

const EXPECTED: &str = "expected an address such as 127.0.0.1:3000, localhost:3000, :3000, [::]:3000, \
     unix:/run/carafe.sock or fd://3";

impl FromStr for ListenAddress {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(path) = text.strip_prefix("unix:") {
            // `unix:///run/carafe.sock` is the form of some other programs.
            let path = path.strip_prefix("//").unwrap_or(path);
            return if path.is_empty() { Err(EXPECTED) } else { Ok(Self::Unix(path.into())) };
        }
        match text.strip_prefix("fd://") {
            Some("") => Ok(Self::Passed(None)),
            Some(number) => number.parse().map(|fd| Self::Passed(Some(fd))).map_err(|_| EXPECTED),
            None => tcp(text).ok_or(EXPECTED),
        }
    }
}

fn tcp(text: &str) -> Option<ListenAddress> {
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse().ok()?;
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').filter(|rest| rest.parse::<Ipv6Addr>().is_ok())?,
        // The standard library would look up anything, an URL too.
        None if host.contains([':', '/', ']', '*', ' ', '%']) => return None,
        None => host,
    };
    Some(ListenAddress::Tcp { host: host.into(), port })
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Passed(None) => f.write_str("fd://"),
            Self::Passed(Some(descriptor)) => write!(f, "fd://{descriptor}"),
        }
    }
}

/// Permissions of a file in octal digits, such as 660.
pub(crate) fn file_mode(text: &str) -> Result<u32, String> {
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o777);
    mode.ok_or_else(|| "expected the permissions of a file in octal digits, such as 660".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_tcp_a_file_or_a_descriptor() {
        for text in [
            "127.0.0.1:3000",
            "localhost:0",
            ":3000",
            "[::]:3000",
            "[::1]:3000",
            "unix:/run/carafe.sock",
            "unix:relative.sock",
            "fd://3",
            "fd://",
        ] {
            assert_eq!(text.parse::<ListenAddress>().unwrap().to_string(), text);
        }
        let path = "unix:///run/carafe.sock".parse::<ListenAddress>().unwrap();
        assert_eq!(path.to_string(), "unix:/run/carafe.sock");
    }

    #[test]
    fn what_is_no_address_is_rejected() {
        for text in [
            "",
            "3000",
            "localhost",
            "::1:3000",
            "[::1]",
            "[x]:1",
            "a:65536",
            "a:b",
            "unix:",
            "fd://x",
            "http://localhost:3000",
            "*:3000",
        ] {
            assert!(text.parse::<ListenAddress>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_mode_is_octal() {
        assert_eq!((file_mode("660"), file_mode("0600")), (Ok(0o660), Ok(0o600)));
        assert!(["", "8", "1000", "rw", "-1"].iter().all(|text| file_mode(text).is_err()));
    }
}
