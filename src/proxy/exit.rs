//! How a remote command ended, read in passing from what the cluster sends.
//!
//! exec and attach over a WebSocket (`v4.channel.k8s.io`, `v5.channel.k8s.io`) put a channel's number in
//! front of each message; channel 3 carries one `Status` at the end, with the exit code in it
//! (`k8s.io/apimachinery/pkg/util/remotecommand`). Frames are skipped by their length, so a chunk costs a
//! few nanoseconds whatever its size; only channel 3 is kept, up to a bound. The bytes themselves go on
//! untouched, and before anybody looks at them here.
//!
//! What is not read: SPDY, where the channel's meaning is in a compressed header, and older subprotocols.
//! Their exit is [`Exit::Unknown`], and so is every stream that is not as expected: nothing is guessed. The
//! text of a status is not kept: it can quote the command.

use http::{HeaderMap, header};
use serde::Deserialize;

/// Channel of the status.
const STATUS: u8 = 3;
/// Bytes of a status: real ones have 300; one that quotes a long command may be cut, and is unknown.
const LONGEST: usize = 16 << 10;
/// Longest head of an unmasked frame (RFC 6455, section 5.2).
const HEAD: usize = 10;

/// How a command ended, as the cluster told it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// With this code.
    Code(i32),
    /// It could not be run, or its end could not be told by the node.
    Failed,
    /// Nothing was told that is understood here.
    Unknown,
}

/// Reads along.
#[derive(Debug)]
pub(super) enum Peek {
    /// No command: nothing is looked for.
    Nothing,
    /// A command, in a protocol that is not understood here, or no longer.
    Blind,
    /// A command over a WebSocket.
    Frames(Frames),
}

/// Where in the stream of frames the next byte stands.
#[derive(Debug, Default)]
pub(super) struct Frames {
    head: [u8; HEAD],
    /// Bytes of `head` that are there; the frame's payload follows when all are.
    have: usize,
    /// Bytes of the payload that are still to come.
    left: u64,
    /// Channel of the message that is under way.
    channel: Option<u8>,
    status: Vec<u8>,
}

/// The stream is not what it should be.
struct Odd;

impl Peek {
    /// For a command whose 101 has these headers.
    pub(super) fn at_command(answer: &HeaderMap) -> Self {
        let text = |name| answer.get(name).and_then(|value| value.to_str().ok());
        let websocket = text(header::UPGRADE).is_some_and(|v| v.eq_ignore_ascii_case("websocket"));
        let protocol = text(header::SEC_WEBSOCKET_PROTOCOL);
        let known = matches!(protocol, Some("v4.channel.k8s.io" | "v5.channel.k8s.io"));
        // An extension may change what the payload is.
        if websocket && known && !answer.contains_key(header::SEC_WEBSOCKET_EXTENSIONS) {
            Self::Frames(Frames::default())
        } else {
            Self::Blind
        }
    }

    /// Looks at the next bytes.
    pub(super) fn see(&mut self, bytes: &[u8]) {
        if let Self::Frames(frames) = self
            && frames.see(bytes).is_err()
        {
            *self = Self::Blind;
        }
    }

    /// What was told by the end; none if it was no command.
    pub(super) fn exit(&self) -> Option<Exit> {
        match self {
            Self::Nothing => None,
            Self::Blind => Some(Exit::Unknown),
            Self::Frames(frames) => Some(read(&frames.status)),
        }
    }
}

impl Frames {
    fn see(&mut self, mut bytes: &[u8]) -> Result<(), Odd> {
        while let Some((&first, rest)) = bytes.split_first() {
            if self.left == 0 {
                bytes = rest;
                self.see_head(first)?;
            } else {
                let count = usize::try_from(self.left)
                    .unwrap_or(usize::MAX)
                    .min(bytes.len());
                let (payload, rest) = bytes.split_at_checked(count).ok_or(Odd)?;
                bytes = rest;
                self.left -= count as u64;
                self.see_payload(payload)?;
                if self.left == 0 {
                    self.end_frame();
                }
            }
        }
        Ok(())
    }

