//! Fetches a token for each connection.

use carafe_client::{EventSource, TokenRequest};

pub async fn tokens() -> Result<(), carafe_client::Error> {
    let mut events = EventSource::options("http://127.0.0.1:3000/events/orders")
        .bearer_from(fetch_token)
        .header("x-tenant", "7")
        .connect();
    while let Some(event) = events.next().await {
        println!("{}", event?.data);
    }
    Ok(())
}

async fn fetch_token(request: TokenRequest) -> std::io::Result<String> {
    let name = if request.refused { "orders.new-token" } else { "orders.token" };
    tokio::fs::read_to_string(name).await
}
