//! The stages and the whole pipeline against what this machine could do at best:
//! `cargo bench --bench pipeline -- [--json] [--records N] [--workers N]`.
//!
//! Stages are timed in CPU time of their thread (mean), so that neighbours on the machine disturb
//! little; the end-to-end run in wall time (best round), since the disk is part of it.

mod block;

use block::Block;
use cdrveil::clock::MockClock;
use cdrveil::pipeline::engine::{Engine, Setting};
use cdrveil::pipeline::run::{self, Input};
use cdrveil::pipeline::summary::Silent;
use cdrveil::sink::identities::SealedBefore;
use cdrveil::source::Limits;
use serde_json::{Value, json};
use std::fs::{self, File};
use std::hint::black_box;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// About what a source puts into one block (4 MiB).
const BLOCK_RECORDS: u64 = 32_000;
/// What the limit assumes: this many identifiers in a record, each hashed in two compressions.
const COMPRESSIONS: f64 = 4.0 * 2.0;
const DISK_BYTES: usize = 256 << 20;

struct Options {
    json: bool,
    records: u64,
    workers: usize,
    rounds: usize,
}

/// What the machine gives at best.
struct Machine {
    /// SHA-256 compressions per second of one core, and of `workers` at once.
    one_core: f64,
    all_cores: f64,
    /// Bytes per second, written in order and synced.
    disk: f64,
}

struct Whole {
    records: u64,
    wall_s: f64,
    cpu_s: f64,
    bytes_in: u64,
    bytes_out: u64,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let options = options()?;
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let machine = machine(&options, folder.path())?;
    let stages = stages(options.rounds * 30);
    let whole = end_to_end(&options, folder.path())?;
    let mut out = std::io::stdout().lock();
    if options.json {
        writeln!(out, "{:#}", as_json(&options, &machine, &stages, &whole))?;
    } else {
        writeln!(out, "{}", as_table(&options, &machine, &stages, &whole))?;
    }
    Ok(())
}

/// Without cargo's `--bench` (as `cargo test` calls it) a small run that shows it works.
fn options() -> Result<Options, Box<dyn std::error::Error>> {
    let mut options = Options { json: false, records: 50_000, workers: 2, rounds: 1 };
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|a| a == "--bench") {
        (options.records, options.rounds) = (1_000_000, 3);
    }
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--bench" => {}
            "--json" => options.json = true,
            "--records" => options.records = rest.next().ok_or("--records needs a number")?.parse()?,
            "--workers" => options.workers = rest.next().ok_or("--workers needs a number")?.parse()?,
            _ => return Err("usage: [--json] [--records N] [--workers N]".into()),
        }
    }
    Ok(options)
}

fn machine(options: &Options, folder: &Path) -> std::io::Result<Machine> {
    let best = |threads: usize| (0..options.rounds).map(|_| compressions(threads)).fold(0.0, f64::max);
    let disk = (0..options.rounds).map(|_| disk(folder)).try_fold(0.0, |best: f64, d| d.map(|d| best.max(d)))?;
    Ok(Machine { one_core: best(1), all_cores: best(options.workers), disk })
}

/// SHA-256 compressions per second of wall time, over all threads.
fn compressions(threads: usize) -> f64 {
    const EACH: usize = 4_000_000;
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..threads {
            scope.spawn(move || {
                let mut state = [thread as u32; 8];
                let block = black_box([7u8; 64]);
                for _ in 0..EACH {
                    sha2::block_api::compress256(&mut state, std::slice::from_ref(&block));
                }
                black_box(state);
            });
        }
    });
    (threads * EACH) as f64 / begun.elapsed().as_secs_f64()
}

/// Bytes per second of a file written in order and synced before the clock stops.
fn disk(folder: &Path) -> std::io::Result<f64> {
    let path = folder.join("disk");
    let chunk: Vec<u8> = (0..4usize << 20).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let begun = Instant::now();
    let mut file = File::create(&path)?;
    for _ in 0..DISK_BYTES / chunk.len() {
        file.write_all(&chunk)?;
    }
    file.sync_all()?;
    let seconds = begun.elapsed().as_secs_f64();
    fs::remove_file(&path)?;
    Ok(DISK_BYTES as f64 / seconds)
}

