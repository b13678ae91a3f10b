//! `carafe subscribe`: prints the events of a hub, and reconnects when the stream is lost.

use std::fmt::Write;
use std::future::ready;
use std::time::{Duration, Instant};

use carafe_client::{Control, Error, EventSource, Gap, Item};
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::SubscribeOptions;
use crate::failure::Failure;
use crate::outage::Outage;
use crate::output::Output;
use crate::printer::Printer;
use crate::source::Source;
use crate::state_file::StateFile;

/// How often the position is saved while events arrive without a pause.
const SAVE_INTERVAL: Duration = Duration::from_secs(1);

/// Prints events up to `--count`, or until the reader of standard output closes it.
pub(crate) async fn subscribe(options: SubscribeOptions) -> Result<(), Failure> {
    let state = options.state.as_deref().map(StateFile::load).transpose()?;
    let mut printer = Printer::new(&options);
    let mut after = options.after.clone().unwrap_or_default();
    if let Some(id) = state.as_ref().map(StateFile::id).filter(|id| !id.is_empty()) {
        after = id.into();
        printer = printer.resumed();
    }
    let (envelopes, outage) = (printer.needs_envelopes(), Outage::default());
    let source = Source { options: &options, after, envelopes, outage };
    let (events, first) = match printer.since() {
        Some(since) => source.open_since(since).await?,
        None => (source.open()?, None),
    };
    let mut subscriber = Subscriber {
        source: &source,
        events,
        printer,
        output: Output::new(),
        printed: source.after.clone(),
        left: options.count.unwrap_or(u64::MAX),
    };
    if let Some(first) = first {
        subscriber.print(Ok(Item::Event(first)))?;
    }
    match state {
        None => subscriber.run().await,
        Some(state) => subscriber.run_with(state).await,
    }
}

/// Reads events and prints them.
struct Subscriber<'a> {
    source: &'a Source<'a>,
    events: EventSource,
    printer: Printer,
    output: Output,
    /// The ID of the last event that was printed or needs no printing.
    printed: String,
    left: u64,
}

impl Subscriber<'_> {
    async fn run(mut self) -> Result<(), Failure> {
        while self.left > 0
            && let Some(item) = self.events.next_item().await
        {
            self.print(item)?;
        }
        Ok(())
    }

    /// Saves the position when no event waits to be printed, at least once per interval, and at the
    /// end, also after SIGTERM and SIGINT.
    async fn run_with(mut self, mut state: StateFile) -> Result<(), Failure> {
        let outcome = self.print_and_save(&mut state).await;
        state.save(&self.printed)?;
        outcome
    }

    async fn print_and_save(&mut self, state: &mut StateFile) -> Result<(), Failure> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut saved = Instant::now();
        while self.left > 0 {
            let idle = tokio::select! {
                biased;
                _ = terminate.recv() => return Ok(()),
                _ = interrupt.recv() => return Ok(()),
                item = self.events.next_item() => match item {
                    Some(item) => {
                        self.print(item)?;
                        false
                    }
                    None => return Ok(()),
                },
                () = ready(()), if self.printed != state.id() => true,
            };
            if idle || saved.elapsed() >= SAVE_INTERVAL {
                state.save(&self.printed)?;
                saved = Instant::now();
            }
        }
        Ok(())
    }

    fn print(&mut self, item: Result<Item, Error>) -> Result<(), Failure> {
        let item = item.map_err(|error| self.source.failure(error))?;
        self.source.outage.end("connected");
        match item {
            Item::Control(Control::Gap(gap)) => eprintln!("carafe: {}", words(&gap)),
            Item::Control(_) => {}
            Item::Event(event) => {
                if let Some(line) = self.printer.line(&event)? {
                    self.output.line(&line)?;
                    self.left = self.left.saturating_sub(1);
                }
            }
        }
        self.events.last_event_id().clone_into(&mut self.printed);
        Ok(())
    }
}

/// The message for a gap.
fn words(gap: &Gap) -> String {
    let mut words = format!("gap: some events after {} are no longer stored", gap.requested);
    match &gap.oldest {
        Some(oldest) => write!(words, "; the oldest stored event is {oldest}"),
        None => write!(words, "; no events are stored"),
    }
    .expect("writing to a String does not fail");
    words
}
