//! Nodes on an engine in memory.

// Makes helpers count as tests, which may unwrap.
#![cfg(test)]

mod behind;
mod beliefs;
mod cable;
mod clocks;
mod disks;
mod diverging;
mod following;
mod hubs;
mod local;
mod model;
mod planning;
mod publishing;
mod reference;
mod world;
