//! The example with a language model: each answer is generated once, and received whole.

#[allow(dead_code, reason = "its `main` is for `cargo run --example answers`")]
#[path = "../../examples/answers.rs"]
mod example;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use example::{Answers, app};
use http_body_util::BodyExt;
use tower::ServiceExt;

const WHOLE: &str = "You ask “why?”. Grind the beans, tamp them, and press hot water through them \
                     for half a minute.";

/// What a client has received: the tokens, and the last event ID.
#[derive(Default)]
struct Reader {
    text: String,
    last: Option<String>,
    has_ended: bool,
}

impl Reader {
    /// Reads until this number of events has arrived, or until the stream ends.
    async fn read(&mut self, app: &Router, url: &str, events: usize) -> StatusCode {
        let request = Request::get(url);
        let request = self.last.iter().fold(request, |it, id| it.header("last-event-id", id));
        let response = app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let (status, mut body) = (response.status(), response.into_body());
        let mut received = 0;
        while received < events
            && let Some(frame) = body.frame().await
        {
            let bytes = frame.unwrap().into_data().unwrap();
            received += self.take(str::from_utf8(&bytes).unwrap());
        }
        status
    }

    fn take(&mut self, chunk: &str) -> usize {
        let blocks = chunk.split_terminator("\n\n");
        blocks.filter(|block| self.take_block(block)).count()
    }

    fn take_block(&mut self, block: &str) -> bool {
        let field = |name| block.lines().find_map(|line| line.strip_prefix(name));
        let Some(id) = field("id: ") else { return false };
        self.last = Some(id.into());
        match field("event: ") {
            Some(end) => self.has_ended = end == "carafe.end",
            None => self.text += &serde_json::from_str::<String>(field("data: ").unwrap()).unwrap(),
        }
        true
    }
}

async fn ask(app: &Router) -> String {
    let request = Request::post("/answers").body(Body::from("why?")).unwrap();
    let response = app.clone().oneshot(request).await.unwrap();
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().into()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_generated_once_and_each_client_receives_it_whole() {
    let answers = Answers::default();
    let app = app(answers.clone());
    let url = ask(&app).await;
    let (mut first, mut second) = (Reader::default(), Reader::default());
    for events in [1, 3, 2] {
        assert_eq!(first.read(&app, &url, events).await, StatusCode::OK);
    }
    second.read(&app, &url, usize::MAX).await;
    first.read(&app, &url, usize::MAX).await;
    for reader in [&mut first, &mut second] {
        assert_eq!((&*reader.text, reader.has_ended), (WHOLE, true));
        assert_eq!(reader.read(&app, &url, 1).await, StatusCode::NO_CONTENT);
    }
    assert_eq!(answers.lock().len(), 1, "the model was asked once");
}

#[tokio::test]
async fn an_answer_that_was_not_asked_for_does_not_exist() {
    let request = Request::get("/answers/0").body(Body::empty()).unwrap();
    assert_eq!(app(Answers::default()).oneshot(request).await.unwrap().status(), 404);
}
