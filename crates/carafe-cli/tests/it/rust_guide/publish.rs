//! Publishes.

use carafe_client::{Publish, Publisher, PublisherError};

pub async fn publish() -> Result<(), PublisherError> {
    let hub = Publisher::new("http://127.0.0.1:3000");
    let position = hub.publish(&Publish::to("orders", "one flat white")).await?;
    println!("stored at {position}");
    let batch = ["espresso", "latte"].map(|drink| Publish::to("orders", drink));
    println!("{} more", hub.publish_all(&batch).await?.len());
    Ok(())
}
