//! What stands between a directory and the crate's decoder.
//!
//! The decoder goes into what is nested as deep as it is nested, and keeps what is not whole until it is, both without
//! an end: a directory, or whoever has taken one over, could overflow the stack and end the process, or fill its memory
//! (P14 of docs/attacks.md). TLS says who the other end is, and nothing of what it sends. So the decoder gets one end of
//! a pair of sockets within this process; what comes from the directory is handed on message by message, each whole, of
//! a bounded size and depth. Anything else ends the connection.

use super::ber::{Cut, SEQUENCE, head};
use std::io;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, split},
    net::{TcpStream, UnixStream},
};
use tokio_rustls::client::TlsStream;

/// Bytes of one message: an account in 5,000 groups with long names takes one and a half million.
const MAX_MESSAGE: usize = 4 << 20;
/// Values in values. A search entry has five: message, entry, attributes, one of them, its values.
const MAX_DEPTH: usize = 12;
/// Tag of the controls at the end of a message: their values are decoded too, later.
const CONTROLS: u8 = 0xa0;
/// The bit of a tag that says: values are in it.
const CONSTRUCTED: u8 = 0x20;
/// What is read at once.
const PIECE: usize = 16 << 10;

/// Carries bytes both ways until either end closes, or sends what must not be decoded.
pub(super) async fn carry(directory: Stream, ours: UnixStream) -> io::Result<()> {
    match directory {
        Stream::Tls(stream) => both(*stream, ours).await,
        Stream::Plain(stream) => both(stream, ours).await,
    }
}

/// A connection to a directory.
pub(super) enum Stream {
    Tls(Box<TlsStream<TcpStream>>),
    Plain(TcpStream),
}

async fn both<S: AsyncRead + AsyncWrite>(directory: S, ours: UnixStream) -> io::Result<()> {
    let (from_directory, mut to_directory) = split(directory);
    let (mut from_us, to_us) = ours.into_split();
    let asking = async {
        tokio::io::copy(&mut from_us, &mut to_directory).await?;
        to_directory.shutdown().await
    };
    tokio::select! {
        answered = hand_on(from_directory, to_us) => answered,
        // Who asks no more wants no answer either.
        asked = asking => asked,
    }
}

/// Whole messages, one by one.
async fn hand_on(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
) -> io::Result<()> {
    let mut got = Vec::new();
    loop {
        // All that are there at once: a search may find thousands.
        let mut ready = 0;
        let next = loop {
            match whole(got.get(ready..).unwrap_or_default()) {
                Ok(Whole::Message(length)) => ready += length,
                Ok(Whole::NotYet) => break Ok(()),
                Err(odd) => break Err(odd),
            }
        };
        to.write_all(got.get(..ready).unwrap_or_default()).await?;
        got.drain(..ready);
        next?;
        got.reserve(PIECE);
        let mut piece = (&mut from).take(PIECE as u64);
        if piece.read_buf(&mut got).await? == 0 {
            return Ok(());
        }
    }
}

enum Whole {
    /// There is one, of so many bytes, and it may be decoded.
    Message(usize),
    NotYet,
}

fn whole(got: &[u8]) -> io::Result<Whole> {
    let (head, length) = match head(got) {
        Ok(found) => found,
        Err(Cut::Short { .. }) => return Ok(Whole::NotYet),
        Err(Cut::Odd) => return Err(refused("no message of LDAP")),
    };
    if got.first() != Some(&SEQUENCE) {
        return Err(refused("no message of LDAP"));
    }
    let needs = head.saturating_add(length);
    if needs > MAX_MESSAGE {
        return Err(refused("a message that is too long"));
    }
    let Some(content) = got.get(head..needs) else {
        return Ok(Whole::NotYet);
    };
    match judge(content) {
        Ok(()) => Ok(Whole::Message(needs)),
        Err(why) => Err(refused(why)),
    }
}

fn refused(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

const DEEP: &str = "a message that is nested too deep";
const ODD: &str = "a message whose parts do not fit";

/// Whether a message may be decoded, and the values of its controls, which are decoded later if they are values at all.
fn judge(message: &[u8]) -> Result<(), &'static str> {
    walk(message, MAX_DEPTH)?;
    let mut parts = message;
    while let Some((tag, mut controls)) = next(&mut parts)? {
        while tag == CONTROLS
            && let Some((_, mut control)) = next(&mut controls)?
        {
            // What it is called; then, perhaps, that it is critical; then its value.
            next(&mut control)?;
            while let Some((_, value)) = next(&mut control)? {
                if value.first().is_some_and(|tag| tag & CONSTRUCTED != 0) {
                    walk(value, MAX_DEPTH)?;
                }
            }
        }
    }
    Ok(())
}

/// Whether all values are whole, and no deeper in each other than `left`: bounded itself by that.
fn walk(mut values: &[u8], left: usize) -> Result<(), &'static str> {
    let left = left.checked_sub(1).ok_or(DEEP)?;
    while let Some((tag, value)) = next(&mut values)? {
        if tag & CONSTRUCTED != 0 {
            walk(value, left)?;
        }
    }
    Ok(())
}

