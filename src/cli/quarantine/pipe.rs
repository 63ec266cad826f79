//! Between ingest and the vault's program, which it starts: requests one way, opened records back.
//!
//! A request is a line of JSON on standard input: handles, no content. The answer on standard output
//! is frames: tag 1, block (16 bytes), row and length (4 bytes each, big-endian), the record; at the
//! end tag 0 and the number of records (4 bytes). Only a whole answer counts. What is in clear is in
//! memory and in the pipe, never in an argument, a variable or a file.

use super::Selected;
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::config::environment::PASSPHRASE_FILE;
use crate::lake::resolved::{Handle, block_of, block_text};
use crate::pipeline::replay::Opened;
use crate::record::time::Day;
use crate::seal::TAG_LEN;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io::{self, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use zeroize::Zeroizing;

const RECORD: u8 = 1;
const END: u8 = 0;

/// Rows of one feed to be opened.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub feed: String,
    pub purpose: String,
    blocks: Vec<Wanted>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    day: String,
    block: String,
    rows: Vec<u32>,
}

impl Request {
    fn of(feed: &str, purpose: &str, selected: &[Selected]) -> Request {
        let mut blocks: BTreeMap<(Day, [u8; 16]), Vec<u32>> = BTreeMap::new();
        for row in selected {
            blocks.entry((row.arrival, row.handle.block)).or_default().push(row.handle.row);
        }
        let blocks = blocks
            .into_iter()
            .map(|((day, block), rows)| Wanted { day: day.to_string(), block: block_text(&block), rows })
            .collect();
        Request { feed: feed.to_owned(), purpose: purpose.to_owned(), blocks }
    }

    /// The rows and the days they stand under; `None` if something in it is no handle or no day.
    pub fn rows(&self) -> Option<(HashSet<Handle>, BTreeSet<Day>)> {
        let (mut rows, mut days) = (HashSet::new(), BTreeSet::new());
        for wanted in &self.blocks {
            let block = block_of(&wanted.block)?;
            days.insert(wanted.day.parse().ok()?);
            rows.extend(wanted.rows.iter().map(|row| Handle { block, row: *row }));
        }
        Some((rows, days))
    }
}

/// Writes one record as one frame; nothing of it stays in a buffer.
pub fn write_record(out: &mut impl Write, handle: Handle, record: &[u8]) -> io::Result<()> {
    let length = u32::try_from(record.len()).map_err(|_| io::ErrorKind::InvalidData)?;
    let mut frame = Zeroizing::new(Vec::with_capacity(25 + record.len()));
    frame.push(RECORD);
    frame.extend_from_slice(&handle.block);
    frame.extend_from_slice(&handle.row.to_be_bytes());
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(record);
    out.write_all(&frame)
}

/// Ends an answer.
pub fn write_end(out: &mut impl Write, records: u32) -> io::Result<()> {
    let mut frame = vec![END];
    frame.extend_from_slice(&records.to_be_bytes());
    out.write_all(&frame)
}

/// Reads an answer to a request for `selected`: each of them once, each of the length it is sealed
/// with, and nothing else.
fn read_answer(from: &mut impl Read, selected: &[Selected]) -> io::Result<Vec<Opened>> {
    let wrong = || io::Error::from(io::ErrorKind::InvalidData);
    let mut expected: HashMap<Handle, &Selected> = selected.iter().map(|s| (s.handle, s)).collect();
    let mut opened = Vec::with_capacity(selected.len());
    loop {
        let mut tag = [0u8; 1];
        from.read_exact(&mut tag)?;
        if tag[0] == END {
            let records = u32::from_be_bytes(array(from)?);
            let whole = expected.is_empty() && records as usize == opened.len();
            return if whole { Ok(opened) } else { Err(wrong()) };
        }
        let block: [u8; 16] = array(from)?;
        let [row, length] = [u32::from_be_bytes(array(from)?), u32::from_be_bytes(array(from)?)];
        let row = expected.remove(&Handle { block, row }).filter(|_| tag[0] == RECORD).ok_or_else(wrong)?;
        if u64::from(length) + TAG_LEN as u64 != row.sealed_bytes {
            return Err(wrong());
        }
        let mut bytes = Zeroizing::new(vec![0u8; length as usize]);
        from.read_exact(&mut bytes)?;
        opened.push(Opened { handle: row.handle, reason: row.reason, line: row.line, bytes });
    }
}

fn array<const N: usize>(from: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0u8; N];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// The vault's program at work; ended when dropped.
pub struct Vault {
    child: Child,
    requests: Option<ChildStdin>,
    answers: ChildStdout,
}

impl Vault {
    /// Starts `cdrveil-vault`, which stands beside the running program, under its own passphrase:
    /// that of ingest is not handed on.
    pub fn start(context: &Context) -> Result<Vault, CliError> {
        let failed = |e: io::Error| {
            CliError::failed(format!("cannot start cdrveil-vault: {e}"))
                .fix("cdrveil-vault must stand in the same folder as cdrveil")
        };
        let program = std::env::current_exe().map_err(failed)?.with_file_name("cdrveil-vault");
        let mut child = Command::new(program)
            .arg("--site")
            .arg(&context.site_dir)
            .args(["--json", "quarantine", "open"])
            .env_remove(PASSPHRASE_FILE)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let requests = child.stdin.take();
        let answers = child.stdout.take().expect("its output is a pipe");
        Ok(Vault { child, requests, answers })
    }

