//! Asking for TLS on a plain connection (RFC 4511, section 4.14), before the LDAP client sees it.
//!
//! What an attacker on the way would try: an answer that takes the gateway apart. The client's decoder goes into what
//! is nested as deep as it is nested, without an end: half a megabyte of that, before there is any TLS, would overflow
//! the stack and end the process. So the one answer that is read in the clear is read here: it is short, nothing in it
//! is followed into the depth, and what comes behind it is no part of what TLS says (L5 of docs/attacks.md).

use super::{
    ber::{Cut, ENUMERATED, INTEGER, OCTETS, SEQUENCE, split},
    failure::{ConnectError, StartTlsError},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// Message 1: an ExtendedRequest with the name 1.3.6.1.4.1.1466.20037.
const REQUEST: &[u8] = b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037";
/// Bytes of the answer: those of known servers are below a hundred, a diagnostic text included.
const MAX_ANSWER: usize = 4 << 10;

const EXTENDED_RESPONSE: u8 = 0x78;
const RESPONSE_NAME: u8 = 0x8a;
const RESPONSE_VALUE: u8 = 0x8b;

/// Has the server agree that TLS comes next; the caller bounds the time.
pub(super) async fn agree(stream: &mut TcpStream) -> Result<(), ConnectError> {
    stream.write_all(REQUEST).await?;
    let mut answer = [0; MAX_ANSWER];
    let mut filled = 0;
    loop {
        let free = answer.get_mut(filled..).unwrap_or_default();
        let read = stream.read(free).await?;
        filled += read;
        let so_far = answer.get(..filled).unwrap_or_default();
        match split(so_far, SEQUENCE) {
            Ok((message, [])) => return Ok(agreed(message)?),
            Ok(_) => return Err(StartTlsError::Behind.into()),
            Err(Cut::Odd) => return Err(StartTlsError::Malformed.into()),
            Err(Cut::Short { needs }) if needs > MAX_ANSWER => {
                return Err(StartTlsError::TooLong(MAX_ANSWER).into());
            }
            Err(Cut::Short { .. }) if read == 0 => return Err(StartTlsError::Malformed.into()),
            Err(Cut::Short { .. }) => {}
        }
    }
}

/// Whether this message says yes.
fn agreed(message: &[u8]) -> Result<(), StartTlsError> {
    let odd = |_| StartTlsError::Malformed;
    let (id, rest) = split(message, INTEGER).map_err(odd)?;
    let (response, rest) = split(rest, EXTENDED_RESPONSE).map_err(odd)?;
    // Nobody has asked for controls.
    if id != [1] || !rest.is_empty() {
        return Err(StartTlsError::Malformed);
    }
    let (code, rest) = split(response, ENUMERATED).map_err(odd)?;
    match code {
        [0] => {}
        [code] => return Err(StartTlsError::Refused(*code)),
        _ => return Err(StartTlsError::Malformed),
    }
    // The matched DN, and a text.
    let (_, rest) = split(rest, OCTETS).map_err(odd)?;
    let (_, mut rest) = split(rest, OCTETS).map_err(odd)?;
    for optional in [RESPONSE_NAME, RESPONSE_VALUE] {
        if rest.first() == Some(&optional) {
            (_, rest) = split(rest, optional).map_err(odd)?;
        }
    }
    if rest.is_empty() {
        Ok(())
    } else {
        Err(StartTlsError::Malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::{net::TcpListener, time::timeout};

    const YES: &[u8] = b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00";

    /// What becomes of an answer that comes in these pieces; then the server waits for more.
    async fn answered(pieces: &[&[u8]]) -> Result<(), ConnectError> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut ours = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (mut theirs, _) = listener.accept().await.unwrap();
        theirs.set_nodelay(true).unwrap();
        let serve = async {
            let mut asked = [0; REQUEST.len()];
            theirs.read_exact(&mut asked).await.unwrap();
            assert_eq!(asked, REQUEST);
            for piece in pieces {
                // Who has heard enough hangs up.
                let _ = theirs.write_all(piece).await;
                tokio::task::yield_now().await;
            }
            std::future::pending::<()>().await;
        };
        let limit = Duration::from_secs(10);
        tokio::select! {
            agreed = timeout(limit, agree(&mut ours)) => agreed.expect("it waits for no more"),
            () = serve => unreachable!(),
        }
    }

    fn why(answer: Result<(), ConnectError>) -> StartTlsError {
        match answer {
            Err(ConnectError::StartTls(why)) => why,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_yes_is_understood_in_each_form_that_servers_give_it() {
        answered(&[YES]).await.unwrap();
        let (first, second) = YES.split_at(1);
        answered(&[first, second]).await.unwrap();
        let mut named = b"\x30\x84\x00\x00\x00\x2c\x02\x01\x01\x78\x84\x00\x00\x00\x23".to_vec();
        named.extend(b"\x0a\x01\x00\x04\x00\x04\x00\x8a\x161.3.6.1.4.1.1466.20037\x8b\x02\x00\x00");
        answered(&[&named]).await.unwrap();
    }

    // L5
    #[tokio::test]
    async fn a_nested_or_endless_answer_is_thrown_away_unread() {
        // 500 KB of sequences, each in the one before.
        let mut nested = Vec::new();
        for _ in 0..100_000 {
            nested.extend(b"\x30\x84\x00\x7f\xff\xff");
        }
        assert_eq!(
            why(answered(&[&nested]).await),
            StartTlsError::TooLong(MAX_ANSWER)
        );
        let mut shallow = b"\x30\x82\x0f\x00".to_vec();
        shallow.extend([0x30, 0x80].repeat(0xf00 / 2));
        assert_eq!(why(answered(&[&shallow]).await), StartTlsError::Malformed);
        let endless = b"\x30\x84\xff\xff\xff\xff";
        assert_eq!(
            why(answered(&[endless]).await),
            StartTlsError::TooLong(MAX_ANSWER)
        );
    }

    // L5
    #[tokio::test]
    async fn what_is_no_plain_yes_is_no_connection() {
        let no = b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x02\x04\x00\x04\x00";
        assert_eq!(why(answered(&[no]).await), StartTlsError::Refused(2));
        let behind = [YES, b"\x16"].concat();
        assert_eq!(why(answered(&[&behind]).await), StartTlsError::Behind);
        for odd in [
            // no LDAP; a length without an end, and one of five bytes
            &b"HTTP/1.1 400 Bad Request\r\n"[..],
            b"\x30\x80\x02\x01\x01",
            b"\x30\x85\x00\x00\x00\x00\x0c",
            // another message's; a bind's; none of its parts; more than its parts
            b"\x30\x0c\x02\x01\x02\x78\x07\x0a\x01\x00\x04\x00\x04\x00",
            b"\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x00\x04\x00\x04\x00",
            b"\x30\x05\x02\x01\x01\x78\x00",
            b"\x30\x0e\x02\x01\x01\x78\x09\x0a\x01\x00\x04\x00\x04\x00\x04\x00",
            b"\x30\x0e\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00\xa0\x00",
            // a part that is longer than the whole
            b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x7f",
        ] {
            assert_eq!(
                why(answered(&[odd]).await),
                StartTlsError::Malformed,
                "{odd:?}"
            );
        }
    }
}
