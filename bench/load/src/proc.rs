//! Processes: started on one core, ended with this one, and what the kernel knows of them.

use anyhow::{Context as _, Result, bail};
use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// The proxy's core.
pub const PROXY_CPU: usize = 0;
/// The core of the upstream and the generator.
pub const LOAD_CPU: usize = 1;
/// Ports to listen on.
const PORTS: std::ops::Range<u16> = 20_000..32_000;
/// A start takes seconds at most, a large store's a minute.
pub const PATIENCE: Duration = Duration::from_mins(3);

/// A child; dropped, it is killed.
pub struct Process {
    child: Child,
}

impl Drop for Process {
    fn drop(&mut self) {
        // nginx's master ends its worker on TERM; a killed one would leave it.
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let end = Instant::now() + Duration::from_secs(5);
        while Instant::now() < end {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Process {
    /// Starts a command on one core.
    pub fn start(cpu: usize, command: &[&str], log: &Path) -> Result<Self> {
        let log = fs::File::options().create(true).append(true).open(log)?;
        let child = Command::new("taskset")
            .args(["-c", &cpu.to_string()])
            .args(command)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {command:?}"))?;
        Ok(Self { child })
    }

    /// The ports on the line that starts with `READY `.
    pub fn ready(&mut self) -> Result<Vec<u16>> {
        let text = self.ready_text()?;
        Ok(text.split(' ').map(str::parse).collect::<Result<_, _>>()?)
    }

    /// The rest of the line that starts with `READY `.
    pub fn ready_text(&mut self) -> Result<String> {
        let stdout = self.child.stdout.take().context("no output")?;
        for line in BufReader::new(stdout).lines() {
            if let Some(rest) = line?.strip_prefix("READY ") {
                return Ok(rest.to_owned());
            }
        }
        bail!("a process ended before it was ready")
    }

    /// Waits until something listens there.
    pub fn listens(&mut self, port: u16) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
                return Ok(());
            }
            self.lives()?;
            std::thread::sleep(Duration::from_millis(20));
        }
        bail!("nothing listens on port {port}")
    }

    /// An error if it has ended.
    pub fn lives(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            Some(status) => bail!("the process ended: {status}"),
            None => Ok(()),
        }
    }

    /// Its id. `taskset` becomes the command, so this is the command's.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

/// A free port below those that the kernel gives to outgoing connections, of which there are thousands here; somebody
/// else may take it before it is used, and then a start fails.
pub fn free_port() -> Result<u16> {
    for _ in 0..1000 {
        let port = fastrand::u16(PORTS);
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no port is free");
}

/// The process and its descendants.
fn tree(pid: u32) -> Vec<u32> {
    let mut all = vec![pid];
    let mut next = 0;
    while let Some(&pid) = all.get(next) {
        next += 1;
        let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
            continue;
        };
        for task in tasks.flatten() {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            all.extend(
                children
                    .split_whitespace()
                    .filter_map(|id| id.parse::<u32>().ok()),
            );
        }
    }
    all
}

/// The first descendant that runs a program of this name.
pub fn descendant(pid: u32, program: &str) -> Option<u32> {
    tree(pid).into_iter().find(|pid| {
        // The kernel keeps fifteen characters.
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        let name = name.trim();
        !name.is_empty() && program.starts_with(name)
    })
}

/// Connections of a local port, those that have just ended among them.
pub fn sockets_of_port(port: u16) -> Result<usize> {
    let mark = format!(":{port:04X}");
    let mut count = 0;
    for file in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let text = fs::read_to_string(file)?;
        count += text
            .lines()
            .filter(|line| {
                line.split_whitespace()
                    .nth(1)
                    .is_some_and(|at| at.ends_with(&mark))
            })
            .count();
    }
    Ok(count)
}

/// Nanoseconds of CPU of a process and its descendants, thread by thread: no tick rounding.
#[derive(Clone, Debug, Default)]
pub struct Cpu(BTreeMap<u32, u64>);

impl Cpu {
    /// Until now.
    pub fn of(pid: u32) -> Result<Self> {
        let mut threads = BTreeMap::new();
        for pid in tree(pid) {
            let tasks = fs::read_dir(format!("/proc/{pid}/task"))
                .with_context(|| format!("process {pid} is gone"))?;
            for task in tasks.flatten() {
                let id = task.file_name();
                let id = id.to_str().and_then(|id| id.parse::<u32>().ok());
                let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
                let nanos = text
                    .split(' ')
                    .next()
                    .and_then(|nanos| nanos.parse::<u64>().ok());
                threads.extend(id.zip(nanos));
            }
        }
        Ok(Self(threads))
    }

    /// What came to it since then. A thread that ended in between takes its time with it, and not more: idle ones end
    /// every now and then, and a plain sum would be less than before.
    pub fn since(&self, before: &Self) -> u64 {
        let threads = self.0.iter();
        threads
            .map(|(id, now)| now.saturating_sub(before.0.get(id).copied().unwrap_or(0)))
            .sum()
    }
}

