//! Which files of a partition are rewritten together.

use super::Limits;
use crate::lake::delta::DataFile;

/// Groups of at least two files, each at most a target size together.
///
/// Of a partition that still fills, files of about one size (within a factor of 16) are taken once
/// there are enough of them, so that a row is rewritten a few times at most, however often this is
/// asked. Of a closed one, all that are small, unless that would rewrite a large file to spare a few
/// small ones. A file of half the target size or more is left alone.
pub fn groups<'a>(files: &'a [DataFile], closed: bool, limits: &Limits) -> Vec<Vec<&'a DataFile>> {
    let mut small: Vec<&DataFile> = files.iter().filter(|f| f.bytes < limits.target_bytes / 2).collect();
    small.sort_by(|a, b| (a.bytes, &a.path).cmp(&(b.bytes, &b.path)));
    if closed {
        return filled(&small, limits.target_bytes).into_iter().filter(|g| is_worth_it(g, limits)).collect();
    }
    let of_one_size = small.chunk_by(|a, b| tier(a.bytes) == tier(b.bytes));
    of_one_size.filter(|t| t.len() >= limits.small_files).flat_map(|t| filled(t, limits.target_bytes)).collect()
}

fn tier(bytes: u64) -> u32 {
    bytes.max(1).ilog2() / 4
}

/// Fills groups in the order of `files`; what stays alone is left out.
fn filled<'a>(files: &[&'a DataFile], target_bytes: u64) -> Vec<Vec<&'a DataFile>> {
    let mut groups: Vec<Vec<&DataFile>> = Vec::new();
    let mut bytes = 0;
    for file in files {
        match groups.last_mut() {
            Some(group) if bytes + file.bytes <= target_bytes => {
                group.push(file);
                bytes += file.bytes;
            }
            _ => {
                groups.push(vec![file]);
                bytes = file.bytes;
            }
        }
    }
    groups.retain(|g| g.len() > 1);
    groups
}

/// Not when one file holds nearly everything already: each straggler would rewrite it.
fn is_worth_it(group: &[&DataFile], limits: &Limits) -> bool {
    let all: u64 = group.iter().map(|f| f.bytes).sum();
    let largest = group.iter().map(|f| f.bytes).max().unwrap_or(0);
    group.len() >= limits.small_files || (all - largest) * 16 >= largest
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn limits(target_bytes: u64, small_files: usize) -> Limits {
        Limits { target_bytes, small_files, ..Limits::default() }
    }

    fn files(sizes: &[u64]) -> Vec<DataFile> {
        let file = |(i, bytes): (usize, &u64)| DataFile {
            path: format!("{i:04}").into(),
            partition: BTreeMap::new(),
            rows: None,
            bytes: *bytes,
        };
        sizes.iter().enumerate().map(file).collect()
    }

    fn sizes(sizes: &[u64], closed: bool) -> Vec<Vec<u64>> {
        let files = files(sizes);
        groups(&files, closed, &limits(1000, 4)).iter().map(|g| g.iter().map(|f| f.bytes).collect()).collect()
    }

    #[test]
    fn a_closed_partition_is_packed_and_a_filling_one_waits_for_enough() {
        for (given, closed, expected) in [
            (&[][..], true, vec![]),
            (&[10], true, vec![]),
            (&[10, 20], true, vec![vec![10, 20]]),
            (&[10, 20], false, vec![]),
            (&[10, 20, 30], false, vec![]),
            (&[20, 30, 17, 31], false, vec![vec![17, 20, 30, 31]]),
            // Two sizes, neither with enough.
            (&[20, 30, 300, 310], false, vec![]),
            // Large files are left alone; groups do not outgrow the target.
            (&[400, 500, 499, 450, 2000], true, vec![vec![400, 450]]),
            (&[400, 300, 300, 450], false, vec![vec![300, 300, 400]]),
            // One straggler does not rewrite a large file; enough of them do.
            (&[480, 10], true, vec![]),
            (&[480, 10, 9, 8], true, vec![vec![8, 9, 10, 480]]),
        ] {
            assert_eq!(sizes(given, closed), expected, "{given:?} {closed}");
        }
    }

    /// However files come in, one by one, few are left at any time and each byte is rewritten rarely.
    #[test]
    fn a_partition_that_fills_stays_small_and_is_rewritten_few_times() {
        let limits = limits(1 << 27, 16);
        let (mut live, mut written, mut most) = (Vec::<u64>::new(), 0, 0);
        for _ in 0..20_000 {
            live.push(40_000);
            let found = files(&live);
            let merged: Vec<Vec<usize>> = groups(&found, false, &limits)
                .iter()
                .map(|g| g.iter().map(|f| f.path.to_str().unwrap().parse().unwrap()).collect())
                .collect();
            let gone: Vec<usize> = merged.concat();
            let made: Vec<u64> = merged.iter().map(|g| g.iter().map(|i| live[*i]).sum()).collect();
            written += made.iter().sum::<u64>();
            live = live.iter().enumerate().filter(|(i, _)| !gone.contains(i)).map(|(_, b)| *b).collect();
            live.extend(made);
            most = most.max(live.len());
        }
        assert!(most <= 80, "{most} files at once");
        assert!(written <= 5 * 20_000 * 40_000, "each byte was written {} times", written / (20_000 * 40_000));
    }
}
