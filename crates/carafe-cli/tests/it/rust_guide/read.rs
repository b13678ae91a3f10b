//! Reads a stream.

use carafe_client::EventSource;

pub async fn read() -> Result<(), carafe_client::Error> {
    let mut events = EventSource::new("http://127.0.0.1:3000/events/orders");
    while let Some(event) = events.next().await {
        let event = event?;
        println!("{}: {}", event.event_type, event.data);
    }
    Ok(())
}
