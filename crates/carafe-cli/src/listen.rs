//! Opens listening sockets.

use std::fs;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use carafe_http::Listeners;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::net::{TcpListener, UnixListener};

use crate::cli::{HubOptions, ListenAddress};
use crate::failure::Failure;
use crate::passed_sockets::PassedSockets;

/// The queue of connections to accept, up to the limit of the system. After a restart all clients
/// reconnect at once, and a full queue resets connections.
const BACKLOG: i32 = 65_535;

/// The listening sockets of a hub.
pub(crate) struct Sockets {
    pub(crate) listeners: Listeners,
    pub(crate) places: Places,
}

/// Where the sockets of a hub are. Dropping it removes the files of its Unix sockets.
pub(crate) struct Places {
    /// Where each socket can be reached: `127.0.0.1:3000` or `unix:/run/carafe.sock`.
    pub(crate) addresses: Vec<String>,
    _files: Vec<SocketFile>,
}

/// What is opened for one address.
enum Opened {
    Tcp(TcpListener),
    Unix(UnixListener, Option<SocketFile>),
}

/// Opens all sockets of `--listen`. Without the option, those that the service manager passes, or
/// else port 3000 on loopback.
pub(crate) fn open(options: &HubOptions, passed: &mut PassedSockets) -> Result<Sockets, Failure> {
    let addresses = match &options.listen[..] {
        [] if passed.is_empty() => &[ListenAddress::Tcp { host: "127.0.0.1".into(), port: 3000 }],
        [] => &[ListenAddress::Passed(None)][..],
        listed => listed,
    };
    let mut all = Vec::new();
    for address in addresses {
        all.append(&mut open_one(address, addresses, options.unix_mode, passed)?);
    }
    sockets(all)
}

/// Opens the socket of the metrics.
pub(crate) fn open_for_metrics(
    address: &ListenAddress,
    unix_mode: u32,
    passed: &mut PassedSockets,
) -> Result<Sockets, Failure> {
    sockets(open_one(address, &[], unix_mode, passed)?)
}

fn sockets(all: Vec<Opened>) -> Result<Sockets, Failure> {
    let addresses = all.iter().map(address_of).collect::<io::Result<_>>();
    let addresses = addresses.map_err(Failure::failed)?;
    let (mut listeners, mut files) = (Vec::new(), Vec::new());
    for opened in all {
        match opened {
            Opened::Tcp(listener) => listeners.push(Listeners::from(listener)),
            Opened::Unix(listener, file) => {
                listeners.push(listener.into());
                files.extend(file);
            }
        }
    }
    let places = Places { addresses, _files: files };
    Ok(Sockets { listeners: listeners.into_iter().collect(), places })
}

fn address_of(opened: &Opened) -> io::Result<String> {
    match opened {
        Opened::Tcp(listener) => Ok(listener.local_addr()?.to_string()),
        Opened::Unix(listener, _) => {
            let address = listener.local_addr()?;
            let path = address.as_pathname().map(|path| path.display().to_string());
            Ok(format!("unix:{}", path.unwrap_or_default()))
        }
    }
}

/// Opens one address; a name may stand for several sockets. Failures name the option.
fn open_one(
    address: &ListenAddress,
    all: &[ListenAddress],
    unix_mode: u32,
    passed: &mut PassedSockets,
) -> Result<Vec<Opened>, Failure> {
    let opened = match address {
        ListenAddress::Tcp { host, port } => tcp(host, *port, all),
        ListenAddress::Unix(path) => unix(path, unix_mode).map(|opened| vec![opened]),
        ListenAddress::Passed(number) => return take_passed(*number, passed),
    };
    opened.map_err(|error| match error.kind() {
        ErrorKind::AddrInUse => Failure::usage(format!(
            "{address} is in use: stop the program that listens there, or choose another with \
             --listen"
        )),
        _ => Failure::usage(format!("cannot listen on {address}: {error}")),
    })
}

/// Listens on all addresses of a host, or of the machine.
fn tcp(host: &str, port: u16, all: &[ListenAddress]) -> io::Result<Vec<Opened>> {
    if host.is_empty() {
        let v6 = bind((Ipv6Addr::UNSPECIFIED, port).into(), Some(false));
        // Some machines have no IPv6.
        let any = v6.or_else(|error| match error.kind() {
            ErrorKind::AddrInUse | ErrorKind::PermissionDenied => Err(error),
            _ => bind((Ipv4Addr::UNSPECIFIED, port).into(), None),
        })?;
        return Ok(vec![Opened::Tcp(any)]);
    }
    let mut addresses: Vec<_> = (host, port).to_socket_addrs()?.collect();
    addresses.dedup();
    // Each socket would get another port.
    addresses.truncate(if port == 0 { 1 } else { usize::MAX });
    let mut opened = Vec::new();
    let mut missing = None;
    for address in addresses {
        match bind(address, v6_only(address, all)) {
            Ok(listener) => opened.push(Opened::Tcp(listener)),
            // `localhost` often has an address of IPv6 on a machine without it.
            Err(error) if error.kind() == ErrorKind::AddrNotAvailable => missing = Some(error),
            Err(error) => return Err(error),
        }
    }
    match missing {
        Some(error) if opened.is_empty() => Err(error),
        _ => Ok(opened),
    }
}

