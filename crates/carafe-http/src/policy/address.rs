//! The addresses of clients, directly or behind proxies.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU64;
use std::str::FromStr;

use axum::extract::ConnectInfo;
use http::{Extensions, HeaderMap};
use ipnet::IpNet;

/// A client as the limits count it: an IPv4 address, or the /64 of an IPv6 client.
///
/// Each open stream keeps one, so it has 8 bytes: the upper half of an IPv6 address, or an IPv4
/// address within ff00::/8, which is never a source. The bits are inverted, so that no address is
/// zero and `Option` takes no more memory.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ClientAddress(NonZeroU64);

/// The network that stands for IPv4 addresses.
const V4: u64 = 0xff << 56;

impl ClientAddress {
    fn of_network(bits: u64) -> Self {
        // Only `ffff:ffff:ffff:ffff::/64` has no bit left when inverted. It is a multicast prefix,
        // and shares the value of `::/64`.
        Self(NonZeroU64::new(!bits).unwrap_or(NonZeroU64::MAX))
    }
}

impl From<IpAddr> for ClientAddress {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::of_network(V4 | u64::from(address.to_bits())),
            // One client has a /64 at least, and could otherwise choose among 2^64 addresses.
            IpAddr::V6(address) => Self::of_network((address.to_bits() >> 64) as u64),
        }
    }
}

impl fmt::Display for ClientAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = !self.0.get();
        if bits & V4 == V4 {
            return Ipv4Addr::from_bits(bits as u32).fmt(f);
        }
        write!(f, "{}/64", Ipv6Addr::from_bits(u128::from(bits) << 64))
    }
}

impl fmt::Debug for ClientAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The peer of a Unix socket, which has no address: the unspecified one, which no peer over TCP
/// has. Whoever may open such a socket is trusted like a proxy: permissions of its file decide
/// that.
pub(crate) const UNIX_PEER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// The proxies whose headers tell the addresses of clients.
///
/// ```
/// use carafe_http::{Options, Proxies, ProxyHeader};
///
/// // The load balancers are in one network, and set `Forwarded`.
/// let networks = vec!["10.1.0.0/16".parse()?];
/// let mut options = Options::default();
/// options.proxies = Proxies::new(networks, ProxyHeader::Forwarded);
/// # Ok::<(), &str>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    networks: Vec<Network>,
    header: ProxyHeader,
}

/// The header in which proxies tell a client's address. Only one is read: a proxy may pass the
/// other on as the client wrote it.
///
/// ```
/// use carafe_http::{Proxies, ProxyHeader};
///
/// let nginx = vec!["127.0.0.1".parse()?];
/// let proxies = Proxies::new(nginx, ProxyHeader::XForwardedFor);
/// # Ok::<(), &str>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProxyHeader {
    /// `X-Forwarded-For`.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// A network or a single address, such as `10.0.0.0/8` or `192.0.2.1`.
///
/// ```
/// use carafe_http::Network;
///
/// assert!("2001:db8::/32".parse::<Network>().is_ok());
/// assert!("10.0.0.0/33".parse::<Network>().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network(IpNet);

impl FromStr for Network {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let network = text.parse().or_else(|_| text.parse().map(|address: IpAddr| address.into()));
        network
            .map(Self)
            .map_err(|_| "write an address or a network, such as 192.0.2.1 or 10.0.0.0/8")
    }
}

impl Proxies {
    /// The proxies in these networks, all of which use this header.
    #[must_use]
    pub fn new(networks: Vec<Network>, header: ProxyHeader) -> Self {
        Self { networks, header }
    }

    /// The address of the client; `None` if the app does not provide the peer's address.
    pub(crate) fn client(
        &self,
        extensions: &Extensions,
        headers: &HeaderMap,
    ) -> Option<ClientAddress> {
        let ConnectInfo(peer) = extensions.get::<ConnectInfo<SocketAddr>>()?;
        Some(self.beyond(peer.ip(), headers).into())
    }

    /// The nearest address that is not a proxy's. Anything before it may be forged by the
    /// client.
    fn beyond(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut nearest = peer.to_canonical();
        let mut addresses = self.forwarded(headers);
        while self.trusts(nearest) {
            // A malformed address ends the search: what is before it may be forged. Then the proxy
            // itself is the client.
            let Some(Some(next)) = addresses.next() else { break };
            nearest = next.to_canonical();
        }
        nearest
    }

