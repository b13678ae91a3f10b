//! Publications with keys that are all new, by a token with the right to publish.

use std::time::Duration;

use super::attacker::{Attacker, outcome};
use crate::wire;

/// Events of a batch.
const BATCH: u64 = 100;

/// Batches on one connection.
const BATCHES: u64 = 50;

pub(crate) fn attempt(attacker: &mut Attacker<'_>) {
    let Some(mut stream) = attacker.connect() else { return };
    let authorization = attacker.authorization().unwrap_or_default();
    let headers = [("Content-Type", "application/x-ndjson"), ("Authorization", &*authorization)];
    for batch in 0..BATCHES {
        if attacker.is_over() {
            return;
        }
        let line = |number: u64| {
            let unique = (attacker.done * BATCHES + batch) * BATCH + number;
            format!(
                "{{\"topic\":\"attack/keyed\",\"data\":1,\"id\":\"{}-{unique}\"}}\n",
                attacker.number
            )
        };
        let body: String = (0..BATCH).map(line).collect();
        match wire::post(&mut stream, "/events", &headers, body.as_bytes()) {
            Ok(answer) => attacker.count(answer.status.to_string()),
            Err(error) => return attacker.count(outcome(&error)),
        }
        attacker.pause(Duration::from_millis(10));
    }
}
