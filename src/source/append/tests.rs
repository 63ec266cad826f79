use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;

use tempfile::TempDir;

use crate::record::raw::Framing;
use crate::source::append::{Append, Keyed, Position};
use crate::source::{Limits, SourceError};

const QUOTED: Framing = Framing::QuotedLines { quote: b'"' };

/// A folder with a live file, and a reader that can be restarted.
struct Scene {
    dir: TempDir,
    stored: Option<Position>,
    append: Option<Append>,
}

impl Scene {
    fn new(text: &str) -> Scene {
        let scene = Scene { dir: tempfile::tempdir().unwrap(), stored: None, append: None };
        scene.write(text);
        scene
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, text: &str) {
        let file = OpenOptions::new().create(true).append(true).open(self.path("m.csv"));
        file.unwrap().write_all(text.as_bytes()).unwrap();
    }

    fn rename(&self, from: &str, to: &str) {
        std::fs::rename(self.path(from), self.path(to)).unwrap();
    }

    fn pack(&self, name: &str) {
        let bytes = std::fs::read(self.path(name)).unwrap();
        let file = std::fs::File::create(self.path(&format!("{name}.gz"))).unwrap();
        let mut encoder = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
        encoder.write_all(&bytes).unwrap();
        encoder.finish().unwrap();
        std::fs::remove_file(self.path(name)).unwrap();
    }

    fn copy_truncate(&self, to: &str) {
        std::fs::copy(self.path("m.csv"), self.path(to)).unwrap();
        OpenOptions::new().write(true).truncate(true).open(self.path("m.csv")).unwrap();
    }

    /// Everything there is to read now; a restarted reader goes on from the stored position.
    fn read(&mut self) -> Result<String, SourceError> {
        let append = match &mut self.append {
            Some(append) => append,
            None => self.append.insert(Append::resume(
                &self.dir.path().join("m.csv"),
                self.stored,
                keyed(),
                QUOTED,
                limits(),
            )?),
        };
        let mut text = String::new();
        while let Some(batch) = append.next()? {
            text += std::str::from_utf8(&batch.bytes).unwrap();
        }
        self.stored = append.position();
        Ok(text)
    }

    fn restart(&mut self) {
        self.append = None;
    }
}

fn limits() -> Limits {
    Limits { batch_bytes: 7, max_record_bytes: 40, ..Limits::default() }
}

/// Stands for the site's file key.
fn keyed() -> Keyed {
    Box::new(|digest| digest.map(|byte| byte ^ 0x5A))
}

/// Each scene runs with a reader that stays and with one that is started anew for every look.
fn both_ways(run: impl Fn(&mut dyn FnMut(&mut Scene) -> Result<String, SourceError>)) {
    run(&mut |scene| scene.read());
    run(&mut |scene| {
        scene.restart();
        scene.read()
    });
}

#[test]
fn only_whole_records_and_only_new_ones() {
    both_ways(|read| {
        let mut scene = Scene::new("1\n\"a\nb\"\n3");
        assert_eq!(read(&mut scene).unwrap(), "1\n\"a\nb\"\n");
        assert_eq!(read(&mut scene).unwrap(), "");
        scene.write("3\n\"4");
        assert_eq!(read(&mut scene).unwrap(), "33\n");
        scene.write("\n\"\n");
        assert_eq!(read(&mut scene).unwrap(), "\"4\n\"\n");
        assert_eq!(scene.stored.unwrap().offset, 16);
    });
}

#[test]
fn a_rename_is_followed() {
    both_ways(|read| {
        let mut scene = Scene::new("1\n2\n");
        assert_eq!(read(&mut scene).unwrap(), "1\n2\n");
        scene.write("3\n");
        scene.rename("m.csv", "m.csv.1");
        if scene.append.is_some() {
            scene.write("");
            assert_eq!(read(&mut scene).unwrap(), "3\n", "the live file is still empty");
        }
        scene.write("4\n");
        let rest = read(&mut scene).unwrap();
        assert!(rest == "3\n4\n" || rest == "4\n", "{rest}");
        scene.write("5\n");
        assert_eq!(read(&mut scene).unwrap(), "5\n");
    });
}

#[test]
fn the_writer_may_hold_the_old_file_until_the_new_one_has_something() {
    both_ways(|read| {
        let mut scene = Scene::new("1\n");
        assert_eq!(read(&mut scene).unwrap(), "1\n");
        let mut old = OpenOptions::new().append(true).open(scene.path("m.csv")).unwrap();
        scene.rename("m.csv", "m.csv-20261122");
        scene.write("");
        old.write_all(b"2\n3").unwrap();
        assert_eq!(read(&mut scene).unwrap(), "2\n");
        old.write_all(b"3\nun").unwrap();
        assert_eq!(read(&mut scene).unwrap(), "33\n");
        scene.write("4\n");
        assert_eq!(read(&mut scene).unwrap(), "un4\n", "the unended line is delivered, as a record of its own");
        assert_eq!(read(&mut scene).unwrap(), "");
    });
}

#[test]
fn several_rotations_between_two_looks_leave_no_gap() {
    both_ways(|read| {
        let mut scene = Scene::new("old\n");
        scene.rename("m.csv", "m.csv.1");
        scene.write("1\n2\n");
        assert_eq!(read(&mut scene).unwrap(), "1\n2\n", "what was rotated before the first look is not ours");
        scene.write("3\n");
        for text in ["4\n", "5\n5\n", "6\n"] {
            for (from, to) in [("m.csv.3.gz", "m.csv.4.gz"), ("m.csv.2.gz", "m.csv.3.gz")] {
                let _ = std::fs::rename(scene.path(from), scene.path(to));
            }
            scene.rename("m.csv.1", "m.csv.2");
            scene.pack("m.csv.2");
            scene.rename("m.csv", "m.csv.1");
            scene.write(text);
        }
        assert_eq!(read(&mut scene).unwrap(), "3\n4\n5\n5\n6\n");
        assert_eq!(read(&mut scene).unwrap(), "");
    });
}

