//! What a disk still holds after the power went, worked out from a trace of system calls.
//!
//! The model is the one POSIX promises and no more: bytes of a file are there once the file was
//! synced after they were written; a name (of a file made, linked, renamed, or of a folder) is there
//! once its folder was synced after. Everything else may be there or not, whatever its order.

use rand::Rng;
use rand::rngs::StdRng;
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const CALLS: &str = "openat,creat,mkdir,mkdirat,link,linkat,rename,renameat,renameat2,unlink,unlinkat,fsync,fdatasync,\
                     write,pwrite64,writev,copy_file_range,ftruncate";

/// `command` under strace, its calls appended to `log`; `kill_at` ends it (as `kill -9`) as its main
/// thread begins its n-th `fsync`.
pub fn traced(command: &Command, log: &Path, kill_at: Option<usize>) -> Command {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-y", "-s", "0", "-A", "-o"]).arg(log).arg("-e").arg(format!("trace={CALLS}"));
    if let Some(n) = kill_at {
        strace.arg("-e").arg(format!("inject=fsync:signal=KILL:when={n}"));
    }
    strace.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        strace.env(name, value.unwrap());
    }
    strace
}

/// What the traced programs did to the files below one folder.
pub struct Trace {
    root: PathBuf,
    events: Vec<Event>,
}

struct Event {
    /// Line at which the call began; it took effect at the event's own.
    begun: usize,
    line: usize,
    /// 1-based, among the `fsync` calls of its thread; 0 for other calls.
    sync_of_thread: usize,
    thread: u32,
    op: Op,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Op {
    Create(PathBuf),
    Folder(PathBuf),
    Link(PathBuf, PathBuf),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
    Write(PathBuf),
    Sync(PathBuf),
}

impl Trace {
    /// Reads the log of `traced`; calls that failed, and those elsewhere than below `root`, are left out.
    pub fn read(log: &Path, root: &Path) -> Trace {
        let text = fs::read_to_string(log).unwrap();
        let mut begun: HashMap<u32, (usize, String)> = HashMap::new();
        let mut syncs: HashMap<u32, usize> = HashMap::new();
        let mut events = Vec::new();
        for (line, text) in text.lines().enumerate() {
            let Some((thread, call)) = text.split_once(' ') else { continue };
            let (thread, call): (u32, &str) = (thread.parse().unwrap(), call.trim_start());
            let (began, call) = if let Some(first) = call.strip_suffix(" <unfinished ...>") {
                // Bytes may change from here on, although the call is not over.
                let half = Op::parse(first).filter(|op| matches!(op, Op::Write(_)));
                events.extend(half.map(|op| Event { begun: line, line, sync_of_thread: 0, thread, op }));
                begun.insert(thread, (line, first.to_owned()));
                continue;
            } else if let Some((_, rest)) = call.strip_prefix("<... ").and_then(|c| c.split_once(" resumed>")) {
                let (began, first) = begun.remove(&thread).unwrap();
                (began, first + rest)
            } else {
                (line, call.to_owned())
            };
            let sync = call.starts_with("fsync(");
            let count = syncs.entry(thread).or_default();
            *count += usize::from(sync);
            let sync_of_thread = if sync { *count } else { 0 };
            if succeeded(&call)
                && let Some(op) = Op::parse(&call)
                && op.path().starts_with(root)
            {
                events.push(Event { begun: began, line, sync_of_thread, thread, op });
            }
        }
        assert!(events.len() > 20, "strace saw nothing: {text:.500}");
        Trace { root: root.to_owned(), events }
    }

    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Every moment right after a name appeared or went that `which` picks.
    pub fn after_names(&self, which: impl Fn(&str) -> bool) -> Vec<usize> {
        let named = |op: &Op| match op {
            Op::Link(_, to) | Op::Rename(_, to) | Op::Folder(to) => which(&to.to_string_lossy()),
            _ => false,
        };
        (0..self.len()).filter(|i| named(&self.events[*i].op)).map(|i| i + 1).collect()
    }

    /// Which `fsync` of its thread comes next after moment `at` in the same thread.
    pub fn next_sync(&self, at: usize) -> usize {
        let thread = self.events[at - 1].thread;
        self.events[at..].iter().find(|e| e.thread == thread && e.sync_of_thread > 0).unwrap().sync_of_thread
    }

    /// The same, as if files whose name ends so had never been synced.
    pub fn without_syncs(&self, suffix: &str) -> Trace {
        let kept = |e: &&Event| !matches!(&e.op, Op::Sync(p) if p.to_string_lossy().ends_with(suffix));
        let copy = |e: &Event| Event { op: e.op.clone(), ..*e };
        Trace { root: self.root.clone(), events: self.events.iter().filter(kept).map(copy).collect() }
    }

