//! Machines on networks of their own, whose cables can be pulled. They are namespaces of the
//! kernel: no address of the machine that runs the tests is used, and none of its settings change.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;
use std::panic::resume_unwind;
use std::process::Command;
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::clients::skip;

/// A network between machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lan {
    /// From nodes to the engine.
    Engine = 1,
    /// From clients to nodes.
    Clients = 2,
    /// Between the servers of the engine.
    Routes = 3,
}

impl Lan {
    const ALL: [Self; 3] = [Self::Engine, Self::Clients, Self::Routes];

    fn bridge(self) -> String {
        format!("lan{}", self as u8)
    }

    /// The end of a machine's cable that is not in the machine.
    fn plug(self, host: u8) -> String {
        format!("plug{}-{host}", self as u8)
    }

    /// The address of a machine.
    pub(crate) fn address(self, host: u8, port: u16) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 77, self as u8, host)), port)
    }
}

/// The machine of the test, with the switches of all networks.
const CENTER: u8 = 1;

/// The networks. They are removed with all machines when this is dropped: drop what runs in them
/// first.
pub(crate) struct Network {
    /// Begins the names of the namespaces.
    name: String,
    hosts: Vec<u8>,
}

impl Network {
    /// `None` if namespaces cannot be made: then prints that `test` is skipped.
    pub(crate) fn new(test: &str) -> Option<Self> {
        let name = format!("carafe-{}-{:x}", std::process::id(), rand::random::<u16>());
        let mut network = Self { name, hosts: Vec::new() };
        if let Err(reason) = try_ip(&["netns", "add", &network.namespace(CENTER)]) {
            skip(test, &format!("network namespaces cannot be made: {reason}"));
            return None;
        }
        network.hosts.push(CENTER);
        network.center(&["link", "set", "lo", "up"]);
        for lan in Lan::ALL {
            let bridge = lan.bridge();
            network.center(&["link", "add", &bridge, "type", "bridge"]);
            network.add_address(CENTER, &bridge, lan);
        }
        Some(network)
    }

    /// Adds a machine with a cable to each of these networks.
    pub(crate) fn add(&mut self, host: u8, lans: &[Lan]) {
        let namespace = self.namespace(host);
        ip(&["netns", "add", &namespace]);
        self.hosts.push(host);
        self.on(host, &["link", "set", "lo", "up"]);
        for lan in lans {
            let (plug, socket) = (lan.plug(host), lan.bridge());
            let cable = ["link", "add", &plug, "type", "veth", "peer", "name", &socket];
            self.center(&[&cable[..], &["netns", &namespace]].concat());
            self.center(&["link", "set", &plug, "master", &lan.bridge()]);
            self.plug(*lan, host);
            self.add_address(host, &socket, *lan);
        }
    }

    fn add_address(&self, host: u8, device: &str, lan: Lan) {
        let address = format!("{}/24", lan.address(host, 0).ip());
        self.on(host, &["address", "add", &address, "dev", device]);
        self.on(host, &["link", "set", device, "up"]);
    }

    /// Pulls the cable of a machine: packets are lost, and nobody is told.
    pub(crate) fn pull(&self, lan: Lan, host: u8) {
        self.center(&["link", "set", &lan.plug(host), "down"]);
    }

    pub(crate) fn plug(&self, lan: Lan, host: u8) {
        self.center(&["link", "set", &lan.plug(host), "up"]);
    }

    /// Runs a program on a machine.
    pub(crate) fn runner(&self, host: u8) -> Vec<String> {
        ["ip", "netns", "exec", &self.namespace(host)].map(String::from).to_vec()
    }

    /// Calls a function on the machine of the test, where all that it starts is, too.
    pub(crate) fn inside<T: Send>(&self, run: impl FnOnce() -> T + Send) -> T {
        let namespace = File::open(format!("/run/netns/{}", self.namespace(CENTER))).unwrap();
        let there = || {
            // Only of this thread, and of threads and processes that it starts.
            let network = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(namespace.as_fd(), network).unwrap();
            run()
        };
        let ended = thread::scope(|scope| scope.spawn(there).join());
        ended.unwrap_or_else(|panic| resume_unwind(panic))
    }

    fn namespace(&self, host: u8) -> String {
        format!("{}-{host}", self.name)
    }

    #[track_caller]
    fn center(&self, arguments: &[&str]) {
        self.on(CENTER, arguments);
    }

    #[track_caller]
    fn on(&self, host: u8, arguments: &[&str]) {
        ip(&[&["-netns", &self.namespace(host)], arguments].concat());
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for host in &self.hosts {
            let _ = try_ip(&["netns", "delete", &self.namespace(*host)]);
        }
    }
}

#[track_caller]
fn ip(arguments: &[&str]) {
    try_ip(arguments).unwrap_or_else(|reason| panic!("ip {}: {reason}", arguments.join(" ")));
}

fn try_ip(arguments: &[&str]) -> Result<(), String> {
    let output = Command::new("ip").args(arguments).output().map_err(|error| error.to_string())?;
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
    }
}