#[test]
fn a_file_rotated_away_before_its_first_records_is_found() {
    let mut scene = Scene::new("1\n");
    scene.stored = Append::resume(&scene.path("m.csv"), None, keyed(), QUOTED, limits()).unwrap().beginning();
    assert_eq!(scene.stored.unwrap().offset, 0);
    scene.write("2\n");
    scene.rename("m.csv", "m.csv.1");
    scene.write("3\n");
    scene.rename("m.csv.1", "m.csv.2");
    scene.rename("m.csv", "m.csv.1");
    scene.write("4\n");
    assert_eq!(scene.read().unwrap(), "1\n2\n3\n4\n");
    assert!(scene.append.as_ref().unwrap().beginning().is_none());
    let none = Append::resume(&scene.path("none.csv"), None, keyed(), QUOTED, limits()).unwrap();
    assert!(none.beginning().is_none());
}

#[test]
fn a_copy_with_truncation_is_followed() {
    both_ways(|read| {
        for regrown in ["4\n", "44\n5\n6\n7\n8\n9\n"] {
            let mut scene = Scene::new("1\n2\n");
            assert_eq!(read(&mut scene).unwrap(), "1\n2\n");
            scene.write("3\n");
            scene.copy_truncate("m.csv-20261122");
            scene.write(regrown);
            assert_eq!(read(&mut scene).unwrap(), format!("3\n{regrown}"));
            scene.write("10\n");
            assert_eq!(read(&mut scene).unwrap(), "10\n");
        }
    });
}

#[test]
fn a_packed_copy_is_found() {
    both_ways(|read| {
        let mut scene = Scene::new("1\n2\n");
        assert_eq!(read(&mut scene).unwrap(), "1\n2\n");
        scene.write("3\n");
        scene.copy_truncate("m.csv.1");
        scene.pack("m.csv.1");
        scene.write("4\n");
        assert_eq!(read(&mut scene).unwrap(), "3\n4\n");
    });
}

#[test]
fn another_beginning_stops_the_feed_until_told_to_start_again() {
    both_ways(|read| {
        let mut scene = Scene::new("1\n2\n");
        assert_eq!(read(&mut scene).unwrap(), "1\n2\n");
        std::fs::write(scene.path("m.csv"), "9\n8\n7\n").unwrap();
        std::fs::write(scene.path("m.csv.1"), "5\n6\n").unwrap();
        for _ in 0..2 {
            let error = read(&mut scene).unwrap_err();
            assert_eq!(error.code(), "prefix_changed");
            assert!(!error.to_string().contains("9\n8"));
        }
        scene.stored = None;
        scene.restart();
        assert_eq!(read(&mut scene).unwrap(), "9\n8\n7\n");
    });
}

#[test]
fn files_that_begin_alike_are_told_apart() {
    both_ways(|read| {
        let mut scene = Scene::new("head\n");
        assert_eq!(read(&mut scene).unwrap(), "head\n");
        scene.write("1\n");
        scene.rename("m.csv", "m.csv.1");
        scene.write("head\n2\n");
        assert_eq!(read(&mut scene).unwrap(), "1\nhead\n2\n");
        assert_eq!(scene.append.as_ref().unwrap().head(), b"head\n2\n");
    });
}

#[test]
fn a_file_that_comes_later_and_positions_of_its_batches() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.csv");
    let mut append = Append::resume(&path, None, keyed(), QUOTED, limits()).unwrap();
    assert!(append.next().unwrap().is_none());
    std::fs::write(&path, "h\n22222\n33333\n4\n").unwrap();
    let mut offset = 0;
    while let Some(batch) = append.next().unwrap() {
        assert_eq!(batch.offset, offset);
        offset += batch.bytes.len() as u64;
        let position = append.position().unwrap();
        assert_eq!(position.offset, offset);
        let mut again = Append::resume(&path, Some(position), keyed(), QUOTED, limits()).unwrap();
        let next = again.next().unwrap();
        assert_eq!(next.as_ref().map_or(16, |batch| batch.offset), offset);
        assert!(next.is_none_or(
            |next| next.first_line == batch.first_line + batch.bytes.iter().filter(|b| **b == b'\n').count() as u64
        ));
        assert!(again.head().starts_with(b"h\n"));
    }
    assert_eq!(offset, 16);
}

/// The copy of a large file takes its time, and a reader that is behind comes to it meanwhile.
#[test]
fn a_copy_that_is_not_truncated_yet_is_not_read_twice() {
    for restarted in [false, true] {
        let mut scene = Scene::new("a,1\nb,2\n");
        assert_eq!(scene.read().unwrap(), "a,1\nb,2\n");
        scene.rename("m.csv", "m.csv.2");
        scene.write("c,3\nd,4\n");
        std::fs::copy(scene.path("m.csv"), scene.path("m.csv.1")).unwrap();
        assert_eq!(scene.read().unwrap(), "c,3\nd,4\n");
        if restarted {
            scene.append = None;
        }
        assert_eq!(scene.read().unwrap(), "");
        OpenOptions::new().write(true).truncate(true).open(scene.path("m.csv")).unwrap();
        assert_eq!(scene.read().unwrap(), "");
        scene.write("e,5\n");
        assert_eq!(scene.read().unwrap(), "e,5\n");
    }
}
