//! Every stage on one block in memory: `cargo bench --bench stages`.

mod block;

use block::Block;
use cdrveil::record::clear::Clear;
use cdrveil::record::decoded::Decoded;
use cdrveil::record::veiled::{Coarse, Veils};
use cdrveil::sink::identities::SealedBefore;
use divan::Bencher;
use divan::counter::ItemsCount;
use std::sync::LazyLock;

/// About what a source puts into one block (4 MiB).
const RECORDS: u32 = 32_000;

/// The block and what each stage made of it: the next one's input.
struct Made {
    block: Block,
    decoded: Decoded,
    clear: Clear,
    veils: Veils,
    coarse: Coarse,
}

static MADE: LazyLock<Made> = LazyLock::new(|| {
    let block = Block::new(u64::from(RECORDS));
    let decoded = block.decode(block.raw());
    let clear = block.normalise(&decoded);
    let veils = block.pseudonymise(&clear);
    let coarse = block.generalise(&clear);
    Made { block, decoded, clear, veils, coarse }
});

fn main() {
    LazyLock::force(&MADE);
    divan::main();
}

#[divan::bench]
fn a_decode(bencher: Bencher) {
    bencher
        .counter(ItemsCount::new(RECORDS))
        .with_inputs(|| MADE.block.raw())
        .bench_values(|raw| MADE.block.decode(raw));
}

#[divan::bench]
fn b_normalise(bencher: Bencher) {
    bencher.counter(ItemsCount::new(RECORDS)).bench(|| MADE.block.normalise(&MADE.decoded));
}

#[divan::bench]
fn c_pseudonymise(bencher: Bencher) {
    bencher.counter(ItemsCount::new(RECORDS)).bench(|| MADE.block.pseudonymise(&MADE.clear));
}

#[divan::bench]
fn d_generalise(bencher: Bencher) {
    bencher.counter(ItemsCount::new(RECORDS)).bench(|| MADE.block.generalise(&MADE.clear));
}

/// Into cells that are there already, as it is for all blocks of a batch but the first.
#[divan::bench]
fn e_tally(bencher: Bencher) {
    let mut partial = MADE.block.partial();
    bencher.counter(ItemsCount::new(RECORDS)).bench_local(|| MADE.block.tally(&mut partial, &MADE.clear, &MADE.veils));
}

#[divan::bench]
fn f_seal_only(bencher: Bencher) {
    bencher.counter(ItemsCount::new(RECORDS)).bench(|| MADE.block.seal(&MADE.clear));
}

#[divan::bench]
fn g_encode_lake(bencher: Bencher) {
    bencher.counter(ItemsCount::new(RECORDS)).bench(|| MADE.block.encode(&MADE.veils, &MADE.coarse));
}

#[divan::bench]
fn h_seal_and_encode_evidence(bencher: Bencher) {
    bencher.counter(ItemsCount::new(RECORDS)).bench(|| MADE.block.evidence(&MADE.decoded, &MADE.clear, &MADE.veils));
}

#[divan::bench]
fn i_seal_and_encode_identities(bencher: Bencher) {
    bencher
        .counter(ItemsCount::new(RECORDS))
        .with_inputs(SealedBefore::new)
        .bench_values(|mut cache| MADE.block.identities(&MADE.clear, &MADE.veils, &mut cache));
}
