//! The browser of this machine, if there is one.

use crate::config::env;
use std::process::Stdio;
use tokio::process::Command;

const MACOS: bool = cfg!(target_os = "macos");

/// Whether a browser that is opened here is seen by the person: a display, and nobody far away.
pub(super) fn is_there() -> bool {
    let set = |name| env::var(name).is_some();
    let far = set("SSH_CONNECTION") || set("SSH_TTY");
    let display = MACOS || set("DISPLAY") || set("WAYLAND_DISPLAY");
    display && !far
}

/// Opens the address, if that can be done. Nobody waits for it: some browsers stay until they are closed.
pub(super) fn open(url: &str) {
    let program = if MACOS { "open" } else { "xdg-open" };
    let mut command = Command::new(program);
    command
        .arg(url)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // Ctrl-C here is no reason to end a browser that started there.
        .process_group(0);
    // Where there is no such program the address that was printed must do.
    let _ = command.spawn();
}
