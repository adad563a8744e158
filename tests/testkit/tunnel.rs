//! An HTTP proxy that knows one way: whatever name a client asks for, it reaches one address. kubectl with
//! `HTTPS_PROXY` then finds host names that no resolver on this machine knows.

use std::{
    io::{self, BufRead as _, BufReader, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    thread,
};

/// Starts the proxy; returns its URL. It ends with the test's process.
pub(crate) fn start(to: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("its address");
    let to = to.to_owned();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let to = to.clone();
            // A client that breaks off has seen why.
            thread::spawn(move || drop(carry(&client, &to)));
        }
    });
    format!("http://{address}")
}

fn carry(client: &TcpStream, to: &str) -> io::Result<()> {
    let mut lines = BufReader::new(client.try_clone()?);
    let mut line = String::new();
    lines.read_line(&mut line)?;
    assert!(line.starts_with("CONNECT "), "{line}");
    while line != "\r\n" {
        line.clear();
        lines.read_line(&mut line)?;
    }
    let server = TcpStream::connect(to)?;
    (&*client).write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    let (mut down_from, mut down_to) = (server.try_clone()?, client.try_clone()?);
    let down = thread::spawn(move || {
        let done = io::copy(&mut down_from, &mut down_to);
        let _ = down_to.shutdown(Shutdown::Write);
        done
    });
    // The reader may hold the beginning of the TLS handshake already.
    io::copy(&mut lines, &mut &server)?;
    server.shutdown(Shutdown::Write)?;
    drop(down.join());
    Ok(())
}
