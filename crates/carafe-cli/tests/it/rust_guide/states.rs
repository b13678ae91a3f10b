//! Shows the states.

use carafe_client::{EventSource, State};

pub async fn states() -> Result<(), carafe_client::Error> {
    let mut events = EventSource::new("http://127.0.0.1:3000/events/orders");
    let mut states = events.states();
    tokio::spawn(async move {
        while let Some(state) = states.next().await {
            match state {
                State::Open(head) => println!("open: {}", head.url),
                State::Waiting { until, reason } => println!("{reason}, until {until:?}"),
                state => println!("{state:?}"),
            }
        }
    });
    while let Some(event) = events.next().await {
        println!("{}", event?.data);
    }
    Ok(())
}