    fn see_head(&mut self, byte: u8) -> Result<(), Odd> {
        *self.head.get_mut(self.have).ok_or(Odd)? = byte;
        self.have += 1;
        let [kind, length, long @ ..] = self.head;
        let short = length & 0x7f;
        let (needed, length) = match (self.have, short) {
            (1, _) => return Ok(()),
            (_, 126) => (4, u64::from(u16::from_be_bytes([long[0], long[1]]))),
            (_, 127) => (10, u64::from_be_bytes(long)),
            (_, short) => (2, u64::from(short)),
        };
        if self.have < needed {
            return Ok(());
        }
        // Reserved bits, or a mask, which no server sends.
        if kind & 0x70 != 0 || self.head[1] & 0x80 != 0 {
            return Err(Odd);
        }
        // 2: binary, 0: goes on; 8 to 10: about the connection, also between the frames of a message.
        if !matches!(kind & 0x0f, 0 | 2 | 8..=10) {
            return Err(Odd);
        }
        self.left = length;
        if length == 0 {
            self.end_frame();
        }
        Ok(())
    }

    fn is_control(&self) -> bool {
        self.head[0] & 0x08 != 0
    }

    fn see_payload(&mut self, payload: &[u8]) -> Result<(), Odd> {
        if self.is_control() {
            return Ok(());
        }
        let (channel, text) = match (self.channel, payload) {
            (Some(channel), text) => (channel, text),
            (None, [channel, text @ ..]) => (*channel, text),
            (None, []) => return Ok(()),
        };
        self.channel = Some(channel);
        if channel != STATUS {
            return Ok(());
        }
        if self.status.len() + text.len() > LONGEST {
            return Err(Odd);
        }
        self.status.extend_from_slice(text);
        Ok(())
    }

    fn end_frame(&mut self) {
        let last_of_message = self.head[0] & 0x80 != 0;
        if last_of_message && !self.is_control() {
            self.channel = None;
        }
        self.have = 0;
    }
}

/// `meta/v1` Status, as far as it is read.
#[derive(Deserialize)]
struct Told {
    status: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    details: Details,
}

#[derive(Default, Deserialize)]
struct Details {
    #[serde(default)]
    causes: Vec<Cause>,
}

#[derive(Deserialize)]
struct Cause {
    #[serde(default)]
    reason: String,
    #[serde(default)]
    message: String,
}

