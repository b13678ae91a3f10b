//! `examples/llm` and `examples/ai-sdk` in Chromium: answers of a model that survive reloads, lost
//! networks, a stop, and a hub that is killed.

use std::io::Write;
use std::net::SocketAddr;

use serde_json::{Value, json};
use tempfile::{NamedTempFile, TempDir};

use crate::clients::{is_here, node, skip};
use crate::http::Stream;
use crate::process::{PATIENCE, Process, Server, carafe, free_address, repository};

const SECRET: &str = "a secret of more than thirty-two bytes";

/// An example that runs, its hub, and the script that uses its page.
struct Rig {
    log: TempDir,
    secret: NamedTempFile,
    address: SocketAddr,
    origin: SocketAddr,
    hub: Option<Server>,
    app: Option<Process>,
}

impl Rig {
    fn start(server: &str) -> Self {
        let mut secret = NamedTempFile::new().unwrap();
        secret.write_all(SECRET.as_bytes()).unwrap();
        let (address, origin) = (free_address(), free_address());
        let log = TempDir::new().unwrap();
        let mut rig = Self { log, secret, address, origin, hub: None, app: None };
        rig.hub = Some(rig.start_hub());
        let mut app = node(server);
        app.envs([("CARAFE_SECRET", SECRET), ("MODEL_PAUSE_MS", "40")]);
        app.env("CARAFE_URL", format!("http://{address}")).env("PORT", origin.port().to_string());
        let app = Process::start(&mut app);
        app.next_line(|line| line.contains("listening on"));
        rig.app = Some(app);
        rig
    }

    fn start_hub(&self) -> Server {
        let mut command = carafe();
        command.args(["serve", "--anonymous", "subscribe", "--retry", "200ms"]);
        command.args(["--listen", &self.address.to_string(), "--secret-file"]);
        command.arg(self.secret.path());
        command.args(["--allow-origin", &format!("http://{}", self.origin)]);
        let log = format!("disk:{}", self.log.path().join("log").display());
        Server::of(Process::start(command.args(["--log", &log])))
    }

    /// Kills the hub, and starts it again at the same address.
    fn restart_hub(&mut self) {
        self.hub.take().unwrap().kill();
        self.hub = Some(self.start_hub());
    }

    fn script(&self, script: &str) -> Process {
        Process::start(node(script).arg(format!("http://{}", self.origin)))
    }

    /// The data of all events of a topic, and the outcome, as the hub stores them.
    fn stored(&self, topic: &str) -> (Vec<String>, Value) {
        let target = format!("/events/{topic}?earliest");
        let (mut data, mut end) = (Vec::new(), Value::Null);
        for event in Stream::open(self.address, &target, &[]) {
            match &*event.event_type {
                "message" => data.push(event.data),
                "carafe.end" => end = serde_json::from_str(&event.data).unwrap(),
                _ => {}
            }
        }
        (data, end["outcome"].clone())
    }

    /// How many lines of the app begin so.
    fn printed(&self, words: &str) -> usize {
        let lines = self.app.as_ref().unwrap().stdout.try_iter();
        lines.filter(|line| line.starts_with(words)).count()
    }
}

/// The next line of a script that begins with this member.
#[track_caller]
fn next(script: &Process, member: &str) -> Value {
    let line = script.next_line(|line| line.starts_with(&format!("{{\"{member}\"")));
    serde_json::from_str(&line).unwrap()
}

#[track_caller]
fn succeeds(script: Process) {
    let failure = script.stderr.recv_timeout(PATIENCE).unwrap_or_default();
    assert!(script.wait().success(), "{failure}");
}

#[test]
fn every_tab_shows_the_whole_answer_of_a_model_that_is_called_once() {
    if !is_here("browser", "every_tab_shows_the_whole_answer_of_a_model_that_is_called_once") {
        return;
    }
    let mut rig = Rig::start("examples/llm/server.js");
    let script = rig.script("tests/browser/llm.mjs");
    let topic = |id: &Value| format!("answers/{}", id.as_str().unwrap());
    let asked = topic(&next(&script, "asked")["asked"]);
    next(&script, "half");
    rig.restart_hub();

    let shown = next(&script, "whole");
    let complete = json!({"text": shown["whole"], "state": "done"});
    assert_eq!(shown["tabs"], json!([complete, complete, complete]));
    let (data, outcome) = rig.stored(&asked);
    assert_eq!((json!(data.concat()), outcome), (shown["whole"].clone(), json!("done")));

    let shown = next(&script, "stopped");
    let (data, outcome) = rig.stored(&topic(&shown["stopped"]));
    let text = data.concat();
    let cancelled = json!({"text": text, "state": "cancelled"});
    assert_eq!((&shown["tabs"], outcome), (&json!([cancelled, cancelled]), json!("cancelled")));
    let whole = complete["text"].as_str().unwrap();
    assert!(text.len() < whole.len() && whole.starts_with(&text), "{text}");
    succeeds(script);
    assert_eq!(rig.printed("the model answers"), 2, "once for each question");
}

#[test]
fn a_chat_with_the_ai_sdk_resumes_in_every_tab() {
    let test = "a_chat_with_the_ai_sdk_resumes_in_every_tab";
    if !is_here("browser", test) {
        return;
    }
    if !repository("examples/ai-sdk/node_modules").exists() {
        return skip(test, "the packages of the example are missing; cargo xtask test brings them");
    }
    let mut rig = Rig::start("examples/ai-sdk/server.js");
    let script = rig.script("tests/browser/ai_sdk.mjs");
    let chat = next(&script, "asked")["asked"].as_str().unwrap().to_owned();
    next(&script, "half");
    rig.restart_hub();

    let shown = next(&script, "whole");
    assert_eq!(shown["tabs"], json!([shown["whole"], shown["whole"]]));
    let (chunks, outcome) = rig.stored(&format!("chat/{chat}/1"));
    assert_eq!((json!(text_of(&chunks)), outcome), (shown["whole"].clone(), json!("done")));

    let shown = next(&script, "stopped");
    let (chunks, outcome) = rig.stored(&format!("chat/{chat}/2"));
    let text = text_of(&chunks);
    assert_eq!((&shown["tabs"], outcome), (&json!([text, text]), json!("cancelled")));
    assert!(chunks.iter().any(|chunk| chunk.contains("\"abort\"")), "{:?}", chunks.last());
    succeeds(script);
    assert_eq!(rig.printed("the model is called"), 2, "once for each question");
}

/// The text in the chunks of the AI SDK, which end with `[DONE]`.
#[track_caller]
fn text_of(chunks: &[String]) -> String {
    let (last, chunks) = chunks.split_last().unwrap();
    assert_eq!(last, "[DONE]");
    let chunks = chunks.iter().map(|chunk| serde_json::from_str::<Value>(chunk).unwrap());
    let deltas = chunks.filter(|chunk| chunk["type"] == "text-delta");
    deltas.map(|chunk| chunk["delta"].as_str().unwrap().to_owned()).collect()
}
