//! Among whom the hub shares what all use.

use carafe_hub::Client;
use http::request::Parts;

use crate::api::options::Options;
use crate::policy::address::ClientAddress;

/// Who asks: who holds a token by its subject, wherever that is, and others by their address.
/// `None` where the app does not tell addresses.
pub(crate) fn sharer(options: &Options, identity: Option<u64>, parts: &Parts) -> Option<Client> {
    match identity {
        Some(holder) => Some(Client::of(("holder", holder))),
        None => options.proxies.client(&parts.extensions, &parts.headers).map(stranger),
    }
}

/// Who has this address.
pub(crate) fn stranger(address: ClientAddress) -> Client {
    Client::of(("address", address))
}