fn read(status: &[u8]) -> Exit {
    let Ok(told) = serde_json::from_slice::<Told>(status) else {
        return Exit::Unknown;
    };
    match (&*told.status, &*told.reason) {
        ("Success", _) => Exit::Code(0),
        ("Failure", "NonZeroExitCode") => {
            let mut causes = told.details.causes.iter();
            let code = causes.find(|cause| cause.reason == "ExitCode");
            let code = code.and_then(|cause| cause.message.parse().ok());
            code.map_or(Exit::Failed, Exit::Code)
        }
        ("Failure", _) => Exit::Failed,
        _ => Exit::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    const SEVEN: &str = r#"{"metadata":{},"status":"Failure","message":"command terminated with non-zero exit code: command terminated with exit code 7","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"7"}]}}"#;

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![kind];
        match payload.len() {
            short @ 0..126 => bytes.push(u8::try_from(short).unwrap()),
            middle @ 126..65536 => {
                bytes.push(126);
                bytes.extend(u16::try_from(middle).unwrap().to_be_bytes());
            }
            long => {
                bytes.push(127);
                bytes.extend((long as u64).to_be_bytes());
            }
        }
        bytes.extend(payload);
        bytes
    }

    fn message(channel: u8, text: &str) -> Vec<u8> {
        frame(0x82, &[&[channel], text.as_bytes()].concat())
    }

    fn exit_of(stream: &[u8], chunk: usize) -> Exit {
        let mut peek = Peek::Frames(Frames::default());
        for bytes in stream.chunks(chunk) {
            peek.see(bytes);
        }
        peek.exit().unwrap()
    }

    /// As a node sends it: ready, output, a ping in between, the status, close.
    fn exec(status: &str) -> Vec<u8> {
        [
            message(1, ""),
            message(1, "hello"),
            frame(0x89, b"\x03ping"),
            message(1, &"x".repeat(300)),
            message(2, &"y".repeat(70_000)),
            message(STATUS, ""),
            message(STATUS, status),
            frame(0x88, b"\x03\xe8"),
        ]
        .concat()
    }

    #[test]
    fn the_code_is_read_however_the_stream_is_cut() {
        for (status, exit) in [
            (r#"{"metadata":{},"status":"Success"}"#, Exit::Code(0)),
            (SEVEN, Exit::Code(7)),
            (
                r#"{"status":"Failure","reason":"InternalError","message":"no such file: \"secret\""}"#,
                Exit::Failed,
            ),
            (
                r#"{"status":"Failure","reason":"NonZeroExitCode"}"#,
                Exit::Failed,
            ),
            ("", Exit::Unknown),
            ("no JSON", Exit::Unknown),
            (r#"{"status":"Else"}"#, Exit::Unknown),
        ] {
            for chunk in [1, 2, 7, 4096, 1 << 20] {
                assert_eq!(exit_of(&exec(status), chunk), exit, "{status} by {chunk}");
            }
        }
    }

    #[test]
    fn a_status_in_several_frames_and_messages_is_one() {
        let (front, back) = SEVEN.split_at(40);
        let (middle, back) = back.split_at(40);
        let stream = [
            frame(0x02, &[&[STATUS], front.as_bytes()].concat()),
            frame(0x8a, b""),
            frame(0x80, middle.as_bytes()),
            message(STATUS, back),
        ]
        .concat();
        assert_eq!(exit_of(&stream, 3), Exit::Code(7));
    }

    #[test]
    fn output_cannot_pass_for_a_status() {
        let forged = message(1, r#"{"status":"Success"}"#);
        let inner = message(1, &String::from_utf8_lossy(&forged));
        for stream in [&forged, &inner] {
            assert_eq!(exit_of(stream, 5), Exit::Unknown);
            let whole = [stream, &*message(STATUS, SEVEN)].concat();
            assert_eq!(exit_of(&whole, 5), Exit::Code(7));
        }
    }

    #[test]
    fn what_is_odd_or_endless_is_unknown() {
        let masked = [0x82, 0x81, 1, 2, 3, 4, 3];
        let text = frame(0x81, b"3");
        let reserved = frame(0xc2, b"\x03");
        let long = message(STATUS, &" ".repeat(LONGEST + 1));
        for odd in [&masked[..], &text, &reserved, &long] {
            let stream = [odd, &*message(STATUS, SEVEN)].concat();
            assert_eq!(exit_of(&stream, 64), Exit::Unknown, "{:?}", &odd[..2]);
        }
    }

    #[test]
    fn only_protocols_that_are_understood_are_read() {
        let answer = |upgrade: &'static str, protocol: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::UPGRADE, HeaderValue::from_static(upgrade));
            headers.insert(
                header::SEC_WEBSOCKET_PROTOCOL,
                HeaderValue::from_static(protocol),
            );
            headers
        };
        let reads = |headers| matches!(Peek::at_command(&headers), Peek::Frames(_));
        assert!(reads(answer("WebSocket", "v5.channel.k8s.io")));
        assert!(reads(answer("websocket", "v4.channel.k8s.io")));
        assert!(!reads(answer("websocket", "channel.k8s.io")));
        assert!(!reads(answer("websocket", "base64.channel.k8s.io")));
        assert!(!reads(answer("websocket", "SPDY/3.1+portforward.k8s.io")));
        assert!(!reads(answer("SPDY/3.1", "v4.channel.k8s.io")));
        let mut extended = answer("websocket", "v5.channel.k8s.io");
        extended.insert(
            header::SEC_WEBSOCKET_EXTENSIONS,
            HeaderValue::from_static("permessage-deflate"),
        );
        assert!(!reads(extended));
        assert_eq!(Peek::Nothing.exit(), None);
        assert_eq!(Peek::Blind.exit(), Some(Exit::Unknown));
    }

    proptest! {
        // A cluster may send what it likes, and TCP cuts it where it likes.
        #[test]
        fn any_bytes_are_survived_and_read_alike(
            bytes in proptest::collection::vec(any::<u8>(), 0..2000),
            chunk in 1usize..100,
        ) {
            prop_assert_eq!(exit_of(&bytes, chunk), exit_of(&bytes, usize::MAX));
        }
    }
}
