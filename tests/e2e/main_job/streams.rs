//! Streams, with every kubectl: the older ones speak SPDY, the newer ones WebSocket.

use super::world::{MEMBER, OPERATOR, World, with_each};
use crate::testkit::{
    cluster::kubectls,
    process::{Running, eventually, run, run_with},
};
use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    process::Command,
};

/// More than any buffer on the way holds.
const LARGE: usize = 3 * 1024 * 1024;

/// Bytes that no compression makes small and that no text mode survives.
fn noise(seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        // xorshift64: all that is asked of it is variety.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..LARGE / 8).flat_map(|_| next()).collect()
}

fn seed(version: &str) -> u64 {
    version
        .bytes()
        .fold(7, |seed, byte| seed * 31 + u64::from(byte))
}

/// The ways in which this kubectl can speak: by itself, and by force the other one.
pub(super) fn ways(version: &str) -> Vec<Option<(&'static str, &'static str)>> {
    const REMOTE_COMMAND: &str = "KUBECTL_REMOTE_COMMAND_WEBSOCKETS";
    match version {
        "1.27" | "1.28" => vec![None],
        "1.29" => vec![None, Some((REMOTE_COMMAND, "true"))],
        _ => vec![None, Some((REMOTE_COMMAND, "false"))],
    }
}

pub(super) fn set(command: &mut Command, way: Option<(&str, &str)>) {
    if let Some((name, value)) = way {
        command.env(name, value);
    }
}

#[test]
fn every_kubectl_executes_with_stdin_and_gets_the_exit_code() {
    let world = World::shared();
    with_each(&kubectls(), |version, program| {
        for way in ways(version) {
            let exec = |options: &[&str], script: &str| {
                let mut command = world.kubectl(MEMBER, program);
                command
                    .arg("exec")
                    .args(options)
                    .args(["shell", "--", "sh", "-c", script]);
                set(&mut command, way);
                command
            };
            let ran = run(&exec(&[], "echo out; echo err >&2; exit 7"));
            assert_eq!(ran.code, Some(7), "{version} {way:?}: {ran}");
            assert_eq!(ran.stdout, "out\n", "{version} {way:?}: {ran}");
            assert!(ran.stderr.starts_with("err\n"), "{version} {way:?}: {ran}");
            // The end of the input arrives, and all of it: `wc` says nothing before.
            let text = "0123456789abcde\n".repeat(40_000);
            let counted = run_with(&exec(&["-i"], "wc -c"), &text).ok();
            assert_eq!(counted.trim(), "640000", "{version} {way:?}");
        }
    });
    world.check_audit();
}

#[test]
fn every_kubectl_has_a_terminal_that_follows_its_size() {
    let world = World::shared();
    with_each(&kubectls(), |version, program| {
        // The size arrives after the start, as a message of its own.
        let script = "tty; n=0; while [ \"$(stty size)\" != \"33 77\" ] && [ $n -lt 100 ]; do n=$((n+1)); sleep 0.1; done; \
                      stty size; exit 5";
        let plain = world.kubectl(MEMBER, program);
        let mut line = vec![
            "stty rows 33 cols 77; exec".to_owned(),
            quoted(plain.get_program()),
        ];
        line.extend(plain.get_args().map(quoted));
        line.push("exec -it shell -- sh -c".to_owned());
        line.push(quoted(script.as_ref()));
        // `script` gives kubectl a terminal, and ends as kubectl ends.
        let mut terminal = Command::new("script");
        terminal.args(["-q", "-e", "-c", &line.join(" "), "/dev/null"]);
        let ran = run(&terminal);
        assert_eq!(ran.code, Some(5), "{version}: {ran}");
        assert!(ran.stdout.contains("/dev/pts/"), "{version}: {ran}");
        assert!(ran.stdout.contains("33 77"), "{version}: {ran}");
    });
    world.check_audit();
}

