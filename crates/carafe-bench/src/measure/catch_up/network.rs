//! Where it is measured: on loopback as it is, or as if it were an Ethernet.

use std::env;
use std::fmt;
use std::process::Command;

use super::here::measure_here;
use super::measured::Measured;
use super::options::Options;
use crate::outcome::Outcome;

/// The largest packet of a network.
#[derive(Clone, Copy)]
pub(super) struct Mtu(u32);

/// What Linux gives to loopback.
pub(super) const LOOPBACK: Mtu = Mtu(65_536);
pub(super) const ETHERNET: Mtu = Mtu(1_500);

impl fmt::Display for Mtu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "loopback with packets of {} bytes", self.0)
    }
}

/// Measures on loopback with this MTU: another one in a network of its own, which takes root.
pub(super) fn run(mtu: Mtu, options: &Options) -> Outcome<Vec<Measured>> {
    if mtu.0 == LOOPBACK.0 {
        return measure_here(options);
    }
    let mut command = Command::new("unshare");
    let script = format!("ip link set lo mtu {} up && exec \"$@\"", mtu.0);
    command
        .args(["--net", "sh", "-c", &script, "sh"])
        .arg(env::current_exe()?)
        .args(["catch-up", "--here"]);
    command.args(["--rounds", &options.rounds.to_string()]);
    command.args(options.quick.then_some("--quick"));
    command.args(options.carafe.iter().flat_map(|path| ["--carafe".as_ref(), path.as_os_str()]));
    let output = command.output().map_err(|error| format!("unshare: {error}"))?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        return Err(
            format!("a network of its own takes root, unshare and ip: {}", words.trim()).into()
        );
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}
