//! A TCP proxy that does to connections what networks do: slows them, cuts them, lets them hang.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
        mpsc,
    },
    thread,
    time::Duration,
};

/// What happens to bytes on their way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    /// They go through.
    Calm,
    /// One at a time, and none for a while.
    Slow,
    /// After so many the connection is cut.
    Cut(usize),
    /// After so many nothing comes any more, and nobody is told.
    Hang(usize),
}

/// Between two bytes of a slow connection.
const PAUSE: Duration = Duration::from_millis(1);

/// The proxy. Its threads end with the connections of the test.
pub(crate) struct Chaos {
    pub(crate) address: SocketAddr,
    mood: Arc<Mutex<Mood>>,
    connections: Arc<AtomicUsize>,
}

impl Chaos {
    /// Listens at a free port of this address, which its upstream's certificate is for.
    pub(crate) fn before(upstream: SocketAddr, at: Ipv4Addr) -> Self {
        let listener = TcpListener::bind((at, 0)).expect("a free port");
        let address = listener.local_addr().expect("an address");
        let mood = Arc::new(Mutex::new(Mood::Calm));
        let now = Arc::clone(&mood);
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                counted.fetch_add(1, Relaxed);
                let mood = *now.lock().unwrap_or_else(PoisonError::into_inner);
                let Ok(server) = TcpStream::connect(upstream) else {
                    continue;
                };
                let both = (client.try_clone(), server.try_clone());
                let (Ok(client_too), Ok(server_too)) = both else {
                    continue;
                };
                thread::spawn(move || carry(client, server, Mood::Calm));
                thread::spawn(move || carry(server_too, client_too, mood));
            }
        });
        Self {
            address,
            mood,
            connections,
        }
    }

    /// Connections that were made to it so far.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Relaxed)
    }

    /// For connections from here on.
    pub(crate) fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap_or_else(PoisonError::into_inner) = mood;
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, mood: Mood) {
    let mut buffer = [0; 4096];
    let mut left = match mood {
        Mood::Calm | Mood::Slow => usize::MAX,
        Mood::Cut(bytes) | Mood::Hang(bytes) => bytes,
    };
    // Nobody sends: a pause with a bound.
    let (_sender, nothing) = mpsc::channel::<()>();
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        let bytes = &buffer[..read.min(left)];
        left -= bytes.len();
        let pieces = if mood == Mood::Slow {
            1
        } else {
            bytes.len().max(1)
        };
        for piece in bytes.chunks(pieces) {
            if to.write_all(piece).is_err() {
                return;
            }
            if mood == Mood::Slow {
                let _ = nothing.recv_timeout(PAUSE);
            }
        }
        if left == 0 {
            match mood {
                Mood::Hang(_) => {
                    // Read on, so that the sender notices nothing either.
                    while let Ok(1..) = from.read(&mut buffer) {}
                }
                Mood::Calm | Mood::Slow | Mood::Cut(_) => {}
            }
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
