//! Runs the blocks of a page.

use std::net::TcpStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::docs::command::{self, CheckTask, Kind};
use crate::docs::markdown::Block;
use crate::docs::place::Place;
use crate::docs::shell::{Background, Shell};

/// The hub of pages that use one without showing how it is started.
const HUB: &str = "carafe dev --log memory:";
const PAUSE: Duration = Duration::from_millis(50);
/// Between two attempts of what is repeated until its effect is seen.
const ATTEMPT: Duration = Duration::from_secs(1);

/// The state of a page while its commands run.
pub(super) struct Page<'a> {
    place: &'a Place,
    shell: Shell,
    hub: Option<Background>,
    clients: Vec<Background>,
    count: Count,
    check_task: CheckTask,
}

/// How many commands were run, and how many not.
#[derive(Default)]
pub(super) struct Count {
    pub(super) run: usize,
    pub(super) skipped: usize,
}

impl Count {
    pub(super) fn add(&mut self, other: &Self) {
        self.run += other.run;
        self.skipped += other.skipped;
    }
}

impl<'a> Page<'a> {
    pub(super) fn run(
        path: &Path,
        blocks: &[Block],
        place: &'a Place,
        check_task: CheckTask,
    ) -> Result<Count, String> {
        let shell = Shell::start(place.shell(), place.folder(), place.patience)?;
        let count = Count::default();
        let mut page = Self { place, shell, hub: None, clients: Vec::new(), count, check_task };
        for block in blocks {
            let at = format!("{}:{}", path.display(), block.line);
            page.run_block(&at, block).map_err(|error| format!("{at}: {error}"))?;
        }
        page.stop_all().map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(page.count)
    }

    fn run_block(&mut self, at: &str, block: &Block) -> Result<(), String> {
        let runs =
            block.commands.iter().any(|command| block.notes.reason_against(command).is_none());
        if runs {
            for command in &block.notes.first {
                self.run_command(command)?;
            }
        }
        for command in &block.commands {
            let shown = command::without_comment(command);
            match self.reason_against(block, command)? {
                Some(reason) => {
                    println!("docs: {at}: skipped: {shown}: {reason}");
                    self.count.skipped += 1;
                }
                None => {
                    println!("docs: {at}: {shown}");
                    self.run_command(command).map_err(|error| format!("`{command}` {error}"))?;
                    self.count.run += 1;
                }
            }
        }
        block.notes.expect.iter().try_for_each(|text| self.expect(text, &block.notes.meanwhile))
    }

    fn reason_against(&self, block: &Block, command: &str) -> Result<Option<String>, String> {
        let own = if self.place.is_clean_clone() {
            None
        } else {
            command::reason_against_cargo(command, self.check_task)?
        };
        Ok(block.notes.reason_against(command).or(own).map(String::from))
    }

    fn run_command(&mut self, documented: &str) -> Result<(), String> {
        command::refuse_what_changes_the_machine(documented)?;
        let command = self.place.adapt(documented);
        match Kind::of(&command) {
            Kind::Hub => self.start_hub(&command),
            Kind::Client => self.start_client(&command),
            Kind::Finite => {
                self.need_hub_for(&command)?;
                self.shell.run(&command)
            }
        }
    }

    /// Replaces the hub that runs, with its clients, and waits until the new one listens.
    fn start_hub(&mut self, command: &str) -> Result<(), String> {
        self.stop_all()?;
        let hub = self.shell.start_in_background(command)?;
        self.wait_for(&hub, |page, hub| {
            hub.printed().contains("listening on") && page.is_reachable(&hub.command)
        })?;
        self.hub = Some(hub);
        Ok(())
    }

    /// A hub on a Unix socket is as its own log says.
    fn is_reachable(&self, command: &str) -> bool {
        command.contains("unix:") || TcpStream::connect(self.place.address).is_ok()
    }

    fn start_client(&mut self, command: &str) -> Result<(), String> {
        self.need_hub_for(command)?;
        let client = self.shell.start_in_background(command)?;
        if command.starts_with("curl -N") {
            self.wait_for(&client, |_, client| client.printed().contains("carafe.position"))?;
        }
        self.clients.push(client);
        Ok(())
    }

    fn need_hub_for(&mut self, command: &str) -> Result<(), String> {
        let uses_hub = ["curl ", "carafe publish", "carafe subscribe"];
        if self.hub.is_none() && uses_hub.iter().any(|client| command.contains(client)) {
            self.start_hub(HUB)?;
        }
        Ok(())
    }

    /// Waits for a condition of a command in the background, which must go on meanwhile.
    fn wait_for(
        &mut self,
        background: &Background,
        is_so: impl Fn(&Self, &Background) -> bool,
    ) -> Result<(), String> {
        let deadline = Instant::now() + self.place.patience;
        while !is_so(self, background) {
            if !self.shell.is_running(background)? || Instant::now() > deadline {
                return Err(format!("has not become ready:\n{}", background.printed()));
            }
            thread::sleep(PAUSE);
        }
        Ok(())
    }

    /// Waits until the text was printed, and repeats `meanwhile` until then.
    fn expect(&mut self, text: &str, meanwhile: &[String]) -> Result<(), String> {
        let deadline = Instant::now() + self.place.patience;
        let mut next_attempt = Instant::now();
        while !self.shell.printed().contains(text) {
            if Instant::now() > deadline {
                return Err(format!("`{text}` was not printed:\n{}", self.shell.printed()));
            }
            if Instant::now() >= next_attempt {
                meanwhile.iter().try_for_each(|command| self.run_command(command))?;
                next_attempt = Instant::now() + ATTEMPT;
            }
            thread::sleep(PAUSE);
        }
        Ok(())
    }

    /// Stops what runs in the background, which must not have ended by itself.
    fn stop_all(&mut self) -> Result<(), String> {
        let background: Vec<Background> = self.clients.drain(..).chain(self.hub.take()).collect();
        for process in background {
            if !self.shell.is_running(&process)? {
                let (command, printed) = (&process.command, process.printed());
                return Err(format!("`{command}` has ended by itself:\n{printed}"));
            }
            self.shell.stop(&process)?;
        }
        Ok(())
    }
}
