//! Feeds a topic.

use carafe_client::{FeedError, Outcome, Publisher};

pub async fn feed() -> Result<(), FeedError> {
    let hub = Publisher::new("http://127.0.0.1:3000");
    let mut answer = hub.feed("chat/7");
    for word in ["one", "flat", "white"] {
        match answer.send(word).await {
            Err(FeedError::Stopped(_)) => {
                answer.end(Outcome::Cancelled).await?;
                return Ok(());
            }
            sent => sent?,
        }
    }
    let fed = answer.end(Outcome::Done).await?;
    println!("{} events are stored", fed.events);
    Ok(())
}
