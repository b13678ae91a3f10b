//! Backups of a stream by JetStream's own API, and their restoration.

use serde_json::{Value, json};

use crate::nats::NatsServers;
use crate::nats::connection::Connection;
use crate::process::PATIENCE;

/// A backup of a stream.
pub struct Snapshot {
    stream: String,
    /// Its settings and its state, as the server has given them.
    head: Value,
    chunks: Vec<Vec<u8>>,
}

impl NatsServers {
    /// Makes a backup of a stream while it is in use.
    #[track_caller]
    pub fn snapshot(&self, stream: &str) -> Snapshot {
        let mut connection = self.patient_connection();
        let deliver = format!("{}.chunks", connection.inbox);
        let wanted = json!({ "deliver_subject": deliver, "no_consumers": true });
        let subject = format!("$JS.API.STREAM.SNAPSHOT.{stream}");
        connection.send(&subject, true, wanted.to_string().as_bytes()).unwrap();
        let head = answer(&mut connection);
        let mut chunks = Vec::new();
        loop {
            let chunk = connection.next().expect("the server sends the snapshot");
            assert_eq!(chunk.subject, deliver);
            if chunk.payload.is_empty() {
                return Snapshot { stream: stream.into(), head, chunks };
            }
            chunks.push(chunk.payload);
            // The server waits for it before it sends too much.
            chunk.reply.iter().for_each(|reply| connection.send(reply, false, b"").unwrap());
        }
    }

    /// Creates the stream of a backup, which must not exist.
    #[track_caller]
    pub fn restore(&self, snapshot: &Snapshot) {
        let mut connection = self.patient_connection();
        let subject = format!("$JS.API.STREAM.RESTORE.{}", snapshot.stream);
        let Value::Object(head) = &snapshot.head else { panic!("{}", snapshot.head) };
        let wanted = json!({ "config": head["config"], "state": head["state"] });
        connection.send(&subject, true, wanted.to_string().as_bytes()).unwrap();
        let deliver = answer(&mut connection)["deliver_subject"].as_str().unwrap().to_owned();
        for chunk in &snapshot.chunks {
            connection.send(&deliver, true, chunk).unwrap();
            let taken = connection.next().expect("the server takes a chunk");
            assert!(taken.payload.is_empty(), "{}", String::from_utf8_lossy(&taken.payload));
        }
        connection.send(&deliver, true, b"").unwrap();
        answer(&mut connection);
    }

    fn patient_connection(&self) -> Connection {
        let index = (0..self.servers.len()).find(|index| self.is_running(*index)).unwrap();
        Connection::open(self.address(index)).unwrap().patient(PATIENCE)
    }
}

#[track_caller]
fn answer(connection: &mut Connection) -> Value {
    let answer = connection.next().expect("the server answers");
    let answer: Value = serde_json::from_slice(&answer.payload).unwrap();
    assert!(answer.get("error").is_none(), "{answer}");
    answer
}
