//! A proxy that cuts connections at random bytes.

use std::io::{Read, Write};
use std::mem;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::process::seed;

/// Forwards each connection to its target, and cuts off the first ones, each after a random number
/// of bytes.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
}

/// Where in an answer a connection is cut.
#[derive(Clone, Copy)]
pub(crate) enum Cut {
    Anywhere,
    /// Not within the head: browsers take a head that broke off for a whole one, find no content
    /// type in it, and give up for ever.
    InBody,
}

struct Shared {
    /// `None` while clients are held off.
    target: Option<SocketAddr>,
    cut: Cut,
    random: StdRng,
    cuts_left: usize,
    cuts: usize,
    open: Vec<TcpStream>,
}

impl Proxy {
    /// Cuts `cuts` connections and lets the others live.
    pub(crate) fn start(target: SocketAddr, cuts: usize, cut: Cut) -> Self {
        let random = StdRng::seed_from_u64(seed());
        let shared = Shared {
            target: Some(target),
            cut,
            random,
            cuts_left: cuts,
            cuts: 0,
            open: Vec::new(),
        };
        let shared = Arc::new(Mutex::new(shared));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                forward(client, &accepting);
            }
        });
        Self { address, shared }
    }

    /// Sends new connections elsewhere.
    pub(crate) fn retarget(&self, target: SocketAddr) {
        self.shared.lock().unwrap().target = Some(target);
    }

    /// Cuts all open connections, and accepts none until there is another target.
    pub(crate) fn hold(&self) {
        self.shared.lock().unwrap().target = None;
        self.cut();
    }

    /// Cuts whatever is open now.
    pub(crate) fn cut(&self) {
        let open = mem::take(&mut self.shared.lock().unwrap().open);
        open.iter().for_each(close);
    }

    /// How many connections were cut by their number of bytes.
    pub(crate) fn cuts(&self) -> usize {
        self.shared.lock().unwrap().cuts
    }
}

fn forward(client: TcpStream, shared: &Arc<Mutex<Shared>>) {
    let mut state = shared.lock().unwrap();
    let Some(Ok(server)) = state.target.map(TcpStream::connect) else {
        return close(&client);
    };
    // The head of an answer takes some 170 bytes: one in ten is cut within it.
    let bytes = if state.cuts_left > 0 { state.random.random_range(1..1500) } else { usize::MAX };
    state.cuts_left = state.cuts_left.saturating_sub(1);
    let cut = state.cut;
    state.open.extend([client.try_clone().unwrap(), server.try_clone().unwrap()]);
    drop(state);
    let (from_client, to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    thread::spawn(move || copy(from_client, to_server, usize::MAX, Cut::Anywhere));
    let shared = Arc::clone(shared);
    thread::spawn(move || {
        if copy(server, client, bytes, cut) {
            shared.lock().unwrap().cuts += 1;
        }
    });
}

/// Copies up to `left` bytes, and closes both ends; `true` if that was why it stopped.
fn copy(mut from: TcpStream, mut to: TcpStream, mut left: usize, mut cut: Cut) -> bool {
    let mut buffer = [0; 4096];
    while let Ok(read) = from.read(&mut buffer)
        && read > 0
        && left > 0
    {
        if let Cut::InBody = mem::replace(&mut cut, Cut::Anywhere) {
            let head =
                buffer[..read].windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
            left = left.saturating_add(head);
        }
        let count = read.min(left);
        left -= count;
        if to.write_all(&buffer[..count]).is_err() || left == 0 {
            break;
        }
    }
    close(&from);
    close(&to);
    left == 0
}

fn close(socket: &TcpStream) {
    let _ = socket.shutdown(Shutdown::Both);
}
