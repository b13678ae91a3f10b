//! Resumes after a restart of the program.

use carafe_client::{EventSource, FileStore};

pub async fn resume() -> Result<(), carafe_client::Error> {
    let mut events = EventSource::options("http://127.0.0.1:3000/events/orders?earliest")
        .store(FileStore::new("orders.position"))
        .connect();
    while let Some(event) = events.next().await {
        println!("{}", event?.data);
    }
    Ok(())
}
