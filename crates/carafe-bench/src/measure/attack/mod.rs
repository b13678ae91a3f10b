//! Clients that mean harm, each kind in a module of its own.
//!
//! They run in a process of their own, at a lower priority than the hub's other clients: what is
//! measured is what the hub does, and not that its clients want the same processor. Each attacker
//! has an address of its own in 127.64.0.0/10. All loops end when the time is over.

mod attacker;
mod bodies;
mod heads;
mod hosts;
mod http2;
mod keepers;
mod keyed;
mod missing;
mod pattern_churn;
mod readers;
mod silent;
mod stalled;

use std::collections::BTreeMap;
use std::env;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::child::{Program, raise_descriptor_limit};
use crate::outcome::Outcome;
use crate::server::this_program;

use attacker::{Attacker, Tally};

/// The variable that has the attackers' token.
const TOKEN: &str = "CARAFE_ATTACK_TOKEN";

/// The priority of the process: the hub's other clients have 0.
const NICE: i32 = 15;

/// How long it may take to end beyond its time.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(clap::Args)]
pub(crate) struct Options {
    hub: SocketAddr,
    seconds: f64,
    attacks: Vec<Attack>,
}

/// What is done to the hub.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Attack {
    /// Batches of 16 MiB without their last byte
    Bodies,
    /// Bodies that arrive byte by byte
    SlowBodies,
    /// Batches that are one giant JSON array
    Arrays,
    /// `last=1` by complex patterns, replays by pattern, resumes from far back, unknown IDs
    LogReaders,
    /// Streams of complex patterns that are opened and closed
    PatternChurn,
    /// `last=1` of topics that do not exist
    MissingTopic,
    /// Connections that say nothing
    Silent,
    /// Clients that are rejected with 503 and keep their connections
    Keepers,
    /// Frames of HTTP/2 without end
    Http2,
    /// Streams that are not read
    Stalled,
    /// Request heads that arrive byte by byte
    SlowHeads,
    /// Requests without a host, or with two
    BadHost,
    /// Publications with keys that are all new, by a token with the right to
    Keyed,
}

impl Attack {
    /// How many do it at once.
    fn attackers(self) -> u8 {
        match self {
            Self::Bodies => 60,
            Self::LogReaders | Self::MissingTopic => 20,
            Self::Http2 => http2::FLOODS,
            Self::SlowBodies | Self::Silent | Self::Stalled | Self::SlowHeads => 10,
            Self::PatternChurn => 8,
            Self::Keepers | Self::Arrays | Self::Keyed => 4,
            Self::BadHost => 2,
        }
    }

    /// One attempt, of which an attacker makes one after the other.
    fn attempt(self, attacker: &mut Attacker<'_>) {
        match self {
            Self::Bodies => bodies::nearly_whole(attacker),
            Self::SlowBodies => bodies::slow(attacker),
            Self::Arrays => bodies::array(attacker),
            Self::LogReaders => readers::attempt(attacker),
            Self::PatternChurn => pattern_churn::attempt(attacker),
            Self::MissingTopic => missing::attempt(attacker),
            Self::Silent => silent::attempt(attacker),
            Self::Keepers => keepers::attempt(attacker),
            Self::Http2 => http2::attempt(attacker),
            Self::Stalled => stalled::attempt(attacker),
            Self::SlowHeads => heads::attempt(attacker),
            Self::BadHost => hosts::attempt(attacker),
            Self::Keyed => keyed::attempt(attacker),
        }
    }

    pub(crate) fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}

/// What became of an attack.
#[derive(Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) attack: Attack,
    pub(crate) attempts: u64,
    /// What the hub did, and how often.
    pub(crate) outcomes: BTreeMap<String, u64>,
}

/// A process that attacks.
pub(crate) struct Attacking {
    program: Program,
    attacks: usize,
    end: Instant,
}

impl Attacking {
    /// Begins all of these at once, for so long.
    pub(crate) fn start(
        hub: SocketAddr,
        attacks: &[Attack],
        time: Duration,
        token: &str,
        core: Option<usize>,
    ) -> Outcome<Self> {
        let mut command = this_program()?;
        command.args(["attack", &hub.to_string(), &time.as_secs_f64().to_string()]);
        command.args(attacks.iter().map(|attack| attack.name())).env(TOKEN, token);
        let program = Program::start(&command, core)?;
        Ok(Self { program, attacks: attacks.len(), end: Instant::now() + time })
    }

    /// Waits for the end.
    pub(crate) fn reports(self) -> Outcome<Vec<Report>> {
        let report = || {
            let patience = self.end.saturating_duration_since(Instant::now()) + PATIENCE;
            Ok(serde_json::from_str(&self.program.next_line(patience)?)?)
        };
        (0..self.attacks).map(|_| report()).collect()
    }
}

/// Attacks until the time is over, and prints a report of each attack.
pub(crate) fn serve(options: &Options) -> Outcome {
    raise_descriptor_limit()?;
    rustix::process::nice(NICE)?;
    let until = Instant::now() + Duration::from_secs_f64(options.seconds);
    let token = env::var(TOKEN).ok().filter(|token| !token.is_empty());
    let tallies: Vec<_> =
        options.attacks.iter().map(|attack| (*attack, Tally::default())).collect();
    thread::scope(|scope| {
        for (attack, tally) in &tallies {
            for number in 0..attack.attackers() {
                let token = token.as_deref();
                scope.spawn(move || {
                    let mut attacker = Attacker {
                        hub: options.hub,
                        kind: *attack as u8,
                        number,
                        token,
                        until,
                        tally,
                        done: 0,
                    };
                    while attacker.goes_on() {
                        attack.attempt(&mut attacker);
                    }
                });
            }
        }
    });
    for (attack, tally) in tallies {
        let (attempts, outcomes) = tally.into_parts();
        println!("{}", serde_json::to_string(&Report { attack, attempts, outcomes })?);
    }
    Ok(())
}
