//! The answer of a language model: generated once, and received whole by each client, however often
//! its connection breaks.
//!
//! `cargo run --example answers`, then open <http://127.0.0.1:3000>, ask, and reload the page while
//! the answer is written. `PORT` chooses another port.
//!
//! ```sh
//! curl -d 'How is espresso made?' localhost:3000/answers      # prints the URL of the answer
//! curl -N localhost:3000/answers/0                            # as often as you like
//! ```

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Html;
use axum::routing::{get, post};
use carafe::EventStream;
use carafe::stream::LastEventId;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::sleep;

const PAGE: &str = r#"<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Answers</title>
<form><input size="40" value="How is espresso made?"> <button>Ask</button></form>
<p></p>
<script>
  const shown = document.querySelector('p');
  function read(url) {
    shown.textContent = '';
    // It reconnects by itself, until the server answers 204: then the answer is complete.
    new EventSource(url).onmessage = ({ data }) => shown.append(JSON.parse(data));
  }
  document.querySelector('form').onsubmit = async (event) => {
    event.preventDefault();
    const body = document.querySelector('input').value;
    const answer = await fetch('/answers', { method: 'POST', body });
    location.hash = await answer.text();
    read(location.hash.slice(1));
  };
  if (location.hash) read(location.hash.slice(1));
</script>
</html>
"#;

/// The most answers that are kept. An app would store them in its database.
const MOST_ANSWERS: usize = 1000;

/// The tokens of an answer so far. The sender is dropped when the answer is complete.
type Answer = watch::Receiver<Vec<String>>;

/// All answers, by number.
#[derive(Clone, Default)]
pub(crate) struct Answers(Arc<Mutex<Vec<Answer>>>);

impl Answers {
    /// How often the model was asked.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Vec<Answer>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let port = std::env::var("PORT").unwrap_or("3000".into());
    let listener = TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app(Answers::default())).await
}

pub(crate) fn app(answers: Answers) -> Router {
    Router::new()
        .route("/", get(Html(PAGE)))
        .route("/answers", post(ask))
        .route("/answers/{number}", get(read))
        .with_state(answers)
}

/// Starts the answer, and returns its URL. It is written by a task of its own, so that it does not
/// depend on any client's connection.
async fn ask(State(answers): State<Answers>, question: String) -> Result<String, StatusCode> {
    let mut answers = answers.lock();
    if answers.len() >= MOST_ANSWERS {
        return Err(StatusCode::SERVICE_UNAVAILABLE);
    }
    let (tokens, answer) = watch::channel(Vec::new());
    tokio::spawn(generate(question, tokens));
    answers.push(answer);
    Ok(format!("/answers/{}", answers.len() - 1))
}

/// Sends the tokens that the client lacks, as they are written.
async fn read(
    State(answers): State<Answers>,
    Path(number): Path<usize>,
    last: LastEventId,
) -> Result<EventStream, StatusCode> {
    let mut answer = answers.lock().get(number).cloned().ok_or(StatusCode::NOT_FOUND)?;
    answer.mark_changed();
    Ok(EventStream::resume_from(last, async move |events, mut next| {
        while answer.changed().await.is_ok() {
            let new = answer.borrow_and_update().get(next..).map(<[_]>::to_vec);
            for token in new.unwrap_or_default() {
                events.json(&token).await?;
                next += 1;
            }
        }
        Ok(())
    }))
}

/// Stands for the model.
async fn generate(question: String, answer: watch::Sender<Vec<String>>) {
    let words = "Grind the beans, tamp them, and press hot water through them for half a minute.";
    let about = format!("You ask “{question}”. ");
    for token in std::iter::once(&*about).chain(words.split_inclusive(' ')) {
        sleep(Duration::from_millis(200)).await;
        answer.send_modify(|tokens| tokens.push(token.to_owned()));
    }
}