    /// Whether a canonical address is that of a proxy.
    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        address == UNIX_PEER.ip()
            || self.networks.iter().any(|network| network.0.contains(&address))
    }

    /// The addresses in the header, the nearest first; `None` for a malformed one.
    ///
    /// The lists are split from their end and without regard to quotes: the client could open a
    /// quote in its part.
    fn forwarded<'a>(
        &self,
        headers: &'a HeaderMap,
    ) -> impl Iterator<Item = Option<IpAddr>> + use<'a> {
        let (name, read): (_, fn(&str) -> Option<IpAddr>) = match self.header {
            ProxyHeader::XForwardedFor => ("x-forwarded-for", address),
            ProxyHeader::Forwarded => ("forwarded", forwarded_for),
        };
        let lists: Vec<_> = headers.get_all(name).iter().collect();
        // A header field that is not text counts as malformed, not as absent: skipping it would
        // believe what is before it.
        let lists = lists.into_iter().rev().map(|list| list.to_str().unwrap_or_default());
        lists.flat_map(|list| list.rsplit(',')).map(read)
    }
}

/// The `for` parameter of one element of `Forwarded`, such as
/// `for="[2001:db8::1]:4711";proto=https`.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let mut pairs = element.split(';').filter_map(|pair| pair.split_once('='));
    let (_, node) = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case("for"))?;
    address(node.trim().trim_matches('"'))
}

/// An address with or without a port.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().or_else(|| text.parse().ok().map(|address: SocketAddr| address.ip()))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const X: ProxyHeader = ProxyHeader::XForwardedFor;
    const F: ProxyHeader = ProxyHeader::Forwarded;

    /// The client's address, where 10.0.0.0/8 and fd00::/8 are proxies.
    fn client(header: ProxyHeader, peer: &str, sent: &[(&'static str, &str)]) -> String {
        let networks = ["10.0.0.0/8", "fd00::/8"].map(|network| network.parse().unwrap());
        let mut headers = HeaderMap::new();
        for (name, value) in sent {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        let mut extensions = Extensions::new();
        extensions.insert(ConnectInfo(SocketAddr::new(peer.parse().unwrap(), 1)));
        Proxies::new(networks.into(), header).client(&extensions, &headers).unwrap().to_string()
    }

    #[test]
    fn a_peer_that_is_no_proxy_is_the_client_whatever_its_headers() {
        let forged = [("x-forwarded-for", "1.1.1.1"), ("forwarded", "for=1.1.1.1")];
        for (peer, shown) in [
            ("192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ] {
            assert_eq!(client(X, peer, &forged), shown);
            assert_eq!(client(F, peer, &forged), shown);
        }
    }

    #[test]
    fn the_client_is_the_nearest_that_is_no_proxy() {
        for (sent, shown) in [
            ("192.0.2.1", "192.0.2.1"),
            ("1.1.1.1, 192.0.2.1", "192.0.2.1"),
            ("1.1.1.1,192.0.2.1 , 10.1.1.1", "192.0.2.1"),
            ("192.0.2.1:4711, fd00::1", "192.0.2.1"),
            ("1.1.1.1, [2001:db8::1]:4711, ::ffff:10.1.1.1", "2001:db8::/64"),
            ("10.2.2.2, 10.1.1.1", "10.2.2.2"),
            ("", "10.0.0.1"),
            ("1.1.1.1, unknown", "10.0.0.1"),
            ("1.1.1.1, unknown, 10.1.1.1", "10.1.1.1"),
        ] {
            assert_eq!(client(X, "10.0.0.1", &[("x-forwarded-for", sent)]), shown, "{sent}");
        }
        let several = [("x-forwarded-for", "1.1.1.1, 192.0.2.1"), ("x-forwarded-for", "10.1.1.1")];
        assert_eq!(client(X, "10.0.0.1", &several), "192.0.2.1");
    }

    #[test]
    fn forwarded_is_read_where_proxies_write_it_and_not_what_they_pass_on() {
        for (sent, shown) in [
            ("for=192.0.2.1", "192.0.2.1"),
            ("For=1.1.1.1;proto=http, proto=https; FOR=\"192.0.2.1:80\"", "192.0.2.1"),
            ("for=1.1.1.1, for=\"[2001:db8::1]:4711\";by=10.0.0.1, for=10.1.1.1", "2001:db8::/64"),
            ("for=1.1.1.1, for=_hidden", "10.0.0.1"),
            ("for=\", for=192.0.2.1", "192.0.2.1"),
            ("proto=http", "10.0.0.1"),
        ] {
            let sent = [("forwarded", sent), ("x-forwarded-for", "1.1.1.1")];
            assert_eq!(client(F, "10.0.0.1", &sent), shown, "{sent:?}");
        }
        let passed_on = [("forwarded", "for=1.1.1.1"), ("x-forwarded-for", "192.0.2.1")];
        assert_eq!(client(X, "10.0.0.1", &passed_on), "192.0.2.1");
    }

    #[test]
    fn a_network_is_one_address_or_many() {
        assert!(
            ["10.0.0.0/8", "::1", "fd00::/8", "1.2.3.4"]
                .iter()
                .all(|text| text.parse::<Network>().is_ok())
        );
        assert!(["", "10.0.0.0/33", "proxy"].iter().all(|text| text.parse::<Network>().is_err()));
    }
}
