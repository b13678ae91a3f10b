//! The Mercure protocol, statement by statement.

mod fixture;
mod flows;
mod heartbeats;
mod ids;
mod one_errors;
mod one_publish;
mod one_secret;
mod one_subscribe;
mod one_subscriptions;
mod one_tokens;
mod prefix;
mod private;
mod random;
mod subscriptions;
mod switch;
mod zero_publish;
mod zero_subscribe;
mod zero_tokens;
