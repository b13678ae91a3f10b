//! Several nodes on servers of NATS: real processes, real clients, and one oracle that knows every
//! event that was acknowledged.

mod balancer;
mod cable;
mod clocks;
mod command;
mod compaction;
mod crashes;
mod damage;
mod engine;
mod entries;
mod load;
mod moving;
mod network;
mod nodes;
mod oracle;
mod outages;
mod partitions;
mod reading;
mod resuming;
mod rolling;
mod snapshots;
mod starting;
mod unequal;
mod wrong_clock;