    /// Makes `target`, a copy of the folder as it was before the trace, what the disk holds when the
    /// power goes after `moment` events. What was not synced survives with chance `luck`.
    pub fn cut(&self, moment: usize, luck: f64, rng: &mut StdRng, target: &Path) {
        // The last name may have appeared with the last event.
        let moment = moment.min(self.len());
        let end = self.replay(self.len());
        let mut disk = self.replay(moment);
        for change in std::mem::take(&mut disk.pending) {
            if rng.random_bool(luck) {
                disk.durable.extend(change.names);
            }
        }
        let content: HashMap<usize, &PathBuf> = end.names.iter().map(|(path, node)| (*node, path)).collect();
        // In order of path: a folder comes before what is in it.
        for (path, node) in &disk.durable {
            let place = target.join(path.strip_prefix(&self.root).unwrap());
            let Some(node) = node else {
                let _ = fs::remove_file(place);
                continue;
            };
            if !place.parent().unwrap().is_dir() {
                continue;
            }
            let Node { folder, written, synced } = disk.nodes[*node];
            if folder {
                fs::create_dir(place).unwrap();
                continue;
            }
            let mut bytes = content.get(node).map_or_else(Vec::new, |p| fs::read(p).unwrap());
            if written > synced {
                bytes.truncate(rng.random_range(0..=bytes.len()));
            }
            fs::write(place, bytes).unwrap();
        }
    }

    fn replay(&self, moment: usize) -> Disk {
        let mut disk = Disk::default();
        for event in &self.events[..moment] {
            disk.apply(event);
        }
        disk
    }
}

/// The folder's state: what programs see, and what the disk is sure to hold.
#[derive(Default)]
struct Disk {
    nodes: Vec<Node>,
    names: HashMap<PathBuf, usize>,
    durable: BTreeMap<PathBuf, Option<usize>>,
    pending: Vec<Change>,
}

#[derive(Clone, Copy)]
struct Node {
    folder: bool,
    /// Line of the last write, and of the beginning of the last sync after it; 0 for never.
    written: usize,
    synced: usize,
}

/// One call's effect on names in one folder.
struct Change {
    line: usize,
    folder: PathBuf,
    names: Vec<(PathBuf, Option<usize>)>,
}

impl Disk {
    fn apply(&mut self, event: &Event) {
        match &event.op {
            Op::Create(path) if self.names.contains_key(path) => {}
            Op::Create(path) => self.make(path, false, event.line),
            Op::Folder(path) => self.make(path, true, event.line),
            Op::Link(from, to) => {
                let node = self.names[from];
                self.names.insert(to.clone(), node);
                self.change(event.line, to, vec![(to.clone(), Some(node))]);
            }
            Op::Rename(from, to) => {
                let node = self.names.remove(from).unwrap();
                self.names.insert(to.clone(), node);
                self.change(event.line, to, vec![(from.clone(), None), (to.clone(), Some(node))]);
            }
            Op::Remove(path) => {
                self.names.remove(path);
                self.change(event.line, path, vec![(path.clone(), None)]);
            }
            Op::Write(path) => {
                if let Some(node) = self.names.get(path) {
                    self.nodes[*node].written = event.begun + 1;
                }
            }
            Op::Sync(path) => self.sync(path, event.begun),
        }
    }

    fn make(&mut self, path: &Path, folder: bool, line: usize) {
        self.nodes.push(Node { folder, written: 0, synced: 0 });
        let node = self.nodes.len() - 1;
        self.names.insert(path.to_owned(), node);
        self.change(line, path, vec![(path.to_owned(), Some(node))]);
    }

    fn change(&mut self, line: usize, path: &Path, names: Vec<(PathBuf, Option<usize>)>) {
        self.pending.push(Change { line, folder: path.parent().unwrap().to_owned(), names });
    }

    /// A sync covers what was done before it began.
    fn sync(&mut self, path: &Path, begun: usize) {
        if let Some(node) = self.names.get(path).map(|n| &mut self.nodes[*n])
            && node.written <= begun
        {
            node.synced = begun + 1;
        }
        for change in std::mem::take(&mut self.pending) {
            if change.folder == path && change.line < begun {
                self.durable.extend(change.names);
            } else {
                self.pending.push(change);
            }
        }
    }
}

impl Op {
    /// The call's effect, if it has one that lasts.
    fn parse(call: &str) -> Option<Op> {
        let (name, args) = call.split_once('(')?;
        let mut quoted = args.split('"').skip(1).step_by(2).map(PathBuf::from);
        let of_descriptor = || Some(PathBuf::from(args.split_once('<')?.1.split_once('>')?.0));
        match name {
            "openat" | "creat" => {
                (name == "creat" || args.contains("O_CREAT")).then(|| quoted.next().map(Op::Create))?
            }
            "mkdir" | "mkdirat" => quoted.next().map(Op::Folder),
            "link" | "linkat" => Some(Op::Link(quoted.next()?, quoted.next()?)),
            "rename" | "renameat" | "renameat2" => Some(Op::Rename(quoted.next()?, quoted.next()?)),
            "unlink" | "unlinkat" => quoted.next().map(Op::Remove),
            "fsync" | "fdatasync" => of_descriptor().map(Op::Sync),
            "write" | "pwrite64" | "writev" | "ftruncate" => of_descriptor().map(Op::Write),
            "copy_file_range" => unimplemented!("{call}"),
            _ => None,
        }
    }

    fn path(&self) -> &Path {
        match self {
            Op::Create(p) | Op::Folder(p) | Op::Remove(p) | Op::Write(p) | Op::Sync(p) => p,
            Op::Link(_, to) | Op::Rename(_, to) => to,
        }
    }
}

fn succeeded(call: &str) -> bool {
    call.rsplit_once(" = ").is_some_and(|(_, value)| value.starts_with(|c: char| c.is_ascii_digit()))
}