/// Nanoseconds of CPU per record, by stage.
fn stages(rounds: usize) -> Vec<(&'static str, f64)> {
    let block = Block::new(BLOCK_RECORDS);
    let decoded = block.decode(block.raw());
    let clear = block.normalise(&decoded);
    let veils = block.pseudonymise(&clear);
    let coarse = block.generalise(&clear);
    let mut partial = block.partial();
    let mut spent = [0.0; 9];
    for _ in 0..rounds {
        let (raw, mut cache) = (block.raw(), SealedBefore::new());
        let ns = [
            cpu_ns(|| block.decode(raw)),
            cpu_ns(|| block.normalise(&decoded)),
            cpu_ns(|| block.pseudonymise(&clear)),
            cpu_ns(|| block.generalise(&clear)),
            cpu_ns(|| block.tally(&mut partial, &clear, &veils)),
            cpu_ns(|| block.encode(&veils, &coarse)),
            cpu_ns(|| block.evidence(&decoded, &clear, &veils)),
            cpu_ns(|| block.identities(&clear, &veils, &mut cache)),
            cpu_ns(|| block.seal(&clear)),
        ];
        spent.iter_mut().zip(ns).for_each(|(spent, ns)| *spent += ns);
    }
    let names = [
        "decode",
        "normalise",
        "pseudonymise",
        "generalise",
        "tally",
        "cdr: sort, encode",
        "evidence: sort, seal, encode",
        "identities: seal, encode",
        "(of evidence: pack, seal)",
    ];
    // The mean, not the best: the system counts in ticks of a few ms, so single rounds are coarse.
    let records = (rounds as u64 * BLOCK_RECORDS) as f64;
    names.into_iter().zip(spent.map(|ns| ns / records)).collect()
}

/// CPU time of this thread; of the wall where the system does not count it.
fn cpu_ns<T>(work: impl FnOnce() -> T) -> f64 {
    let (cpu, wall) = (thread_cpu_ns(), Instant::now());
    let made = black_box(work());
    let wall = wall.elapsed().as_nanos() as f64;
    let spent = thread_cpu_ns().zip(cpu).map_or(wall, |(after, before)| after - before);
    drop(made);
    spent
}

fn thread_cpu_ns() -> Option<f64> {
    let text = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split(' ').next()?.parse().ok().filter(|ns| *ns > 0.0)
}

/// User and system seconds of this process so far.
fn process_cpu_s() -> f64 {
    let text = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |i: usize| fields.get(i).and_then(|t| t.parse::<f64>().ok()).unwrap_or(0.0);
    // Fields 14 and 15 of proc(5), in the 1/100 s that Linux shows to users.
    (ticks(11) + ticks(12)) / 100.0
}

/// A file from disk to a committed batch in a fresh site; the fastest round.
fn end_to_end(options: &Options, folder: &Path) -> Result<Whole, Box<dyn std::error::Error>> {
    let file = folder.join("calls.csv");
    let mut out = BufWriter::new(File::create(&file)?);
    block::calls(options.records, &mut out)?;
    out.into_inner()?.sync_all()?;
    let mut best: Option<Whole> = None;
    for round in 0..options.rounds {
        let site = folder.join(format!("site-{round}"));
        fs::create_dir(&site)?;
        let whole = one_run(options, &site, &file)?;
        fs::remove_dir_all(&site)?;
        best = match best {
            Some(best) if best.wall_s <= whole.wall_s => Some(best),
            _ => Some(whole),
        };
    }
    best.ok_or_else(|| "no round was run".into())
}

fn one_run(options: &Options, site: &Path, file: &Path) -> Result<Whole, Box<dyn std::error::Error>> {
    let clock = MockClock::at_ms(block::DAY.start_ms() + 86_400_000);
    let keys = block::Leased::default();
    let (begun, cpu) = (Instant::now(), process_cpu_s());
    let mut engine = Engine::open(Setting {
        site,
        feed: Arc::new(block::feed()),
        keys: &keys,
        clock: &clock,
        workers: options.workers,
        forget_open: false,
        orphan_after_ms: i64::MAX,
    })?;
    run::run(&mut engine, &[Input::File(file.to_owned())], Limits::default(), &mut Silent)?;
    let (wall_s, cpu_s) = (begun.elapsed().as_secs_f64(), process_cpu_s() - cpu);
    if engine.summary.veiled != options.records {
        return Err(format!("{} of {} records veiled", engine.summary.veiled, options.records).into());
    }
    Ok(Whole { records: options.records, wall_s, cpu_s, bytes_in: fs::metadata(file)?.len(), bytes_out: size(site)? })
}

