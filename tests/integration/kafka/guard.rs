//! A server that ends with us, however we end: `tests/servers/guard` kills it when a pipe closes.

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A running server; dropped, it is killed.
pub struct Server {
    guard: Child,
    pid: Pid,
}

impl Server {
    /// Starts `command`; what it says is added to `log`.
    pub fn start(command: &Command, log: &Path) -> Server {
        let log = File::options().create(true).append(true).open(log).unwrap();
        let mut guarded = guard();
        guarded.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            guarded.env(name, value.unwrap());
        }
        let mut guard = guarded.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(guard.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let pid = line.trim().parse().ok().and_then(Pid::from_raw).expect("the guard tells a process id");
        Server { guard, pid }
    }

    pub fn runs(&self) -> bool {
        test_kill_process(self.pid).is_ok()
    }

    /// `kill -STOP`: it is there, and answers nothing.
    pub fn pause(&self) {
        kill_process(self.pid, Signal::STOP).unwrap();
    }

    pub fn go_on(&self) {
        kill_process(self.pid, Signal::CONT).unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}

/// Removes a folder after we have ended, however that was.
pub struct Cleaner(#[expect(dead_code, reason = "its pipe closes with us")] Child);

impl Cleaner {
    pub fn of(folder: &Path) -> Cleaner {
        Cleaner(guard().arg("--remove").arg(folder).stdout(Stdio::null()).spawn().unwrap())
    }
}

fn guard() -> Command {
    let mut command = Command::new(servers().join("guard"));
    command.stdin(Stdio::piped());
    command
}

/// `tests/servers` of this package.
pub fn servers() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers")
}

/// The last lines of a log, for whoever reads why a test failed.
pub fn tail(log: &Path, lines: usize) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let all: Vec<&str> = text.lines().collect();
    format!("{}:\n{}\n", log.display(), all[all.len().saturating_sub(lines)..].join("\n"))
}