/// Takes the value at the front: its tag and its content.
fn next<'a>(values: &mut &'a [u8]) -> Result<Option<(u8, &'a [u8])>, &'static str> {
    let Some(&tag) = values.first() else {
        return Ok(None);
    };
    let (head, length) = head(values).map_err(|_| ODD)?;
    let end = head.saturating_add(length);
    let value = values.get(head..end).ok_or(ODD)?;
    *values = values.get(end..).unwrap_or_default();
    Ok(Some((tag, value)))
}

#[cfg(test)]
mod tests {
    use super::{super::ber::OCTETS, *};

    const BIND_OK: &[u8] = b"\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x00\x04\x00\x04\x00";

    /// As Active Directory writes lengths.
    fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = u32::try_from(content.len()).unwrap().to_be_bytes();
        [&[tag, 0x84][..], &length, content].concat()
    }

    fn nested(tag: u8, depth: usize) -> Vec<u8> {
        (0..depth).fold(Vec::new(), |inner, _| tlv(tag, &inner))
    }

    /// What gets through of these pieces, and how it ends.
    async fn through(pieces: &[&[u8]]) -> (Vec<u8>, io::Result<()>) {
        let (directory, mut theirs) = tokio::io::duplex(64);
        let (ours, mut decoder) = UnixStream::pair().unwrap();
        let send = async {
            for piece in pieces {
                // Who has heard enough hangs up.
                let _ = theirs.write_all(piece).await;
            }
            drop(theirs);
        };
        let mut got = Vec::new();
        let ended = both(directory, ours);
        let ((), ended, read) = tokio::join!(send, ended, decoder.read_to_end(&mut got));
        read.unwrap();
        (got, ended)
    }

    #[tokio::test]
    async fn messages_go_through_whole_however_they_come() {
        let entry = tlv(SEQUENCE, &[&[2, 1, 1][..], &nested(0x64, 5)].concat());
        let cookie = tlv(OCTETS, b"\x04\x84\xff\xff\xff\xff and more");
        let control = tlv(
            SEQUENCE,
            &[tlv(OCTETS, b"1.2.840.113556.1.4.319"), cookie].concat(),
        );
        let paged = [&BIND_OK[2..], &tlv(CONTROLS, &control)].concat();
        let all = [BIND_OK, &entry, &tlv(SEQUENCE, &paged), BIND_OK].concat();
        let bytes: Vec<&[u8]> = all.chunks(1).collect();
        for pieces in [vec![&*all], bytes] {
            let (got, ended) = through(&pieces).await;
            assert_eq!(got, all);
            ended.unwrap();
        }
        // What is cut off in the middle is not handed on.
        let (got, ended) = through(&[BIND_OK, &entry[..20]]).await;
        assert_eq!(got, BIND_OK);
        ended.unwrap();
    }

    // P14: half a megabyte of sequences, each in the one before, would overflow the decoder's stack.
    #[tokio::test]
    async fn what_is_nested_too_deep_is_not_decoded() {
        let mut endless = Vec::new();
        for _ in 0..100_000 {
            endless.extend(b"\x30\x84\x00\x07\x00\x00");
        }
        let deep = nested(SEQUENCE, 20_000);
        // Where the decoder looks only later: the value of a control.
        let control = tlv(
            SEQUENCE,
            &[tlv(OCTETS, b"1.2"), tlv(OCTETS, &deep)].concat(),
        );
        let hidden = tlv(
            SEQUENCE,
            &[&BIND_OK[2..], &tlv(CONTROLS, &control)].concat(),
        );
        for odd in [
            &tlv(SEQUENCE, &deep),
            &tlv(SEQUENCE, &nested(SEQUENCE, MAX_DEPTH + 1)),
            &hidden,
        ] {
            let (got, ended) = through(&[BIND_OK, odd]).await;
            assert_eq!(got, BIND_OK);
            assert!(ended.unwrap_err().to_string().contains("too deep"));
        }
        // It says that it is half a megabyte long, and so does all that is in it.
        let (got, ended) = through(&[BIND_OK, &endless]).await;
        assert_eq!(got, BIND_OK);
        ended.unwrap_err();
    }

    // P14
    #[tokio::test]
    async fn what_is_too_long_or_no_message_ends_the_connection() {
        for (odd, why) in [
            (&b"\x30\x84\x00\x40\x00\x00"[..], "too long"),
            (b"\x30\x84\xff\xff\xff\xff", "too long"),
            (b"HTTP/1.1 400 Bad Request\r\n", "no message"),
            (b"\x30\x80\x02\x01\x01", "no message"),
            (b"\x30\x05\x02\x01\x01\x61\x7f", "do not fit"),
            (b"\x30\x05\x02\x80\x01\x01\x00", "do not fit"),
        ] {
            let (got, ended) = through(&[BIND_OK, odd]).await;
            assert_eq!(got, BIND_OK, "{odd:?}");
            let ended = ended.unwrap_err().to_string();
            assert!(ended.contains(why), "{odd:?}: {ended}");
        }
    }
}