fn size(folder: &Path) -> std::io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.metadata()?;
        bytes += if kind.is_dir() { size(&entry.path())? } else { kind.len() };
    }
    Ok(bytes)
}

fn as_json(options: &Options, machine: &Machine, stages: &[(&str, f64)], whole: &Whole) -> Value {
    let share = |ns: f64| 1e9 / ns / (machine.one_core / COMPRESSIONS);
    let stage = |(name, ns): &(&str, f64)| {
        json!({ "stage": name, "cpu_ns_per_record": ns, "records_per_second_and_core": 1e9 / ns,
                "share_of_sha256_limit": share(*ns) })
    };
    let per_second = whole.records as f64 / whole.wall_s;
    json!({
        "machine": {
            "sha256_compressions_per_second_one_core": machine.one_core,
            "sha256_compressions_per_second": machine.all_cores,
            "sha256_limit_records_per_second": machine.all_cores / COMPRESSIONS,
            "disk_durable_bytes_per_second": machine.disk,
            "workers": options.workers,
        },
        "stages": stages.iter().map(stage).collect::<Vec<_>>(),
        "end_to_end": {
            "records": whole.records,
            "seconds": whole.wall_s,
            "records_per_second": per_second,
            "share_of_sha256_limit": per_second / (machine.all_cores / COMPRESSIONS),
            "cpu_ns_per_record": whole.cpu_s * 1e9 / whole.records as f64,
            "bytes_in": whole.bytes_in,
            "bytes_out": whole.bytes_out,
            "bytes_out_per_second": whole.bytes_out as f64 / whole.wall_s,
            "share_of_disk": whole.bytes_out as f64 / whole.wall_s / machine.disk,
        },
    })
}

fn as_table(options: &Options, machine: &Machine, stages: &[(&str, f64)], whole: &Whole) -> String {
    let limit = machine.one_core / COMPRESSIONS;
    let row = |name: &str, ns: f64, per_second: f64, share: f64| {
        [name.to_owned(), format!("{ns:.0}"), format!("{per_second:.0}"), format!("{:.1} %", share * 100.0)]
    };
    let mut table = comfy_table::Table::new();
    table.load_preset(comfy_table::presets::UTF8_FULL_CONDENSED);
    table.set_header(["stage (one core)", "CPU ns/record", "records/s", "of the SHA-256 limit"]);
    for (name, ns) in stages {
        table.add_row(row(name, *ns, 1e9 / ns, 1e9 / ns / limit));
    }
    let in_order = stages.iter().filter(|(name, _)| !name.starts_with('('));
    let sum: f64 = in_order.map(|(_, ns)| ns).sum();
    table.add_row(row("all stages", sum, 1e9 / sum, 1e9 / sum / limit));
    let (cpu, per_second) = (whole.cpu_s * 1e9 / whole.records as f64, whole.records as f64 / whole.wall_s);
    let name = format!("end to end, {} workers", options.workers);
    table.add_row(row(&name, cpu, per_second, per_second / (machine.all_cores / COMPRESSIONS)));
    let mb = 1e6;
    format!(
        "{table}\nSHA-256 limit: {:.2} M compressions/s on one core, {:.2} M on {} threads: {:.0} records/s if only 4 identifiers x 2 compressions were computed\nDisk, durable sequential writes: {:.0} MB/s; the run wrote {:.0} MB at {:.0} MB/s ({} records, {:.0} MB in, {:.2} s)",
        machine.one_core / 1e6,
        machine.all_cores / 1e6,
        options.workers,
        machine.all_cores / COMPRESSIONS,
        machine.disk / mb,
        whole.bytes_out as f64 / mb,
        whole.bytes_out as f64 / mb / whole.wall_s,
        whole.records,
        whole.bytes_in as f64 / mb,
        whole.wall_s,
    )
}
