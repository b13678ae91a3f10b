//! How limits tell clients from each other: by the token's subject, else by the address.

use carafe_hub::Client;
use http::request::Parts;

use crate::policy::address::{ClientAddress, Proxies};
use crate::policy::publish_rate::Publisher;

/// The client that the hub's shared limits count: the holder of a token by its subject, wherever
/// the holder is, and others by their address. `None` if the app does not provide addresses.
pub(crate) fn hub_client(
    proxies: &Proxies,
    identity: Option<u64>,
    parts: &Parts,
) -> Option<Client> {
    match identity {
        Some(holder) => Some(Client::of(("holder", holder))),
        None => proxies.client(&parts.extensions, &parts.headers).map(client_at),
    }
}

/// The client without a token at this address.
pub(crate) fn client_at(address: ClientAddress) -> Client {
    Client::of(("address", address))
}

/// The publisher that the publish rate and the body budget count, by the same rule. `None` if the
/// app does not provide addresses: then it limits clients without a token itself.
pub(crate) fn publisher(
    proxies: &Proxies,
    identity: Option<u64>,
    parts: &Parts,
) -> Option<Publisher> {
    let at_address = || proxies.client(&parts.extensions, &parts.headers).map(Publisher::Address);
    identity.map(Publisher::Holder).or_else(at_address)
}