    /// Has these rows opened.
    pub fn open(&mut self, feed: &str, purpose: &str, selected: &[Selected]) -> Result<Vec<Opened>, CliError> {
        let answer =
            self.ask(&Request::of(feed, purpose, selected)).and_then(|()| read_answer(&mut self.answers, selected));
        answer.map_err(|e| self.explain(&e))
    }

    /// Nothing more is asked for.
    pub fn finish(mut self) {
        self.requests = None;
        let _ = self.child.wait();
    }

    fn ask(&mut self, request: &Request) -> io::Result<()> {
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        self.requests.as_mut().ok_or(io::ErrorKind::BrokenPipe)?.write_all(&line)
    }

    /// Why the answer broke off: in the vault's own words if it has any.
    fn explain(&mut self, error: &io::Error) -> CliError {
        self.requests = None;
        // An answer that makes no sense ends here; one that broke off has ended the program already.
        if error.kind() == io::ErrorKind::InvalidData {
            let _ = self.child.kill();
            return CliError::failed("the vault's answer is not what was asked for; nothing of it was loaded");
        }
        let mut words = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            let _ = stderr.read_to_string(&mut words);
        }
        let code = self.child.wait().ok().and_then(|status| status.code());
        let told = words.lines().rev().find_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        let text = |name: &str| told.as_ref().and_then(|t| t[name].as_str()).map(str::to_owned);
        let message = match text("error") {
            Some(message) => format!("the vault: {message}"),
            None => "the vault's program ended before it had handed over what was asked for".to_owned(),
        };
        let error = match code {
            Some(2) => CliError::usage(message),
            Some(3) => CliError::locked_out(message),
            _ => CliError::failed(message),
        };
        error.fix(text("fix").unwrap_or_else(|| "nothing of this batch was loaded; run it again".to_owned()))
    }
}

impl Drop for Vault {
    fn drop(&mut self) {
        self.requests = None;
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::reject::Reason;

    fn selected(rows: &[(u8, u32, u64)]) -> Vec<Selected> {
        let one = |&(block, row, length): &(u8, u32, u64)| Selected {
            handle: Handle { block: [block; 16], row },
            arrival: Day(20_000 + i32::from(block)),
            reason: Reason::InvalidNumber,
            line: 7,
            sealed_bytes: length + TAG_LEN as u64,
        };
        rows.iter().map(one).collect()
    }

    fn answer(records: &[(u8, u32, &[u8])], end: Option<u32>) -> Vec<u8> {
        let mut out = Vec::new();
        for (block, row, record) in records {
            write_record(&mut out, Handle { block: [*block; 16], row: *row }, record).unwrap();
        }
        if let Some(n) = end {
            write_end(&mut out, n).unwrap();
        }
        out
    }

    #[test]
    fn a_request_says_which_rows_and_days() {
        let rows = selected(&[(1, 5, 0), (2, 0, 0), (1, 3, 0)]);
        let line = serde_json::to_vec(&Request::of("f", "replay", &rows)).unwrap();
        let request: Request = serde_json::from_slice(&line).unwrap();
        let (handles, days) = request.rows().unwrap();
        assert_eq!(handles, rows.iter().map(|r| r.handle).collect());
        assert_eq!(days, BTreeSet::from([Day(20_001), Day(20_002)]));
        let broken =
            Request { blocks: vec![Wanted { day: "x".into(), block: "0".repeat(32), rows: vec![] }], ..request };
        assert!(broken.rows().is_none());
    }

    #[test]
    fn only_a_whole_answer_to_the_very_request_is_taken() {
        let rows = selected(&[(1, 5, 3), (2, 0, 0)]);
        let whole: [(u8, u32, &[u8]); 2] = [(2, 0, b""), (1, 5, b"abc")];
        let opened = read_answer(&mut answer(&whole, Some(2)).as_slice(), &rows).ok().unwrap();
        assert_eq!(opened.iter().map(|o| o.bytes.as_slice()).collect::<Vec<_>>(), [&b""[..], b"abc"]);
        for (what, wrong) in [
            ("cut short", answer(&whole, None)),
            ("in the middle of a record", answer(&whole, None)[..30].to_vec()),
            ("one is missing", answer(&whole[..1], Some(1))),
            ("one twice", answer(&[whole[0], whole[0], whole[1]], Some(3))),
            ("another row", answer(&[whole[0], (1, 6, b"abc")], Some(2))),
            ("another length", answer(&[whole[0], (1, 5, b"ab")], Some(2))),
            ("another count", answer(&whole, Some(3))),
            ("nothing", Vec::new()),
        ] {
            assert!(read_answer(&mut wrong.as_slice(), &rows).is_err(), "{what}");
        }
    }
}
