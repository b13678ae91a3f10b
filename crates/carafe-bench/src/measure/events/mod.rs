//! The price of one event with small audiences, many publishers and TLS, compared with the floor
//! and with other servers.

mod audience;
mod contestant;
mod latency;
mod publish;
mod reconnect;
mod setting;
mod small;
mod storm_tls;
mod tls;

use clap::ValueEnum;

use crate::document;
use crate::outcome::Outcome;
use crate::parts;
use crate::section::Section;

use audience::Audience;
use setting::Setting;

pub(crate) type Options = parts::Options<Part>;

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// 2,000 topics with one subscriber each, 2,000 events a second
    OneToOne,
    /// 1,000 topics with ten subscribers each, 2,000 events a second
    Ten,
    /// Latency at shares of the maximum rate, 2,000 topics with one subscriber each
    LatencyOneToOne,
    /// The same, 1,000 topics with ten subscribers each
    LatencyTen,
    /// 64 publishers with 256 events in flight, one subscriber
    Publish,
    /// 2,000 reconnects a second
    Reconnect,
    /// 20,000 TLS clients that reconnect, with full handshakes and with resumed sessions
    StormTls,
    /// TLS with HTTP/1.1: 2,000 streams
    TlsH1,
    /// TLS with HTTP/2: 2,000 connections of one stream
    TlsH2One,
    /// TLS with HTTP/2: 40 connections of 50 streams
    TlsH2Many,
}

pub(crate) fn measure(options: &Options) -> Outcome {
    let setting = Setting::new(options.bench()?)?;
    options.measure(document::Part::Events, |part| part_of(&setting, part))
}

fn part_of(setting: &Setting, part: Part) -> Outcome<Section> {
    match part {
        Part::OneToOne => small::one_to_one(setting),
        Part::Ten => small::ten(setting),
        Part::LatencyOneToOne => latency::measure(setting, Audience::one_to_one(setting)),
        Part::LatencyTen => latency::measure(setting, Audience::ten(setting)),
        Part::Publish => publish::measure(setting),
        Part::Reconnect => reconnect::measure(setting),
        Part::StormTls => storm_tls::measure(setting),
        Part::TlsH1 => tls::http1(setting),
        Part::TlsH2One => tls::http2_one(setting),
        Part::TlsH2Many => tls::http2_many(setting),
    }
}