fn quoted(word: &std::ffi::OsStr) -> String {
    let word = word.to_str().expect("UTF-8");
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[test]
fn every_kubectl_attaches_to_a_running_process() {
    let world = World::shared();
    with_each(&kubectls(), |version, program| {
        for (number, way) in ways(version).into_iter().enumerate() {
            let mut attach = world.kubectl(OPERATOR, program);
            attach.args(["attach", "-i", "echo"]);
            set(&mut attach, way);
            let mut attached = Running::start(attach);
            // Lines that are sent before the streams stand are answered to nobody: say it again.
            let said = format!("hello-{version}-{number}");
            let heard = eventually(|| {
                attached.write(&format!("{said}\n"));
                attached
                    .lines_now()
                    .iter()
                    .any(|line| line.contains(&said))
                    .then_some(())
            });
            assert!(heard.is_some(), "{version} {way:?}: {}", attached.stderr());
        }
    });
    world.check_audit();
}

#[test]
fn every_kubectl_copies_both_ways_without_a_wrong_byte() {
    let world = World::shared();
    with_each(&kubectls(), |version, program| {
        let home = world.gateway.home(MEMBER);
        let (there, back) = (format!("there-{version}"), format!("back-{version}"));
        let bytes = noise(seed(version));
        fs::write(home.join(&there), &bytes).expect("it can be written");
        let copy = |from: &str, to: &str| {
            let mut command = world.kubectl(MEMBER, program);
            command.current_dir(&home).args(["cp", from, to]);
            run(&command).ok();
        };
        copy(&there, &format!("shell:{there}"));
        let mut sum = world.kubectl(MEMBER, program);
        sum.args(["exec", "shell", "--", "sha256sum", &there]);
        let far = run(&sum).ok();
        let near = run(Command::new("sha256sum").arg(&there).current_dir(&home)).ok();
        assert_eq!(far, near, "{version}");
        copy(&format!("shell:{there}"), &back);
        let copied = fs::read(home.join(&back)).expect("it was copied");
        assert!(copied == bytes, "{version}: other bytes came back");
    });
    world.check_audit();
}

#[test]
fn every_kubectl_forwards_a_port() {
    let world = World::shared();
    with_each(&kubectls(), |version, program| {
        let tunnel = ("KUBECTL_PORT_FORWARD_WEBSOCKETS", "true");
        let spdy = (tunnel.0, "false");
        let ways = match version {
            "1.27" | "1.28" | "1.29" => vec![None],
            "1.30" => vec![None, Some(tunnel)],
            _ => vec![None, Some(spdy)],
        };
        for way in ways {
            let mut command = world.kubectl(MEMBER, program);
            command.args(["port-forward", "pod/web", ":8080"]);
            set(&mut command, way);
            let forward = Running::start(command);
            let line = forward.line("Forwarding from 127.0.0.1:");
            let address = line
                .split_whitespace()
                .nth(2)
                .expect("an address")
                .to_owned();
            let hello = http(&address, "GET", &[]);
            assert!(hello.ends_with(b"hello from web\n"), "{version} {way:?}");
            // A second connection over the same forward, with a body that does not fit anywhere.
            let bytes = noise(seed(version));
            let echoed = http(&address, "POST", &bytes);
            assert!(
                echoed.ends_with(&bytes),
                "{version} {way:?}: other bytes came back"
            );
        }
    });
    world.check_audit();
}

/// One request over HTTP/1.0, whose answer ends with the connection; sends and reads at once.
pub(super) fn http(address: &str, method: &str, body: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).expect("a connection");
    let mut writer = stream.try_clone().expect("a second handle");
    let mut request = format!(
        "{method} / HTTP/1.0\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(body);
    std::thread::scope(|scope| {
        scope.spawn(move || writer.write_all(&request).expect("it is taken"));
        let mut answer = Vec::new();
        let limit = Some(crate::testkit::process::PATIENCE);
        stream.set_read_timeout(limit).expect("a limit");
        stream.read_to_end(&mut answer).expect("an answer");
        answer
    })
}

#[test]
fn every_kubectl_reads_logs_and_follows_them() {
    let world = World::shared();
    with_each(&kubectls(), |version, program| {
        let logs = |arguments: &[&str]| {
            let mut command = world.kubectl(OPERATOR, program);
            command.arg("logs").args(arguments);
            command
        };
        assert_eq!(run(&logs(&["shell"])).ok(), "started\n", "{version}");
        // Followed to its end: the container is done.
        let followed = run(&logs(&["-f", "shell", "--tail=1", "--limit-bytes=8"])).ok();
        assert_eq!(followed.trim(), "started", "{version}");
        // Followed while it goes on: every line at once, none lost.
        let following = Running::start(logs(&["-f", "ticker", "--tail=1"]));
        let first = tick(&following.line("tick "));
        for number in first + 1..first + 4 {
            assert_eq!(tick(&following.line("tick ")), number, "{version}");
        }
    });
    world.check_audit();
}

fn tick(line: &str) -> u64 {
    let number = line.strip_prefix("tick ").expect("a tick");
    number.parse().expect("a number")
}

#[test]
fn every_kubectl_is_a_proxy() {
    let world = World::shared();
    with_each(&kubectls(), |version, program| {
        let mut command = world.kubectl(MEMBER, program);
        // The gateway's cluster is below a path, which kubectl proxy leaves out unless told.
        command.args(["proxy", "--port=0", "--append-server-path"]);
        let proxy = Running::start(command);
        let line = proxy.line("Starting to serve on ");
        let (_, address) = line.split_once(" on ").expect("an address");
        let answer = get(address, "/api/v1/namespaces/default/pods/shell");
        assert!(answer.starts_with("HTTP/1.1 200"), "{version}: {answer}");
        assert!(answer.contains("\"nodeName\""), "{version}: {answer}");
        let answer = get(address, "/api/v1/namespaces/default/secrets");
        assert!(answer.starts_with("HTTP/1.1 403"), "{version}: {answer}");
    });
    world.check_audit();
}

/// A GET over HTTP/1.1, whole.
pub(super) fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("a connection");
    let limit = Some(crate::testkit::process::PATIENCE);
    stream.set_read_timeout(limit).expect("a limit");
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it is taken");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}
