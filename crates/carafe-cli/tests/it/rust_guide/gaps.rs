//! Tells gaps from events.

use carafe_client::{Control, EventSource, Item};

pub async fn gaps() -> Result<(), carafe_client::Error> {
    let mut stream = EventSource::options("http://127.0.0.1:3000/events/orders")
        .last_event_id("an-old-position")
        .connect();
    while let Some(item) = stream.next_item().await {
        match item? {
            Item::Event(event) => println!("{}", event.data),
            Item::Control(Control::Gap(gap)) => println!("load everything again: {}", gap.reason),
            Item::Control(_) => {}
        }
    }
    Ok(())
}