/// Waits until a process hardly does anything by itself, two looks in a row; gives the seconds that this took, at most `limit`
/// and a bit.
pub async fn at_rest(pid: u32, limit: Duration) -> Result<f64> {
    const LOOK: Duration = Duration::from_millis(500);
    /// Of a core.
    const REST: f64 = 0.03;
    let began = Instant::now();
    let mut rested = 0;
    while rested < 2 && began.elapsed() < limit {
        let before = (Instant::now(), Cpu::of(pid)?);
        tokio::time::sleep(LOOK).await;
        let took = Cpu::of(pid)?.since(&before.1) as f64 / before.0.elapsed().as_nanos() as f64;
        rested = if took < REST { rested + 1 } else { 0 };
    }
    Ok(began.elapsed().as_secs_f64())
}

/// Resident bytes of a process and its descendants.
pub fn resident(pid: u32) -> Result<u64> {
    let mut sum = 0;
    for pid in tree(pid) {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
        let kib = text
            .lines()
            .find_map(|line| line.strip_prefix("Rss:"))
            .and_then(|rest| rest.trim().strip_suffix("kB"))
            .and_then(|kib| kib.trim().parse::<u64>().ok())
            .context("no Rss in smaps_rollup")?;
        sum += kib << 10;
    }
    Ok(sum)
}

/// Counts the system calls of a process while it lives: `perf stat`, or `strace -c` where perf may not.
pub struct Syscalls {
    child: Child,
    output: Output,
    perf: bool,
}

/// Where a counter writes what it counted.
struct Output(PathBuf);

impl Drop for Output {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

impl Syscalls {
    /// Attaches; counting has begun when this returns.
    pub fn attach(pid: u32, folder: &Path) -> Result<Self> {
        let output = folder.join(format!("syscalls.{pid}"));
        let perf = Command::new("perf")
            .args(["stat", "-e", "raw_syscalls:sys_enter", "true"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        let pids: Vec<String> = tree(pid).iter().map(ToString::to_string).collect();
        let mut command = if perf {
            let mut command = Command::new("perf");
            command.args(["stat", "-x", ",", "-e", "raw_syscalls:sys_enter", "-o"]);
            command.arg(&output).args(["-p", &pids.join(",")]);
            command
        } else {
            let mut command = Command::new("strace");
            command.args(["-f", "-c", "-o"]).arg(&output);
            for pid in &pids {
                command.args(["-p", pid]);
            }
            command
        };
        let child = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("neither perf nor strace")?;
        std::thread::sleep(Duration::from_millis(500));
        Ok(Self {
            child,
            output: Output(output),
            perf,
        })
    }

    /// Detaches; the calls since then.
    pub fn count(mut self) -> Result<u64> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::INT)?;
        self.child.wait()?;
        let text = fs::read_to_string(&self.output.0)?;
        if self.perf {
            return text
                .lines()
                .find(|line| line.contains("raw_syscalls"))
                .and_then(|line| line.split(',').next()?.parse().ok())
                .with_context(|| format!("perf says: {text}"));
        }
        text.lines()
            .find(|line| line.ends_with("total"))
            .and_then(|line| line.split_whitespace().nth(3)?.parse().ok())
            .with_context(|| format!("strace says: {text}"))
    }
}

/// Puts this process, and what it starts without saying otherwise, on the load's core; lets it and its children have
/// all the descriptors that there are.
pub fn settle() -> Result<()> {
    let count = std::thread::available_parallelism()?.get();
    if count < 2 {
        bail!("two cores are needed: one for the proxy, one for the upstream and the load");
    }
    let pid = std::process::id().to_string();
    let pinned = Command::new("taskset")
        .args(["-a", "-c", "-p", &LOAD_CPU.to_string(), &pid])
        .stdout(Stdio::null())
        .status()?;
    if !pinned.success() {
        bail!("taskset cannot pin this process");
    }
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let raised = rustix::process::Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, raised)?;
    Ok(())
}

/// Share of this machine's CPU time that nobody used over a short while: how quiet it is.
pub fn quiet_share(length: Duration) -> Result<f64> {
    let read = || -> Result<(u64, u64)> {
        let text = fs::read_to_string("/proc/stat")?;
        let line = text.lines().next().context("/proc/stat is empty")?;
        let fields: Vec<u64> = line
            .split_whitespace()
            .skip(1)
            .filter_map(|field| field.parse().ok())
            .collect();
        let idle = fields.iter().skip(3).take(2).sum();
        Ok((idle, fields.iter().take(8).sum()))
    };
    let (idle, all) = read()?;
    std::thread::sleep(length);
    let (idle_after, all_after) = read()?;
    let all = (all_after - all).max(1);
    Ok((idle_after - idle) as f64 / all as f64)
}