/// `[::]` takes the port of IPv4, too, by default of the system, unless that is listed itself.
fn v6_only(address: SocketAddr, all: &[ListenAddress]) -> Option<bool> {
    let v4 = ListenAddress::Tcp { host: Ipv4Addr::UNSPECIFIED.to_string(), port: address.port() };
    let is_any = address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    (is_any && all.contains(&v4)).then_some(true)
}

fn bind(address: SocketAddr, v6_only: Option<bool>) -> io::Result<TcpListener> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    // Allows a restart while connections of the previous process are in TIME_WAIT.
    socket.set_reuse_address(true)?;
    if let Some(only) = v6_only {
        socket.set_only_v6(only)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Listens on a file, which is replaced if no program listens on it.
fn unix(path: &Path, mode: u32) -> io::Result<Opened> {
    remove_stale(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::unix(path)?)?;
    // Before `listen`, so that nobody connects with other permissions.
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    let file = SocketFile { path: path.into(), inode: fs::symlink_metadata(path)?.ino() };
    socket.listen(BACKLOG)?;
    Ok(Opened::Unix(UnixListener::from_std(socket.into())?, Some(file)))
}

/// Removes a socket that a killed hub has left.
fn remove_stale(path: &Path) -> io::Result<()> {
    let Ok(metadata) = fs::symlink_metadata(path) else { return Ok(()) };
    if !metadata.file_type().is_socket() {
        return Err(io::Error::other("the file exists, and is no socket: remove it"));
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path),
        // A program listens, or only some users may find out.
        _ => Err(ErrorKind::AddrInUse.into()),
    }
}

/// The file of a Unix socket. Dropping it removes the file, unless another program has replaced it.
pub(crate) struct SocketFile {
    path: PathBuf,
    inode: u64,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let is_same = |metadata: fs::Metadata| metadata.ino() == self.inode;
        if fs::symlink_metadata(&self.path).is_ok_and(is_same)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::debug!(%error, "cannot remove {}", self.path.display());
        }
    }
}

/// Takes sockets that the service manager has opened.
fn take_passed(number: Option<u32>, passed: &mut PassedSockets) -> Result<Vec<Opened>, Failure> {
    let descriptors = match number {
        Some(number) => vec![number],
        None => passed.descriptors().collect(),
    };
    if descriptors.is_empty() {
        return Err(Failure::usage(
            "fd:// needs sockets from the service manager, and it passes none: start the program \
             by a socket unit, or set LISTEN_FDS",
        ));
    }
    descriptors.into_iter().map(|descriptor| take(descriptor, passed)).collect()
}

fn take(descriptor: u32, passed: &mut PassedSockets) -> Result<Opened, Failure> {
    let fails = |reason: &dyn std::fmt::Display| {
        Failure::usage(format!("cannot listen on fd://{descriptor}: {reason}"))
    };
    if let Some(listener) = passed.take_tcp(descriptor) {
        let listener =
            is_listening(&listener).then_some(listener).ok_or_else(|| fails(&NOT_LISTENING))?;
        listener.set_nonblocking(true).map_err(|error| fails(&error))?;
        return TcpListener::from_std(listener).map(Opened::Tcp).map_err(|error| fails(&error));
    }
    let listener = passed.take_unix(descriptor).ok_or_else(|| fails(&NOT_PASSED))?;
    let listener =
        is_listening(&listener).then_some(listener).ok_or_else(|| fails(&NOT_LISTENING))?;
    listener.set_nonblocking(true).map_err(|error| fails(&error))?;
    let listener = UnixListener::from_std(listener).map_err(|error| fails(&error))?;
    // The file belongs to the service manager.
    Ok(Opened::Unix(listener, None))
}

#[cfg(not(target_vendor = "apple"))]
fn is_listening(socket: &impl AsFd) -> bool {
    rustix::net::sockopt::socket_acceptconn(socket).is_ok_and(|listens| listens)
}

/// The system does not tell. `accept` fails on a socket that does not listen.
#[cfg(target_vendor = "apple")]
fn is_listening(_: &impl AsFd) -> bool {
    true
}

const NOT_PASSED: &str = "the service manager passes no such stream socket (LISTEN_FDS), or it is \
    listed twice";
const NOT_LISTENING: &str = "the socket does not listen: set Accept=no in the socket unit";
