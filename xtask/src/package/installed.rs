//! Installs the package into a folder of its own, runs the command of its unit there, and removes
//! the package.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::step::Step;

const ROOT: &str = "target/package-root";

/// Fails unless the package can be installed, serves, and leaves nothing when it is purged.
pub(crate) fn check(package: &Path) -> Result<(), String> {
    let root = Root::create()?;
    root.dpkg("--install", &package.display().to_string())?;
    let secret = root.path("etc/carafe/secret");
    let secret_is_private = fs::metadata(&secret)
        .is_ok_and(|metadata| metadata.len() == 64 && metadata.permissions().mode() & 0o077 == 0);
    expect(secret_is_private, "the package makes a private secret of 32 bytes in hex")?;
    expect(
        root.path("lib/systemd/system/carafe.socket").exists()
            || root.path("usr/lib/systemd/system/carafe.socket").exists(),
        "the socket unit is installed",
    )?;
    expect(root.path("usr/share/man/man1/carafe.1.gz").exists(), "the manual is installed")?;
    root.serve_and_publish()?;
    root.dpkg("--purge", "carafe")?;
    for gone in ["usr/bin/carafe", "etc/carafe", "usr/share/doc/carafe"] {
        expect(!root.path(gone).exists(), &format!("a purged package leaves no /{gone}"))?;
    }
    println!("package: {} installs, serves and is removed", package.display());
    Ok(())
}

fn expect(is_so: bool, what: &str) -> Result<(), String> {
    if is_so { Ok(()) } else { Err(format!("expected: {what}")) }
}

/// Waits until the hub tells its service manager that it is ready.
fn is_told(manager: &UnixDatagram) -> Result<(), String> {
    let mut message = [0; 4096];
    let heard = manager
        .set_read_timeout(Some(Duration::from_secs(30)))
        .and_then(|()| manager.recv(&mut message))
        .map_err(|error| format!("the hub tells its service manager nothing: {error}"))?;
    let is_ready = message[..heard].starts_with(b"READY=1\n");
    expect(is_ready, "the first message to the service manager is READY=1")
}

/// The folder that stands for `/`.
struct Root(PathBuf);

impl Root {
    /// An empty folder, with the database of dpkg.
    fn create() -> Result<Self, String> {
        let _ = fs::remove_dir_all(ROOT);
        let database = Path::new(ROOT).join("var/lib/dpkg");
        let made = ["info", "updates", "triggers"]
            .iter()
            .try_for_each(|folder| fs::create_dir_all(database.join(folder)))
            .and_then(|()| fs::write(database.join("status"), ""))
            .and_then(|()| Path::new(ROOT).canonicalize());
        made.map(Self).map_err(|error| format!("{ROOT}: {error}"))
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.join(path)
    }

    /// Without chroot, and without the libraries that the package depends on: those of this machine
    /// are used.
    fn dpkg(&self, action: &str, what: &str) -> Result<(), String> {
        let force = "--force-not-root --force-script-chrootless --force-depends";
        let (root, log) = (self.0.display(), self.path("dpkg.log"));
        let options = format!("{force} --root={root} --log={}", log.display());
        Step::new("package", &format!("dpkg {options} {action}")).arg(what).run()
    }

    fn serve_and_publish(&self) -> Result<(), String> {
        let (mut hub, manager) = self.start()?;
        let outcome = is_told(&manager).and_then(|()| self.publish(&mut hub));
        // Both fail only if the hub has ended already.
        let _ = hub.kill();
        let _ = hub.wait();
        outcome
    }

    /// Runs the command of the unit, with folders below this one, and a service manager.
    fn start(&self) -> Result<(Child, UnixDatagram), String> {
        let socket = self.path("notify");
        let manager = UnixDatagram::bind(&socket).map_err(|error| error.to_string())?;
        let command = self.command()?;
        let state = format!("disk:{}", self.path("var/lib/carafe/log").display());
        let mut hub = Command::new(&command[0]);
        // A free port, and a folder of this test; the rest is the installed file.
        hub.args(&command[1..]).args(["--listen", "127.0.0.1:0", "--log", &state]);
        hub.env("NOTIFY_SOCKET", socket).stderr(Stdio::piped());
        let hub = hub.spawn().map_err(|error| format!("{}: {error}", command[0]))?;
        Ok((hub, manager))
    }

    /// The words of the unit's command, with paths below this folder.
    fn command(&self) -> Result<Vec<String>, String> {
        let unit = ["lib", "usr/lib"].map(|lib| format!("{lib}/systemd/system/carafe.service"));
        let unit = unit.iter().find_map(|unit| fs::read_to_string(self.path(unit)).ok());
        let unit = unit.ok_or("the unit is not installed")?;
        let command = unit.lines().find_map(|line| line.strip_prefix("ExecStart="));
        let command = command.ok_or("the unit has no command")?;
        let below = |word: &str| match word.strip_prefix('/') {
            Some(path) => self.path(path).display().to_string(),
            None => word.to_owned(),
        };
        Ok(command.replace("%d/secret", "/etc/carafe/secret").split(' ').map(below).collect())
    }

    fn publish(&self, hub: &mut Child) -> Result<(), String> {
        let output = hub.stderr.take().ok_or("no output")?;
        let mut lines = BufReader::new(output).lines().map_while(Result::ok);
        let url = lines.find_map(|line| line.strip_prefix("listening on ").map(str::to_owned));
        let url = url.ok_or("the hub ended at once")?;
        // The hub must not wait for a reader of its log.
        std::thread::spawn(move || lines.for_each(drop));
        let secret = self.path("etc/carafe/secret").display().to_string();
        let token = self.carafe(&["token", "--publish", "a", "--secret-file", &secret], None)?;
        self.carafe(&["publish", "a", "poured", "--url", &url], Some(token.trim()))?;
        let seen =
            self.carafe(&["subscribe", "a", "--earliest", "-n", "1", "--url", &url], None)?;
        expect(seen == "poured\n", &format!("the event is delivered, not {seen:?}"))
    }

    /// The output of the installed program.
    fn carafe(&self, arguments: &[&str], token: Option<&str>) -> Result<String, String> {
        let mut command = Command::new(self.path("usr/bin/carafe"));
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
        if let Some(token) = token {
            command.env("CARAFE_TOKEN", token);
        }
        let mut child = command.spawn().map_err(|error| format!("carafe: {error}"))?;
        let mut text = String::new();
        if let Some(mut output) = child.stdout.take() {
            output.read_to_string(&mut text).map_err(|error| error.to_string())?;
        }
        let ended = child.wait().map_err(|error| error.to_string())?;
        expect(ended.success(), &format!("carafe {arguments:?} succeeds")).map(|()| text)
    }
}
